//! Which commit is meant, and what to say where there is none.

use std::{fmt, ops::RangeInclusive, str::FromStr, time::SystemTime};

use super::{CommitId, names::Place};
use crate::{Error, ErrorKind, Key, Result};

/// Which commit of a session. A number, an id, a time, a commit or a tag of
/// [`tags`](super::Session::tags) will do wherever one is wanted.
///
/// ```
/// use std::sync::Arc;
/// use persist::{adapters::memory::MemoryAdapter, sessions::{At, Sessions}};
/// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
/// let session = Sessions::new(Arc::new(MemoryAdapter::new()))?.session("bot", "run-1")?;
/// let first = session.save("one").await?;
/// session.save("two").await?;
/// session.tag("good", 1).await?;
/// assert_eq!(session.load(At::Latest).await?.state, "two");
/// for at in [At::from(1), first.id.into(), At::Tag("good".into()), "tag:good".parse()?] {
///     assert_eq!(session.load(at).await?.state, "one");
/// }
/// assert!(matches!("2026-05-14T09:30:00Z".parse()?, At::Time(_)));
/// # Ok::<(), persist::Error>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum At {
    /// The newest.
    #[default]
    Latest,
    /// The one with this number.
    Seq(u64),
    /// The one with this id.
    Id(CommitId),
    /// The one that has this tag.
    Tag(String),
    /// The newest that is not younger than this time.
    Time(SystemTime),
}

impl At {
    /// Whether the commit of this id is certainly newer than the one that is meant.
    pub(super) fn is_before(&self, id: CommitId) -> bool {
        match self {
            At::Time(time) => id.time() > *time,
            At::Id(wanted) => id.time() > wanted.time(),
            _ => false,
        }
    }
}

/// `latest`, a number, an id, a time as in `2026-05-14T09:30:00Z`; any other text is a tag. `tag:NAME` is
/// always a tag.
impl FromStr for At {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        if let Some(tag) = text.strip_prefix("tag:") {
            return Ok(At::Tag(tag.into()));
        }
        if let Ok(seq) = text.parse() {
            return Ok(At::Seq(seq));
        }
        if let Ok(id) = text.parse() {
            return Ok(At::Id(id));
        }
        if let Ok(time) = text.parse::<jiff::Timestamp>() {
            return Ok(At::Time(time.into()));
        }
        match text {
            "" => Err(Error::new(
                ErrorKind::InvalidInput,
                "no commit is named; give a number, an id, a tag or a time",
            )),
            "latest" => Ok(At::Latest),
            tag => Ok(At::Tag(tag.into())),
        }
    }
}

/// For people. What [`FromStr`] reads is without the words: `5`, the id, `tag:NAME`, the time.
impl fmt::Display for At {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            At::Latest => f.write_str("latest"),
            At::Seq(seq) => write!(f, "commit {seq}"),
            At::Id(id) => write!(f, "commit {id}"),
            At::Tag(tag) => write!(f, "tag {tag:?}"),
            At::Time(time) => match jiff::Timestamp::try_from(*time) {
                Ok(time) => write!(f, "time {time}"),
                Err(_) => f.write_str("a time out of range"),
            },
        }
    }
}

// The only conversion from an integer: with a second one, `load(1)` would not compile without a type. None is
// from `&str`: texts are parsed (`FromStr`).
impl From<u64> for At {
    fn from(seq: u64) -> Self {
        At::Seq(seq)
    }
}

impl From<CommitId> for At {
    fn from(id: CommitId) -> Self {
        At::Id(id)
    }
}

/// By its id: in another session, only the very same commit is meant. The id is looked for in a listing; a
/// number is not.
impl From<&super::Commit> for At {
    fn from(commit: &super::Commit) -> Self {
        At::Id(commit.id)
    }
}

impl From<SystemTime> for At {
    fn from(time: SystemTime) -> Self {
        At::Time(time)
    }
}

impl From<&super::Tag> for At {
    fn from(tag: &super::Tag) -> Self {
        At::Tag(tag.name.clone())
    }
}

impl From<&At> for At {
    fn from(at: &At) -> Self {
        at.clone()
    }
}

/// The error where the same object has one version in a listing and another one in a read, again and again.
pub(super) fn two_versions(key: &Key) -> Error {
    let message = "the storage lists another version of the object than it reads, each time; look for a proxy that changes ETags, or load it by \
                   its number";
    Error::new(ErrorKind::Unavailable, message).with_key(key)
}

/// The error for an object that should be there.
pub(super) fn lost(key: &Key) -> Error {
    Error::new(ErrorKind::Corrupt, "an object that a commit needs is missing")
        .with_advice("load with fallback, or restore the object from a copy")
        .with_key(key)
}

/// The error for a session whose newest commit has yet to come from an archive.
pub(super) fn importing(place: &Place) -> Error {
    let message = format!(
        "the session {place} is being imported; if that broke off, import the same archive again, or, if that is \
         lost, another one under another name: behind `session rm` no import takes this one"
    );
    Error::new(ErrorKind::Conflict, message)
}

/// The error for a session whose newest commit is the marker of a removal, commit `seq`.
pub(super) fn removed(place: &Place, seq: u64) -> Error {
    let message = format!(
        "the session {place} was removed, with commit {seq}, and has none since; a save begins it anew"
    );
    Error::new(ErrorKind::NotFound, message)
}

/// The error for a session without commits: it is new, or another one was meant.
pub(super) fn no_commit(place: &Place) -> Error {
    Error::new(ErrorKind::NotFound, format!("the session {place} has no commit"))
        .with_advice("save one first, or compare agent, name and storage with `session ls`")
}

/// The error for commits that are on the line and have no object.
pub(super) fn missing(hole: &RangeInclusive<u64>) -> Error {
    let (first, last) = (hole.start(), hole.end());
    let (message, advice) = if first == last {
        (format!("commit {last} is missing"), "restore its object from a copy")
    } else {
        (format!("commits {first} to {last} are missing"), "restore their objects from a copy")
    };
    Error::new(ErrorKind::Corrupt, message).with_advice(advice)
}
