//! Any text as a configuration file: settings or an answer of one line, never a panic.
//! `cargo +nightly fuzz run config_file`

#![no_main]

use libfuzzer_sys::fuzz_target;
use persist::config::parse_toml;

fuzz_target!(|text: &str| {
    if let Err(answer) = parse_toml(text) {
        assert!(!answer.contains('\n') && !answer.is_empty(), "{answer}");
    }
});
