//! What callers see of a commit, and what they say about one.

use std::{collections::BTreeMap, time::SystemTime};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _, ser::Error as _};

use super::{
    CommitId,
    manifest::{Manifest, Notes},
    names::{Place, unsegment},
};
use crate::{Digest, Error, ErrorKind, Result};

/// Names of metadata that begin so are the format's own.
const RESERVED: &str = "persist-";
/// Bytes of label and metadata: a commit stays below what clouds take in one request.
const MAX_NOTES: usize = 64 << 10;

/// A commit: one state of a session, and what is known about it.
///
/// As JSON it has these names, and is what the command line prints with `--json`; that can be read back.
// So a field that is added must be `#[serde(default)]`: rows of older versions do not have it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Commit {
    /// Whose session it is in. A fork's log goes on in the session that it comes from.
    pub agent: String,
    /// The session that it is in.
    pub session: String,
    /// Its number on the line, from 1.
    pub seq: u64,
    /// Its random id.
    pub id: CommitId,
    /// The commit before; `None` for the first one, and where what came before was damaged.
    pub parent: Option<CommitId>,
    /// Which owner wrote it: see [`Session::take_over`](super::Session::take_over). 0 where nobody ever took
    /// over.
    pub epoch: u64,
    /// The name of the writer.
    pub writer: Option<String>,
    /// A short note for people.
    pub label: Option<String>,
    /// The runtime's own count of steps.
    pub step: Option<u64>,
    /// The runtime's own key-value pairs.
    pub metadata: BTreeMap<String, String>,
    /// Its values; empty for a state that was saved as one without a name.
    pub values: Vec<NamedSize>,
    /// When it was made, by the clock of its writer; never earlier than its parent.
    #[serde(serialize_with = "rfc3339", deserialize_with = "from_rfc3339")]
    pub time: SystemTime,
    /// Bytes of the state.
    pub size: u64,
    /// Bytes that it added to the storage: its object and, where it has one, its body.
    pub stored_size: u64,
    /// SHA-256 of the state.
    pub digest: Digest,
    /// Whether its object holds the whole state, and not what changed.
    pub keyframe: bool,
}

/// The name and the size of one value of a commit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct NamedSize {
    /// Its name.
    pub name: String,
    /// Its bytes.
    pub size: u64,
}

/// To the millisecond, which is all that an id keeps.
fn rfc3339<S: Serializer>(time: &SystemTime, serializer: S) -> Result<S::Ok, S::Error> {
    let time = jiff::Timestamp::try_from(*time).map_err(S::Error::custom)?;
    serializer.collect_str(&format_args!("{time:.3}"))
}

fn from_rfc3339<'de, D: Deserializer<'de>>(deserializer: D) -> Result<SystemTime, D::Error> {
    let time = String::deserialize(deserializer)?.parse::<jiff::Timestamp>();
    time.map(SystemTime::from).map_err(D::Error::custom)
}

impl Commit {
    pub(super) fn new(manifest: Manifest, place: &Place, stored_size: u64) -> Self {
        let shown = |segment: &str| unsegment(segment).unwrap_or_else(|| segment.to_owned());
        let ids = manifest.ids.filter(|ids| place.is_of(ids));
        let ids = ids.unwrap_or_else(|| (shown(&place.agent), shown(&place.session)));
        Commit {
            agent: ids.0,
            session: ids.1,
            seq: manifest.seq,
            id: manifest.id,
            parent: manifest.parent,
            epoch: manifest.epoch,
            writer: manifest.writer,
            label: manifest.notes.label,
            step: manifest.notes.step,
            metadata: manifest.notes.metadata,
            values: manifest.values.into_iter().map(|(name, size)| NamedSize { name, size }).collect(),
            time: manifest.id.time(),
            size: manifest.size,
            stored_size,
            digest: manifest.digest,
            keyframe: manifest.depth == 0,
        }
    }

    /// Its values as a manifest has them.
    pub(super) fn table(&self) -> Vec<(String, u64)> {
        self.values.iter().map(|value| (value.name.clone(), value.size)).collect()
    }

    /// Who made it and when, for an error message.
    pub(super) fn told(&self) -> String {
        let writer = self.writer.as_deref().unwrap_or("a writer without a name");
        let time = jiff::Timestamp::try_from(self.time).map_or_else(|_| "?".into(), |time| time.to_string());
        let label = self.label.as_ref().map(|label| format!(", label {label:?}")).unwrap_or_default();
        format!("commit {} ({}) by {writer} at {time}{label}", self.seq, self.id)
    }
}

/// What to note with a commit, and on what condition to make it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[must_use]
pub struct CommitOptions {
    pub(super) notes: Notes,
    pub(super) expect: Option<u64>,
    pub(super) whole: bool,
}

impl CommitOptions {
    /// Nothing noted, no condition.
    pub fn new() -> Self {
        Self::default()
    }

    /// A short note for people, since every [`log`](super::Session::log) reads it: 64 KiB with the metadata,
    /// at most.
    pub fn label(mut self, label: impl Into<String>) -> Self {
        self.notes.label = Some(label.into());
        self
    }

    /// The runtime's own count of steps.
    pub fn step(mut self, step: u64) -> Self {
        self.notes.step = Some(step);
        self
    }

    /// Adds a key-value pair of the runtime's own. All of them, with the label, have 64 KiB at most, since
    /// every [`log`](super::Session::log) reads them. Names that begin with `persist-` are refused by the
    /// save.
    pub fn metadata(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.notes.metadata.insert(name.into(), value.into());
        self
    }

    /// Only if the newest commit has this number; else `Conflict`. 0 stands for none, as
    /// [`first`](Self::first). A handle that continues an older commit goes on from that newest one then: the
    /// number says that the caller has seen it. One that lost to a rival stays in conflict until a
    /// [`rebase`](super::Session::rebase). The guide says what holds behind a conflict, and where commits
    /// were lost: docs/sessions.md, "Two writers" and "What no check can find".
    pub fn after(mut self, seq: u64) -> Self {
        self.expect = Some(seq);
        self
    }

    /// Only if the session has no commit yet, or was removed; else `Conflict`.
    pub fn first(mut self) -> Self {
        self.expect = Some(0);
        self
    }

    /// Stores the whole state, a keyframe, and not what changed: no later commit needs an older one. This is
    /// how something that must go is taken out of a session: save the state without it, and
    /// [prune](super::Session::prune) what lies before.
    ///
    /// ```
    /// use std::sync::Arc;
    /// use persist::{adapters::memory::MemoryAdapter, sessions::{CommitOptions, Sessions}};
    /// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
    /// let session = Sessions::new(Arc::new(MemoryAdapter::new()))?.session("bot", "run-1")?;
    /// session.save("step 1, and a password").await?;
    /// let commit = session.save_with("step 1", CommitOptions::new().whole()).await?;
    /// assert!(commit.keyframe);
    /// # Ok::<(), persist::Error>(())
    /// # })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn whole(mut self) -> Self {
        self.whole = true;
        self
    }

    /// # Errors
    /// `InvalidInput` for metadata that would mean something to sessions themselves, and for more than
    /// [`MAX_NOTES`].
    pub(super) fn check(&self) -> Result<()> {
        let Notes { label, metadata, step: _ } = &self.notes;
        let texts = metadata.iter().flat_map(|(name, value)| [name, value]).chain(label);
        let bytes: usize = texts.map(String::len).sum();
        if bytes > MAX_NOTES {
            let message = format!(
                "label and metadata have {bytes} bytes, and every `log` reads them; the limit is {MAX_NOTES}: keep the rest in the state, or as a value of the commit"
            );
            return Err(Error::new(ErrorKind::InvalidInput, message).with_operation("save"));
        }
        match self.notes.metadata.keys().find(|name| name.starts_with(RESERVED)) {
            None => Ok(()),
            Some(name) => {
                let message = format!(
                    "metadata name {name:?} is reserved; use one that does not begin with {RESERVED}"
                );
                Err(Error::new(ErrorKind::InvalidInput, message).with_operation("save"))
            }
        }
    }
}

/// The notes of a commit, to make it again.
pub(super) fn notes_of(commit: &Commit) -> Notes {
    Notes { label: commit.label.clone(), step: commit.step, metadata: commit.metadata.clone() }
}
