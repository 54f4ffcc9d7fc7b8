//! Tags: names for commits, which keep them.

use bytes::Bytes;
use serde::Serialize;

use super::{
    At, CommitId, Session,
    answer::never_sent,
    line::Mark,
    names::Place,
    object,
    refs::{ForkRef, TagRef, Target},
    store::{Described, Part, Store, all, not_on_line},
};
use crate::{DeleteOptions, Error, ErrorKind, Key, PutOptions, Result};

/// How often an announcement is cancelled before a tag or a fork gives up.
const ATTEMPTS: usize = 8;

/// A name for a commit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Tag {
    /// The name.
    pub name: String,
    /// The commit's number.
    pub seq: u64,
    /// The commit's id.
    pub id: CommitId,
}

impl Session {
    /// Gives a commit a name, and keeps it from every prune until [`untag`](Session::untag). Naming the same
    /// commit again is `Ok`.
    ///
    /// # Errors
    /// `AlreadyExists` if the name is another commit's: see [`move_tag`](Session::move_tag); `NotFound` if
    /// there is no such commit, also if a prune removes it at this moment; `InvalidInput` for a commit of the
    /// session that this one was forked from: tag it there; and for a name that reads as a number, an id, a
    /// time or `latest`.
    pub async fn tag(&self, name: &str, at: impl Into<At> + Send) -> Result<Tag> {
        self.set_tag(name, at.into(), false).await
    }

    /// [`tag`](Session::tag), wherever the name was before.
    ///
    /// # Errors
    /// As [`tag`](Session::tag); `Conflict` if another call moves or removes it at this moment.
    pub async fn move_tag(&self, name: &str, at: impl Into<At> + Send) -> Result<Tag> {
        self.set_tag(name, at.into(), true).await
    }

    async fn set_tag(&self, name: &str, at: At, may_move: bool) -> Result<Tag> {
        let given = async {
            check_name(name)?;
            self.give(name, at, may_move).await
        };
        given.await.map_err(|error| error.with_operation("tag"))
    }

    /// Sets a tag of any name, also of one that is refused today: archives have what earlier releases took.
    pub(super) async fn give(&self, name: &str, at: At, may_move: bool) -> Result<Tag> {
        let (store, key) = (self.store(), self.place().tag(name)?);
        store.check_writable()?;
        let found = store.find(self.place(), &at, Part::End).await?;
        if found.place != *self.place() {
            let message = format!(
                "commit {} lies in {}, which this session was forked from; tag it there",
                found.seq, found.place
            );
            return Err(Error::new(ErrorKind::InvalidInput, message));
        }
        let target = found.target()?;
        let bytes: Bytes = TagRef { target, name: name.to_owned() }.encode().into();
        match store.put(&key, bytes.clone(), PutOptions::new().create()).await {
            Ok(meta) => {
                if let Err(error) = store.pinned(self.place(), target).await {
                    // A tag that names nothing must not stay.
                    let _ = store.delete_version(&key, &meta.version).await;
                    return Err(error);
                }
            }
            Err(error) if error.kind() == ErrorKind::AlreadyExists && may_move => {
                self.replace_tag(&key, bytes, target).await?
            }
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                let there = store.tag_ref(self.place(), name).await?.target;
                if there != target {
                    let seq = there.seq;
                    let message = format!(
                        "the tag {name:?} names commit {seq} already; move it with `move_tag` (--force), or choose another name"
                    );
                    return Err(Error::new(ErrorKind::AlreadyExists, message));
                }
                store.pinned(self.place(), target).await?;
            }
            Err(error) => return Err(error),
        }
        Ok(Tag { name: name.to_owned(), seq: target.seq, id: target.id })
    }

    /// The old tag stays until the new commit is safe: a reference of its own keeps that meanwhile.
    async fn replace_tag(&self, key: &Key, bytes: Bytes, target: Target) -> Result<()> {
        let store = self.store();
        // Exactly the tag that is there now, so that a request that was lost cannot arrive late and undo a
        // newer one.
        let options = if store.adapter.capabilities().replace {
            PutOptions::new().replace(store.adapter.head(key).await?.version)
        } else {
            PutOptions::new()
        };
        let guard = self.place().fork(store.new_id(None))?;
        let reference = ForkRef { target, fork: self.place().clone() }.encode();
        store.put(&guard, reference.into(), PutOptions::new().create()).await?;
        let moved = match store.pinned(self.place(), target).await {
            Ok(()) => store.put(key, bytes, options).await.map(|_| ()),
            Err(error) => Err(error),
        };
        // A move that may still arrive needs its commit. The next prunes find that no fork belongs to the
        // guard, and remove it when it is old.
        let settled =
            |kind| never_sent(kind) || matches!(kind, ErrorKind::Conflict | ErrorKind::AlreadyExists);
        if moved.as_ref().err().is_none_or(|error| settled(error.kind())) {
            let _ = store.delete(&guard).await;
        }
        moved
    }

    /// Removes a tag, and tells whether there was one.
    ///
    /// # Errors
    /// `Conflict` if it is moved at this moment, and what the adapter fails with.
    pub async fn untag(&self, name: &str) -> Result<bool> {
        self.remove_tag(name).await.map_err(|error| error.with_operation("untag"))
    }

    async fn remove_tag(&self, name: &str) -> Result<bool> {
        let (store, key) = (self.store(), self.place().tag(name)?);
        store.check_writable()?;
        let meta = match store.adapter.head(&key).await {
            Ok(meta) => meta,
            Err(error) if error.kind() == ErrorKind::NotFound => {
                return store.confirm_gone(&key).await.map(|()| false);
            }
            Err(error) => return Err(error),
        };
        let mut options = DeleteOptions::new();
        if store.adapter.capabilities().conditional_delete {
            options = options.if_version(meta.version);
        }
        store.adapter.delete(&key, options).await.map(|()| true)
    }

    /// All tags, in the order of their names' keys.
    ///
    /// # Errors
    /// `Corrupt` that names a damaged tag, and what the adapter fails with.
    pub async fn tags(&self) -> Result<Vec<Tag>> {
        let refs = self.store().refs(self.place(), "t/", TagRef::decode).await?;
        Ok(refs
            .into_iter()
            .map(|(_, TagRef { target, name })| Tag { name, seq: target.seq, id: target.id })
            .collect())
    }
}

/// A tag is asked for by its name alone: that must not read as another commit.
fn check_name(name: &str) -> Result<()> {
    let means = match name.parse() {
        Ok(At::Tag(tag)) if tag == name => return Ok(()),
        Ok(At::Tag(_)) => "another tag".to_owned(),
        Ok(at) => at.to_string(),
        // An empty one has an error of its own.
        Err(_) => return Ok(()),
    };
    let message = format!("the tag {name:?} would read as {means}; choose another name, such as v{name}");
    Err(Error::new(ErrorKind::InvalidInput, message).with_operation("tag"))
}

impl Store {
    /// Makes sure, after a reference to `target` was written, that every later prune sees it: one that has
    /// announced itself before is cancelled, and one that has decided before did not remove the commit.
    /// `docs/adr/0011-prune-marks.md` has the argument.
    pub(super) async fn pinned(&self, place: &Place, target: Target) -> Result<()> {
        let mut unread = None;
        for _ in 0..ATTEMPTS {
            let (line, version) = self.line(place).await?;
            // Where a prune has announced itself in a line that is not seen, the reference would be too late.
            if version.is_none()
                && let Err(error) = self.confirm_gone(&place.line()?).await
            {
                unread = Some(error);
                continue;
            }
            if let (Some(id), Some(version)) = (line.announced(), version) {
                let bytes = line.marked(Mark::Ended(id)).encode();
                match self.put(&place.line()?, bytes.into(), PutOptions::new().replace(version)).await {
                    Err(error) if error.kind() != ErrorKind::Conflict => return Err(error),
                    // Look again, also after success: only what was read without an announcement counts.
                    _ => continue,
                }
            }
            let there = match self.manifest(place, target.seq).await {
                Ok((Described::Commit(manifest), _)) => manifest.id == target.id,
                Ok((Described::Origin(_), _)) => false,
                Err(error) if error.kind() == ErrorKind::NotFound => {
                    self.confirm_gone(&place.commit(target.seq)?).await.map(|()| false)?
                }
                Err(error) => return Err(error),
            };
            return if there && line.has(target.seq) { Ok(()) } else { Err(not_on_line(target.seq)) };
        }
        let busy = || Error::new(ErrorKind::Conflict, "prunes keep announcing themselves; try again");
        Err(unread.unwrap_or_else(|| busy().with_retryable(true)))
    }

    /// All small objects of one kind.
    pub(super) async fn refs<T: Send>(
        &self,
        place: &Place,
        folder: &str,
        decode: fn(&[u8]) -> Result<T>,
    ) -> Result<Vec<(crate::ObjectMeta, T)>> {
        let objects = self.objects(place.prefix(folder)).await?;
        let found = all(objects.into_iter().map(|meta| self.read_if_there(meta.key)).collect()).await?;
        let decoded = found.into_iter().flatten().map(|(bytes, meta)| {
            let value = object::at(decode(&bytes), &meta.key)?;
            Ok((meta, value))
        });
        decoded.collect()
    }

    /// What a listing has shown, if nobody has removed it since.
    async fn read_if_there(&self, key: Key) -> Result<Option<(Bytes, crate::ObjectMeta)>> {
        match self.read(&key).await {
            Ok(found) => Ok(Some(found)),
            Err(error) if error.kind() == ErrorKind::NotFound => self.confirm_gone(&key).await.map(|()| None),
            Err(error) => Err(error),
        }
    }
}
