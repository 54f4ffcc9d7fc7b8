//! An adapter of one's own, checked against every bullet of the contract.
//!
//! `cargo run --example custom_adapter --features testing`
//!
//! `docs/backends.md` explains it step by step. This one keeps everything in a map; put your service in its
//! place.

use std::{collections::BTreeMap, fmt, io::Write, sync::Mutex, time::SystemTime};

use async_trait::async_trait;
use futures_util::{StreamExt, stream, stream::BoxStream};
use persist::{
    Body, Bytes, Capabilities, DeleteOptions, Error, ErrorKind, GetOptions, Key, ListEntry, ListOptions,
    Object, ObjectMeta, PutOptions, Result, SnapshotAdapter, SnapshotAdapterExt, Tier, Version,
    testing::{Suite, run_all},
};

#[derive(Default)]
pub(crate) struct Shelf(Mutex<(u64, Objects)>);

type Objects = BTreeMap<Key, (ObjectMeta, Bytes)>;

/// Where it failed and with which key.
fn about(error: Error, operation: &'static str, key: &Key) -> Error {
    error.with_backend("shelf").with_operation(operation).with_key(key)
}

/// The message names what was wrong and the fix.
fn fail<T>(kind: ErrorKind, operation: &'static str, key: &Key, message: &str) -> Result<T> {
    Err(about(Error::new(kind, message), operation, key))
}

#[async_trait]
impl SnapshotAdapter for Shelf {
    // No tags and no tiers; everything else.
    fn capabilities(&self) -> Capabilities {
        Capabilities::default()
    }

    async fn put(&self, key: &Key, body: Body, options: PutOptions) -> Result<ObjectMeta> {
        options.check(&self.capabilities()).map_err(|error| about(error, "put", key))?;
        // All of the body first: one that fails must change nothing.
        let bytes = body.collect(u64::MAX).await?;
        let (writes, objects) = &mut *self.0.lock().expect("no writer panics");
        // The condition and the write are one step, because the lock is held.
        let current = objects.get(key).map(|(meta, _)| &meta.version);
        options.mode.check(current).map_err(|error| about(error, "put", key))?;
        *writes += 1;
        let version = Version::new(writes.to_string());
        let mut meta = ObjectMeta::new(key.clone(), bytes.len() as u64, version, SystemTime::now());
        (meta.content_type, meta.metadata) = (options.content_type, options.metadata);
        objects.insert(key.clone(), (meta.clone(), bytes));
        Ok(meta)
    }

    async fn get(&self, key: &Key, options: GetOptions) -> Result<Object> {
        let found = self.0.lock().expect("no writer panics").1.get(key).cloned();
        let Some((meta, bytes)) = found else {
            return fail(ErrorKind::NotFound, "get", key, "nothing there");
        };
        let range = options.resolve(&meta).map_err(|error| about(error, "get", key))?;
        let body = Body::from(bytes.slice(range.start as usize..range.end as usize));
        Ok(Object::new(meta, range, body))
    }

    async fn head(&self, key: &Key) -> Result<ObjectMeta> {
        match self.0.lock().expect("no writer panics").1.get(key) {
            Some((meta, _)) => Ok(meta.clone()),
            None => fail(ErrorKind::NotFound, "head", key, "nothing there"),
        }
    }

    async fn delete(&self, key: &Key, options: DeleteOptions) -> Result<()> {
        let objects = &mut self.0.lock().expect("no writer panics").1;
        if let Some((meta, _)) = objects.get(key) {
            options.check(&meta.version).map_err(|error| about(error, "delete", key))?;
        }
        // A missing key is Ok.
        objects.remove(key);
        Ok(())
    }

    fn list(&self, options: ListOptions) -> BoxStream<'_, Result<ListEntry>> {
        let mut rows = BTreeMap::new();
        for (key, (meta, _)) in &self.0.lock().expect("no writer panics").1 {
            let Some(rest) = key.as_str().strip_prefix(&options.prefix) else { continue };
            match rest.find('/') {
                Some(end) if options.delimiter => {
                    let prefix = key.as_str()[..options.prefix.len() + end + 1].to_owned();
                    rows.insert(prefix.clone(), ListEntry::Prefix(prefix))
                }
                _ => rows.insert(key.to_string(), ListEntry::Object(meta.clone())),
            };
        }
        let behind = move |name: &String| options.start_after.as_ref().is_none_or(|after| name > after);
        let rows = rows.into_iter().filter(move |(name, _)| behind(name)).map(|(_, row)| Ok(row));
        stream::iter(rows).take(options.limit.unwrap_or(usize::MAX)).boxed()
    }

    async fn set_tier(&self, key: &Key, _: Tier) -> Result<()> {
        fail(ErrorKind::Unsupported, "set_tier", key, "a shelf has no tiers")
    }
}

/// Where it is, without secrets.
impl fmt::Display for Shelf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("shelf://")
    }
}

/// What it holds is its users': nothing of it belongs into the logs of a program.
impl fmt::Debug for Shelf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Shelf({self})")
    }
}

fn main() -> std::result::Result<(), Box<dyn std::error::Error>> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let shelf = Shelf::default();
        // Compression, checks and streaming come with the trait `SnapshotAdapterExt`.
        let saved = shelf.save("a state ".repeat(1000), "agents/42/state.json.gz").await?;
        say(format_args!("{} bytes saved as {}", saved.size, saved.meta.size));
        say(format_args!("{} bytes loaded", shelf.load("agents/42/state.json.gz").await?.len()));

        let report = run_all(|| async { Suite::new(Shelf::default()) }).await;
        say(format_args!("{report}"));
        if report.passed() { Ok(()) } else { Err("the adapter breaks the contract".into()) }
    })
}

/// What is said to nobody, as behind `| head -1`, is no failure: `println!` would panic.
fn say(what: fmt::Arguments<'_>) {
    let _ = writeln!(std::io::stdout(), "{what}");
}
