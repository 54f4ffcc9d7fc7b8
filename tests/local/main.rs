//! What the local adapter puts on disk, and how it meets what others put there.

#![cfg(unix)]
#![allow(clippy::unwrap_used)]

#[cfg(feature = "testing")]
mod copied;
mod foreign;
mod golden;
#[cfg(feature = "testing")]
mod leftovers;

use std::{
    fs::{self, File},
    os::unix::fs::{MetadataExt, symlink},
    path::Path,
    time::{Duration, SystemTime},
};

use futures_util::{StreamExt, TryStreamExt};
use persist::{
    Body, Codec, ErrorKind, GetOptions, Key, ListOptions, PutOptions, SaveOptions, SnapshotAdapter,
    SnapshotAdapterExt, adapters::local::LocalAdapter,
};
use tempfile::TempDir;

fn store() -> (TempDir, LocalAdapter) {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path().join("new/root");
    fs::create_dir_all(&root).unwrap();
    let store = LocalAdapter::open(root).unwrap();
    (directory, store)
}

fn key(name: &str) -> Key {
    Key::new(name).unwrap()
}

async fn put(store: &LocalAdapter, name: &str, bytes: &str) -> persist::Result<persist::ObjectMeta> {
    store.put(&key(name), Body::from(bytes.to_owned()), PutOptions::new()).await
}

async fn listed(store: &LocalAdapter) -> Vec<String> {
    store.list(ListOptions::new()).map_ok(|entry| entry.name().to_owned()).try_collect().await.unwrap()
}

/// Every file below a directory, relative to it.
fn files(root: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut open = vec![root.to_path_buf()];
    while let Some(directory) = open.pop() {
        for entry in fs::read_dir(directory).unwrap() {
            let entry = entry.unwrap();
            if entry.file_type().unwrap().is_dir() {
                open.push(entry.path())
            } else {
                found.push(entry.path().strip_prefix(root).unwrap().to_str().unwrap().to_owned())
            }
        }
    }
    found.sort();
    found
}

#[tokio::test]
async fn a_snapshot_is_one_plain_file_for_its_user_alone() {
    let (directory, store) = store();
    fs::remove_dir(store.root()).unwrap();
    store.save("state", "agents/outer:1|inner:2/state.json.gz").await.unwrap();
    let root = directory.path().join("new/root");
    assert_eq!(files(&root), ["agents/outer%3A1%7Cinner%3A2/state.json.gz"]);
    let mode = |path: &str| root.join(path).metadata().unwrap().mode() & 0o777;
    assert_eq!(mode("agents/outer%3A1%7Cinner%3A2/state.json.gz"), 0o600);
    assert_eq!([mode(""), mode("agents"), mode("agents/outer%3A1%7Cinner%3A2")], [0o700; 3]);
    let bytes = fs::read(root.join("agents/outer%3A1%7Cinner%3A2/state.json.gz")).unwrap();
    assert_eq!(bytes[..2], [0x1f, 0x8b], "not a gzip file");
    assert_eq!(store.to_string(), format!("file://{}", root.display()));
}

#[tokio::test]
async fn metadata_lies_beside_the_file_and_goes_with_it() {
    let (_directory, store) = store();
    let options = || PutOptions::new().metadata("step", "7").tag("team", "a/b").content_type("text/plain");
    for _ in 0..3 {
        store.put(&key("a/state"), Body::from("state"), options()).await.unwrap();
    }
    let on_disk = files(store.root());
    assert_eq!(on_disk.len(), 2, "an overwrite left the old metadata: {on_disk:?}");
    assert_eq!(fs::read(store.root().join("a/state")).unwrap(), b"state");
    let reopened = LocalAdapter::open(store.root()).unwrap();
    let meta = reopened.head(&key("a/state")).await.unwrap();
    assert_eq!((meta.metadata, meta.tags), (options().metadata, options().tags));
    assert_eq!(listed(&store).await, ["a/state"]);
    // Without anything to keep there is no second file.
    put(&store, "a/state", "state").await.unwrap();
    assert_eq!(files(store.root()), ["a/state"]);
    store.put(&key("a/state"), Body::from("state"), options()).await.unwrap();
    store.delete(&key("a/state"), Default::default()).await.unwrap();
    assert_eq!(fs::read_dir(store.root()).unwrap().count(), 0, "a delete left something behind");
}

/// A plain stream has no checks of its own, but the file beside it says how long it was.
#[tokio::test]
async fn a_plain_state_that_was_cut_and_has_its_old_time_is_corrupt() {
    let (_directory, store) = store();
    let plain = SaveOptions::new().codec(Codec::None);
    store.save_stream_with(&b"a state"[..], "state", plain).await.unwrap();
    assert_eq!(store.load("state").await.unwrap(), "a state");
    let file = File::options().write(true).open(store.root().join("state")).unwrap();
    let saved = file.metadata().unwrap().modified().unwrap();
    for length in [6, 0, 8] {
        file.set_len(length).unwrap();
        file.set_modified(saved).unwrap();
        for error in [store.load("state").await.unwrap_err(), store.head(&key("state")).await.unwrap_err()] {
            assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
            assert!(error.to_string().contains(&format!("{length} bytes and was saved with 7")), "{error}");
        }
    }
    file.set_len(7).unwrap();
    file.set_modified(saved).unwrap();
    assert_eq!(store.head(&key("state")).await.unwrap().size, 7);
}

#[tokio::test]
async fn the_content_type_of_a_plain_file_is_what_it_shows() {
    let (_directory, store) = store();
    let type_of = async |name: &str| store.head(&key(name)).await.unwrap().content_type.unwrap();
    store.save("state", "gzip").await.unwrap();
    put(&store, "text", "text").await.unwrap();
    fs::write(store.root().join("zstd"), [0x28, 0xb5, 0x2f, 0xfd, 0]).unwrap();
    assert_eq!(type_of("gzip").await, "application/gzip");
    assert_eq!(type_of("text").await, "application/octet-stream");
    assert_eq!(type_of("zstd").await, "application/zstd");
    assert_eq!(files(store.root()), ["gzip", "text", "zstd"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn readers_never_see_metadata_of_another_version() {
    let (_directory, store) = store();
    let save = async |n: u32| {
        let options = PutOptions::new().metadata("n", n.to_string());
        store.put(&key("state"), Body::from(n.to_string()), options).await.unwrap();
    };
    save(0).await;
    let reader = {
        let store = store.clone();
        tokio::spawn(async move {
            for _ in 0..400 {
                let object = store.get(&key("state"), GetOptions::new()).await.unwrap();
                let content = object.body.collect(100).await.unwrap();
                assert_eq!(object.meta.metadata["n"].as_bytes(), content);
            }
        })
    };
    let mut n = 0;
    while !reader.is_finished() {
        n += 1;
        save(n).await;
    }
    reader.await.unwrap();
    assert!(n > 0);
}

#[tokio::test]
async fn a_key_cannot_be_a_file_and_a_folder() {
    let (_directory, store) = store();
    put(&store, "a/b", "state").await.unwrap();
    for name in ["a/b/c", "a/b/c/d", "a"] {
        let error = put(&store, name, "new").await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{name}: {error}");
        assert!(error.to_string().contains(if name == "a" {
            "directory \"a\""
        } else {
            "\"a/b\" is a snapshot"
        }));
    }
    assert_eq!(
        store.get(&key("a/b"), GetOptions::new()).await.unwrap().body.collect(9).await.unwrap(),
        "state"
    );
    assert_eq!(files(store.root()), ["a/b"], "a refused save left something behind");
    // An empty folder is in nobody's way.
    fs::create_dir_all(store.root().join("empty")).unwrap();
    put(&store, "empty", "state").await.unwrap();
    assert_eq!(listed(&store).await, ["a/b", "empty"]);
}

#[tokio::test]
async fn no_key_leads_out_of_the_root() {
    let (directory, store) = store();
    let outside = directory.path().join("outside");
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("secret"), "secret").unwrap();
    symlink(&outside, store.root().join("folder")).unwrap();
    symlink(outside.join("secret"), store.root().join("file")).unwrap();
    symlink(outside.join("nothing"), store.root().join("dangling")).unwrap();
    for name in ["folder/secret", "folder/new", "folder/new/deeper", "file", "dangling", "file/x"] {
        let refused = put(&store, name, "new").await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::InvalidInput, "{name}: {refused}");
        assert!(refused.to_string().contains("symbolic link"), "{refused}");
        let get = store.get(&key(name), GetOptions::new()).await.unwrap_err();
        assert_eq!(get.kind(), ErrorKind::InvalidInput, "{name}: {get}");
        let delete = store.delete(&key(name), Default::default()).await.unwrap_err();
        assert_eq!(delete.kind(), ErrorKind::InvalidInput, "{name}: {delete}");
    }
    assert!(listed(&store).await.is_empty());
    let below = store.list(ListOptions::new().prefix("folder/")).try_collect::<Vec<_>>().await;
    assert_eq!(below.unwrap_err().kind(), ErrorKind::InvalidInput, "a listing followed a link");
    assert_eq!(files(&outside), ["secret"]);
    assert_eq!(fs::read(outside.join("secret")).unwrap(), b"secret");
    // The root itself may be a link: the user chose it.
    let link = directory.path().join("link");
    symlink(store.root(), &link).unwrap();
    put(&LocalAdapter::open(&link).unwrap(), "state", "state").await.unwrap();
    assert_eq!(listed(&store).await, ["state"]);
}

#[tokio::test]
async fn special_files_are_refused_and_never_waited_for() {
    let (_directory, store) = store();
    let made = std::process::Command::new("mkfifo").arg(store.root().join("pipe")).status().unwrap();
    assert!(made.success());
    let error = store.get(&key("pipe"), GetOptions::new()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");
    assert_eq!(put(&store, "pipe", "new").await.unwrap_err().kind(), ErrorKind::InvalidInput);
    assert!(listed(&store).await.is_empty());
}

#[tokio::test]
async fn a_file_that_is_written_into_while_it_is_read_is_a_conflict() {
    let (_directory, store) = store();
    fs::write(store.root().join("state"), vec![1; 3 << 20]).unwrap();
    for change in ["shorter", "longer", "other bytes"] {
        let mut body = store.get(&key("state"), GetOptions::new()).await.unwrap().body;
        body.chunk().await.unwrap().unwrap();
        match change {
            "shorter" => File::options()
                .write(true)
                .open(store.root().join("state"))
                .unwrap()
                .set_len(1 << 20)
                .unwrap(),
            "longer" => fs::write(store.root().join("state"), vec![2; 4 << 20]).unwrap(),
            _ => {
                // File times step by some milliseconds.
                std::thread::sleep(std::time::Duration::from_millis(20));
                fs::write(store.root().join("state"), vec![3; 4 << 20]).unwrap()
            }
        }
        assert_eq!(body.collect(u64::MAX).await.unwrap_err().kind(), ErrorKind::Conflict, "{change}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn saves_and_deletes_race_for_the_same_folders() {
    let (_directory, store) = store();
    let tasks = (0..8).map(|task| {
        let store = store.clone();
        tokio::spawn(async move {
            for round in 0..30 {
                // Deletes prune the folder that others are about to save into.
                let key = key(&format!("shared/folder/{}/state {task}", round % 2));
                store.put(&key, Body::from("state"), PutOptions::new()).await.unwrap();
                store.delete(&key, Default::default()).await.unwrap();
            }
        })
    });
    let done: Vec<_> = tasks.collect::<futures_util::stream::FuturesUnordered<_>>().collect().await;
    assert!(done.iter().all(Result::is_ok), "{done:?}");
    assert_eq!(fs::read_dir(store.root()).unwrap().count(), 0, "empty folders stayed");
}

#[tokio::test]
async fn roots_that_cannot_be_are_refused() {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("file"), "").unwrap();
    for (path, says) in [
        (Path::new("").to_path_buf(), "is empty"),
        (directory.path().join("file"), "is no directory"),
        (directory.path().join("file/below/this"), "/file is no directory"),
    ] {
        let error = LocalAdapter::open(&path).unwrap_err();
        assert!(error.to_string().contains(says), "{path:?}: {error}");
        assert_eq!((error.backend(), error.operation()), (Some("local"), Some("open")));
    }
}

/// The usual reason: what it leads to is not mounted yet, or any more.
#[tokio::test]
async fn a_root_that_is_a_link_to_nothing_is_told_as_that() {
    let directory = tempfile::tempdir().unwrap();
    let (link, volume) = (directory.path().join("link"), directory.path().join("volume"));
    std::os::unix::fs::symlink(&volume, &link).unwrap();
    for path in [link.clone(), link.join(""), link.join("below")] {
        let error = LocalAdapter::open(&path).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidConfig, "{path:?}: {error}");
        assert!(error.to_string().contains("is a link to what is not there"), "{path:?}: {error}");
    }
    fs::create_dir(&volume).unwrap();
    let store = LocalAdapter::open(&link).unwrap();
    put(&store, "a", "state").await.unwrap();
    fs::rename(&volume, directory.path().join("gone")).unwrap();
    let error = put(&store, "a", "new").await.unwrap_err();
    assert_eq!((error.kind(), error.operation()), (ErrorKind::InvalidConfig, Some("put")), "{error}");
    fs::rename(directory.path().join("gone"), &volume).unwrap();
    put(&store, "a", "new").await.unwrap();
    assert_eq!(store.load("a").await.unwrap(), "new");
}

/// Whoever looks at a storage that is not there leaves no trace; the first save makes it.
#[tokio::test]
async fn reading_makes_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let store = LocalAdapter::open(directory.path().join("new/root")).unwrap();
    assert!(listed(&store).await.is_empty());
    assert_eq!(store.load("a").await.unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(store.head(&key("a/b")).await.unwrap_err().kind(), ErrorKind::NotFound);
    store.delete(&key("a/b"), Default::default()).await.unwrap();
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
    put(&store, "a", "state").await.unwrap();
    assert_eq!(store.load("a").await.unwrap(), "state");
}

/// A process that was stopped while it held the lock.
#[tokio::test]
async fn nobody_waits_for_ever_for_a_lock() {
    let (_directory, store) = store();
    put(&store, "folder/a", "state").await.unwrap();
    let store = LocalAdapter::open_with(store.root(), Duration::from_millis(20)).unwrap();
    let folder = File::open(store.root().join("folder")).unwrap();
    folder.lock().unwrap();
    let wait = Duration::from_secs(60);
    let refused = |error: persist::Error| {
        assert_eq!((error.kind(), error.retryable()), (ErrorKind::Timeout, true), "{error}");
        let path = store.root().join("folder").display().to_string();
        assert!(error.to_string().contains(&format!("holds the lock on {path}")), "{error}");
    };
    refused(tokio::time::timeout(wait, put(&store, "folder/a", "new")).await.unwrap().unwrap_err());
    let name = key("folder/a");
    let delete = store.delete(&name, Default::default());
    refused(tokio::time::timeout(wait, delete).await.unwrap().unwrap_err());
    let list = store.list(ListOptions::new()).try_collect::<Vec<_>>();
    refused(tokio::time::timeout(wait, list).await.unwrap().unwrap_err());
    assert_eq!(store.load("folder/a").await.unwrap(), "state");
    folder.unlock().unwrap();
    put(&store, "folder/a", "new").await.unwrap();
    assert_eq!(files(store.root()), ["folder/a"]);
}

#[tokio::test]
async fn a_root_that_was_removed_is_made_anew() {
    let (_directory, store) = store();
    put(&store, "a", "state").await.unwrap();
    fs::remove_dir_all(store.root()).unwrap();
    assert!(listed(&store).await.is_empty());
    assert_eq!(store.head(&key("a")).await.unwrap_err().kind(), ErrorKind::NotFound);
    store.delete(&key("a"), Default::default()).await.unwrap();
    put(&store, "a", "state").await.unwrap();
    assert_eq!(listed(&store).await, ["a"]);
}

#[tokio::test]
async fn a_snapshot_is_removed_by_its_name() {
    let (_directory, store) = store();
    put(&store, "a/state", "state").await.unwrap();
    let dynamic: std::sync::Arc<dyn SnapshotAdapter> = std::sync::Arc::new(store.clone());
    dynamic.remove("a/state").await.unwrap();
    assert!(listed(&store).await.is_empty());
    store.remove("a/state").await.unwrap();
    assert_eq!(store.remove("../state").await.unwrap_err().kind(), ErrorKind::InvalidInput);
}
