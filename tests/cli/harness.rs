//! A home of its own for each test, and a short way to run the program in it.

#[path = "../support/small.rs"]
pub(crate) mod small;

use std::{
    fs,
    path::{Path, PathBuf},
    process::Output,
};

use assert_cmd::Command;
use serde_json::Value;
pub(crate) use small::noise;
use tempfile::TempDir;

pub(crate) struct Home(TempDir);

/// What a run came to.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) code: i32,
    pub(crate) out: Vec<u8>,
    pub(crate) err: String,
}

impl Home {
    pub(crate) fn new() -> Self {
        Home(tempfile::tempdir().unwrap())
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// The folder in which snapshots lie.
    pub(crate) fn store(&self) -> PathBuf {
        self.path("data/persist")
    }

    pub(crate) fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, content).unwrap();
        path
    }

    /// The program, with nothing in its environment but this home.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::from_std(self.process());
        command.args(arguments);
        command
    }

    pub(crate) fn process(&self) -> std::process::Command {
        self.program(env!("CARGO_BIN_EXE_persist"))
    }

    /// Another program, in the same home.
    pub(crate) fn program(&self, path: &str) -> std::process::Command {
        let mut command = std::process::Command::new(path);
        command
            .env_clear()
            .env("HOME", self.0.path())
            .env("XDG_DATA_HOME", self.path("data"))
            .env("XDG_CONFIG_HOME", self.path("config"))
            .current_dir(self.0.path());
        command
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Run {
        self.command(arguments).output().unwrap().into()
    }

    /// Saves a state from standard input.
    pub(crate) fn save(&self, key: &str, state: impl Into<Vec<u8>>) {
        let run: Run = self.command(&["save", key]).write_stdin(state).output().unwrap().into();
        assert_eq!((run.code, run.err.as_str(), run.out.len()), (0, "", 0));
    }

    /// The names of all snapshots.
    pub(crate) fn keys(&self) -> Vec<String> {
        self.run(&["ls"]).text().lines().map(String::from).collect()
    }
}

impl From<Output> for Run {
    fn from(output: Output) -> Self {
        Run {
            // Ended by a signal: as shells tell it.
            code: output.status.code().unwrap_or_else(|| 128 + signal(&output)),
            out: output.stdout,
            err: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

#[cfg(unix)]
fn signal(output: &Output) -> i32 {
    std::os::unix::process::ExitStatusExt::signal(&output.status).unwrap()
}

#[cfg(not(unix))]
fn signal(_: &Output) -> i32 {
    0
}

impl Run {
    /// Standard output of a run that went well and had nothing to complain about.
    pub(crate) fn text(self) -> String {
        assert_eq!((self.code, self.err.as_str()), (0, ""));
        String::from_utf8(self.out).unwrap()
    }

    pub(crate) fn bytes(self) -> Vec<u8> {
        assert_eq!((self.code, self.err.as_str()), (0, ""));
        self.out
    }

    /// Standard output as rows of JSON.
    pub(crate) fn rows(&self) -> Vec<Value> {
        let text = std::str::from_utf8(&self.out).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// The error that `--json` puts on standard error.
    pub(crate) fn error(&self) -> Value {
        let row: Value = serde_json::from_str(&self.err).unwrap();
        row["error"].clone()
    }
}

/// The names in a row, in order.
pub(crate) fn names(row: &Value) -> Vec<&str> {
    row.as_object().unwrap().keys().map(String::as_str).collect()
}

/// Every file below a folder.
pub(crate) fn files(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let mut found: Vec<PathBuf> = entries
        .map(|entry| entry.unwrap().path())
        .flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] })
        .collect();
    found.sort();
    found
}
