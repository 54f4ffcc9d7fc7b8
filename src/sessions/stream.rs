//! States that do not fit into memory: saved and loaded as streams.

use bytes::{Bytes, BytesMut};
use futures_util::{StreamExt, TryStreamExt, stream};
use sha2::{Digest as _, Sha256};
use tokio::io::AsyncRead;

use super::{
    At, Commit, CommitId, CommitOptions, Restored, Session,
    clock::Moment,
    delta,
    draft::{Payload, dated},
    find::Newest,
    found::Found,
    load::{Look, Shown, pruned_meanwhile},
    log::shown,
    manifest::Manifest,
    names::Place,
    object,
    restore::Cache,
    store::Store,
    wire::corrupt,
};
use crate::{Body, Codec, Digest, ErrorKind, Key, PutOptions, Result, codec};

impl Session {
    /// Saves what `reader` gives, of any length. Up to 64 MiB
    /// ([`stream_limit`](super::Sessions::stream_limit)) this is [`save`](Session::save); a longer state
    /// passes through in bounded memory and is a keyframe. So is the commit that this handle, or one that has
    /// seen nothing, saves behind it: a delta needs the state before in memory, which a
    /// [`load`](Session::load) or a [`rebase`](Session::rebase) brings there. For states that do not fit,
    /// [`load_stream`](Session::load_stream) through a handle of its own is what goes on behind a conflict.
    ///
    /// # Errors
    /// As [`save`](Session::save), and what the reader fails with: then nothing was saved.
    pub async fn save_stream<R: AsyncRead + Send + 'static>(&self, reader: R) -> Result<Commit> {
        self.save_stream_with(reader, CommitOptions::new()).await
    }

    /// [`save_stream`](Session::save_stream) with notes and conditions.
    ///
    /// # Errors
    /// As [`save_stream`](Session::save_stream).
    pub async fn save_stream_with<R: AsyncRead + Send + 'static>(
        &self,
        reader: R,
        options: CommitOptions,
    ) -> Result<Commit> {
        self.save_body_with(Body::from_reader(reader), options).await
    }

    /// [`save_stream`](Session::save_stream) of a [`Body`].
    ///
    /// # Errors
    /// As [`save_stream`](Session::save_stream).
    pub async fn save_body(&self, body: Body) -> Result<Commit> {
        self.save_body_with(body, CommitOptions::new()).await
    }

    /// [`save_body`](Session::save_body) with notes and conditions.
    ///
    /// # Errors
    /// As [`save_stream`](Session::save_stream).
    pub async fn save_body_with(&self, mut body: Body, options: CommitOptions) -> Result<Commit> {
        if let Some(state) = body.in_memory() {
            return self.save_with(state.clone(), options).await;
        }
        let rebases = self.rebases();
        let mut start = BytesMut::new();
        while let Some(chunk) = body.chunk().await? {
            start.extend_from_slice(&chunk);
            if start.len() as u64 > self.store().stream_limit {
                let saved = self.save_long(rebases, start.freeze(), body, options).await;
                return saved.map_err(|error| error.with_operation("save"));
            }
        }
        self.write(rebases, Payload::State(start.freeze()), Vec::new(), options).await
    }

    async fn save_long(
        &self,
        rebases: u64,
        start: Bytes,
        rest: Body,
        options: CommitOptions,
    ) -> Result<Commit> {
        options.check()?;
        let store = self.store();
        store.check_writable()?;
        let mut writer = self.writer_since(rebases, &options).await?;
        self.follow(&mut writer, &options).await?;
        self.make_sure(&mut writer).await?;
        // Before a long upload, not behind it.
        writer.meet_owner(store, self.place()).await;
        let seq = writer.continued(self.place(), &options)?.seq + 1;
        let id = store.new_id(None);
        let whole = Body::from_stream(stream::once(async { Ok(start) }).chain(rest));
        let codec = Codec::Gzip { level: store.level };
        let encoded = codec::encode(whole, codec).await?;
        let summary = encoded.summary();
        let began = Moment::now(&*store.clock);
        let put = PutOptions::new().content_type(codec.content_type());
        let key = self.place().body(seq, id)?;
        let meta = store.adapter.put(&key, encoded.body, put).await?;
        let began = dated(store, &key, began, &meta).await;
        let codec::Summary { raw_size: size, digest } = summary()?;
        let content = Payload::Stored { seq, id, digest, size, stored: meta.size, began };
        self.write_as(&mut writer, content, Vec::new(), options).await.inspect(|_| self.saved())
    }

    /// Opens a commit's state as a stream, and tells which commit it is. **Only a clean end of the stream
    /// says that the state is good.** A state that was saved as a long stream passes in bounded memory; any
    /// other one is in memory and checked already.
    ///
    /// # Errors
    /// As [`load`](Session::load), here or in place of the end.
    pub async fn load_stream(&self, at: impl Into<At> + Send) -> Result<(Commit, Body)> {
        let at = at.into();
        self.heard(self.open_state(&at).await).map_err(|error| error.with_operation("load"))
    }

    async fn open_state(&self, at: &At) -> Result<(Commit, Body)> {
        let looked = Moment::now(&*self.store().clock);
        let mut attempts = 0;
        loop {
            let Newest { found, origin } = self.meant(at, Some(looked)).await?;
            let manifest = found.manifest().map_err(|error| self.noticed(error))?;
            let place = found.place.clone();
            let opened = match manifest.body {
                Some(body) if manifest.is_keyframe() => {
                    self.open_long(found, &manifest, body.id).await.map(|opened| (opened, None))
                }
                _ => self.restore(found).await.map(|restored| {
                    let base = Some(restored.base.clone());
                    let Restored { state, commit, .. } = self.shown(restored, &place, Vec::new());
                    ((commit, Body::from(state)), base)
                }),
            };
            match opened {
                Ok((opened, base)) => {
                    let shown =
                        Shown { manifest: &manifest, base: base.as_ref(), place: &place, is_origin: origin };
                    self.begin(shown, Look::of(at, looked)).await?;
                    return Ok(opened);
                }
                Err(error) => pruned_meanwhile(at, error, &mut attempts)?,
            }
        }
    }

    /// The state of a keyframe whose body is an object of its own.
    async fn open_long(&self, found: Found, manifest: &Manifest, body: CommitId) -> Result<(Commit, Body)> {
        let Found { place, seq, bytes, total } = found;
        let store = self.store();
        // Every check of the small object.
        object::at(object::decode(bytes, seq, &store.limits), &place.commit(seq)?)
            .map_err(|error| self.noticed(error))?;
        let key = place.body(seq, body)?;
        let state = match store.open_body(&key, manifest).await {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                let error = store.missing(&place, seq, error.with_key(&key)).await;
                return Err(self.noticed(error));
            }
            opened => opened.map_err(|error| self.noticed(error))?,
        };
        let session = self.clone();
        let state = checked(state, manifest, key).naming(move |error| {
            if error.kind() == ErrorKind::Corrupt {
                session.heard_of_damage();
            }
            error
        });
        Ok((shown(manifest.clone(), &place, total), state))
    }
}

impl Store {
    /// Checks a commit: that of a long stream in bounded memory, any other one by being restored.
    pub(super) async fn check(
        &self,
        place: &Place,
        seq: u64,
        bytes: Bytes,
        cache: &mut Cache,
    ) -> Result<Manifest> {
        match self.check_long(place, seq, &bytes).await? {
            Some(manifest) => Ok(manifest),
            None => Ok(self.restore_cached(place, seq, bytes, cache).await?.manifest),
        }
    }

    /// Checks the commit of a long stream in bounded memory. `None` for any other one, which is checked by
    /// being restored.
    pub(super) async fn check_long(
        &self,
        place: &Place,
        seq: u64,
        bytes: &Bytes,
    ) -> Result<Option<Manifest>> {
        let Ok(Some(manifest)) = object::manifest(bytes, bytes.len() as u64, seq) else { return Ok(None) };
        let (true, Some(body)) = (manifest.is_keyframe(), manifest.body) else { return Ok(None) };
        if manifest.size <= self.stream_limit {
            return Ok(None);
        }
        object::at(object::decode(bytes.clone(), seq, &self.limits), &place.commit(seq)?)?;
        let key = place.body(seq, body.id)?;
        match self.check_body(&key, &manifest).await {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                Err(self.missing(place, seq, error.with_key(&key)).await)
            }
            checked => checked.map(|()| Some(manifest)),
        }
    }

    /// Reads the body of a commit that is an object of its own, and compares it with what the commit says. Of
    /// a delta, its own check: what it gives shows only with its base.
    pub(super) async fn check_body(&self, key: &Key, manifest: &Manifest) -> Result<()> {
        if manifest.is_keyframe() {
            let state = checked(self.open_body(key, manifest).await?, manifest, key.clone());
            return state.try_for_each(|_| async { Ok(()) }).await;
        }
        let bytes = self.delta_body(key, manifest).await?;
        object::at(delta::decode(bytes, &self.limits).map(drop).map_err(object::of_delta), key)
    }
}

/// `body`, and at its end an error if it is not the state of this commit.
fn checked(body: Body, manifest: &Manifest, key: Key) -> Body {
    struct Check {
        body: Body,
        hasher: Sha256,
        size: u64,
        wanted: (Digest, u64),
        key: Key,
    }
    let start = Check { body, hasher: Sha256::new(), size: 0, wanted: (manifest.digest, manifest.size), key };
    let stream = stream::try_unfold(start, |mut check| async move {
        match check.body.chunk().await.map_err(|error| error.with_key(&check.key))? {
            Some(chunk) => {
                check.hasher.update(&chunk);
                check.size += chunk.len() as u64;
                Ok(Some((chunk, check)))
            }
            None => {
                let digest = Digest::finish(check.hasher);
                if (digest, check.size) == check.wanted {
                    return Ok(None);
                }
                Err(corrupt("the state's digest is wrong").with_key(&check.key))
            }
        }
    });
    Body::from_stream(stream)
}
