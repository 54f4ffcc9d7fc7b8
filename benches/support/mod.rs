//! Data for the benchmarks: real states by path, or made-up ones of the same shape.

use std::{fs, io::Read, path::Path};

/// The states to measure with, one a line, and what they are. `PERSIST_BENCH_DATA` names a file of real ones,
/// plain or `.gz`.
pub fn states() -> (Vec<u8>, String) {
    match std::env::var("PERSIST_BENCH_DATA") {
        Ok(path) => (read(Path::new(&path)), format!("real states from {path}")),
        Err(_) => {
            (generate(1, 28 << 20), "generated states (set PERSIST_BENCH_DATA to a file of real ones)".into())
        }
    }
}

fn read(path: &Path) -> Vec<u8> {
    let bytes =
        fs::read(path).unwrap_or_else(|error| panic!("PERSIST_BENCH_DATA {}: {error}", path.display()));
    if !bytes.starts_with(&[31, 139]) {
        return bytes;
    }
    let mut raw = Vec::new();
    flate2::read::MultiGzDecoder::new(&bytes[..])
        .read_to_end(&mut raw)
        .expect("PERSIST_BENCH_DATA is a sound .gz");
    raw
}

/// At least `len` bytes of agent-like states, one a line: 1 to 200 KB of JSON with a history of messages,
/// tool calls and their results. They compress about 5 to 1, as real ones do. The seed decides on every byte.
pub fn generate(seed: u64, len: usize) -> Vec<u8> {
    let mut random = Random(seed);
    // Words as frequent as in a text: the n-th about 1/n as often as the first.
    let words: Vec<String> = (0..4000).map(|_| random.word()).collect();
    let mut out = String::with_capacity(len + 300_000);
    let mut thread = 0;
    while out.len() < len {
        thread += 1;
        let start = out.len();
        let size = 1000 << random.below(8) | random.below(1000) as usize;
        out += &format!(
            "{{\"thread_id\":\"run-{thread:05}\",\"usage\":{{\"input_tokens\":{}}},\"messages\":[",
            random.below(90_000)
        );
        let mut step = 0;
        let mut seen: Vec<String> = Vec::new();
        while out.len() - start < size {
            step += 1;
            let call = random.next();
            let thought = random.text(&words, 30);
            let path =
                format!("/src/{}/{}.py", words[random.below(50) as usize], words[random.below(200) as usize]);
            out += &format!(
                "{{\"role\":\"assistant\",\"content\":\"{thought}\",\"tool_calls\":[{{\"id\":\"call_{call:016x}\",\"type\":\"function\",\
                 \"function\":{{\"name\":\"open_file\",\"arguments\":\"{{\\\"path\\\":\\\"{path}\\\",\\\"line\\\":{step}}}\"}}}}]}},"
            );
            // A result is often one that was there before, whole or with a small change: files that are
            // opened again.
            let result = match seen.len() {
                0 => random.text(&words, 150),
                known if random.below(3) > 0 => seen[random.below(known as u64) as usize].clone(),
                _ => random.text(&words, 150),
            };
            out += &format!(
                "{{\"role\":\"tool\",\"tool_call_id\":\"call_{call:016x}\",\"content\":\"{result}\"}},"
            );
            seen.push(result);
        }
        out += "{\"role\":\"user\",\"content\":\"go on\"}]}\n";
    }
    out.into_bytes()
}

/// SplitMix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }

    fn word(&mut self) -> String {
        let len = 2 + self.below(8);
        (0..len).map(|_| char::from(b"etaoinshrdlucmfw"[self.below(16) as usize])).collect()
    }

    fn text(&mut self, words: &[String], most: u64) -> String {
        let mut text = String::new();
        for _ in 0..5 + self.below(most) {
            let nth = (words.len() as f64).powf(self.below(1 << 20) as f64 / f64::from(1 << 20)) as usize;
            text += &words[nth.min(words.len() - 1)];
            text += if self.below(9) == 0 { ".\\n" } else { " " };
        }
        text
    }
}
