//! Export: a session becomes an archive.

use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, future::ready};
use tokio::io::{AsyncWrite, AsyncWriteExt};

use super::{HEADER, Header, LINE, Moved, tar};
use crate::{
    Error, ErrorKind, GetOptions, Key, ListOptions, Result,
    sessions::{
        Session,
        at::{missing, no_commit, removed},
        clock::Moment,
        head::Head,
        line::LineRecord,
        names::Place,
        object,
        pack::{Form, Packed, pack},
        refs::{Origin, TagRef},
        restore::Cache,
        store::{Described, PARALLEL, Part, Slot, all, not_on_line},
    },
    threads,
};

impl Session {
    /// Writes all commits of this session, its bodies and its tags as one tar archive, oldest first. Object
    /// by object, one after the other, in bounded memory but for the list of its commits. A fork's commits
    /// in front of its first keyframe are packed anew, with two states in memory. The history that a fork
    /// shares with the session that it comes from is not part of it; what its commits need from there is. At
    /// its end the writer is flushed and shut down.
    ///
    /// ```
    /// use std::sync::Arc;
    /// use persist::{adapters::memory::MemoryAdapter, sessions::{At, Sessions}};
    /// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
    /// let sessions = Sessions::new(Arc::new(MemoryAdapter::new()))?;
    /// let session = sessions.session("bot", "run-1")?;
    /// session.save("state").await?;
    ///
    /// let mut archive = Vec::new(); // or a file of tokio's
    /// session.export(&mut archive).await?;
    /// let copy = sessions.session("bot", "copy")?;
    /// copy.import(&archive[..]).await?;
    /// assert_eq!(copy.load(At::Latest).await?.state, "state");
    /// # Ok::<(), persist::Error>(())
    /// # })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// `NotFound` if the session has no commits of its own, `Corrupt` for damage, `Conflict` if a prune
    /// removed what was being written, or an import is under way.
    pub async fn export<W: AsyncWrite + Unpin + Send>(&self, mut out: W) -> Result<Moved> {
        self.exported(&mut out).await.map_err(|error| error.with_operation("export"))
    }

    async fn exported<W: AsyncWrite + Unpin + Send>(&self, out: &mut W) -> Result<Moved> {
        let (store, place) = (self.store(), self.place());
        match store.find_latest(place, Part::End).await {
            Ok(Some(newest)) if newest.is_removed() => return Err(removed(place, newest.found.seq)),
            Err(error) if error.kind() != ErrorKind::Corrupt => return Err(error),
            _ => {}
        }
        // In this order: what a prune removes goes from the line first.
        // What is no commit is not exported; `verify` tells it.
        let commits = store.commits(place, ListOptions::new());
        let commits =
            commits.filter(|row| ready(!row.as_ref().is_err_and(|error| error.kind() == ErrorKind::Corrupt)));
        let rows: Vec<_> = commits.try_collect().await?;
        let (line, _) = store.line(place).await?;
        // A fork that was removed has given its start up.
        let origin = store.origin(place).await?.filter(|_| line.has(1));
        let begins = if origin.is_some() { 2 } else { 1 };
        let seqs = rows.iter().map(|row| row.seq).filter(|seq| *seq >= begins && line.has(*seq)).collect();
        // Again behind `line`, which tells of what was there when it was read.
        if rows.first().is_some_and(|row| row.seq < line.newest())
            && store.newest(place).await?.is_some_and(|row| row.seq < line.upto)
        {
            return Err(missing(&(line.upto..=line.upto)).with_advice(MENDED));
        }
        // The listing is older than a prune of the newest commit that it has: it lacks what came since.
        if rows.first().is_some_and(|row| row.seq >= begins && !line.has(row.seq)) {
            return Err(overtaken());
        }
        let Wanted { mut seqs, removed, own } = self.behind_removal(seqs).await?;
        let Some(&newest) = seqs.first() else {
            return Err(match origin {
                None => no_commit(place),
                Some(Origin { source, .. }) => {
                    let message = format!("the fork {place} has no commit of its own yet; export {source}");
                    Error::new(ErrorKind::NotFound, message)
                }
            });
        };
        let first = origin.as_ref().map_or(0, |origin| origin.target.seq) + 1;
        let first = first.max(begins).max(removed + 1);
        if let Some(hole) = line.holes(first, seqs.iter().copied()).first() {
            return Err(missing(hole).with_advice(MENDED));
        }
        let header = Header { format: 1, agent: self.agent().to_owned(), session: self.name().to_owned() };
        let header = serde_json::to_vec(&header).unwrap_or_default();
        tar::write(out, HEADER, &header).await?;
        tar::write(out, LINE, &LineRecord::keep(newest, seqs.clone()).encode()).await?;
        seqs.reverse();
        let mut moved = Moved { commits: seqs.len() as u64, ..Moved::default() };
        let is_fork = origin.is_some_and(|origin| origin.target.seq > 0);
        let (packed, as_is) = seqs.split_at(if is_fork { seqs.partition_point(|seq| *seq < own) } else { 0 });
        moved.bytes = self.export_packed(packed, out).await.map_err(whole)?;
        moved.bytes += self.export_as_is(as_is, out).await.map_err(whole)?;
        // One that was given meanwhile may name a commit that is not in the archive.
        let tags = store.refs(place, "t/", TagRef::decode).await?.into_iter().map(|(_, tag)| tag);
        for (number, tag) in (1..).zip(tags.filter(|tag| seqs.binary_search(&tag.target.seq).is_ok())) {
            let bytes = tag.encode();
            tar::write(out, &format!("t/{number}"), &bytes).await?;
            moved.tags += 1;
            moved.bytes += bytes.len() as u64;
        }
        tar::finish(out).await?;
        Ok(moved)
    }

    /// Of these commits, newest first, those behind the end of a session that was removed and began anew.
    async fn behind_removal(&self, mut seqs: Vec<u64>) -> Result<Wanted> {
        let (store, place) = (self.store(), self.place());
        let (mut own, mut oldest) = (u64::MAX, u64::MAX);
        for chunk in 0..seqs.len().div_ceil(PARALLEL) {
            let chunk = chunk * PARALLEL..seqs.len().min((chunk + 1) * PARALLEL);
            let manifests = seqs[chunk.clone()].iter().map(|&seq| async move {
                match store.manifest(place, seq).await {
                    Err(error) => Err(unread(self, seq, &place.commit(seq)?, error).await),
                    read => read,
                }
            });
            let manifests = all(manifests.collect()).await.map_err(whole)?;
            for (at, (described, _)) in chunk.zip(manifests) {
                let Described::Commit(manifest) = described else { continue };
                if manifest.is_removed() {
                    let removed = seqs[at];
                    seqs.truncate(at);
                    return Ok(Wanted { seqs, removed, own });
                }
                let is_own = manifest.lines.is_empty();
                oldest = oldest.min(if is_own { manifest.seq - manifest.depth } else { 0 });
                if oldest == manifest.seq {
                    own = manifest.seq;
                }
            }
        }
        Ok(Wanted { seqs, removed: 0, own })
    }

    /// Object by object, each checked: an archive is believed to be whole until it is needed.
    async fn export_as_is<W: AsyncWrite + Unpin + Send>(&self, seqs: &[u64], out: &mut W) -> Result<u64> {
        let (store, place, mut total) = (self.store(), self.place(), 0);
        for seq in seqs {
            let bytes = commit_bytes(self, place, *seq).await?;
            let key = place.commit(*seq)?;
            let (whole, seq, limits) = (bytes.clone(), *seq, store.limits);
            let object = threads::run(move || object::decode(whole, seq, &limits)).await;
            let manifest = object::at(object, &key)?.manifest;
            if let Some(body) = manifest.body {
                let key = place.body(seq, body.id)?;
                let opened = async {
                    store.check_body(&key, &manifest).await?;
                    store.adapter.get(&key, GetOptions::new()).await
                };
                let mut object = match opened.await {
                    Err(error) => return Err(unread(self, seq, &key, error).await),
                    Ok(object) => object,
                };
                let size = object.meta.size;
                out.write_all(&tar::header(&inside(place, key.as_str()), size)).await?;
                while let Some(chunk) = object.body.chunk().await? {
                    out.write_all(&chunk).await?;
                }
                out.write_all(&[0; 512][..tar::padding(size)]).await?;
                total += size;
            }
            tar::write(out, &inside(place, key.as_str()), &bytes).await?;
            total += bytes.len() as u64;
        }
        Ok(total)
    }

    /// Of a fork, deltas that start from commits which are not in the archive: packed anew, with their own ids
    /// and notes.
    async fn export_packed<W: AsyncWrite + Unpin + Send>(&self, seqs: &[u64], out: &mut W) -> Result<u64> {
        let (store, place, mut total) = (self.store(), self.place(), 0);
        let mut cache = Cache::default();
        let mut head = Head::none(Moment::now(&*store.clock));
        for seq in seqs {
            let bytes = commit_bytes(self, place, *seq).await?;
            let restored = store.restore_cached(place, *seq, bytes, &mut cache).await?;
            let mut draft = restored.manifest;
            (draft.body, draft.lines) = (None, Vec::new());
            // Behind a gap there is no state that a delta could start from by the rule of the format.
            if head.seq + 1 != *seq {
                head.base = None;
            }
            let (form, before) =
                (Form { level: store.level, inline_limit: store.inline_limit }, head.base.take());
            let state = restored.base.state;
            let packed = threads::run(move || pack(draft, before.as_ref(), state, form)).await?;
            let Packed { manifest, object, body, base } = packed;
            if let Some(body) = body {
                let key = place.body(*seq, manifest.id)?;
                tar::write(out, &inside(place, key.as_str()), &body).await?;
                total += body.len() as u64;
            }
            tar::write(out, &inside(place, place.commit(*seq)?.as_str()), &object).await?;
            total += object.len() as u64;
            (head.seq, head.id, head.base) = (*seq, Some(manifest.id), Some(base));
        }
        Ok(total)
    }
}

/// What an archive will have.
struct Wanted {
    /// Newest first.
    seqs: Vec<u64>,
    /// The number with which the session ended before, or 0.
    removed: u64,
    /// The first keyframe from which on nothing is made of what is in front of it.
    own: u64,
}

/// What to do where a commit is damaged or missing: loads may fall back, an archive has all or nothing.
const MENDED: &str = "restore what is damaged or missing from a copy, or fork from a good commit, take over the fork and export that";

fn overtaken() -> Error {
    let message = "a prune removed a commit while it was exported; export again";
    Error::new(ErrorKind::Conflict, message)
}

/// A commit that is gone was pruned meanwhile.
fn whole(error: Error) -> Error {
    match error.kind() {
        ErrorKind::NotFound => overtaken().with_source(error),
        ErrorKind::Corrupt => error.with_advice(MENDED),
        _ => error,
    }
}

/// An object of the commit `seq` that a read did not find was pruned, or lost: `line` tells.
async fn unread(session: &Session, seq: u64, key: &Key, error: Error) -> Error {
    match error.kind() {
        ErrorKind::NotFound => session.store().missing(session.place(), seq, error.with_key(key)).await,
        _ => error,
    }
}

async fn commit_bytes(session: &Session, place: &Place, seq: u64) -> Result<Bytes> {
    match session.store().slot(place, seq, Part::Whole).await {
        Ok((Slot::Commit(bytes), _)) => Ok(bytes),
        Ok((Slot::Origin(_), _)) => Err(not_on_line(seq)),
        Err(error) => Err(unread(session, seq, &place.commit(seq)?, error).await),
    }
}

/// The key without the session's folder.
fn inside(place: &Place, key: &str) -> String {
    key.strip_prefix(&place.prefix("")).unwrap_or(key).to_owned()
}
