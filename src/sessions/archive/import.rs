//! Into a storage.
//!
//! The number of the newest commit is taken first, by an origin of nothing, and gets its commit last. So until everything is there nobody can
//! write or load the session, and whoever looks is told why.

use bytes::Bytes;
use futures_util::TryStreamExt;
use tokio::io::{AsyncRead, AsyncReadExt};

use super::{HEADER, Header, LINE, Moved, tar};
use crate::{
    Body, Error, ErrorKind, Key, ListOptions, ObjectMeta, PutOptions, Result, Version,
    sessions::{
        CommitId, Session,
        line::LineRecord,
        manifest::Manifest,
        names::unbody,
        object,
        refs::{Origin, TagRef, Target},
        store::{Described, Part, Slot},
        wire::newer,
    },
};

/// The longest entry that is neither a commit nor a body: the header, the line, a tag.
const MAX_SMALL: u64 = 64 << 20;
/// The longest commit, where [`Sessions::sizes`](crate::sessions::Sessions::sizes) does not allow longer ones. Longer states have a body of their own.
const MAX_COMMIT: u64 = 256 << 20;

const MEDIA: &str = "application/octet-stream";

/// An import under way.
struct Import<'a> {
    session: &'a Session,
    /// What the archive says of its commits.
    line: Option<LineRecord>,
    /// The commits that have come, ascending.
    seqs: Vec<u64>,
    /// The numbers of the newest and the first commit are this import's.
    claimed: bool,
    /// What keeps the number of the newest commit until that comes.
    keeper: Option<Version>,
    /// It was put there by this import.
    kept: bool,
    /// The body whose commit comes next, and whether this import has stored it.
    body: Option<(Key, bool)>,
    moved: Moved,
}

impl Session {
    /// Reads an archive that [`export`](Session::export) wrote into this session, which must not exist: under any name, in any storage. Every commit is
    /// checked before it is stored, and its body, where that is an object of its own, before the commit. Until all are there, the session is none, and
    /// saves to it are a `Conflict`. An import that broke off is finished by another one, or goes with [`remove`](Session::remove).
    ///
    /// # Errors
    /// `AlreadyExists` if there is another session of this name, or was one that was removed; `Corrupt` for an archive that is damaged or cut, `Unsupported` for one of a
    /// newer version.
    pub async fn import<R: AsyncRead + Unpin + Send>(&self, input: &mut R) -> Result<Moved> {
        let mut import = Import {
            session: self,
            line: None,
            seqs: Vec::new(),
            claimed: false,
            keeper: None,
            kept: false,
            body: None,
            moved: Moved::default(),
        };
        let run = import.run(input).await;
        if run.as_ref().is_err_and(|error| error.kind() == ErrorKind::AlreadyExists) {
            import.yield_to_others().await;
        }
        run.map_err(|error| error.with_operation("import"))?;
        self.has_begun();
        Ok(import.moved)
    }
}

impl Import<'_> {
    async fn run<R: AsyncRead + Unpin + Send>(&mut self, input: &mut R) -> Result<()> {
        let size = tar::first(input, HEADER).await?;
        let header: Header = serde_json::from_slice(&entry(input, size, MAX_SMALL).await?)
            .map_err(|e| tar::bad("its first entry").with_source(e))?;
        if header.format != 1 {
            return Err(newer(format_args!("format {} of session archives", header.format)));
        }
        while let Some((name, size)) = tar::next(input).await? {
            let place = self.session.place();
            match name.split_once('/') {
                None if name == LINE => {
                    self.line = Some(LineRecord::decode(&entry(input, size, MAX_SMALL).await?)?)
                }
                Some(("c", _)) => {
                    let key = Key::new(place.prefix(&name))?;
                    let seq = place.seq_of(&key)?;
                    let bytes = entry(input, size, self.max_commit()).await?;
                    let commit =
                        object::at(object::decode(bytes.clone(), seq, &self.session.store().limits), &key)?;
                    self.check_body(&commit.manifest).await?;
                    self.next(seq)?;
                    self.claim(seq).await?;
                    self.commit(seq, &key, bytes).await?;
                }
                Some(("b", _)) => {
                    let key = Key::new(place.prefix(&name))?;
                    let Some((seq, id)) = unbody(place, &key) else { return Err(tar::bad("a body's name")) };
                    if self.line.as_ref().is_some_and(|line| seq > line.upto || !line.has(seq)) {
                        return Err(tar::bad(format_args!("the body of commit {seq} is out of place")));
                    }
                    self.claim(seq).await?;
                    self.may_have(seq, id).await?;
                    self.body(key, input, size).await?;
                }
                Some(("t", _)) => {
                    let tag = TagRef::decode(&entry(input, size, MAX_SMALL).await?)?;
                    match self.session.tag(&tag.name, tag.target.seq).await {
                        // Moved since an import that broke off: it stays where it is.
                        Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                        tagged => {
                            tagged?;
                            self.moved.tags += 1;
                        }
                    }
                }
                _ => return Err(tar::bad(format_args!("it has the unknown entry {name:?}"))),
            }
            if name.contains("/") {
                self.moved.bytes += size;
            }
        }
        match &self.line {
            Some(line) if self.seqs.last() == Some(&line.upto) => Ok(()),
            _ => Err(tar::bad("its newest commit is not in it")),
        }
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

    /// A commit with new bytes up to `inline` is one object; they do not grow by more than what stands around them.
    fn max_commit(&self) -> u64 {
        MAX_COMMIT.max(2 * self.session.store().inline as u64)
    }

    async fn commit(&mut self, seq: u64, key: &Key, bytes: Bytes) -> Result<()> {
        let store = self.session.store();
        let newest = self.line.as_ref().is_some_and(|line| line.upto == seq);
        let put = match self.keeper.take_if(|_| newest) {
            Some(keeper) => {
                self.put_line().await?;
                self.replace(key, bytes.clone(), keeper).await
            }
            None => store.create(key, bytes.clone(), MEDIA).await,
        };
        if let Err(error) = put {
            match store.read(key).await {
                Ok((there, _)) if there == bytes => {}
                Ok(_) => return Err(self.taken().await.with_source(error)),
                Err(_) => return Err(error),
            }
        }
        self.moved.commits += 1;
        Ok(())
    }

    /// Makes sure that nobody else begins this session: first by the number of its newest commit, where everybody looks, then by that of the
    /// first, which a writer takes that has looked before.
    async fn claim(&mut self, first: u64) -> Result<()> {
        let Some(line) = &self.line else { return Err(tar::bad("a body is in front of its line")) };
        if self.claimed || line.upto == 1 {
            return Ok(());
        }
        let (store, place) = (self.session.store(), self.session.place());
        let bad = |error| tar::bad("its newest number cannot be").with_source(error);
        let newest = place.commit(line.upto).map_err(bad)?;
        let begun = self.has_begun().await?;
        match store.slot(place, line.upto, Part::End).await {
            Ok((Slot::Origin(_), meta)) => self.keeper = Some(meta.version),
            // Imported before. Where the first commits are not there, they were pruned.
            Ok((Slot::Commit(_), _)) if first > 1 && !begun => return Err(self.taken().await),
            Ok((Slot::Commit(_), _)) => {}
            Err(error) if error.kind() == ErrorKind::NotFound => {
                let mut rows = store.commits(place, ListOptions::new());
                while let Some(row) = rows.try_next().await? {
                    // An earlier release kept only the first number.
                    if !begun || row.seq > line.upto || (row.seq > 1 && !line.has(row.seq)) {
                        return Err(self.taken().await);
                    }
                }
                self.keeper = Some(self.keep(&newest).await?);
                self.kept = true;
            }
            Err(error) => return Err(error),
        }
        if first > 1 && !begun && self.keeper.is_some() {
            self.keep(&place.commit(1)?).await?;
        }
        self.claimed = true;
        Ok(())
    }

    /// Puts an origin of nothing where a commit would be.
    async fn keep(&self, key: &Key) -> Result<Version> {
        let (store, place) = (self.session.store(), self.session.place());
        let nothing = Target { seq: 0, id: CommitId::from_bytes([0; 16]) };
        let id = store.new_id(None);
        let origin = Origin { id, target: nothing, source: place.clone(), ids: self.session.ids() };
        let bytes = Bytes::from(origin.encode());
        match store.create(key, bytes.clone(), MEDIA).await {
            Ok(meta) => Ok(meta.version),
            Err(error) => match store.read(key).await {
                Ok((there, meta)) if there == bytes => Ok(meta.version),
                Ok(_) => Err(self.taken().await.with_source(error)),
                Err(_) => Err(error),
            },
        }
    }

    /// Makes the session visible.
    async fn replace(&self, key: &Key, bytes: Bytes, keeper: Version) -> Result<ObjectMeta> {
        let store = self.session.store();
        if store.adapter.capabilities().replace {
            return store.put(key, bytes, PutOptions::new().replace(keeper).content_type(MEDIA)).await;
        }
        // Who takes the number in between goes on behind all the others.
        store.delete(key).await?;
        store.create(key, bytes, MEDIA).await
    }

    /// Whether an import has begun this session, whose first commit is not 1.
    async fn has_begun(&self) -> Result<bool> {
        let origin = self.session.store().origin(self.session.place()).await?;
        Ok(origin.is_some_and(|origin| origin.target.seq == 0))
    }

    /// Fails where the commit `seq` is there already and has another body.
    async fn may_have(&self, seq: u64, body: CommitId) -> Result<()> {
        match self.session.store().manifest(self.session.place(), seq).await {
            Ok((Described::Commit(manifest), _)) if manifest.body.is_some_and(|of| of.id == body) => Ok(()),
            Ok((Described::Commit(_), _)) => Err(self.taken().await),
            Ok((Described::Origin(_), _)) => Ok(()),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
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
        let (there, version) = store.line(self.session.place()).await?;
        let options = match version {
            // Another import of this archive was faster.
            Some(_) if there.upto >= line.upto => return Ok(()),
            // Of a prune that met this import.
            Some(version) => PutOptions::new().replace(version),
            None => PutOptions::new().create(),
        };
        store.put(&self.session.place().line()?, bytes.into(), options).await.map(|_| ())
    }

    /// Compares the body that came last with the commit behind it, as it is stored now. One that is not what the commit says is removed again.
    async fn check_body(&mut self, manifest: &Manifest) -> Result<()> {
        let Some(body) = manifest.body else { return Ok(()) };
        let (store, place) = (self.session.store(), self.session.place());
        let key = place.body(manifest.seq, body.id)?;
        let Some((_, stored)) = self.body.take().filter(|(of, _)| *of == key) else {
            return Err(tar::bad(format_args!("the body of commit {} is not in front of it", manifest.seq)));
        };
        let checked = store.check_body(&key, manifest).await;
        if checked.is_err() && stored {
            // If this fails, a prune takes it for garbage.
            let _ = store.delete(&key).await;
        }
        checked
    }

    /// Bodies pass through; what they must be, the commit behind them says. One that is there already is left as it is.
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
            match there {
                true => body.try_for_each(|_| async { Ok(()) }).await,
                false => adapter.put(&key, body, PutOptions::new().create()).await.map(drop),
            }
        };
        let read = async {
            let mut left = size;
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
        put?;
        self.body = Some((key, !there));
        skip(input, tar::padding(size)).await
    }

    /// A writer was faster: the session is its own.
    async fn yield_to_others(&mut self) {
        let (store, place) = (self.session.store(), self.session.place());
        if let (Some(line), Some(keeper), true) = (&self.line, &self.keeper, self.kept)
            && self.moved.commits == 0
            && let Ok(key) = place.commit(line.upto)
        {
            let _ = store.delete_version(&key, keeper).await;
        }
    }

    async fn taken(&self) -> Error {
        self.session.store().taken(self.session.place(), "import").await
    }
}

/// An entry, in memory, which grows only as far as bytes come, whatever the archive says about its size.
async fn entry<R: AsyncRead + Unpin + Send>(input: &mut R, size: u64, most: u64) -> Result<Bytes> {
    if size > most {
        let message = format!(
            "an entry of the archive has {size} bytes, the limit is {most}; give `Sessions::sizes` the `inline` that it was written with"
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
