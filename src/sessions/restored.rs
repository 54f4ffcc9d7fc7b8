//! `Restored`: what a load gives to callers.

use std::fmt;

use bytes::Bytes;
use serde::de::DeserializeOwned;

use super::{Commit, Damaged};
use crate::{Error, ErrorKind, Result, ext::from_json};

/// What a load gave.
#[derive(Clone)]
#[non_exhaustive]
pub struct Restored {
    /// The whole state. Several values stand one behind the other: [`value`](Restored::value).
    pub state: Bytes,
    /// The commit that it is of.
    pub commit: Commit,
    /// Newer commits that were passed over because they are damaged; only with
    /// [`load_with_fallback`](super::Session::load_with_fallback).
    pub skipped: Vec<Damaged>,
}

impl Restored {
    /// The value of this name, of a commit that was saved with names.
    pub fn value(&self, name: &str) -> Option<Bytes> {
        self.values().find(|(of, _)| *of == name).map(|(_, value)| value)
    }

    /// All named values, in the order in which they were saved. They are parts of `state`: whoever takes that
    /// out does so last, or finds them short or empty.
    pub fn values(&self) -> impl Iterator<Item = (&str, Bytes)> {
        let mut at = 0;
        self.commit.values.iter().map(move |value| {
            let start = at;
            at = usize::try_from(value.size).map_or(usize::MAX, |size| start.saturating_add(size));
            let there = |end: usize| end.min(self.state.len());
            (value.name.as_str(), self.state.slice(there(start)..there(at)))
        })
    }

    /// The state as a value from JSON. Of several values, each has its own:
    /// [`value_json`](Restored::value_json).
    ///
    /// # Errors
    /// `InvalidInput` where it is something else. Its cause says where, and cites nothing of the state.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T> {
        self.parsed(&self.state, || "the state".into()).map_err(|error| match &self.commit.values[..] {
            [] | [_] => error,
            several => {
                let names: Vec<_> = several.iter().map(|value| value.name.as_str()).collect();
                error.with_advice(&format!("it has the values {}: use `value_json`", names.join(", ")))
            }
        })
    }

    /// The value of this name as a value from JSON; `None` where there is no such name.
    ///
    /// # Errors
    /// As [`json`](Restored::json).
    pub fn value_json<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>> {
        self.value(name).map(|value| self.parsed(&value, || format!("the value {name:?}"))).transpose()
    }

    fn parsed<T: DeserializeOwned>(&self, bytes: &[u8], what: impl Fn() -> String) -> Result<T> {
        from_json(bytes).map_err(|error| {
            let Commit { agent, session, seq, .. } = &self.commit;
            let message = format!(
                "{} of commit {seq} of {agent}/{session} is intact, but not the JSON that was asked for",
                what()
            );
            Error::new(ErrorKind::InvalidInput, message).with_operation("load").with_source(error)
        })
    }
}

/// Shows sizes, never the state: it may hold secrets.
impl fmt::Debug for Restored {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Restored")
            .field("size", &self.state.len())
            .field("commit", &self.commit.seq)
            .field("skipped", &self.skipped.len())
            .finish()
    }
}
