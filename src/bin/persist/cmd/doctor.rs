//! `persist doctor`

use std::{sync::Arc, time::SystemTime};

use anyhow::Result;
use bytes::Bytes;
use futures_util::TryStreamExt;
use persist::{
    Body, DeleteOptions, Error, ErrorKind, GetOptions, Key, ListOptions, ObjectMeta, PutMode, PutOptions,
    SnapshotAdapter, Version,
};
use serde_json::json;

use crate::{output::Output, storage::Storage};

/// Seconds that the service's clock may differ before requests are refused (S3 and GCS: 15 minutes) or times mislead.
const MOST_SKEW: u64 = 300;

/// How one check went, with what to do about it.
type Checked = persist::Result<String>;

pub(crate) async fn run(storage: &Storage, output: &Output) -> Result<()> {
    let config = storage.layers()?.resolve()?;
    report(output, "configuration", &Ok(format!("backend {}", config.backend.as_str())))?;
    let store = match config.open().await {
        Ok(store) => store,
        Err(error) => {
            report(output, "open", &Err(error))?;
            return failed();
        }
    };
    report(output, "open", &Ok(store.to_string()))?;

    let probe = Key::new(format!(".persist-probe/{}", ulid::Ulid::generate()))?;
    let results = checks(&store, &probe).await;
    for (name, result) in &results {
        report(output, name, result)?;
    }
    if results.iter().any(|(_, result)| result.is_err()) { failed() } else { Ok(()) }
}

fn failed() -> Result<()> {
    Err(anyhow::anyhow!("not all is well; the lines above say what to fix"))
}

fn report(output: &Output, name: &str, result: &Checked) -> Result<()> {
    let (ok, text) = match result {
        Ok(text) => (true, text.clone()),
        Err(error) => {
            let cause =
                std::error::Error::source(error).map(|cause| format!(" ({cause})")).unwrap_or_default();
            (false, format!("{error}{cause}"))
        }
    };
    output.row(
        || json!({"check": name, "ok": ok, "detail": text}),
        || format!("{} {name}: {text}", if ok { "ok  " } else { "FAIL" }),
    )
}

async fn checks(store: &Arc<dyn SnapshotAdapter>, probe: &Key) -> Vec<(&'static str, Checked)> {
    let state = Bytes::from_static(b"persist doctor");
    let can = store.capabilities();
    let mut results = Vec::new();
    let mode = if can.create { PutMode::Create } else { PutMode::Overwrite };
    let written = store.put(probe, Body::from(state.clone()), PutOptions::new().mode(mode)).await;
    let meta = match written {
        Ok(meta) => meta,
        Err(error) => return vec![("write", Err(error))],
    };
    results.push(("write", Ok("permitted".into())));
    results.push(("clock", clock(&meta)));
    results.push(("read", read(store.as_ref(), probe, &state).await));
    results.push(("list", list(store.as_ref(), probe).await));
    results.push((
        "create once",
        refused(store.as_ref(), probe, can.create, PutMode::Create, ErrorKind::AlreadyExists).await,
    ));
    let stale = PutMode::Replace(Version::new(format!("{}0", meta.version)));
    results.push(("replace", refused(store.as_ref(), probe, can.replace, stale, ErrorKind::Conflict).await));
    let removed = store.delete(probe, DeleteOptions::new()).await;
    results.push(("remove", removed.map(|()| "permitted; the probe is gone".into())));
    results
}

/// The service's clock, as the time of its write shows it.
fn clock(meta: &ObjectMeta) -> Checked {
    let now = SystemTime::now();
    let skew = now
        .duration_since(meta.modified)
        .or_else(|_| meta.modified.duration_since(now))
        .unwrap_or_default()
        .as_secs();
    if skew > MOST_SKEW {
        let message =
            format!("this machine and the storage differ by {skew} s; set this machine's clock (NTP)");
        return Err(Error::new(ErrorKind::InvalidConfig, message));
    }
    Ok(format!("within {} s of the storage's", skew + 1))
}

async fn read(store: &dyn SnapshotAdapter, probe: &Key, state: &Bytes) -> Checked {
    let found = store.get(probe, GetOptions::new()).await?.body.collect(1 << 20).await?;
    if found != *state {
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
