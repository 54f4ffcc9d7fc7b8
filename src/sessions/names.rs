//! Where the objects of a session lie: the one place that makes and reads their keys.

use std::{fmt, sync::Arc};

use super::CommitId;
use crate::{Digest, Error, ErrorKind, Key, Result};

/// Everything that sessions store lies under it, beside the plain snapshots of the same storage.
pub(super) const ROOT: &str = "sessions/";
/// Commits are numbered from 1 to this.
pub(super) const MAX_SEQ: u64 = 999_999_999_998;
/// Commits of one folder.
const FOLDER: u64 = 1000;
/// The longest segment that an id becomes; the rest of 240 is left to namespaces.
const MAX_SEGMENT: usize = 160;
/// No encoded segment has it: `%` is followed by digits there.
pub(super) const CUT: &str = "%-";

/// An id as one segment of a key; over-long ones as a readable head and a digest.
pub(super) fn segment(id: &str, what: &str) -> Result<String> {
    if id.is_empty() {
        return Err(Error::new(ErrorKind::InvalidInput, format!("the {what} is empty; give it a name")));
    }
    let mut segment = Key::encode_segment(id);
    if segment.len() > MAX_SEGMENT {
        let mut head = MAX_SEGMENT - CUT.len() - 64;
        while !segment.is_char_boundary(head) {
            head -= 1;
        }
        segment.truncate(head);
        segment = format!("{segment}{CUT}{}", Digest::of(id.as_bytes()));
    }
    Ok(segment)
}

/// The id of a segment, unless the segment does not give it back.
pub(super) fn unsegment(segment: &str) -> Option<String> {
    if segment.contains(CUT) { None } else { Key::decode_segment(segment).ok() }
}

/// The folder of a session: its two ids as segments.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Place {
    pub(super) agent: Arc<str>,
    pub(super) session: Arc<str>,
}

impl Place {
    pub(super) fn new(agent: &str, session: &str) -> Result<Self> {
        Ok(Place { agent: segment(agent, "agent")?.into(), session: segment(session, "session")?.into() })
    }

    /// Whether it is that of these ids. An imported session's commits have those of the one that was
    /// exported.
    pub(super) fn is_of(&self, (agent, session): &(String, String)) -> bool {
        Place::new(agent, session).is_ok_and(|of| of == *self)
    }

    /// A place that an object names. What is not two segments gives no keys, hence an error later.
    pub(super) fn from_segments(agent: String, session: String) -> Self {
        Place { agent: agent.into(), session: session.into() }
    }

    /// As it appears in logs: the key of the session's folder.
    pub(super) fn logged(&self) -> String {
        let folder = self.prefix("");
        Key::new(folder.trim_end_matches('/')).map_or_else(|_| String::new(), |key| key.logged())
    }

    fn key(&self, rest: fmt::Arguments<'_>) -> Result<Key> {
        Key::new(self.prefix(&rest.to_string()))
    }

    /// The text in front of all keys of this kind.
    pub(super) fn prefix(&self, rest: &str) -> String {
        format!("{ROOT}{}/{}/{rest}", self.agent, self.session)
    }

    pub(super) fn commit(&self, seq: u64) -> Result<Key> {
        if !(1..=MAX_SEQ).contains(&seq) {
            let message = format!("there is no commit {seq}; commits are numbered from 1 to {MAX_SEQ}");
            return Err(Error::new(ErrorKind::InvalidInput, message));
        }
        let place = MAX_SEQ + 1 - seq;
        self.key(format_args!("c/{:09}/{:03}-{seq}", place / FOLDER, place % FOLDER))
    }

    /// The number of the commit under `key`, which a listing of commits gave.
    pub(super) fn seq_of(&self, key: &Key) -> Result<u64> {
        let seq = key.as_str().rsplit('-').next().and_then(|digits| digits.parse().ok());
        match seq {
            Some(seq) if self.commit(seq).is_ok_and(|of| of == *key) => Ok(seq),
            _ => {
                let message = "an object among the session's commits is none of them";
                Err(Error::new(ErrorKind::Corrupt, message).with_advice("remove it").with_key(key))
            }
        }
    }

    pub(super) fn body(&self, seq: u64, id: CommitId) -> Result<Key> {
        self.key(format_args!("b/{seq}-{id}"))
    }

    pub(super) fn tag(&self, name: &str) -> Result<Key> {
        self.key(format_args!("t/{}", segment(name, "tag")?))
    }

    pub(super) fn fork(&self, id: CommitId) -> Result<Key> {
        self.key(format_args!("f/{id}"))
    }

    pub(super) fn line(&self) -> Result<Key> {
        self.key(format_args!("line"))
    }
}

/// Number and id of the body under this key.
pub(super) fn unbody(place: &Place, key: &Key) -> Option<(u64, CommitId)> {
    let name = key.as_str().strip_prefix(&place.prefix("b/"))?;
    let (seq, id) = name.split_once('-')?;
    let (seq, id) = (seq.parse().ok()?, id.parse().ok()?);
    (place.body(seq, id).ok()? == *key).then_some((seq, id))
}

/// What an object of a session is. For the command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PartKind {
    /// A commit.
    Commit,
    /// A state that is too large for the object of its commit.
    Body,
    /// The mark of a fork.
    Fork,
    /// A tag.
    Tag,
    /// What prunes removed.
    Line,
}

/// The kind of the object that these names, below the folder of a session, lead to; `None` of what no session
/// has made.
pub fn part_kind(names: &[&str]) -> Option<PartKind> {
    let any = Place::from_segments("a".into(), "s".into());
    let key = || Key::new(any.prefix(&names.join("/"))).ok();
    match names {
        ["c", _, _] => any.seq_of(&key()?).ok().map(|_| PartKind::Commit),
        ["b", _] => unbody(&any, &key()?).map(|_| PartKind::Body),
        ["f", id] => id.parse::<CommitId>().ok().map(|_| PartKind::Fork),
        ["t", _] => Some(PartKind::Tag),
        ["line"] => Some(PartKind::Line),
        _ => None,
    }
}

/// As ids where the segments give them back.
impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = |segment: &str| unsegment(segment).unwrap_or_else(|| segment.to_owned());
        write!(f, "{}/{}", shown(&self.agent), shown(&self.session))
    }
}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
#[path = "names_tests.rs"]
mod tests;
