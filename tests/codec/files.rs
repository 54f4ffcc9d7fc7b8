//! States from and to files.

use std::{fs, os::unix::fs::PermissionsExt};

use persist::{ErrorKind, SnapshotAdapterExt};

use crate::{
    flow::Silent,
    store::{SEGMENT, Store, noise, state},
};

fn names(folder: &std::path::Path) -> Vec<String> {
    let mut names: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[tokio::test]
async fn up_and_down_again() {
    let (folder, store) = (tempfile::tempdir().unwrap(), Store::new(100_000));
    let (from, to) = (folder.path().join("from"), folder.path().join("to"));
    for raw in [Vec::new(), state(100), noise(5 * SEGMENT + 1)] {
        fs::write(&from, &raw).unwrap();
        let saved = store.upload(&from, "key").await.unwrap();
        assert_eq!(saved.size, raw.len() as u64);
        let meta = store.download("key", &to).await.unwrap();
        assert_eq!(meta.version, saved.meta.version);
        assert!(fs::read(&to).unwrap() == raw);
    }
    assert_eq!(names(folder.path()), ["from", "to"]);
}

#[tokio::test]
async fn a_failed_download_leaves_the_old_file_and_nothing_else() {
    let (folder, store) = (tempfile::tempdir().unwrap(), Store::new(100_000));
    let path = folder.path().join("state");
    fs::write(&path, "old").unwrap();
    assert_eq!(store.download("missing", &path).await.unwrap_err().kind(), ErrorKind::NotFound);
    store.save(noise(5 * SEGMENT), "key").await.unwrap();
    let mut file = store.bytes("key").await.to_vec();
    file[4 * SEGMENT] ^= 1;
    store.spoil("key", file).await;
    assert_eq!(store.download("key", &path).await.unwrap_err().kind(), ErrorKind::Corrupt);
    assert_eq!(fs::read(&path).unwrap(), b"old");
    // Dropped in the middle.
    store.save(noise(12 * SEGMENT), "key").await.unwrap();
    let silent = Silent(store.clone());
    let download = silent.download("key", &path);
    assert!(tokio::time::timeout(std::time::Duration::from_millis(50), download).await.is_err());
    assert_eq!(fs::read(&path).unwrap(), b"old");
    for (path, text) in [
        (folder.path().to_owned(), "is a folder"),
        (folder.path().join("no/where"), "no is not there; make it"),
    ] {
        let error = store.download("key", &path).await.unwrap_err();
        assert!(error.to_string().contains(text), "{error}");
    }
}

/// Takes its time, and says when it is gone.
struct Slow(std::sync::Arc<std::sync::atomic::AtomicBool>);

impl std::io::Write for Slow {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        std::thread::sleep(std::time::Duration::from_millis(200));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Drop for Slow {
    fn drop(&mut self) {
        self.0.store(true, std::sync::atomic::Ordering::SeqCst);
    }
}

#[tokio::test]
async fn a_failed_load_has_let_go_of_its_writer() {
    let store = Store::new(100_000);
    store.save(noise(5 * SEGMENT), "key").await.unwrap();
    let mut file = store.bytes("key").await.to_vec();
    file[SEGMENT + SEGMENT / 2] ^= 1;
    store.spoil("key", file).await;
    let gone = std::sync::Arc::default();
    let reader = store.load_stream("key").await.unwrap();
    assert!(reader.copy_to(Slow(std::sync::Arc::clone(&gone))).await.is_err());
    assert!(gone.load(std::sync::atomic::Ordering::SeqCst), "it is still being written to");
}

#[tokio::test]
async fn a_replaced_file_keeps_its_permissions_and_a_link_stays_a_link() {
    let (folder, store) = (tempfile::tempdir().unwrap(), Store::new(100));
    let (path, link) = (folder.path().join("state"), folder.path().join("link"));
    store.save("new", "key").await.unwrap();
    fs::write(&path, "old").unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
    std::os::unix::fs::symlink(&path, &link).unwrap();
    store.download("key", &link).await.unwrap();
    assert_eq!(fs::read(&path).unwrap(), b"new");
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o640);
    assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    // Also one whose file is not there yet.
    let later = folder.path().join("later");
    fs::create_dir(folder.path().join("data")).unwrap();
    std::os::unix::fs::symlink("data/new", &later).unwrap();
    store.download("key", &later).await.unwrap();
    assert!(fs::symlink_metadata(&later).unwrap().is_symlink());
    assert_eq!(fs::read(folder.path().join("data/new")).unwrap(), b"new");
    let circle = folder.path().join("circle");
    std::os::unix::fs::symlink(&circle, &circle).unwrap();
    assert_eq!(store.download("key", &circle).await.unwrap_err().kind(), ErrorKind::Io);
    // What is no file is written as it is.
    store.download("key", "/dev/null").await.unwrap();
    assert!(!fs::metadata("/dev/null").unwrap().is_file());
}

#[tokio::test]
async fn only_what_is_newer_is_downloaded() {
    let (folder, store) = (tempfile::tempdir().unwrap(), Store::new(100));
    let path = folder.path().join("state");
    let first = store.save("first", "key").await.unwrap().meta.version;
    assert_eq!(store.download_if_newer("key", &path, &first).await.unwrap(), None);
    assert!(!path.exists());
    let second = store.save("second", "key").await.unwrap().meta.version;
    let meta = store.download_if_newer("key", &path, &first).await.unwrap().unwrap();
    assert_eq!(meta.version, second);
    assert_eq!(fs::read(&path).unwrap(), b"second");
}

#[tokio::test]
async fn a_file_that_cannot_be_read_is_named() {
    let (folder, store) = (tempfile::tempdir().unwrap(), Store::new(100));
    let error = store.upload(folder.path().join("none"), "key").await.unwrap_err();
    assert!(error.kind() == ErrorKind::InvalidInput && error.to_string().contains("none"), "{error}");
    let error = store.upload(folder.path(), "key").await.unwrap_err();
    assert!(error.kind() == ErrorKind::InvalidInput && error.to_string().contains("is a folder"), "{error}");
    assert!(!store.exists("key").await.unwrap());
}
