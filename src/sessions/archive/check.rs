//! Whether an archive is whole, before any of it is stored: an import into a storage that keeps nothing. What
//! an import finds behind its claim costs the session its name.

use std::{
    fmt,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::SystemTime,
};

use async_trait::async_trait;
use futures_util::{StreamExt, stream, stream::BoxStream};
use tokio::{
    fs::File,
    io::{AsyncReadExt, AsyncSeekExt},
};
use tokio_util::io::InspectReader;

use super::{Moved, import::Import};
use crate::{
    Body, Capabilities, DeleteOptions, Error, ErrorKind, GetOptions, Key, ListEntry, ListOptions, Object,
    ObjectMeta, PutOptions, Result, SnapshotAdapter, Tier, Version,
    lock::lock,
    options::NONE,
    sessions::{Session, Sessions},
};

impl Sessions {
    /// Reads an archive to its end as an import does, and stores nothing. What is in it. For the command
    /// line.
    ///
    /// # Errors
    /// As [`import`](Session::import) for the archive, `Io` where the file cannot be read.
    #[doc(hidden)]
    pub async fn check_archive(&self, session: &Session, archive: &Path) -> Result<Moved> {
        let nowhere = Arc::new(Nowhere { archive: archive.to_owned(), ..Nowhere::default() });
        // Errors name the keys that the objects would have.
        let session = self.on(nowhere.clone()).session(session.agent(), session.name())?;
        let file = File::open(archive).await?;
        let read = |bytes: &[u8]| {
            nowhere.read.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        };
        let mut import = Import::new(&session);
        import.dry_run = true;
        import
            .run(&mut InspectReader::new(file, read))
            .await
            .map_err(|error| error.with_operation("import"))?;
        Ok(import.moved)
    }
}

/// A storage that keeps nothing, and knows of the body that was put last where in the archive it is.
#[derive(Default)]
struct Nowhere {
    archive: PathBuf,
    /// So many bytes of the archive were read.
    read: AtomicU64,
    /// That body, and its first byte in the archive.
    last: Mutex<Option<(ObjectMeta, u64)>>,
}

impl Nowhere {
    fn find(&self, key: &Key) -> Result<(ObjectMeta, u64)> {
        let found = lock(&self.last).clone().filter(|(meta, _)| meta.key == *key);
        found.ok_or_else(|| Error::new(ErrorKind::NotFound, NONE).with_key(key))
    }
}

#[async_trait]
impl SnapshotAdapter for Nowhere {
    fn capabilities(&self) -> Capabilities {
        Capabilities::default()
    }

    async fn put(&self, key: &Key, mut body: Body, _: PutOptions) -> Result<ObjectMeta> {
        let mut size = 0;
        while let Some(chunk) = body.chunk().await? {
            size += chunk.len() as u64;
        }
        let meta = ObjectMeta::new(key.clone(), size, Version::new("1"), SystemTime::UNIX_EPOCH);
        // A body passes through: its last byte was read just now. Nothing else is read again.
        if key.segments().nth(3) == Some("b") {
            let start = self.read.load(Ordering::Relaxed).saturating_sub(size);
            *lock(&self.last) = Some((meta.clone(), start));
        }
        Ok(meta)
    }

    async fn get(&self, key: &Key, options: GetOptions) -> Result<Object> {
        let (meta, start) = self.find(key)?;
        let range = options.resolve(&meta)?;
        let mut file = File::open(&self.archive).await?;
        file.seek(std::io::SeekFrom::Start(start + range.start)).await?;
        let body = Body::from_reader(file.take(range.end - range.start)).with_len(range.end - range.start);
        Ok(Object::new(meta, range, body))
    }

    /// Nothing is here already.
    async fn head(&self, key: &Key) -> Result<ObjectMeta> {
        Err(Error::new(ErrorKind::NotFound, NONE).with_key(key))
    }

    async fn delete(&self, _: &Key, _: DeleteOptions) -> Result<()> {
        Ok(())
    }

    fn list(&self, _: ListOptions) -> BoxStream<'_, Result<ListEntry>> {
        stream::empty().boxed()
    }

    async fn set_tier(&self, key: &Key, _: Tier) -> Result<()> {
        Err(Error::new(ErrorKind::Unsupported, "an archive has no tiers").with_key(key))
    }
}

impl fmt::Debug for Nowhere {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Nowhere")
    }
}

impl fmt::Display for Nowhere {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an archive")
    }
}
