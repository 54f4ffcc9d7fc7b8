//! Bad input: what each gets as its answer, word by word, and that nothing was written.
//!
//! Each test holds a table of inputs and answers. An answer that changes is a change of the interface: look
//! at it as a user would.
#![allow(clippy::unwrap_used)]

mod archives;
mod configuration;
mod files;
mod names;
mod variables;

use std::{fs, path::Path};

use persist::Error;

/// The kind, the message, and the cause if there is one.
fn answer(error: &Error) -> String {
    let cause = std::error::Error::source(error).map(|cause| format!(" <- {cause}")).unwrap_or_default();
    format!("{}: {}{cause}", error.kind(), error.message())
}

/// Compares all rows at once, so that one run shows everything that changed. `count` says how many there are:
/// none vanishes unnoticed.
fn compare(count: usize, rows: &[(&str, &str)], answer: impl Fn(&str) -> String) {
    assert_eq!(rows.len(), count, "rows of the table");
    let found: Vec<(String, String)> =
        rows.iter().map(|(input, _)| ((*input).to_string(), answer(input))).collect();
    let wrong: Vec<String> = rows
        .iter()
        .zip(&found)
        .filter(|((_, expected), (_, found))| expected != found)
        .map(|((input, expected), (_, found))| {
            format!("{input:?}\n  expected {expected}\n  found    {found}")
        })
        .collect();
    assert!(wrong.is_empty(), "\n{}\n", wrong.join("\n"));
}

/// Whether there is anything in a folder.
fn is_empty(folder: &Path) -> bool {
    fs::read_dir(folder).unwrap().next().is_none()
}
