//! The end of a session: its states and tags go, and a marker stays behind.

use bytes::Bytes;
use futures_util::StreamExt;

use super::{
    Commit, CommitOptions, Pruned, Retention, Rival, Session,
    at::no_commit,
    clock::Moment,
    draft::Payload,
    head::{Head, head_of},
    load::Latest,
    manifest::Manifest,
    refs::ForkRef,
    store::{Described, all},
    writer::{Ground, Writer},
};
use crate::{Error, ErrorKind, ObjectMeta, Result};

/// The metadata of the commit that ends a session.
const REMOVED: &str = "persist-removed";

impl Session {
    /// Removes the session: its states, notes and tags. The objects of what is younger than the
    /// [fence window](super::Sessions::fence_window) stay for so long, unseen, and go with the next
    /// [`prune`](Session::prune); [`Pruned::kept`] tells how much there is, the marker included. Another call
    /// removes them, too, and with them what was saved since.
    ///
    /// The marker is a commit without a state. It holds the number that a writer would take who does not know
    /// yet: that one gets a `Conflict`. To everybody else the session has no commit; a save begins it anew
    /// behind the marker. A session that was removed already is `Ok`, and [`list`](super::Sessions::list) goes
    /// on naming it.
    ///
    /// # Errors
    /// `Conflict` that names a fork that is made of this session's commits: remove that first, and what else
    /// [`forks`](Session::forks) names; `Conflict` as well if somebody saved at this moment, or if another
    /// handle has taken the session over; `NotFound` in a session without commits that was not removed; else
    /// as [`prune`](Session::prune). Whatever was not done, another call does.
    pub async fn remove(&self) -> Result<Pruned> {
        let marker = self.end().await.map_err(|error| error.with_operation("remove"))?;
        // The prune leaves what is young, and what a fork needs that came meanwhile.
        self.prune_from(Retention::new().last(1), marker).await
    }

    /// What [`remove`](Session::remove) would remove now, the tags aside, and what would be left, the marker
    /// included. It writes nothing.
    ///
    /// # Errors
    /// As [`remove`](Session::remove).
    pub async fn remove_dry_run(&self) -> Result<Pruned> {
        self.would_end().await.map_err(|error| error.with_operation("remove"))
    }

    async fn would_end(&self) -> Result<Pruned> {
        self.check_removable().await?;
        // Of a copy: the handle itself goes on as if nobody had looked.
        let mut writer = self.writer().await.clone();
        let (last, ended) = self.behind_newest(&mut writer).await?;
        if !ended {
            // What the marker's commit would fail with.
            self.store().check_writable()?;
            last.continued(self.place(), &CommitOptions::new())?;
        }
        let marker = last.head.filter(|_| ended).map(|head| head.seq);
        self.would_remove(marker).await
    }

    /// Fails where the storage cannot remove a session, or others are made of it.
    async fn check_removable(&self) -> Result<()> {
        let (store, place) = (self.store(), self.place());
        if !store.adapter.capabilities().replace {
            let message =
                "removing a session needs a storage that replaces an object only if it is unchanged";
            return Err(Error::new(ErrorKind::Unsupported, message));
        }
        for (meta, fork) in store.refs(place, "f/", ForkRef::decode).await? {
            if self.fork_lives(&meta.key, &fork).await? {
                let message = format!(
                    "the session {} was forked from commit {} of {place} and is made of it; remove that first",
                    fork.fork, fork.target.seq
                );
                return Err(Error::new(ErrorKind::Conflict, message));
            }
        }
        Ok(())
    }

    /// Puts the marker behind the newest commit, and removes the tags. Gives the marker's number.
    async fn end(&self) -> Result<u64> {
        self.check_removable().await?;
        let (store, place) = (self.store(), self.place());
        let mut writer = self.writer().await;
        let (mut last, ended) = self.behind_newest(&mut writer).await?;
        if ended && let Some(head) = &last.head {
            store.found_again(&place.commit(head.seq)?).await?;
        }
        if !ended {
            let options = CommitOptions::new().label("removed").metadata(REMOVED, "");
            let put = self.write_as(&mut last, Payload::State(Bytes::new()), Vec::new(), options).await;
            if let Err(error) = put {
                // It may be that of an earlier call, whose answer was lost.
                let is_marker = |rival: &Commit| rival.size == 0 && rival.metadata.contains_key(REMOVED);
                if !last.rival.as_ref().map(Rival::commit).is_some_and(is_marker) {
                    return Err(error);
                }
                let (again, ended) = self.behind_newest(&mut writer).await?;
                if !ended {
                    return Err(error);
                }
                last = again;
            }
        }
        let mut marker = 0;
        if let Some(head) = &mut last.head {
            // What comes behind is not made of it.
            head.base = None;
            marker = head.seq;
        }
        *writer = last;
        self.rebased();
        let tags = store.objects(place.prefix("t/")).await?;
        // Exactly these: who begins the session anew may move one meanwhile.
        let exactly = store.adapter.capabilities().conditional_delete;
        let delete = |tag: ObjectMeta| async move {
            if exactly && !tag.version.as_str().is_empty() {
                store.delete_version(&tag.key, &tag.version).await
            } else {
                store.delete(&tag.key).await
            }
        };
        all(tags.into_iter().map(delete).collect()).await?;
        Ok(marker)
    }

    /// A writer that goes on from the newest commit, and whether the session ends with that.
    async fn behind_newest(&self, writer: &mut Writer) -> Result<(Writer, bool)> {
        let (store, place) = (self.store(), self.place());
        let looked = Moment::now(&*store.clock);
        let (head, ended) = match self.latest(|_| true).await {
            Ok(None) => return Err(no_commit(place)),
            Ok(Some(Latest::Manifest(manifest))) => {
                let own = store.newest(place).await?.is_some_and(|row| row.seq == manifest.seq);
                (head_of(&manifest, Some(looked), None), own && manifest.is_removed())
            }
            Ok(Some(Latest::Whole(newest))) => {
                (head_of(&newest.restored.manifest, Some(looked), None), false)
            }
            // Damage is no reason to stay, nor an import that broke off.
            Err(error) if matches!(error.kind(), ErrorKind::Corrupt | ErrorKind::Conflict) => {
                (self.unread_head(error, looked).await?, false)
            }
            Err(error) => return Err(error),
        };
        writer.settle_take_over();
        // Keeps the epoch: a handle that was fenced off by a take-over must not end the session, nor be let
        // in again by trying.
        let mut last = Writer { epoch: writer.epoch, taking: writer.taking.clone(), ..Writer::default() };
        let same = writer.head.as_ref().is_some_and(|before| before.is_same(&head));
        last.adopt(head);
        last.ground = Ground::Loaded;
        if same {
            // Saves of this handle that may still arrive are no rivals. No delta goes on from them: the
            // marker has no state.
            last.pending = writer.pending.clone();
            last.pending.drop_states();
        }
        last.check_owner(self.place())?;
        let newest = last.head.as_ref().map(|head| head.seq);
        self.make_sure(&mut last).await?;
        // A newer commit was lost: the end is behind that.
        let ended = ended && newest == last.head.as_ref().map(|head| head.seq);
        Ok((last, ended))
    }
}

impl Session {
    /// The newest commit, which cannot be read: its number, and the owner's as the newest one tells that can
    /// be.
    pub(super) async fn unread_head(&self, error: Error, looked: Moment) -> Result<Head> {
        let (store, place) = (self.store(), self.place());
        // Where even the first object does not tell what it was, the number behind it.
        let seq = match store.newest_number(place).await? {
            Some(seq) => seq,
            None => store.newest(place).await?.ok_or(error)?.seq,
        };
        let (mut epoch, mut not_before) = (0, None);
        let mut rows = store.history(place, None);
        while let Some(row) = rows.next().await {
            let described = match row {
                Ok((place, seq)) => match store.manifest(&place, seq).await {
                    Err(error) if error.kind() == ErrorKind::NotFound => {
                        store.confirm_gone(&place.commit(seq)?).await?;
                        continue;
                    }
                    described => described,
                },
                Err(error) => Err(error),
            };
            match described {
                Ok((Described::Commit(manifest), _)) => {
                    (epoch, not_before) = (manifest.epoch, Some(manifest.id));
                    break;
                }
                Ok((Described::Origin(_), _)) => {}
                Err(error) if error.kind() == ErrorKind::Corrupt => {}
                Err(error) => return Err(error),
            }
        }
        Ok(Head::behind_damage(seq, epoch, not_before, looked))
    }
}

impl Manifest {
    /// Whether the session ended with this commit.
    pub(super) fn is_removed(&self) -> bool {
        self.is_keyframe() && self.size == 0 && self.notes.metadata.contains_key(REMOVED)
    }
}
