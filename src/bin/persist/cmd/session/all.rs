//! What is told of work on every session of a storage: a row for each, and what came of all.

use std::path::Path;

use anyhow::Result;
use persist::{Error, ErrorKind, SnapshotAdapter, sessions::SessionName};
use serde_json::{Map, Value, json};

use crate::output::{Output, cell, count, fault, in_our_words, reason, worse};

/// What is to be said where there is nothing to work on.
pub(super) fn no_session(store: &dyn SnapshotAdapter, agent: Option<&str>) -> String {
    let of = agent.map_or(String::new(), |agent| format!(" of {agent:?}"));
    format!("there is no session{of} in {store}; is it the right storage?")
}

/// What a row is about.
pub(super) struct Named {
    row: Map<String, Value>,
    text: String,
}

impl Named {
    pub(super) fn of(SessionName { agent, session, .. }: &SessionName) -> Self {
        let row = [("agent".into(), json!(agent)), ("session".into(), json!(session))].into_iter().collect();
        Named { row, text: format!("{agent}/{session}") }
    }

    /// Of whom nothing is known but a file.
    pub(super) fn nobody() -> Self {
        Named { row: Map::new(), text: String::new() }
    }

    /// With the file that its archive is.
    pub(super) fn file(mut self, path: &Path) -> Self {
        let path = path.display().to_string();
        self.row.insert("file".into(), json!(path));
        if self.text.is_empty() {
            self.text = path;
        }
        self
    }

    fn row(mut self, ok: bool, more: Value) -> Value {
        self.row.insert("ok".into(), json!(ok));
        if let Value::Object(more) = more {
            self.row.extend(more);
        }
        self.row.into()
    }
}

/// Tells of one after the other, and of all at the end.
pub(super) struct Rows<'a> {
    output: &'a Output,
    /// What went well is a line only for who watches.
    quiet: bool,
    all: u64,
    failed: u64,
    /// Those with which there was nothing to do.
    passed_over: u64,
    /// Those with which it was done before.
    there: u64,
    worst: Option<ErrorKind>,
}

impl<'a> Rows<'a> {
    pub(super) fn new(output: &'a Output) -> Self {
        Rows { output, quiet: false, all: 0, failed: 0, passed_over: 0, there: 0, worst: None }
    }

    pub(super) fn quiet(output: &'a Output) -> Self {
        Rows { quiet: true, ..Rows::new(output) }
    }

    pub(super) fn good(&mut self, of: Named, more: Value, text: &str) -> Result<()> {
        self.all += 1;
        let line = cell(&format!("{}: {text}", of.text));
        if self.quiet && !self.output.json {
            self.output.note(|| line);
            return Ok(());
        }
        self.output.row(|| of.row(true, more), || line)
    }

    /// One with which it was done before.
    pub(super) fn there(&mut self, of: Named, more: Value, text: &str) -> Result<()> {
        self.there += 1;
        self.good(of, more, text)
    }

    pub(super) fn bad(&mut self, of: Named, error: &Error) -> Result<()> {
        self.all += 1;
        self.failed += 1;
        self.worst = worse(self.worst, Some(error.kind()));
        let line = cell(&format!("{:<8} {}: {}", error.kind().as_str(), of.text, reason(error, None)));
        self.output.row(|| of.row(false, fault(error)), || line)
    }

    /// One that is only begun, or was removed: there is nothing to be done, and `why` says so.
    pub(super) fn pass_over(&mut self, of: Named, why: &Error) -> Result<()> {
        self.passed_over += 1;
        let why = in_our_words(why.message());
        if self.output.json {
            return self.output.row(|| of.row(true, json!({"passed_over": why})), String::new);
        }
        self.output.note(|| format!("{} is passed over: {why}", of.text));
        Ok(())
    }

    /// `done` is what was to be done with them, `what` they are, `none` what to say where there are none.
    pub(super) fn end(self, done: &str, what: &str, none: impl FnOnce() -> String) -> Result<()> {
        if self.all + self.passed_over == 0 {
            return Err(Error::new(ErrorKind::NotFound, none()).into());
        }
        if self.output.json {
            self.output.row(|| json!({"ok": self.failed == 0, "sessions": self.all}), String::new)?;
        }
        match self.worst {
            Some(kind) => {
                let all = count(self.all, what);
                let message = format!("{} of {all} cannot be {done}; their rows say why", self.failed);
                Err(Error::new(kind, message).into())
            }
            None => {
                let mut sum = format!("{done} {}", count(self.all - self.there, what));
                if self.there > 0 {
                    sum += &format!(", {} there already", self.there);
                }
                if self.passed_over > 0 {
                    sum += &format!(", passed over {}", self.passed_over);
                }
                match self.quiet && !self.output.json {
                    // Else nobody would see that there is one less than yesterday.
                    true => self.output.row(|| json!({}), || sum),
                    false => {
                        self.output.note(|| sum);
                        Ok(())
                    }
                }
            }
        }
    }
}
