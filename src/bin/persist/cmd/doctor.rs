//! `persist doctor`

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use anyhow::Result;
use bytes::Bytes;
use futures_util::TryStreamExt;
use persist::{
    Body, ByteRange, Capabilities, DeleteOptions, Error, ErrorKind, GetOptions, Key, ListOptions, ObjectMeta,
    PutMode, PutOptions, SnapshotAdapter, Version,
};
use serde_json::json;
use tokio::sync::oneshot;

use super::uploads;
use crate::{
    args::Doctor,
    output::{Output, cell},
    signals,
    storage::Storage,
};

/// Seconds that the service's clock may differ before requests are refused (S3 and GCS: 15 minutes) or times
/// mislead.
const MOST_SKEW: u64 = 300;
/// How long a storage that is away gets for the removal of what it may have stored all the same.
const PATIENCE: Duration = Duration::from_secs(5);
/// Of an identity that only reads, so many snapshots are tried: the first may be archived, or another
/// program's.
const TRIES: usize = 10;

/// How one check went, with what to do about it.
type Checked = persist::Result<String>;

/// Prints checks as they are made, and remembers the first that failed.
struct Report<'a> {
    output: &'a Output,
    failed: Option<ErrorKind>,
}

pub(crate) async fn run(args: Doctor, storage: &Storage, output: &Output) -> Result<()> {
    let mut report = Report { output, failed: None };
    examine(&args, storage, &mut report).await?;
    match report.failed {
        None => Ok(()),
        Some(kind) => Err(Error::new(kind, "not all is well; the lines above say what to fix").into()),
    }
}

async fn examine(args: &Doctor, storage: &Storage, report: &mut Report<'_>) -> Result<()> {
    let sources = storage.sources();
    let config = sources.as_ref().map_err(copy).and_then(|sources| sources.resolve());
    let backend = config.as_ref().map(|config| format!("backend {}", config.backend.as_str()));
    if !report.row("configuration", backend.map_err(copy))? {
        return Ok(());
    }
    if let Some(reason) = sources.ok().and_then(|sources| sources.unused_bucket()) {
        report.skip("bucket", &reason)?;
    }
    let config = config?;
    let store = match config.open().await {
        Ok(store) => store,
        Err(error) => return report.row("open", Err(error)).map(drop),
    };
    report.row("open", Ok(store.to_string()))?;
    if probed(store, report).await? == Written::Away {
        return report.skip("unfinished uploads", "the storage is away");
    }
    match uploads::look(&config, args.clean_uploads, args.older_than).await {
        Ok(None) => Ok(()),
        Ok(Some(found)) => {
            for line in found.lines {
                report.row("unfinished upload", line)?;
            }
            report.row("unfinished uploads", Ok(found.sum)).map(drop)
        }
        Err(error) => report.row("unfinished uploads", Err(error)).map(drop),
    }
}

/// An object that is removed in any case: by [`remove`](Probe::remove), or by what goes on behind a doctor
/// that is interrupted.
struct Probe {
    key: Key,
    remove: oneshot::Sender<oneshot::Sender<persist::Result<()>>>,
}

impl Probe {
    /// Writes it. What was begun is not broken off: a removal that is faster than the write would leave it.
    async fn write(
        store: Arc<dyn SnapshotAdapter>,
        key: Key,
        state: Bytes,
        mode: PutMode,
    ) -> (Self, persist::Result<ObjectMeta>) {
        let (remove, removal) = oneshot::channel::<oneshot::Sender<_>>();
        let (give, written) = oneshot::channel();
        let probe = Probe { key: key.clone(), remove };
        signals::behind(async move {
            let options = PutOptions::new().mode(mode);
            drop(give.send(store.put(&key, Body::from(state), options).await));
            let asked = removal.await;
            let removed = store.delete(&key, DeleteOptions::new()).await;
            if let Ok(asked) = asked {
                drop(asked.send(removed));
            }
        });
        let written = written.await.unwrap_or_else(|error| Err(ended(error)));
        (probe, written)
    }

    async fn remove(self) -> persist::Result<()> {
        let (give, removed) = oneshot::channel();
        // Nobody to ask is no answer either.
        drop(self.remove.send(give));
        removed.await.unwrap_or_else(|error| Err(ended(error)))
    }
}

fn ended(error: oneshot::error::RecvError) -> Error {
    Error::new(ErrorKind::Internal, "the task of the probe ended early").with_source(error)
}

/// Whether the probe's object could be written.
#[derive(Debug, PartialEq)]
enum Written {
    Yes,
    Refused,
    /// The storage is away, or has no time.
    Away,
}

/// What can be found out with one object.
async fn probed(store: Arc<dyn SnapshotAdapter>, report: &mut Report<'_>) -> Result<Written> {
    let key = Key::new(format!(".persist-probe/{}", ulid::Ulid::generate()))?;
    let state = Bytes::from_static(b"persist doctor");
    let mode = if store.capabilities().create { PutMode::Create } else { PutMode::Overwrite };
    let (probe, written) = Probe::write(store.clone(), key, state.clone(), mode).await;
    let checked = probes(store.as_ref(), &probe.key, &state, written, report).await;
    // Also when a check failed: nothing is left behind.
    let patience = if matches!(checked, Ok(Written::Away)) { PATIENCE } else { Duration::MAX };
    let removed = tokio::time::timeout(patience, probe.remove()).await;
    let checked = checked?;
    if let (Written::Yes, Ok(removed)) = (&checked, removed) {
        report.row("remove", removed.map(|()| "permitted; the probe is gone".into()))?;
    }
    Ok(checked)
}

async fn probes(
    store: &dyn SnapshotAdapter,
    probe: &Key,
    state: &Bytes,
    written: persist::Result<ObjectMeta>,
    report: &mut Report<'_>,
) -> Result<Written> {
    let can = store.capabilities();
    let meta = match written {
        Ok(meta) => meta,
        Err(error) => {
            // A wrong clock passes by itself as well, and is no outage.
            let away = error.retryable() && error.kind() != ErrorKind::Unauthenticated;
            report.row("write", Err(error))?;
            if away {
                // Each of them would wait for it again.
                report.skip("read, list, clock, create once, replace, remove", "the storage is away")?;
                return Ok(Written::Away);
            }
            reads(store, report).await?;
            report.skip("clock, create once, replace, remove", "they need a write")?;
            return Ok(Written::Refused);
        }
    };
    report.row("write", Ok("permitted".into()))?;
    report.row("clock", clock(&meta))?;
    report.row("read", read(store, probe, state, &meta).await)?;
    report.row("list", list(store, probe).await)?;
    let create = refused(store, probe, can.create, PutMode::Create, ErrorKind::AlreadyExists).await;
    report.row("create once", create)?;
    let stale = PutMode::Replace(Version::new(format!("{}0", meta.version)));
    let replace = match refused(store, probe, can.replace, stale, ErrorKind::Conflict).await {
        Ok(_) if can.replace => replaced(store, probe, meta.version).await,
        other => other,
    };
    report.row("replace", replace)?;
    report.row("offers", Ok(offers(can)))?;
    Ok(Written::Yes)
}

/// What an identity that does not write may do: with the first snapshot that can be read.
async fn reads(store: &dyn SnapshotAdapter, report: &mut Report<'_>) -> Result<()> {
    let rows = store.list(ListOptions::new().limit(TRIES)).try_collect::<Vec<_>>().await;
    let names: Vec<_> = rows.iter().flatten().filter_map(|entry| Key::new(entry.name()).ok()).collect();
    let listed = rows.map(|rows| {
        if !rows.is_empty() { "permitted".into() } else { "permitted; there is nothing yet".into() }
    });
    let may_list = report.row("list", listed)?;
    let mut first = None;
    for key in &names {
        let opened = opened(store, key).await;
        let answers = |error: &Error| error.kind() == ErrorKind::AccessDenied || error.retryable();
        if opened.as_ref().err().is_none_or(answers) {
            return report.row("read", opened).map(drop);
        }
        first.get_or_insert(opened);
    }
    match first {
        Some(failed) => report.row("read", failed).map(drop),
        None if may_list => report.skip("read", "there is no snapshot to read"),
        None => report.skip("read", "no snapshot is known without a listing; try `persist stat KEY`"),
    }
}

/// Metadata, and the beginning of the content.
async fn opened(store: &dyn SnapshotAdapter, key: &Key) -> Checked {
    store.head(key).await?;
    store.get(key, GetOptions::new()).await?.body.chunk().await?;
    Ok(format!("permitted; {:?} can be read", key.as_str()))
}

/// What else the storage says, or was found, to do.
fn offers(can: Capabilities) -> String {
    let all = [
        ("conditional saves of any size", can.create_large),
        ("conditional removal", can.conditional_delete),
        ("tags", can.tags),
        ("storage tiers", can.tiers),
    ];
    let these = |wanted: bool| {
        let names: Vec<_> = all.iter().filter(|(_, does)| *does == wanted).map(|(name, _)| *name).collect();
        if names.is_empty() { "nothing".into() } else { names.join(", ") }
    };
    let lacks = all.iter().any(|(_, does)| !does);
    if lacks { format!("{}; not: {}", these(true), these(false)) } else { these(true) }
}

impl Report<'_> {
    /// Whether it went well.
    fn row(&mut self, name: &str, result: Checked) -> Result<bool> {
        let (ok, text) = match &result {
            Ok(text) => (true, text.clone()),
            Err(error) => {
                let cause = std::error::Error::source(error);
                let cause = cause.map(|cause| format!(" ({cause})")).unwrap_or_default();
                (false, format!("{error}{cause}"))
            }
        };
        if let Err(error) = &result {
            self.failed.get_or_insert(error.kind());
        }
        let kind = result.as_ref().err().map(|error| error.kind().as_str());
        self.output.row(
            || json!({"check": name, "ok": ok, "detail": text, "kind": kind}),
            || cell(&format!("{} {name}: {text}", if ok { "ok  " } else { "FAIL" })),
        )?;
        Ok(ok)
    }

    /// What could not be found out.
    fn skip(&mut self, name: &str, why: &str) -> Result<()> {
        self.output.row(
            || json!({"check": name, "ok": null, "detail": why, "kind": null}),
            || format!("skip {name}: {why}"),
        )
    }
}

/// The same in a second error, for the report.
fn copy(error: &Error) -> Error {
    let copy = Error::new(error.kind(), error.message());
    match std::error::Error::source(error) {
        Some(cause) => copy.with_source(cause.to_string()),
        None => copy,
    }
}

/// The service's clock, as the time of its write shows it.
fn clock(meta: &ObjectMeta) -> Checked {
    let now = SystemTime::now();
    let skew = now.duration_since(meta.modified).unwrap_or_else(|ahead| ahead.duration()).as_secs();
    if skew > MOST_SKEW {
        let message =
            format!("this machine and the storage differ by {skew} s; set this machine's clock (NTP)");
        return Err(Error::new(ErrorKind::InvalidConfig, message));
    }
    Ok(format!("within {} s of the storage's", skew + 1))
}

/// Metadata, the whole, and a part.
async fn read(store: &dyn SnapshotAdapter, probe: &Key, state: &Bytes, meta: &ObjectMeta) -> Checked {
    let head = store.head(probe).await?;
    let whole = store.get(probe, GetOptions::new()).await?.body.collect(1 << 20).await?;
    let range = GetOptions::new().range(ByteRange::Bounded { start: 8, length: 3 });
    let part = store.get(probe, range).await?.body.collect(1 << 20).await?;
    if whole != *state || part != state[8..11] || head.version != meta.version {
        return Err(Error::new(
            ErrorKind::Corrupt,
            "what was read is not what was written; do not use this storage",
        ));
    }
    Ok("permitted; the bytes are those that were written".into())
}

async fn list(store: &dyn SnapshotAdapter, probe: &Key) -> Checked {
    let mut rows = store.list(ListOptions::new().prefix(probe.as_str()).limit(1));
    match rows.try_next().await? {
        Some(entry) if entry.name() == probe.as_str() => Ok("permitted; a write is listed at once".into()),
        _ => Err(Error::new(
            ErrorKind::Unavailable,
            "a write is not listed at once; histories need a storage that does so",
        )),
    }
}

/// A write that must be refused.
async fn refused(
    store: &dyn SnapshotAdapter,
    probe: &Key,
    promised: bool,
    mode: PutMode,
    right: ErrorKind,
) -> Checked {
    if !promised {
        return Ok("not offered by this storage: sessions refuse it, plain snapshots work".into());
    }
    match store.put(probe, Body::from("must not be written"), PutOptions::new().mode(mode)).await {
        Err(error) if error.kind() == right => Ok("honoured".into()),
        Err(error) => Err(error),
        Ok(_) => Err(Error::new(
            ErrorKind::Unsupported,
            "the storage ignored the condition and overwrote; do not share it between writers",
        )),
    }
}

/// A write that must not be refused.
async fn replaced(store: &dyn SnapshotAdapter, probe: &Key, version: Version) -> Checked {
    let meta = store.put(probe, Body::from("replaced"), PutOptions::new().replace(version.clone())).await?;
    if meta.version == version {
        let message = "a write did not change the version; conflicts would go unnoticed on this storage";
        return Err(Error::new(ErrorKind::Unsupported, message));
    }
    Ok("honoured".into())
}

#[cfg(test)]
mod tests {
    use persist::{
        adapters::memory::MemoryAdapter,
        layers::{Fault, Injection, Operation},
    };
    use tokio::sync::Notify;

    use super::*;

    /// Interrupted while a slow storage is busy, wherever that is.
    #[tokio::test]
    async fn an_interrupted_doctor_leaves_no_probe() -> Result<()> {
        for (operation, before) in [
            (Operation::Put, 0),
            (Operation::Head, 0),
            (Operation::Get, 1),
            (Operation::List, 0),
            (Operation::Put, 1),
            (Operation::Put, 2),
            (Operation::Delete, 0),
        ] {
            let store = Fault::new(Arc::new(MemoryAdapter::new()));
            let go_on = Arc::new(Notify::new());
            store.inject_later(operation, before, Injection::Hold(go_on.clone()));
            let output = Output::new(true);
            let mut report = Report { output: &output, failed: None };
            let busy = async {
                while store.calls(operation) <= before {
                    tokio::task::yield_now().await;
                }
            };
            tokio::select! {
                ended = probed(Arc::new(store.clone()), &mut report) => panic!("{operation:?}: {ended:?}"),
                () = busy => {}
            }
            go_on.notify_one();
            signals::all_undone().await;
            assert!(store.calls(Operation::Put) > 0 && store.calls(Operation::Delete) == 1, "{operation:?}");
            let left = store.list(ListOptions::new()).try_next().await?;
            assert!(left.is_none(), "{operation:?} {before}: {left:?}");
        }
        Ok(())
    }
}
