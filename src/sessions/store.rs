//! The adapter as sessions use it: reads with errors that name the object, creates, and what is configured.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use futures_util::{
    StreamExt, TryStreamExt,
    stream::{self, BoxStream},
};

use super::{
    Clock, CommitId,
    at::{importing, two_versions},
    fence::Fence,
    found::Found,
    line::LineRecord,
    manifest::Manifest,
    names::Place,
    object,
    refs::{self, Origin},
    wire::corrupt,
};
use crate::{
    Body, ByteRange, DeleteOptions, Error, ErrorKind, GetOptions, Key, Limits, ListOptions, ObjectMeta,
    PutOptions, Result, SnapshotAdapter, Version,
};

/// Requests that one operation has under way at the same time.
pub(super) const PARALLEL: usize = 16;
/// How much of an object's end is read for its manifest.
const TAIL: u64 = 16 << 10;

/// What all sessions of one [`Sessions`](super::Sessions) share.
#[derive(Debug, Clone)]
pub(super) struct Store {
    pub(super) adapter: Arc<dyn SnapshotAdapter>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) writer: Option<String>,
    pub(super) fence: Fence,
    pub(super) limits: Limits,
    pub(super) level: u8,
    /// New bytes beyond this become an object of their own.
    pub(super) inline_limit: u64,
    /// Streams up to this are saved like any state; longer ones pass through.
    pub(super) stream_limit: u64,
}

/// What lies under the key of a commit.
#[derive(Debug)]
pub(super) enum Slot {
    /// Its object, or as much of the end as has the manifest.
    Commit(Bytes),
    Origin(Origin),
}

/// How much of a commit's object is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    Whole,
    /// Enough for its manifest.
    End,
}

/// A commit that a listing gave.
#[derive(Debug, Clone)]
pub(super) struct Row {
    pub(super) seq: u64,
    pub(super) meta: ObjectMeta,
}

impl Store {
    /// An id of now. Where the clock is behind the parent's time, a millisecond later than that: ids go on
    /// ascending with the numbers, and a search by time finds its way.
    pub(super) fn new_id(&self, parent: Option<CommitId>) -> CommitId {
        let now = self.clock.now();
        let ahead = parent.map(CommitId::time).filter(|time| *time > now);
        let time = ahead.map_or(now, |time| time + Duration::from_millis(1));
        CommitId::new(time, self.clock.random())
    }

    pub(super) async fn read(&self, key: &Key) -> Result<(Bytes, ObjectMeta)> {
        let object = self.adapter.get(key, GetOptions::new()).await?;
        Ok((object.body.collect(u64::MAX).await?, object.meta))
    }

    /// The object under the key of a commit. `Origin` is possible for commit 1, and for the newest while an
    /// import is under way.
    pub(super) async fn slot(&self, place: &Place, seq: u64, part: Part) -> Result<(Slot, ObjectMeta)> {
        let key = place.commit(seq)?;
        let mut options = GetOptions::new();
        if part == Part::End {
            options = options.range(ByteRange::Last(TAIL));
        }
        let object = match self.adapter.get(&key, options).await {
            // An empty object has no end that could be asked for.
            Err(error) if error.kind() == ErrorKind::InvalidInput && part == Part::End => {
                self.adapter.get(&key, GetOptions::new()).await?
            }
            object => object?,
        };
        let (mut meta, mut whole) = (object.meta, object.range.start == 0);
        let mut bytes = object.body.collect(u64::MAX).await?;
        // A manifest may be longer than the end that was read, and so may be an origin, which has none.
        let reread = !whole && !matches!(object::manifest(&bytes, meta.size, seq), Ok(Some(_)));
        if reread {
            (bytes, meta) = self.read(&key).await?;
            whole = true;
        }
        if whole && refs::is_small(&bytes) {
            let origin = object::at(Origin::decode(&bytes), &key)?;
            // Only an import keeps other numbers than the first.
            return if seq == 1 || origin.target.seq == 0 {
                Ok((Slot::Origin(origin), meta))
            } else {
                Err(corrupt("it is a fork's origin and no commit").with_key(&key))
            };
        }
        // An origin whose first bytes are damaged must not pass for a commit: history would seem to begin
        // here.
        if seq == 1 && whole && !object::is_commit(&bytes) {
            return Err(corrupt("it is neither a commit nor a fork's origin").with_key(&key));
        }
        if reread {
            object::at(object::manifest(&bytes, meta.size, seq), &key)?;
        }
        Ok((Slot::Commit(bytes), meta))
    }

    /// The manifest of a commit, from the end of its object; or the origin that is there in its place.
    pub(super) async fn manifest(&self, place: &Place, seq: u64) -> Result<(Described, ObjectMeta)> {
        Ok(match self.slot(place, seq, Part::End).await? {
            (Slot::Origin(origin), meta) => (Described::Origin(origin), meta),
            (Slot::Commit(bytes), meta) => {
                let found = Found { place: place.clone(), seq, bytes, total: meta.size };
                (Described::Commit(Box::new(found.manifest()?)), meta)
            }
        })
    }

    /// The session's line; the record's version, if there is a record.
    pub(super) async fn line(&self, place: &Place) -> Result<(LineRecord, Option<Version>)> {
        let key = place.line()?;
        match self.read(&key).await {
            Ok((bytes, meta)) => Ok((object::at(LineRecord::decode(&bytes), &key)?, Some(meta.version))),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok((LineRecord::default(), None)),
            Err(error) => Err(error),
        }
    }

    /// All objects whose keys start so.
    pub(super) async fn objects(&self, prefix: String) -> Result<Vec<ObjectMeta>> {
        let rows: Vec<_> = self.adapter.list(ListOptions::new().prefix(prefix)).try_collect().await?;
        Ok(rows.into_iter().filter_map(crate::ListEntry::into_object).collect())
    }

    /// Makes sure that an object which a read did not find is gone. Something in front of the storage may
    /// have answered in its place, and whoever takes that for "removed meanwhile" removes, or passes over,
    /// what hangs on the object.
    ///
    /// # Errors
    /// `Unavailable` where a listing has it.
    pub(super) async fn confirm_gone(&self, key: &Key) -> Result<()> {
        // Of all names that begin so, such as those of other tags, its own comes first.
        let mut rows = self.adapter.list(ListOptions::new().prefix(key.as_str()).limit(1));
        let first = rows.try_next().await?.and_then(crate::ListEntry::into_object);
        if first.is_some_and(|meta| meta.key == *key) { Err(hidden(key)) } else { Ok(()) }
    }

    /// The newest commit, from one listing of one row. Where that is an object of nobody, such as a desktop's
    /// or a copying tool's own, the next one.
    ///
    /// # Errors
    /// `InvalidInput` where there is none, and another tool has put the session into another folder.
    pub(super) async fn newest(&self, place: &Place) -> Result<Option<Row>> {
        for options in [ListOptions::new().limit(1), ListOptions::new()] {
            let (mut objects, mut is_empty) = (self.in_commits(place, options), true);
            while let Some(meta) = objects.try_next().await? {
                if let Ok(seq) = place.seq_of(&meta.key) {
                    return Ok(Some(Row { seq, meta }));
                }
                is_empty = false;
            }
            if is_empty {
                self.not_copied(place).await?;
                break;
            }
        }
        Ok(None)
    }

    /// Fails with `Conflict` while an import into this session is unfinished: its origin stands under the
    /// newest number, or stood there when `newest` was listed. Also fails where that cannot be told. Whether
    /// the newest commit is damaged is not checked.
    pub(super) async fn not_importing(&self, place: &Place, newest: &Row) -> Result<()> {
        match self.slot(place, newest.seq, Part::End).await {
            Ok((Slot::Origin(origin), _)) if origin.imports().is_some() => {
                if self.is_half(place, newest.seq).await? { Err(importing(place)) } else { Ok(()) }
            }
            // The object was replaced since the listing, perhaps by the last commit of an import; then the
            // listing may lack the commits in front of it. If a second listing agrees with the first, it is
            // the storage whose listings and reads disagree.
            Ok((_, meta)) if !is_version(&meta, &newest.meta) => match self.newest(place).await? {
                Some(again) if again.meta.version == newest.meta.version => Err(two_versions(&meta.key)),
                _ => Err(importing(place)),
            },
            Err(error) if error.kind() == ErrorKind::NotFound => self.confirm_gone(&newest.meta.key).await,
            Err(error) if error.kind() != ErrorKind::Corrupt => Err(error),
            _ => Ok(()),
        }
    }

    /// Whether the import is unfinished whose origin is the newest object, under the number `origin`. Number
    /// 1 keeps its origin for good where the archive does not begin with commit 1; then `line` names newer
    /// commits, and those were lost.
    pub(super) async fn is_half(&self, place: &Place, origin: u64) -> Result<bool> {
        Ok(origin > 1 || self.line(place).await?.0.newest() <= 1)
    }

    /// All commits, newest first. An object that is none is an error in its place.
    pub(super) fn commits(&self, place: &Place, options: ListOptions) -> BoxStream<'_, Result<Row>> {
        let (objects, place) = (self.in_commits(place, options), place.clone());
        objects.map(move |meta| meta.and_then(|meta| Ok(Row { seq: place.seq_of(&meta.key)?, meta }))).boxed()
    }

    /// All objects in the folder of commits.
    fn in_commits(&self, place: &Place, options: ListOptions) -> BoxStream<'_, Result<ObjectMeta>> {
        let objects = self.adapter.list(options.prefix(place.prefix("c/")));
        objects.try_filter_map(|entry| async { Ok(entry.into_object()) }).boxed()
    }

    /// Fails where nothing would keep two writers apart. Asked before anything is written; reads need no such
    /// storage.
    pub(super) fn check_writable(&self) -> Result<()> {
        if self.adapter.capabilities().create {
            return Ok(());
        }
        let message = format!(
            "a session is written only to a storage that creates an object only where there is none; {} cannot, or these \
             credentials may not try it: use another storage, or plain save and load",
            self.adapter
        );
        Err(Error::new(ErrorKind::Unsupported, message))
    }

    pub(super) async fn put(&self, key: &Key, bytes: Bytes, options: PutOptions) -> Result<ObjectMeta> {
        self.adapter.put(key, Body::from(bytes), options).await
    }

    /// Makes sure of an own object that was found behind the error of its put. That it can be read does not
    /// make it durable: on a local disk the last sync may have failed, or not even have begun. So it is put
    /// once more, and what is told to be there may be relied on. Gives the new object's metadata where the
    /// first one was removed in between.
    ///
    /// # Errors
    /// `error`, which leaves open what is there.
    pub(super) async fn put_again(
        &self,
        error: Error,
        key: &Key,
        bytes: Bytes,
        options: PutOptions,
    ) -> Result<Option<ObjectMeta>> {
        let is_there = |error: &Error| matches!(error.kind(), ErrorKind::AlreadyExists | ErrorKind::Conflict);
        if is_there(&error) {
            return Ok(None);
        }
        match self.put(key, bytes, options).await {
            Ok(meta) => Ok(Some(meta)),
            Err(again) if is_there(&again) => Ok(None),
            Err(again) => {
                tracing::debug!(kind = %again.kind(), key = key.logged(), "what was found is not known to stay");
                Err(error)
            }
        }
    }

    /// Makes sure of an own object that a repeated call finds by reading: a create that is refused makes it
    /// durable.
    pub(super) async fn found_again(&self, key: &Key) -> Result<()> {
        let bytes = self.read(key).await?.0;
        match self.put(key, bytes, PutOptions::new().create()).await {
            // Clouds say so by a conflict where writers race.
            Err(error) if matches!(error.kind(), ErrorKind::AlreadyExists | ErrorKind::Conflict) => Ok(()),
            put => put.map(drop),
        }
    }

    pub(super) async fn delete(&self, key: &Key) -> Result<()> {
        self.adapter.delete(key, DeleteOptions::new()).await
    }

    /// Removes exactly this version, where the adapter can; else nothing.
    pub(super) async fn delete_version(&self, key: &Key, version: &Version) -> Result<()> {
        if !self.adapter.capabilities().conditional_delete {
            return Ok(());
        }
        match self.adapter.delete(key, DeleteOptions::new().if_version(version.clone())).await {
            Err(error) if error.kind() == ErrorKind::Conflict => Ok(()),
            other => other,
        }
    }
}

/// The results of all work, a bounded number of pieces at a time. Takes futures and no closure that makes
/// them: so a caller's own future stays `Send` for any lifetime.
pub(super) async fn all<T>(work: Vec<impl Future<Output = Result<T>>>) -> Result<Vec<T>> {
    stream::iter(work).buffered(PARALLEL).try_collect().await
}

/// What the end of an object under the key of a commit says.
#[derive(Debug)]
pub(super) enum Described {
    Commit(Box<Manifest>),
    Origin(Origin),
}

/// The error for an object that a listing shows and a read does not find.
pub(super) fn hidden(key: &Key) -> Error {
    let message = "the storage lists the object, and a read does not find it; try again, and look for a proxy that answers in its place";
    Error::new(ErrorKind::Unavailable, message).with_key(key).with_retryable(true)
}

/// The error for a commit that the line has left behind.
pub(super) fn not_on_line(seq: u64) -> Error {
    Error::new(
        ErrorKind::NotFound,
        format!(
            "commit {seq} is no longer there: a prune removed it, or the session was removed; see `session log`"
        ),
    )
}

/// Whether what was read is what was listed. A gateway that leaves a version out does not tell that it is
/// another one.
pub(super) fn is_version(read: &ObjectMeta, listed: &ObjectMeta) -> bool {
    let marks = [&read.version, &listed.version].map(Version::as_str);
    marks[0] == marks[1] || marks.contains(&"")
}
