//! What changed between two commits, in terms of their JSON.

mod json;
mod numbers;

use serde::Serialize;
use serde_json::Value;

use super::{At, Restored, Session, load::Whole};
use crate::{Digest, Error, ErrorKind, Result};

/// One difference. Paths are JSON pointers (RFC 6901) into the newer state, for what was removed into the
/// older one.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "op", rename_all = "lowercase")]
#[non_exhaustive]
pub enum Change {
    /// Only the newer state has it.
    Add {
        /// Where.
        path: String,
        /// What.
        value: Value,
    },
    /// Only the older state had it.
    Remove {
        /// Where.
        path: String,
        /// What.
        old: Value,
    },
    /// Both have something there.
    Replace {
        /// Where.
        path: String,
        /// What was there.
        old: Value,
        /// What is there.
        value: Value,
    },
}

impl Session {
    /// What changed from one commit to another. Elements of lists are matched where they are equal, so that
    /// an inserted message is one addition. Of several named values, each is under its name; one that is no
    /// JSON is compared as a whole. Numbers that 64 bits do not hold are compared by their digits, and come
    /// as texts. Of members of one object that have the same name, the last one counts. Both states and
    /// their JSON are held in memory.
    ///
    /// # Errors
    /// `InvalidInput` if a state without names is no JSON, or nested more than 128 deep; else as
    /// [`load`](Session::load).
    pub async fn diff(&self, from: impl Into<At> + Send, to: impl Into<At> + Send) -> Result<Vec<Change>> {
        self.diff_to(from, self, to).await
    }

    /// [`diff`](Session::diff) of a commit of this session and one of another, such as its fork.
    ///
    /// ```
    /// use std::sync::Arc;
    /// use persist::{adapters::memory::MemoryAdapter, sessions::{At, Sessions}};
    /// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
    /// let session = Sessions::new(Arc::new(MemoryAdapter::new()))?.session("bot", "run-1")?;
    /// session.save(r#"{"plan": "a"}"#).await?;
    /// let what_if = session.fork("what-if", At::Latest).await?;
    /// what_if.save(r#"{"plan": "b"}"#).await?;
    /// session.save(r#"{"plan": "c"}"#).await?;
    /// assert_eq!(session.diff_to(At::Latest, &what_if, At::Latest).await?.len(), 1);
    /// # Ok::<(), persist::Error>(())
    /// # })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As [`diff`](Session::diff).
    pub async fn diff_to(
        &self,
        from: impl Into<At> + Send,
        other: &Session,
        to: impl Into<At> + Send,
    ) -> Result<Vec<Change>> {
        let (from, to) = (from.into(), to.into());
        let changes = async {
            let (from, to) = (self.look_at(&from).await?, other.look_at(&to).await?);
            crate::threads::run(move || Ok(diff(&json(&from)?, &json(&to)?))).await
        };
        changes.await.map_err(|error| error.with_operation("diff"))
    }

    /// A state that is not what saves continue.
    async fn look_at(&self, at: &At) -> Result<Restored> {
        let Whole { restored, place, .. } = self.heard(self.state_of(at, None).await)?;
        Ok(self.shown(restored, &place, Vec::new()))
    }
}

/// What changed from `old` to `new`.
pub fn diff(old: &Value, new: &Value) -> Vec<Change> {
    let mut changes = Vec::new();
    json::compare(&mut json::Path::default(), old, new, &mut changes);
    changes
}

fn json(restored: &Restored) -> Result<Value> {
    if restored.commit.values.is_empty() {
        return parse(&restored.state).map_err(|error| {
            let seq = restored.commit.seq;
            // The parser has no other word for it.
            let why = if error.to_string().starts_with("recursion limit exceeded") {
                "but nested more than 128 deep, which a diff does not follow"
            } else {
                "but no JSON, and a diff is one of JSON"
            };
            let message = format!(
                "commit {seq} is intact, {why}; load both states and compare them with a tool for their form"
            );
            Error::new(ErrorKind::InvalidInput, message).with_operation("diff").with_source(error)
        });
    }
    let value = |bytes: &[u8]| match parse(bytes) {
        Ok(value) => value,
        Err(_) => Value::String(format!("{} bytes, sha256:{}", bytes.len(), Digest::of(bytes))),
    };
    Ok(Value::Object(restored.values().map(|(name, bytes)| (name.to_owned(), value(&bytes))).collect()))
}

fn parse(bytes: &[u8]) -> serde_json::Result<Value> {
    serde_json::from_slice(&numbers::quoted(bytes))
}
