//! Stopped in the middle: by a reader that leaves, by a signal, by force.

use std::{
    io::{Read, Write},
    process::{Child, Command, ExitStatus, Stdio},
    time::{Duration, Instant},
};

use super::harness::{Home, files, noise};

const PERSIST: &str = env!("CARGO_BIN_EXE_persist");

#[test]
fn a_reader_that_leaves_is_no_error() {
    let home = Home::new();
    home.save("large", noise(4_000_000));
    for index in 0..40 {
        home.save(&format!("some/{}/{index}", "x".repeat(200)), "state");
    }
    home.command(&["session", "save", "a", "s"]).write_stdin(noise(4_000_000)).assert().success();
    for arguments in [
        &["load", "large"][..],
        &["ls", "--json"],
        &["env"],
        &["session", "export", "a", "s"],
        #[cfg(unix)]
        &["load", "large", "-o", "/dev/stdout"],
        #[cfg(unix)]
        &["session", "load", "a", "s", "-o", "/dev/stdout"],
        #[cfg(unix)]
        &["session", "export", "a", "s", "/dev/stdout"],
    ] {
        let mut child =
            home.process().args(arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut out = child.stdout.take().unwrap();
        out.read_exact(&mut [0; 10]).unwrap();
        drop(out);
        let mut err = String::new();
        child.stderr.take().unwrap().read_to_string(&mut err).unwrap();
        let code = child.wait().unwrap().code();
        // What fits into the pipe was written before its end was closed.
        assert!(matches!(code, Some(141 | 0)) && err.is_empty(), "{arguments:?}: {code:?} {err}");
        assert!(!matches!(arguments[0], "load" | "session") || code == Some(141), "{arguments:?}");
    }
}

/// The system's answer to a file that grows too large is a signal that ends a process, unless that listens.
#[cfg(target_os = "linux")]
#[test]
fn a_limit_on_the_size_of_files_is_an_error_with_its_reason() {
    let home = Home::new();
    home.save("key", "old");
    home.save("large", noise(100_000));
    home.write("state", noise(100_000));
    home.command(&["session", "save", "a", "s"]).write_stdin(noise(100_000)).assert().success();
    let unwritten = "persist: the file loaded cannot be written";
    for (command, place) in [
        ("save key < state", "ulimit -f"),
        ("load large -o loaded", unwritten),
        ("session load a s -o loaded", unwritten),
    ] {
        let mut shell = home.program("sh");
        shell.args(["-c", &format!("ulimit -f 8; exec {PERSIST} {command}")]);
        let output = shell.output().unwrap();
        let error = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{command}: {:?} {error}", output.status);
        assert!(error.contains(place), "{command}: {error}");
    }
    assert_eq!(home.run(&["load", "key"]).out, b"old");
    assert_eq!(files(&home.store()).len(), 3, "something was left");
}

/// A save that waits for the rest of its input, with a part of it on the disk already.
fn waiting_save(home: &Home, mut program: Command) -> Child {
    let mut child = program
        .args(["save", "key"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(&noise(6 << 20)).unwrap();
    child.stdin = Some(stdin);
    let begun =
        || files(&home.store()).iter().any(|file| file.metadata().is_ok_and(|meta| meta.len() > 1 << 20));
    let started = Instant::now();
    while !begun() {
        assert!(started.elapsed() < Duration::from_secs(60), "nothing is written");
        std::thread::sleep(Duration::from_millis(5));
    }
    child
}

fn send(signal: &str, child: &Child) {
    assert!(Command::new("kill").arg(signal).arg(child.id().to_string()).status().unwrap().success());
}

#[test]
fn a_signal_undoes_what_was_begun() {
    for (signal, code) in [("-INT", 130), ("-TERM", 143), ("-HUP", 129)] {
        let home = Home::new();
        // These tests may run in the background themselves, where some signals are ignored.
        let mut program = home.program("/usr/bin/env");
        if cfg!(target_os = "linux") {
            program.arg("--default-signal=HUP,INT,TERM");
        }
        program.arg(PERSIST);
        let mut child = waiting_save(&home, program);
        // `wait` would close it, and the save could end before the signal is heard.
        let open = child.stdin.take();
        send(signal, &child);
        assert_eq!(child.wait().unwrap().code(), Some(code));
        drop(open);
        assert_eq!(files(&home.store()), Vec::<std::path::PathBuf>::new(), "{signal}");
    }
}

/// As `nohup` has it, and shells of what scripts run in the background.
#[cfg(target_os = "linux")]
#[test]
fn a_signal_that_is_ignored_stops_nothing() {
    for signal in ["HUP", "INT", "TERM"] {
        let home = Home::new();
        let mut program = home.program("/bin/sh");
        program.arg("-c").arg(format!("trap '' {signal}; exec \"$0\" \"$@\"")).arg(PERSIST);
        let mut child = waiting_save(&home, program);
        send(&format!("-{signal}"), &child);
        // Time to end, for what would.
        std::thread::sleep(Duration::from_millis(300));
        drop(child.stdin.take());
        assert_eq!(child.wait().unwrap().code(), Some(0), "{signal}");
        assert!(home.run(&["load", "key"]).bytes() == noise(6 << 20), "{signal}");
    }
}

/// Also where the save waits for a lock, and where it is the time that is up.
#[test]
fn a_save_that_waits_for_a_lock_is_undone() {
    for (signal, limit, code) in [("-TERM", "1h", 143), ("", "2s", 6)] {
        let home = Home::new();
        home.write("state", "state");
        home.save("old", "old");
        let folder = std::fs::File::open(home.store()).unwrap();
        folder.lock().unwrap();
        let mut child = home
            .process()
            .args(["save", "key", "state", "--metadata", "a=b"])
            .env("PERSIST_IDLE_TIMEOUT", limit)
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let started = Instant::now();
        // The snapshot that is there, a temporary file and one for metadata. Where the time is up, it may be
        // so before they were seen.
        while files(&home.store()).len() < 3 && (!signal.is_empty() || child.try_wait().unwrap().is_none()) {
            assert!(started.elapsed() < Duration::from_secs(60), "nothing is written");
            std::thread::sleep(Duration::from_millis(5));
        }
        if !signal.is_empty() {
            send(signal, &child);
        }
        let mut err = String::new();
        child.stderr.take().unwrap().read_to_string(&mut err).unwrap();
        let ended = child.wait().unwrap().code();
        assert_eq!(files(&home.store()), [home.store().join("old")], "{signal}: {err}");
        assert_eq!(ended, Some(code), "{err}");
        assert!(!err.contains("stopped before all was undone"), "{err}");
    }
}

#[test]
fn killed_by_force_the_old_state_stays() {
    let home = Home::new();
    home.save("key", "old");
    let mut child = waiting_save(&home, home.process());
    send("-KILL", &child);
    child.wait().unwrap();
    assert_eq!(home.keys(), ["key"]);
    assert_eq!(home.run(&["load", "key"]).text(), "old");
    home.run(&["verify", "--all"]).text();
    home.save("key", "new");
    assert_eq!(home.run(&["load", "key"]).text(), "new");
}

#[test]
fn an_input_that_ends_early_saves_what_it_gave() {
    let home = Home::new();
    let mut child = waiting_save(&home, home.process());
    drop(child.stdin.take());
    assert!(child.wait().unwrap().success());
    assert!(home.run(&["load", "key"]).bytes() == noise(6 << 20));
}

/// A command that only reads is ended by the signal itself, also while its output waits for a reader.
#[test]
fn a_load_that_nobody_reads_can_be_stopped() {
    let home = Home::new();
    home.save("large", noise(4_000_000));
    home.command(&["session", "save", "a", "s"]).write_stdin(noise(4_000_000)).assert().success();
    for arguments in [
        &["load", "large"][..],
        &["load", "large", "-o", "-"],
        &["session", "load", "a", "s"],
        &["session", "load", "a", "s", "-o", "-"],
    ] {
        let mut child = home.process().args(arguments).stdout(Stdio::piped()).spawn().unwrap();
        let mut out = child.stdout.take().unwrap();
        out.read_exact(&mut [0; 10]).unwrap();
        send("-TERM", &child);
        let status = end(child);
        assert_eq!(std::os::unix::process::ExitStatusExt::signal(&status), Some(15), "{arguments:?}");
        drop(out);
    }
}

/// How it ended; by force, if it does not end.
fn end(mut child: Child) -> ExitStatus {
    let started = Instant::now();
    loop {
        match child.try_wait().unwrap() {
            Some(status) => return status,
            None if started.elapsed() > Duration::from_secs(60) => child.kill().unwrap(),
            None => std::thread::sleep(Duration::from_millis(5)),
        }
    }
}

/// What it has begun cannot be undone while it waits for a reader of its rows. Its end comes after some
/// seconds, and says so; a second signal is an end at once, and says nothing.
#[test]
fn a_command_whose_rows_nobody_reads_can_be_stopped() {
    let waited = "stopped before all was undone";
    let stuck = Stuck::new();
    send("-TERM", &stuck.child);
    let (code, err) = stuck.end();
    assert!(code == Some(143) && err.contains(waited), "{code:?} {err}");
    let mut stuck = Stuck::new();
    // Two that come together may be one.
    let ended = |stuck: &mut Stuck| stuck.child.try_wait().unwrap().is_some();
    for _ in 0..600 {
        if ended(&mut stuck) {
            break;
        }
        send("-TERM", &stuck.child);
        std::thread::sleep(Duration::from_millis(100));
    }
    let (code, err) = stuck.end();
    assert!(code == Some(143) && !err.contains(waited), "{code:?} {err}");
}

/// A command that writes, in the middle of its work, with rows that nobody reads.
struct Stuck {
    child: Child,
    _home: Home,
    _out: std::process::ChildStdout,
}

impl Stuck {
    fn new() -> Self {
        let home = Home::new();
        let (child, out) = copies(&home);
        Stuck { child, _home: home, _out: out }
    }

    fn end(mut self) -> (Option<i32>, String) {
        let mut err = self.child.stderr.take().unwrap();
        let code = end(self.child).code();
        let mut text = String::new();
        err.read_to_string(&mut text).unwrap();
        (code, text)
    }
}

fn copies(home: &Home) -> (Child, std::process::ChildStdout) {
    for index in 0..600 {
        home.write(&format!("data/persist/from/{}{index}", "x".repeat(200)), "state");
    }
    let arguments = ["cp", "--recursive", "--json", "from/", "to/"];
    let (stdout, stderr) = (Stdio::piped(), Stdio::piped());
    let mut child = home.process().args(arguments).stdout(stdout).stderr(stderr).spawn().unwrap();
    let mut out = child.stdout.take().unwrap();
    out.read_exact(&mut [0; 10]).unwrap();
    // Until nothing more is copied, because the pipe is full.
    let copied = || files(&home.store().join("to")).len();
    let (mut before, mut quiet, mut idle) = (copied(), 0, 0);
    while quiet < 5 {
        std::thread::sleep(Duration::from_millis(60));
        let now = copied();
        // Five minutes and more. A machine that stands still looks no oftener.
        idle = if now == before { idle + 1 } else { 0 };
        assert!(idle < 5000, "the copy neither goes on nor waits for its reader, with {now} files copied");
        quiet = if now == before && all_wait(&child) { quiet + 1 } else { 0 };
        before = now;
    }
    assert!(before < 600, "the pipe took all rows");
    (child, out)
}

/// No thread of it runs, waits for a core or for the disk, or is stopped. Elsewhere than on Linux nobody can
/// tell.
fn all_wait(child: &Child) -> bool {
    let Ok(threads) = std::fs::read_dir(format!("/proc/{}/task", child.id())) else { return true };
    threads.flatten().all(|thread| {
        let stat = std::fs::read_to_string(thread.path().join("stat")).unwrap_or_default();
        stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with(['S', 'Z']))
    })
}

/// What it leaves nobody else may undo: that has to be known.
#[test]
fn an_import_that_is_stopped_says_what_it_leaves() {
    let home = Home::new();
    home.commits(3);
    let archive = home.session(&["export", "a", "s"]).bytes();
    let mut program = home.program("/usr/bin/env");
    if cfg!(target_os = "linux") {
        program.arg("--default-signal=HUP,INT,TERM");
    }
    let mut child = program
        .args([PERSIST, "session", "import", "a", "copy"])
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(&archive[..archive.len() - 2048]).unwrap();
    let started = Instant::now();
    while files(&home.store().join("sessions/a/copy/c")).len() < 2 {
        assert!(started.elapsed() < Duration::from_secs(60), "nothing is claimed");
        std::thread::sleep(Duration::from_millis(5));
    }
    send("-INT", &child);
    let output = child.wait_with_output().unwrap();
    let err = String::from_utf8(output.stderr).unwrap();
    let said = "that session is kept for the same archive: import it again";
    assert!(output.status.code() == Some(130) && err.contains("a/copy") && err.contains(said), "{err}");
    drop(stdin);
    assert_eq!(home.pipe(&["session", "import", "a", "copy"], archive).text(), "");
    assert_eq!(home.session(&["load", "a", "copy"]).text(), "{\"step\":3}");
}
