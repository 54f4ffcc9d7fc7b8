//! Any text as a configuration file, the first byte says in which format: settings or an answer of one line,
//! never a panic. `cargo +nightly fuzz run config_file`

#![no_main]

use libfuzzer_sys::fuzz_target;
use persist::config::{parse_toml, parse_yaml};

fuzz_target!(|input: (bool, &str)| {
    let (yaml, text) = input;
    if let Err(answer) = if yaml { parse_yaml(text) } else { parse_toml(text) } {
        assert!(!answer.contains('\n') && !answer.is_empty(), "{answer}");
    }
});
