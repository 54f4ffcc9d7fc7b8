//! A snapshot whose bytes were damaged in place, with its time as it was.

use std::{
    fs::{self, File, FileTimes},
    os::unix::fs::MetadataExt,
    path::Path,
    time::Duration,
};

use super::attribute;
use crate::{ErrorKind, SnapshotAdapterExt, adapters::local::LocalAdapter};

/// Writes `bytes` into the file itself, which then is as much later as said.
fn write(path: &Path, bytes: &[u8], later: Duration) {
    let time = fs::metadata(path).unwrap().modified().unwrap();
    fs::write(path, bytes).unwrap();
    let file = File::options().write(true).open(path).unwrap();
    file.set_times(FileTimes::new().set_modified(time + later)).unwrap();
}

/// Whether files here can have attributes: if not, only their bytes speak.
fn has_attributes(folder: &Path) -> bool {
    let file = File::create(folder.join("probe")).unwrap();
    attribute::set(&file, "probe");
    attribute::get(&file, &mut [0; 64]).is_some()
}

#[tokio::test]
async fn a_damaged_file_is_not_a_state_whatever_its_bytes_are() {
    let folder = tempfile::tempdir().unwrap();
    let store = LocalAdapter::open(folder.path().join("root")).unwrap();
    let path = folder.path().join("root/agents/state");
    store.save("a state", "agents/state").await.unwrap();
    let good = fs::read(&path).unwrap();
    let expected = has_attributes(folder.path()).then_some(ErrorKind::Corrupt);
    for bytes in [&b"anything else"[..], &good[20..good.len() - 1], b"\0", b"{\"step\":2}"] {
        write(&path, bytes, Duration::ZERO);
        let loaded = store.load("agents/state").await;
        assert_eq!(loaded.err().map(|error| error.kind()), expected, "{bytes:?}");
        let described = store.describe("agents/state").await;
        assert_eq!(described.err().map(|error| error.kind()), expected, "{bytes:?}");
    }
    write(&path, &good, Duration::ZERO);
    assert_eq!(store.load("agents/state").await.unwrap(), "a state");
}

#[tokio::test]
async fn what_another_program_writes_into_the_file_is_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let store = LocalAdapter::open(folder.path()).unwrap();
    store.save("a state", "state").await.unwrap();
    write(&folder.path().join("state"), b"{\"step\":2}", Duration::from_secs(1));
    assert_eq!(store.load("state").await.unwrap(), "{\"step\":2}");
    // Nor is an attribute looked at that anybody else made.
    let file = File::open(folder.path().join("state")).unwrap();
    for text in ["", "x", " application/gzip", "zz application/gzip", "1 image/png"] {
        attribute::set(&file, text);
        assert_eq!(store.load("state").await.unwrap(), "{\"step\":2}", "{text:?}");
    }
    let meta = fs::metadata(folder.path().join("state")).unwrap();
    let time = meta.mtime() * 1_000_000_000 + meta.mtime_nsec();
    attribute::set(&file, &format!("{time:x} image/png"));
    assert_eq!(store.load("state").await.unwrap(), "{\"step\":2}");
    attribute::set(&file, &format!("{time:x} application/gzip"));
    let loaded = store.load("state").await.map_err(|error| error.kind());
    assert_eq!(loaded.err(), has_attributes(folder.path()).then_some(ErrorKind::Corrupt));
}
