//! What users call: save and load over any adapter.

mod files;
mod json;
mod optional;
mod options;
mod reader;

use std::{ops::Range, path::Path};

use async_trait::async_trait;
use bytes::Bytes;
use serde::{Serialize, de::DeserializeOwned};
use tokio::io::AsyncRead;

#[doc(hidden)]
pub use files::FileTarget;
pub(crate) use json::{from_json, to_json};
pub use optional::Optional;
pub use options::{LoadOptions, SaveOptions, Saved};
pub use reader::SnapshotReader;

use crate::{
    Body, DeleteOptions, Description, Error, ErrorKind, GetOptions, Key, ObjectMeta, Result, SnapshotAdapter,
    Version, codec,
};

/// `save`, `load` and their streaming, JSON and file forms, on every [`SnapshotAdapter`],
/// `Arc<dyn SnapshotAdapter>` included.
///
/// Arguments run from source to destination: `save(state, key)`, `upload(path, key)`, `download(key, path)`.
/// Text will do wherever a key is wanted, so mind the order where the state is text as well: the compiler
/// takes both. Whatever saves or loads a whole state has a form with options, whose name ends with `_with`.
///
/// ```
/// use futures_util::TryStreamExt;
/// use persist::{ErrorKind, ListOptions, SaveOptions, SnapshotAdapter, SnapshotAdapterExt};
/// use persist::adapters::memory::MemoryAdapter;
/// use tokio::io::AsyncReadExt;
/// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
/// let store = MemoryAdapter::new();
///
/// // Whole, as JSON, and by range.
/// store.save_json(&vec![1, 2, 3], "run/state.json.gz").await?;
/// assert_eq!(store.load_json::<Vec<u32>>("run/state.json.gz").await?, [1, 2, 3]);
/// assert_eq!(store.load_range("run/state.json.gz", 1..4).await?, "1,2");
///
/// // Read, change, save: only if nobody was faster. The version is that of what was loaded.
/// let (mut state, version) = store.load_json_versioned::<Vec<u32>>("run/state.json.gz").await?;
/// state.push(4);
/// let unchanged = SaveOptions::new().replace(version);
/// store.save_json_with(&state, "run/state.json.gz", unchanged.clone()).await?;
/// let late = store.save_with("[5]", "run/state.json.gz", unchanged).await.unwrap_err();
/// assert_eq!(late.kind(), ErrorKind::Conflict); // load again, change that, save
///
/// // Of any size, in bounded memory. Only a clean end says that the state is good.
/// store.save_stream(tokio::io::repeat(7).take(3 << 20), "run/large.gz").await?;
/// let (_, bytes) = store.load_stream("run/large.gz").await?.copy_to(std::io::sink()).await?;
/// assert_eq!(bytes, 3 << 20);
///
/// // What is there, in the order of the keys, and how it goes.
/// let rows: Vec<_> = store.list(ListOptions::new().prefix("run/")).try_collect().await?;
/// assert_eq!(rows.len(), 2);
/// store.remove("run/large.gz").await?;
/// # Ok::<(), persist::Error>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// Every method fails with `InvalidInput` for text that is no key, and with what the adapter fails with.
/// Loads also fail with `NotFound`, `Corrupt` for damage, and `InvalidInput` beyond a [limit](crate::Limits).
/// Saves with a condition fail with `AlreadyExists` or `Conflict`. Where a snapshot is replaced while it is
/// read, and the storage gives no more of the old one, a stream or device ends with `Conflict`; every other
/// load reads the new one.
#[async_trait]
pub trait SnapshotAdapterExt: SnapshotAdapter {
    /// Saves a state that is in memory (`Vec<u8>`, `String`, [`Bytes`] or a literal; of what is borrowed
    /// `to_owned()`), in one atomic, durable step. A resumable upload that the service
    /// lost is begun anew, since the state is still in memory.
    async fn save(&self, state: impl Into<Bytes> + Send, key: impl IntoKey) -> Result<Saved> {
        self.save_with(state, key, SaveOptions::new()).await
    }

    /// [`save`](Self::save) with options.
    async fn save_with(
        &self,
        state: impl Into<Bytes> + Send,
        key: impl IntoKey,
        options: SaveOptions,
    ) -> Result<Saved> {
        let (state, key) = (state.into(), key.into_key()?);
        match self.save_body_with(Body::from(state.clone()), &key, options.clone()).await {
            Err(error) if error.source_past() => self.save_body_with(Body::from(state), &key, options).await,
            outcome => outcome,
        }
    }

    /// Saves what `reader` gives, of any length, in bounded memory. If the reader fails, nothing is stored.
    async fn save_stream(&self, reader: impl AsyncRead + Send + 'static, key: impl IntoKey) -> Result<Saved> {
        self.save_stream_with(reader, key, SaveOptions::new()).await
    }

    /// [`save_stream`](Self::save_stream) with options.
    async fn save_stream_with(
        &self,
        reader: impl AsyncRead + Send + 'static,
        key: impl IntoKey,
        options: SaveOptions,
    ) -> Result<Saved> {
        self.save_body_with(Body::from_reader(reader), key, options).await
    }

    /// Saves a [`Body`]: the general form of `save` and `save_stream`.
    async fn save_body(&self, body: Body, key: impl IntoKey) -> Result<Saved> {
        self.save_body_with(body, key, SaveOptions::new()).await
    }

    /// [`save_body`](Self::save_body) with options.
    async fn save_body_with(&self, body: Body, key: impl IntoKey, options: SaveOptions) -> Result<Saved> {
        let key = key.into_key()?;
        let codec = options.codec.unwrap_or(self.capabilities().settings.codec);
        let mut put = options.put;
        put.content_type.get_or_insert_with(|| codec.content_type().into());
        // A copied object's metadata may speak of another encoding.
        for name in codec::NAMES {
            put.metadata.remove(name);
        }
        let encoded =
            codec::encode(body, codec).await.map_err(|e| e.with_operation("save").with_key(&key))?;
        put.metadata.extend(encoded.metadata.iter().map(|(name, value)| (name.to_string(), value.clone())));
        let summary = encoded.summary();
        let meta = self.put(&key, encoded.body, put).await?;
        let codec::Summary { raw_size, digest } = summary()?;
        Ok(Saved { meta, size: raw_size, digest, codec })
    }

    /// Loads a state whole. It is returned only after every check has passed.
    async fn load(&self, key: impl IntoKey) -> Result<Bytes> {
        self.load_with(key, LoadOptions::new()).await
    }

    /// [`load`](Self::load) with options.
    async fn load_with(&self, key: impl IntoKey, options: LoadOptions) -> Result<Bytes> {
        Ok(self.load_versioned_with(key, options).await?.0)
    }

    /// [`load`](Self::load), and the version of what was loaded: the one for [`SaveOptions::replace`]. A
    /// version that is asked for behind the load may be that of a state which somebody saved in between.
    async fn load_versioned(&self, key: impl IntoKey) -> Result<(Bytes, Version)> {
        self.load_versioned_with(key, LoadOptions::new()).await
    }

    /// [`load_versioned`](Self::load_versioned) with options.
    async fn load_versioned_with(&self, key: impl IntoKey, options: LoadOptions) -> Result<(Bytes, Version)> {
        let key = key.into_key()?;
        let load = || async {
            let reader = open(self, &key, &options).await?;
            Ok((reader.body.collect(u64::MAX).await?, reader.meta.version))
        };
        of_one_version(options.if_version.as_ref(), load).await
    }

    /// Opens a state as a stream, in bounded memory.
    async fn load_stream(&self, key: impl IntoKey) -> Result<SnapshotReader> {
        self.load_stream_with(key, LoadOptions::new()).await
    }

    /// [`load_stream`](Self::load_stream) with options.
    async fn load_stream_with(&self, key: impl IntoKey, options: LoadOptions) -> Result<SnapshotReader> {
        let key = key.into_key()?;
        of_one_version(options.if_version.as_ref(), || open(self, &key, &options)).await
    }

    /// The bytes `range` of a state, cut where it ends. From a snapshot that `save` wrote with the codec
    /// `gzip` only the segments of 1 MiB that hold them are read. `InvalidInput` for an empty range, and for
    /// one that starts at or behind the end.
    async fn load_range(&self, key: impl IntoKey, range: Range<u64>) -> Result<Bytes> {
        let key = key.into_key()?;
        let whole = range.end.saturating_sub(range.start);
        let limits = self.capabilities().settings.limits;
        let part = of_one_version(None, || async {
            match codec::decode_range(self, &key, range.clone(), limits).await?.collect(whole).await? {
                nothing if nothing.is_empty() => {
                    let message =
                        format!("the range starts at byte {}, the state ends before it", range.start);
                    Err(Error::new(ErrorKind::InvalidInput, message))
                }
                part => Ok(part),
            }
        });
        part.await.map_err(|error| error.with_operation("load").with_key(&key))
    }

    /// Removes a snapshot, whatever its version; a missing one is `Ok`. With a condition:
    /// [`delete`](SnapshotAdapter::delete).
    async fn remove(&self, key: impl IntoKey) -> Result<()> {
        self.delete(&key.into_key()?, DeleteOptions::new()).await
    }

    /// What an object says about its state, from its first and last bytes.
    async fn describe(&self, key: impl IntoKey) -> Result<Description> {
        let key = key.into_key()?;
        let described = of_one_version(None, || codec::describe(self, &key)).await;
        described.map_err(|error| error.with_operation("describe").with_key(&key))
    }

    /// Saves the file at `path`. It is read once more where the service lost a resumable upload.
    async fn upload(&self, path: impl AsRef<Path> + Send, key: impl IntoKey) -> Result<Saved> {
        self.upload_with(path, key, SaveOptions::new()).await
    }

    /// [`upload`](Self::upload) with options.
    async fn upload_with(
        &self,
        path: impl AsRef<Path> + Send,
        key: impl IntoKey,
        options: SaveOptions,
    ) -> Result<Saved> {
        let (path, key) = (path.as_ref().to_owned(), key.into_key()?);
        let body = files::open(path.clone()).await?;
        match self.save_body_with(body, &key, options.clone()).await {
            Err(error) if error.source_past() => {
                self.save_body_with(files::open(path).await?, &key, options).await
            }
            outcome => outcome,
        }
    }

    /// Loads a state into the file at `path`, which is replaced in one step after every check has passed: a
    /// failed load leaves what was there.
    async fn download(&self, key: impl IntoKey, path: impl AsRef<Path> + Send) -> Result<ObjectMeta> {
        self.download_with(key, path, LoadOptions::new()).await
    }

    /// [`download`](Self::download) with options.
    async fn download_with(
        &self,
        key: impl IntoKey,
        path: impl AsRef<Path> + Send,
        options: LoadOptions,
    ) -> Result<ObjectMeta> {
        let (path, key) = (path.as_ref().to_owned(), key.into_key()?);
        let download = || async { files::store(open(self, &key, &options).await?, path.clone()).await };
        of_one_version(options.if_version.as_ref(), download).await?
    }

    /// [`download`](Self::download) unless `version` is still the current one; then `None`, and the file
    /// stays.
    async fn download_if_newer(
        &self,
        key: impl IntoKey,
        path: impl AsRef<Path> + Send,
        version: &Version,
    ) -> Result<Option<ObjectMeta>> {
        match self.download_with(key, path, LoadOptions::new().if_not_version(version.clone())).await {
            Ok(meta) => Ok(Some(meta)),
            Err(error) if error.kind() == ErrorKind::NotModified => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Saves a value as JSON.
    async fn save_json<T: Serialize + Sync>(&self, value: &T, key: impl IntoKey) -> Result<Saved> {
        self.save_json_with(value, key, SaveOptions::new()).await
    }

    /// [`save_json`](Self::save_json) with options.
    async fn save_json_with<T: Serialize + Sync>(
        &self,
        value: &T,
        key: impl IntoKey,
        options: SaveOptions,
    ) -> Result<Saved> {
        self.save_with(to_json(value)?, key, options).await
    }

    /// Loads a value from JSON, after every check of the whole snapshot has passed. What is no such value is
    /// `InvalidInput`, whose cause says where it differs and cites nothing of the state.
    async fn load_json<T: DeserializeOwned>(&self, key: impl IntoKey) -> Result<T> {
        self.load_json_with(key, LoadOptions::new()).await
    }

    /// [`load_json`](Self::load_json) with options.
    async fn load_json_with<T: DeserializeOwned>(
        &self,
        key: impl IntoKey,
        options: LoadOptions,
    ) -> Result<T> {
        Ok(self.load_json_versioned_with(key, options).await?.0)
    }

    /// [`load_json`](Self::load_json), and the version of what was loaded, as
    /// [`load_versioned`](Self::load_versioned).
    async fn load_json_versioned<T: DeserializeOwned>(&self, key: impl IntoKey) -> Result<(T, Version)> {
        self.load_json_versioned_with(key, LoadOptions::new()).await
    }

    /// [`load_json_versioned`](Self::load_json_versioned) with options.
    async fn load_json_versioned_with<T: DeserializeOwned>(
        &self,
        key: impl IntoKey,
        options: LoadOptions,
    ) -> Result<(T, Version)> {
        let key = key.into_key()?;
        let bad = |error| {
            let message = "the snapshot is intact, but not the JSON that was asked for";
            Error::new(ErrorKind::InvalidInput, message)
                .with_operation("load")
                .with_key(&key)
                .with_source(error)
        };
        let (state, version) = self.load_versioned_with(&key, options).await?;
        Ok((from_json(&state).map_err(bad)?, version))
    }

    /// Whether there is a snapshot.
    async fn exists(&self, key: impl IntoKey) -> Result<bool> {
        match self.head(&key.into_key()?).await {
            Ok(_) => Ok(true),
            Err(error) if error.kind() == ErrorKind::NotFound && !error.is_of_bucket() => Ok(false),
            Err(error) => Err(error),
        }
    }
}

/// Opens a snapshot, in as many requests as that takes.
async fn open<A: SnapshotAdapter + ?Sized>(
    adapter: &A,
    key: &Key,
    options: &LoadOptions,
) -> Result<SnapshotReader> {
    let mut get = GetOptions::new();
    get.if_version.clone_from(&options.if_version);
    get.if_not_version.clone_from(&options.if_not_version);
    let limits = options.limits.unwrap_or(adapter.capabilities().settings.limits);
    let opened = async {
        let object = adapter.get(key, get).await?;
        let meta = object.meta.clone();
        let (body, checked) = codec::decode(adapter, key, object, limits, options.verify_digest).await?;
        let mut reader = SnapshotReader::new(meta, body.with_context("load", key));
        reader.checked = checked;
        Ok(reader)
    };
    opened.await.map_err(|error: Error| error.with_operation("load").with_key(key))
}

/// How often a load starts again because the snapshot was replaced meanwhile.
const RELOADS: u32 = 3;

/// Reads that take several requests. If the snapshot was replaced between them, there is a newer one to read;
/// not for those who want the version `only`.
async fn of_one_version<T, Fut>(only: Option<&Version>, read: impl Fn() -> Fut + Send + Sync) -> Result<T>
where
    Fut: Future<Output = Result<T>> + Send,
{
    let mut left = if only.is_some() { 0 } else { RELOADS };
    loop {
        match read().await {
            Err(error) if error.kind() == ErrorKind::Conflict && left > 0 => left -= 1,
            other => return other,
        }
    }
}

impl<A: SnapshotAdapter + ?Sized> SnapshotAdapterExt for A {}

/// What names a snapshot: a [`Key`], a reference to one, or text that is checked now.
pub trait IntoKey: Send {
    /// The key.
    ///
    /// # Errors
    /// `InvalidInput` that names the broken rule.
    fn into_key(self) -> Result<Key>;
}

impl<T: TryInto<Key> + Send> IntoKey for T
where
    Error: From<T::Error>,
{
    fn into_key(self) -> Result<Key> {
        Ok(self.try_into()?)
    }
}
