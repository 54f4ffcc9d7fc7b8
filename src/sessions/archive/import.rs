//! Import: an archive becomes a session.
//!
//! The numbers of the first and of the newest commit are [claimed](super::claim) before anything else is
//! stored, and the newest gets its commit last. So until everything is there nobody can write the session or
//! load its latest state, and whoever looks is told why.

use std::collections::BTreeMap;

use bytes::Bytes;
use futures_util::TryStreamExt;
use tokio::io::{AsyncRead, AsyncReadExt};

use super::{HEADER, Header, LINE, Moved, tar};
use crate::{
    Body, Error, ErrorKind, Key, PutOptions, Result, Version,
    sessions::{
        CommitId, Session, SessionName,
        at::importing,
        line::LineRecord,
        manifest::Manifest,
        names::unbody,
        object,
        refs::{Origin, TagRef},
        store::Described,
        wire::newer,
    },
};

/// The longest tag.
const MAX_SMALL: u64 = 64 << 10;
/// The longest header, which has the ids; and the longest line, which becomes 12 times as long in memory.
const MAX_LINE: u64 = 8 << 20;
/// The longest commit, far beyond what a save makes. Longer states have a body of their own.
const MAX_COMMIT: u64 = 256 << 20;

/// An import under way.
pub(super) struct Import<'a> {
    pub(super) session: &'a Session,
    /// What the archive says of its commits.
    pub(super) line: Option<LineRecord>,
    /// The commits that have come, ascending.
    seqs: Vec<u64>,
    /// What keeps the numbers of this import's first and newest commit; `None` before they are claimed.
    pub(super) keeper: Option<Origin>,
    /// Those that it still keeps.
    pub(super) kept: BTreeMap<u64, Version>,
    /// The body whose commit comes next, and whether this import has stored it.
    body: Option<(Key, bool)>,
    /// The newest commit: it waits for the end of the archive.
    newest: Option<(u64, Key, Bytes)>,
    /// The newest commit's tags, which wait for that.
    tags: Vec<TagRef>,
    /// Nothing is there that could have a tag.
    pub(super) dry_run: bool,
    pub(super) moved: Moved,
}

impl Session {
    /// Reads an archive that [`export`](Session::export) wrote into this session, which must not exist: under
    /// any name, in any storage. Every commit is checked before it is stored, and its body, where that is an
    /// object of its own, before the commit. Until all are there, loads of the latest and saves are a
    /// `Conflict`. An import that broke off is finished by another one of the same archive, or goes with
    /// [`remove`](Session::remove). [`export`](Session::export) has an example.
    ///
    /// # Errors
    /// `AlreadyExists` if there is another session of this name, or was one that was removed; `Corrupt` for
    /// an archive that is damaged or cut, `InvalidInput` for what is no archive or has an object over the
    /// limit, `Unsupported` for one of a newer version, and where the storage cannot create or replace under a
    /// condition.
    pub async fn import<R: AsyncRead + Unpin + Send>(&self, mut input: R) -> Result<Moved> {
        let mut import = Import::new(self);
        let run = import.run(&mut input).await;
        run.map_err(|error| import.told(error).with_operation("import"))?;
        self.has_begun();
        Ok(import.moved)
    }
}

impl SessionName {
    /// The session that an archive was [exported](Session::export) from, by its first entry.
    ///
    /// # Errors
    /// `InvalidInput` where it is no archive, `Corrupt` for one that is damaged or cut, `Unsupported` for one
    /// of a newer version.
    pub async fn of_archive<R: AsyncRead + Unpin + Send>(mut archive: R) -> Result<Self> {
        let named = header(&mut archive).await.and_then(|of| SessionName::new(of.agent, of.session));
        named.map_err(|error| error.with_operation("import"))
    }
}

impl<'a> Import<'a> {
    pub(super) fn new(session: &'a Session) -> Self {
        Import {
            session,
            line: None,
            seqs: Vec::new(),
            keeper: None,
            kept: BTreeMap::new(),
            body: None,
            newest: None,
            tags: Vec::new(),
            dry_run: false,
            moved: Moved::default(),
        }
    }

    pub(super) async fn run<R: AsyncRead + Unpin + Send>(&mut self, input: &mut R) -> Result<()> {
        self.session.store().check_writable()?;
        header(input).await?;
        while let Some((name, size)) = tar::next(input).await? {
            match name.split_once('/') {
                None if name == LINE => self.take_line(input, size).await?,
                Some(("c", _)) => self.take_commit(&name, input, size).await?,
                Some(("b", _)) => self.take_body(&name, input, size).await?,
                Some(("t", _)) => self.take_tag(input, size).await?,
                _ => return Err(tar::bad(format_args!("it has the unknown entry {name:?}"))),
            }
            if name.contains('/') {
                self.moved.bytes += size;
            }
        }
        if !self.is_complete() {
            return Err(tar::bad("its newest commit is not in it"));
        }
        if let Some((seq, key, bytes)) = self.newest.take() {
            self.commit(seq, &key, bytes).await?;
        }
        for tag in std::mem::take(&mut self.tags) {
            self.tag(&tag).await?;
        }
        Ok(())
    }

    async fn take_line<R: AsyncRead + Unpin + Send>(&mut self, input: &mut R, size: u64) -> Result<()> {
        // Numbers were claimed by what the first one says.
        if self.line.is_some() {
            return Err(tar::bad("it has two lines"));
        }
        let line = LineRecord::decode(&entry(input, size, MAX_LINE).await?);
        self.line = Some(line.map_err(|error| tar::damaged("its line", error))?);
        Ok(())
    }

    async fn take_commit<R: AsyncRead + Unpin + Send>(
        &mut self,
        name: &str,
        input: &mut R,
        size: u64,
    ) -> Result<()> {
        let place = self.session.place();
        let unknown = |_| tar::bad(format_args!("it has the unknown entry {name:?}"));
        let key = Key::new(place.prefix(name)).map_err(unknown)?;
        let seq = place.seq_of(&key).map_err(unknown)?;
        let bytes = entry(input, size, MAX_COMMIT).await?;
        let commit = object::at(object::decode(bytes.clone(), seq, &self.session.store().limits), &key)
            .map_err(|error| tar::damaged(format_args!("commit {seq}"), error))?;
        // An export begins behind it.
        if commit.manifest.is_removed() {
            return Err(tar::bad(format_args!("commit {seq} is the end of a session")));
        }
        self.check_body(&commit.manifest).await?;
        self.next(seq)?;
        self.claim(seq, commit.manifest.id).await?;
        if self.is_complete() && (seq == 1 || self.kept.contains_key(&seq)) {
            // It makes the session visible: before that, all else is there and right.
            self.newest = Some((seq, key, bytes));
            return Ok(());
        }
        self.commit(seq, &key, bytes).await
    }

    async fn take_body<R: AsyncRead + Unpin + Send>(
        &mut self,
        name: &str,
        input: &mut R,
        size: u64,
    ) -> Result<()> {
        let place = self.session.place();
        let key = Key::new(place.prefix(name))?;
        let Some((seq, id)) = unbody(place, &key) else { return Err(tar::bad("a body's name")) };
        if self.is_complete() || self.line.as_ref().is_some_and(|line| seq > line.upto || !line.has(seq)) {
            return Err(tar::bad(format_args!("the body of commit {seq} is out of place")));
        }
        self.claim(seq, id).await?;
        self.may_have(seq, id).await?;
        self.body(key, input, size).await
    }

    async fn take_tag<R: AsyncRead + Unpin + Send>(&mut self, input: &mut R, size: u64) -> Result<()> {
        let tag = TagRef::decode(&entry(input, size, MAX_SMALL).await?)
            .map_err(|error| tar::damaged("a tag", error))?;
        // Until then it would be a tag of whatever session is there.
        if !self.is_complete() {
            return Err(tar::bad("a tag is in front of its commits"));
        }
        if self.seqs.binary_search(&tag.target.seq).is_err() {
            return Err(tar::bad(format_args!(
                "the tag {:?} names commit {}, which is not in it",
                tag.name, tag.target.seq
            )));
        }
        self.session.place().tag(&tag.name).map_err(|error| tar::bad("a tag's name").with_source(error))?;
        if self.seqs.last() == Some(&tag.target.seq) {
            self.tags.push(tag);
            return Ok(());
        }
        // While nobody may prune. After a removal it would keep what that removes.
        if self.newest.is_some() && !self.is_in_log().await? {
            return Err(self.taken().await);
        }
        self.tag(&tag).await
    }

    /// What is wrong with the archive, where its numbers are taken already.
    fn told(&self, error: Error) -> Error {
        if self.kept.is_empty() || error.kind() != ErrorKind::Corrupt || error.key().is_some() {
            return error;
        }
        error.with_advice(
            "this session is kept for the archive as it was written; import that again, or another archive under another name",
        )
    }

    async fn tag(&mut self, tag: &TagRef) -> Result<()> {
        if self.dry_run {
            self.moved.tags += 1;
            return Ok(());
        }
        match self.session.give(&tag.name, tag.target.seq.into(), false).await {
            // Moved since an import that broke off: it stays where it is.
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            Err(error) if error.kind() == ErrorKind::NotFound && !self.is_history().await? => {
                return Err(self.taken().await.with_source(error));
            }
            tagged => {
                tagged?;
                self.moved.tags += 1;
            }
        }
        Ok(())
    }

    /// Whether the newest commit has come.
    fn is_complete(&self) -> bool {
        self.line.as_ref().is_some_and(|line| self.seqs.last() == Some(&line.upto))
    }

    /// The archive's commits come in ascending order, and are those of its line.
    fn next(&mut self, seq: u64) -> Result<()> {
        let Some(line) = &self.line else { return Err(tar::bad("a commit is in front of its line")) };
        if seq > line.upto || !line.has(seq) || self.seqs.last().is_some_and(|last| *last >= seq) {
            return Err(tar::bad(format_args!("commit {seq} is out of place")));
        }
        self.seqs.push(seq);
        if seq == line.upto && LineRecord::keep(seq, self.seqs.clone()).runs != line.runs {
            return Err(tar::bad("commits of its line are not in it"));
        }
        Ok(())
    }

    async fn commit(&mut self, seq: u64, key: &Key, bytes: Bytes) -> Result<()> {
        let (store, place) = (self.session.store(), self.session.place());
        let mut may_be_pruned = true;
        let options = match self.kept.remove(&seq) {
            Some(keeper) => {
                if self.is_complete() {
                    self.put_line().await?;
                    if !self.is_on_line().await? {
                        return Err(self.taken().await);
                    }
                    may_be_pruned = false;
                }
                PutOptions::new().replace(keeper)
            }
            None => PutOptions::new().create(),
        };
        let options = options.content_type(crate::options::OCTETS);
        if let Err(error) = store.put(key, bytes.clone(), options.clone()).await {
            match store.read(key).await {
                Ok((there, _)) if there == bytes => drop(store.put_again(error, key, bytes, options).await?),
                // Nobody else has the number: what failed says why.
                Ok((there, _)) if self.keeper.as_ref().is_some_and(|keeper| there == keeper.encode()) => {
                    return Err(match error.kind() {
                        ErrorKind::AlreadyExists => importing(place).with_source(error),
                        _ => error,
                    });
                }
                Ok(_) => return Err(self.taken().await.with_source(error)),
                Err(_) => return Err(error),
            }
        }
        self.moved.commits += 1;
        // One that slept may have created what others had pruned, or removed.
        if self.is_complete() {
            // What a prune did behind that is not the import's.
            let there = if may_be_pruned { self.is_history().await? } else { self.is_in_log().await? };
            if !there {
                return Err(self.taken().await);
            }
        }
        Ok(())
    }

    /// Whether the commit `seq` is there already. Fails where that has another body.
    async fn may_have(&self, seq: u64, body: CommitId) -> Result<bool> {
        match self.session.store().manifest(self.session.place(), seq).await {
            Ok((Described::Commit(manifest), _)) if manifest.body.is_some_and(|of| of.id == body) => Ok(true),
            Ok((Described::Commit(_), _)) => Err(self.taken().await),
            Ok((Described::Origin(_), _)) => Ok(false),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Which commits are on the line, where some were pruned.
    async fn put_line(&self) -> Result<()> {
        let (Some(line), store) = (&self.line, self.session.store()) else { return Ok(()) };
        if line.runs == [1..=line.upto] {
            return Ok(());
        }
        // The origin of an import is on the line like that of a fork.
        let seqs = self.seqs.iter().copied().chain([1]).collect();
        let bytes = LineRecord::keep(line.upto, seqs).encode();
        let mut attempts = 0;
        loop {
            let (there, version) = store.line(self.session.place()).await?;
            let is_there = version.is_some() && there.upto >= line.upto;
            let options = match version {
                // Of another import of this archive, or an earlier try, which may have failed in its last
                // sync. A put that is refused makes it durable.
                Some(_) if is_there => PutOptions::new().create(),
                // Of a prune that met this import.
                Some(version) => PutOptions::new().replace(version),
                None => PutOptions::new().create(),
            };
            match store.put(&self.session.place().line()?, bytes.clone().into(), options).await {
                Err(error) if is_there && error.kind() == ErrorKind::AlreadyExists => return Ok(()),
                // It was between the two.
                Err(error)
                    if matches!(error.kind(), ErrorKind::AlreadyExists | ErrorKind::Conflict)
                        && attempts < 3 =>
                {
                    attempts += 1;
                }
                put => return put.map(drop),
            }
        }
    }

    /// Compares the body that came last with the commit behind it, as it is stored now. One that is not what
    /// the commit says is removed again.
    async fn check_body(&mut self, manifest: &Manifest) -> Result<()> {
        let Some(body) = manifest.body else { return Ok(()) };
        let (store, place) = (self.session.store(), self.session.place());
        let key = place.body(manifest.seq, body.id)?;
        let Some((_, stored)) = self.body.take().filter(|(of, _)| *of == key) else {
            return Err(tar::bad(format_args!("the body of commit {} is not in front of it", manifest.seq)));
        };
        let checked = store.check_body(&key, manifest).await;
        let bad = checked.as_ref().is_err_and(|error| error.kind() == ErrorKind::Corrupt);
        // Not where it could only not be read: another import of this archive may have made a commit of it.
        if bad && stored && self.may_have(manifest.seq, body.id).await.is_ok_and(|there| !there) {
            // If this fails, a prune takes it for garbage.
            let _ = store.delete(&key).await;
        }
        // What was there before is the storage's.
        if !stored {
            return checked;
        }
        checked.map_err(|error| tar::damaged(format_args!("the body of commit {}", manifest.seq), error))
    }

    /// Bodies pass through; what they must be, the commit behind them says. One that is there already is left
    /// as it is.
    async fn body<R: AsyncRead + Unpin + Send>(&mut self, key: Key, input: &mut R, size: u64) -> Result<()> {
        // Bounded: a writer that waits for the storage, and a reader of the archive that waits for it.
        let (sender, receiver) = tokio::sync::mpsc::channel::<Result<Bytes>>(4);
        let chunks = futures_util::stream::unfold(receiver, |mut receiver| async move {
            receiver.recv().await.map(|chunk| (chunk, receiver))
        });
        let body = Body::from_stream(chunks).with_len(size);
        let adapter = &self.session.store().adapter;
        let there = match adapter.head(&key).await {
            Ok(_) => true,
            Err(error) if error.kind() == ErrorKind::NotFound => false,
            Err(error) => return Err(error),
        };
        let put = async {
            if there {
                body.try_for_each(|_| async { Ok(()) }).await
            } else {
                adapter.put(&key, body, PutOptions::new().create()).await.map(drop)
            }
        };
        let mut left = size;
        let read = async {
            while left > 0 {
                let mut chunk = vec![0; left.min(256 << 10) as usize];
                let chunk = match input.read_exact(&mut chunk).await {
                    Ok(_) => Ok(Bytes::from(chunk)),
                    Err(error) => Err(tar::bad("it ends early").with_source(error)),
                };
                let broken = chunk.is_err();
                left = left.saturating_sub(chunk.as_ref().map_or(0, Bytes::len) as u64);
                // The other side has stopped, and says why.
                if sender.send(chunk).await.is_err() || broken {
                    break;
                }
            }
            drop(sender);
        };
        let (put, ()) = tokio::join!(put, read);
        let mut stored = !there;
        match put {
            // Another import of this archive was faster. Whether it is what it must be is seen in any case.
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                stored = false;
                tokio::io::copy(&mut (&mut *input).take(left), &mut tokio::io::sink()).await?;
            }
            put => put?,
        }
        self.body = Some((key, stored));
        skip(input, tar::padding(size)).await
    }
}

/// The first entry.
async fn header<R: AsyncRead + Unpin + Send>(input: &mut R) -> Result<Header> {
    let size = tar::first(input, HEADER).await?;
    let header: Header = serde_json::from_slice(&entry(input, size, MAX_LINE).await?)
        .map_err(|e| tar::bad("its first entry").with_source(e))?;
    match header.format {
        1 => Ok(header),
        format => Err(newer(format_args!("format {format} of session archives"))),
    }
}

/// An entry, in memory, which grows only as far as bytes come, whatever the archive says about its size.
async fn entry<R: AsyncRead + Unpin + Send>(input: &mut R, size: u64, most: u64) -> Result<Bytes> {
    if size > most {
        let message = format!(
            "an entry of the archive has {size} bytes, the limit is {most}; export the session again"
        );
        return Err(Error::new(ErrorKind::InvalidInput, message));
    }
    let mut bytes = Vec::new();
    input.take(size).read_to_end(&mut bytes).await?;
    if bytes.len() as u64 != size {
        return Err(tar::bad("it ends early"));
    }
    skip(input, tar::padding(size)).await?;
    Ok(bytes.into())
}

async fn skip<R: AsyncRead + Unpin + Send>(input: &mut R, padding: usize) -> Result<()> {
    let mut rest = [0; 512];
    input.read_exact(&mut rest[..padding]).await.map_err(|e| tar::bad("it ends early").with_source(e))?;
    Ok(())
}
