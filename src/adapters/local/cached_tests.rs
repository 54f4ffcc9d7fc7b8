use std::{sync::mpsc, time::Duration};

use super::*;
use crate::{
    ErrorKind, PutOptions, SnapshotAdapter, SnapshotAdapterExt,
    adapters::local::{LocalAdapter, entries::reads_cached},
};

fn key(name: &str) -> Key {
    Key::new(name).unwrap()
}

/// Where the file system allows it, a small read needs no thread: here there is none to be had.
#[test]
fn small_objects_in_the_cache_are_read_without_a_thread() {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().max_blocking_threads(1).build().unwrap();
    let folder = tempfile::tempdir().unwrap();
    runtime.block_on(async {
        let adapter = LocalAdapter::open(folder.path()).unwrap();
        adapter.put(&key("a/b/small"), Body::from("small"), PutOptions::new()).await.unwrap();
        // The first read of a version asks the disk whether there is metadata beside it.
        adapter.load("a/b/small").await.unwrap();
        let (free, busy) = mpsc::channel::<()>();
        let blocked = tokio::task::spawn_blocking(move || busy.recv());
        let (name, missing) = (key("a/b/small"), key("a/b/missing"));
        let read = adapter.get(&name, GetOptions::new());
        let found = tokio::time::timeout(Duration::from_secs(5), read).await;
        let absent =
            tokio::time::timeout(Duration::from_secs(5), adapter.get(&missing, GetOptions::new())).await;
        drop(free);
        blocked.await.unwrap().unwrap_err();
        // Old kernels and some sandboxes have not the call for it.
        let works = reads_cached(&File::open(folder.path()).unwrap()) && adapter.root.reads_cached();
        assert_eq!(found.is_ok(), works, "reading");
        if let Ok(found) = found {
            assert_eq!(found.unwrap().body.collect(10).await.unwrap(), "small");
        }
        // Its name was never looked up before, so that it is missing may have to be read from the disk first.
        if let Ok(absent) = absent {
            assert_eq!(absent.unwrap_err().kind(), ErrorKind::NotFound);
        }
    });
}

#[tokio::test]
async fn what_is_not_in_the_cache_or_is_unusual_is_left_to_the_long_way() {
    let folder = tempfile::tempdir().unwrap();
    let adapter = LocalAdapter::open(folder.path()).unwrap();
    let left = |name: &str, options: GetOptions| {
        let key = key(name);
        get(&adapter.root, &key, &Location::of(&key), &options).is_none()
    };
    adapter.put(&key("large"), Body::from(vec![1; MOST as usize + 1]), PutOptions::new()).await.unwrap();
    assert!(left("large", GetOptions::new()));
    adapter.put(&key("told"), Body::from("x"), PutOptions::new().metadata("a", "b")).await.unwrap();
    assert!(left("told", GetOptions::new()));
    std::fs::create_dir(folder.path().join("folder")).unwrap();
    assert!(left("folder", GetOptions::new()));
    std::os::unix::fs::symlink("large", folder.path().join("link")).unwrap();
    assert!(left("link", GetOptions::new()));
    std::os::unix::fs::symlink("folder", folder.path().join("linked")).unwrap();
    assert!(left("linked/x", GetOptions::new()));
    adapter.put(&key("small"), Body::from("small"), PutOptions::new()).await.unwrap();
    assert!(left("small", GetOptions::new().range(crate::ByteRange::From(5))));
    assert!(left("small", GetOptions::new().if_version(crate::Version::new("other"))));
    // Out of the page cache, and back again.
    let file = File::open(folder.path().join("small")).unwrap();
    rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed).unwrap();
    assert_eq!(adapter.load("small").await.unwrap(), "small");
    assert_eq!(adapter.load("small").await.unwrap(), "small");
}

/// The suite elsewhere takes the short way where it can; here it never does.
#[cfg(feature = "testing")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_long_way_passes_the_suite() {
    let report = crate::testing::run_all(|| async {
        let folder = tempfile::tempdir().unwrap();
        let adapter = LocalAdapter::open(folder.path()).unwrap();
        adapter.root.never_read_cached();
        crate::testing::Suite::new(adapter).keep(folder)
    });
    let report = report.await;
    assert!(report.passed(), "{report}");
}
