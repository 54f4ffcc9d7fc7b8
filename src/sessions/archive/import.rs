//! Into a storage.

use bytes::Bytes;
use futures_util::TryStreamExt;
use tokio::io::{AsyncRead, AsyncReadExt};

use super::{HEADER, Header, LINE, Moved, tar};
use crate::{
    Body, Error, ErrorKind, Key, PutOptions, Result,
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

/// An import under way.
struct Import<'a> {
    session: &'a Session,
    line: Option<LineRecord>,
    /// The first commit's key is this import's.
    claimed: bool,
    /// The body whose commit comes next, and whether this import has stored it.
    body: Option<(Key, bool)>,
    moved: Moved,
}

impl Session {
    /// Reads an archive that [`export`](Session::export) wrote into this session, which must not exist: under any name, in any storage. Every commit is
    /// checked before it is stored, and its body, where that is an object of its own, before the commit. An import that broke off is finished by another one.
    ///
    /// # Errors
    /// `AlreadyExists` if there is another session of this name, `Corrupt` for an archive that is damaged or cut, `Unsupported` for one of a
    /// newer version.
    pub async fn import<R: AsyncRead + Unpin + Send>(&self, input: &mut R) -> Result<Moved> {
        let mut import =
            Import { session: self, line: None, claimed: false, body: None, moved: Moved::default() };
        import.run(input).await.map_err(|error| error.with_operation("import"))?;
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
                    self.commit(seq, &key, bytes).await?;
                }
                Some(("b", _)) => {
                    let key = Key::new(place.prefix(&name))?;
                    let Some((seq, id)) = unbody(place, &key) else { return Err(tar::bad("a body's name")) };
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
        if self.moved.commits == 0 { Err(tar::bad("it has no commit")) } else { Ok(()) }
    }

    /// A commit with new bytes up to `inline` is one object; they do not grow by more than what stands around them.
    fn max_commit(&self) -> u64 {
        MAX_COMMIT.max(2 * self.session.store().inline as u64)
    }

    async fn commit(&mut self, seq: u64, key: &Key, bytes: Bytes) -> Result<()> {
        let store = self.session.store();
        if seq > 1 {
            self.claim(seq).await?;
        }
        match store.create(key, bytes.clone(), "application/octet-stream").await {
            Ok(_) => {}
            Err(error) => match store.read(key).await {
                Ok((there, _)) if there == bytes => {}
                Ok(_) => return Err(self.exists().with_source(error)),
                Err(_) => return Err(error),
            },
        }
        if seq == 1 {
            self.claimed = true;
            self.put_line().await?;
        }
        self.moved.commits += 1;
        Ok(())
    }

    /// Makes sure that nobody else begins this session: by the key of its first commit, as everybody does.
    async fn claim(&mut self, first: u64) -> Result<()> {
        if self.claimed || first == 1 {
            return Ok(());
        }
        let (store, place) = (self.session.store(), self.session.place());
        if !self.has_begun().await? && store.newest(place).await?.is_some() {
            // Its first commits were pruned.
            return Err(self.exists());
        }
        let nothing = Target { seq: 0, id: CommitId::from_bytes([0; 16]) };
        let id = store.new_id(None);
        let origin = Origin { id, target: nothing, source: place.clone(), ids: self.session.ids() };
        let key = place.commit(1)?;
        if let Err(error) = store.create(&key, origin.encode().into(), "application/octet-stream").await {
            match self.has_begun().await {
                Ok(true) => {}
                Ok(false) => return Err(self.exists().with_source(error)),
                Err(_) => return Err(error),
            }
        }
        self.claimed = true;
        self.put_line().await
    }

    /// Whether an import has begun this session.
    async fn has_begun(&self) -> Result<bool> {
        match self.session.store().slot(self.session.place(), 1, Part::End).await {
            Ok((Slot::Origin(origin), _)) => Ok(origin.target.seq == 0),
            Ok(_) => Ok(false),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Fails where the commit `seq` is there already and has another body.
    async fn may_have(&self, seq: u64, body: CommitId) -> Result<()> {
        match self.session.store().manifest(self.session.place(), seq).await {
            Ok((Described::Commit(manifest), _)) if manifest.body.is_some_and(|of| of.id == body) => Ok(()),
            Ok(_) => Err(self.exists()),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Which commits were on the line, where some were pruned.
    async fn put_line(&mut self) -> Result<()> {
        let Some(mut line) = self.line.take() else { return Ok(()) };
        let (store, place) = (self.session.store(), self.session.place());
        if line.runs == [1..=line.upto] {
            return Ok(());
        }
        // The origin of an import is on the line like that of a fork.
        if !line.has(1) {
            line.runs.push(1..=1);
        }
        line.announced = None;
        let key = place.line()?;
        match store.create(&key, line.encode().into(), "application/octet-stream").await {
            // A prune has been here since a first attempt.
            Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
            other => other.map(|_| ()),
        }
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

    fn exists(&self) -> Error {
        let message =
            format!("the session {} exists already; import under another name", self.session.place());
        Error::new(ErrorKind::AlreadyExists, message)
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
