use std::{cell::Cell, os::unix::fs::PermissionsExt, sync::mpsc, time::Duration};

use bytes::Bytes;
use futures_util::{FutureExt, StreamExt, stream};

use super::*;
use crate::{Key, Version, cleaned_up};

thread_local! {
    static ANSWER: Cell<Option<io::ErrorKind>> = const { Cell::new(None) };
}

/// What a sync of a folder is said to have come to, where the test on this thread wants that.
pub(super) fn answer(synced: io::Result<()>) -> io::Result<()> {
    ANSWER.take().map_or(synced, |kind| Err(kind.into()))
}

/// Whoever is told that the file is there may remove what it came from.
#[test]
fn a_file_whose_name_may_not_survive_a_power_cut_is_no_success() {
    use io::ErrorKind::{
        InvalidInput, Other, PermissionDenied, ReadOnlyFilesystem, StorageFull, Unsupported,
    };
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state");
    let finished = |kind| {
        ANSWER.set(Some(kind));
        let mut file = tempfile::NamedTempFile::new_in(folder.path()).unwrap();
        write!(file, "{kind:?}").unwrap();
        let result = finish(Temporary { file, job: Waiter::new(true).job() }, &path, None);
        assert_eq!(fs::read_to_string(&path).unwrap(), format!("{kind:?}"));
        result
    };
    for kind in [Other, StorageFull] {
        let error = finished(kind).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Io);
        assert!(error.to_string().contains("was written, but its folder could not be synced"), "{error}");
    }
    // File systems that know no such thing.
    for kind in [InvalidInput, PermissionDenied, ReadOnlyFilesystem, Unsupported] {
        finished(kind).unwrap();
    }
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

/// Others may read the folder.
#[tokio::test]
async fn nobody_reads_in_the_temporary_file_what_they_may_not_read_in_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state");
    for old in [0o600, 0o640, 0o400, 0o604] {
        fs::write(&path, "old").unwrap();
        fs::set_permissions(&path, Permissions::from_mode(old)).unwrap();
        let target = FileTarget::new(path.clone()).await.unwrap();
        let temporary = names(folder.path()).into_iter().find(|name| name != "state").unwrap();
        assert_eq!(mode(&folder.path().join(temporary)), 0o600, "{old:o}");
        target.finish().await.unwrap();
        assert_eq!((mode(&path), names(folder.path()).len()), (old, 1));
        fs::remove_file(&path).unwrap();
    }
    // A new one is like any that programs make.
    fs::write(folder.path().join("other"), "").unwrap();
    FileTarget::new(path.clone()).await.unwrap().finish().await.unwrap();
    assert_eq!(mode(&path), mode(&folder.path().join("other")));
}

/// The only thread that may block is busy.
#[test]
fn the_temporary_file_of_a_download_that_was_given_up_is_waited_for() {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.enable_all().max_blocking_threads(1).build().unwrap();
    let is_undone = async |copies| {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state");
        fs::write(&path, "old").unwrap();
        let (go_on, held) = mpsc::channel::<()>();
        let hold = move || drop(tokio::task::spawn_blocking(move || held.recv().is_ok()));
        if copies {
            let (send, started) = tokio::sync::oneshot::channel();
            let chunk = async move {
                hold();
                send.send(()).unwrap();
                Ok(Bytes::from_static(b"new"))
            };
            let body = Body::from_stream(stream::once(chunk).chain(stream::pending()));
            let meta = ObjectMeta::new(Key::new("k").unwrap(), 3, Version::new("1"), std::time::UNIX_EPOCH);
            tokio::select! {
                _ = store(SnapshotReader::new(meta, body), path.clone()) => panic!("it is done"),
                started = started => started.unwrap(),
            }
        } else {
            let target = FileTarget::new(path.clone()).await.unwrap();
            hold();
            assert!(target.finish().now_or_never().is_none());
        }
        assert!(cleaned_up().now_or_never().is_none(), "{copies}");
        drop(go_on);
        tokio::time::timeout(Duration::from_secs(30), cleaned_up()).await.unwrap();
        assert_eq!((names(folder.path()), fs::read(&path).unwrap()), (vec!["state".into()], b"old".to_vec()));
    };
    for copies in [true, false] {
        runtime.block_on(is_undone(copies));
    }
}

/// The last step has begun, on its thread.
#[tokio::test]
async fn a_download_that_was_given_up_replaces_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state");
    fs::write(&path, "old").unwrap();
    let FileTarget { target, waiter, .. } = FileTarget::new(path.clone()).await.unwrap();
    let Target::File { path, permissions, temporary } = target else { panic!("it is no file") };
    drop(waiter);
    finish(temporary, &path, permissions).unwrap_err();
    assert_eq!((names(folder.path()), fs::read(&path).unwrap()), (vec!["state".into()], b"old".to_vec()));
}
