//! What tests of all kinds share: numbers from seeds, noise, knobs, and what the system says about processes.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used)]

/// A sequence of numbers that only the seed decides (SplitMix64), so that a failing run can be repeated.
#[derive(Debug, Clone)]
pub struct Seeded(pub u64);

impl Seeded {
    /// The next number.
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// The next number below `bound`.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound.max(1)
    }

    /// `len` bytes that do not compress.
    pub fn bytes(&mut self, len: usize) -> bytes::Bytes {
        let mut out = Vec::with_capacity(len + 8);
        while out.len() < len {
            out.extend_from_slice(&self.next().to_le_bytes());
        }
        out.truncate(len);
        out.into()
    }
}

/// Bytes that do not compress, the same at every run.
pub fn noise(len: usize) -> Vec<u8> {
    Seeded(1).bytes(len).into()
}

/// The number in a variable of the environment.
pub fn number(variable: &str, default: u64) -> u64 {
    std::env::var(variable)
        .map_or(default, |text| text.parse().unwrap_or_else(|error| panic!("{variable}={text}: {error}")))
}

/// How many bytes the tests of memory move: `PERSIST_TEST_MIB=2048` makes them the full size.
pub fn test_bytes(default_mib: u64) -> u64 {
    number("PERSIST_TEST_MIB", default_mib) << 20
}

/// The most memory that a process (`self`, or its id) ever had, in MiB; 0 when it has ended.
#[cfg(target_os = "linux")]
pub fn peak(process: impl std::fmt::Display) -> u64 {
    status(process, "VmHWM").map_or(0, |text| text.trim_end_matches(" kB").parse::<u64>().unwrap() / 1024)
}

/// Leaves at most two cores to this thread and to the threads and processes that it starts: with more of
/// them, more pieces of a state are in memory at once.
#[cfg(target_os = "linux")]
pub fn on_two_cores() {
    let list = status("thread-self", "Cpus_allowed_list").unwrap();
    let cores = list.split(',').flat_map(|range| {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        first.parse::<u32>().unwrap()..=last.parse().unwrap()
    });
    let cores: Vec<String> = cores.take(2).map(|core| core.to_string()).collect();
    let thread = std::fs::read_link("/proc/thread-self").unwrap();
    let outcome = std::process::Command::new("taskset")
        .args(["--cpu-list", "--pid", &cores.join(",")])
        .arg(thread.file_name().unwrap())
        .output()
        .unwrap();
    assert!(outcome.status.success(), "{outcome:?}");
    assert!(std::thread::available_parallelism().unwrap().get() <= 2);
}

/// What the system says of a process by this name.
#[cfg(target_os = "linux")]
fn status(process: impl std::fmt::Display, name: &str) -> Option<String> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let value = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
    Some(value.trim().to_owned())
}

/// Sends a signal, such as `-KILL`.
#[cfg(unix)]
pub fn kill(signal: &str, process: impl std::fmt::Display) {
    let status = std::process::Command::new("kill").args([signal, &process.to_string()]).status();
    assert!(status.unwrap().success(), "kill {signal} {process}");
}
