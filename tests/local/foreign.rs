//! What other programs, and other processes of this one, do in the same directories.

use super::*;

#[tokio::test]
async fn files_of_other_programs_are_objects_where_their_names_are_keys() {
    let (_directory, store) = store();
    fs::create_dir_all(store.root().join("copied/in")).unwrap();
    for name in ["copied/in/state.gz", "a:b", "%41", "a%", "bad\nname", ".persist-tmp-01", "notes.txt"] {
        fs::write(store.root().join(name), "foreign").unwrap();
    }
    assert_eq!(listed(&store).await, ["copied/in/state.gz", "notes.txt"]);
    let before = store.head(&key("notes.txt")).await.unwrap();
    // Written in place by somebody else: another version.
    fs::write(store.root().join("notes.txt"), "changed by it").unwrap();
    let error =
        store.put(&key("notes.txt"), Body::from("x"), PutOptions::new().replace(before.version)).await;
    assert_eq!(error.unwrap_err().kind(), ErrorKind::Conflict);
}

/// What another program named as persist does not is neither taken for nothing nor saved beside.
#[tokio::test]
async fn a_file_under_the_name_that_persist_would_escape_is_told_of() {
    let (_directory, store) = store();
    for path in ["2026-05-14T09:30:00.json.gz", "user:7/state.gz", "100%", "a?b", "folder:1/in:2/x", "tail."]
    {
        let file = store.root().join(path);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(&file, "foreign").unwrap();
        let escaped = path.replace('%', "%25").replace(':', "%3A").replace('?', "%3F").replace("l.", "l%2E");
        let removed = store.delete(&key(path), Default::default()).await;
        let errors = [
            store.load(path).await.unwrap_err(),
            store.exists(path).await.unwrap_err(),
            store.head(&key(path)).await.unwrap_err(),
            put(&store, path, "state").await.unwrap_err(),
            store.put(&key(path), Body::from("x"), PutOptions::new().create()).await.unwrap_err(),
            removed.unwrap_err(),
        ];
        for error in errors {
            assert_eq!(error.kind(), ErrorKind::InvalidInput, "{path}: {error}");
            assert!(error.to_string().contains(&format!("persist keeps it as {escaped:?}")), "{error}");
        }
        assert_eq!(fs::read(&file).unwrap(), b"foreign");
    }
    assert_eq!(files(store.root()).len(), 6, "a refused save left something: {:?}", files(store.root()));
    for folder in ["user:7/", "folder:1/in:2/", "folder:1/in:2/x"] {
        let rows = store.list(ListOptions::new().prefix(folder)).try_collect::<Vec<_>>().await;
        assert_eq!(rows.unwrap_err().kind(), ErrorKind::InvalidInput, "{folder}");
    }
    // Renamed, they are there.
    fs::rename(store.root().join("user:7"), store.root().join("user%3A7")).unwrap();
    assert_eq!(store.head(&key("user:7/state.gz")).await.unwrap().size, 7);
    assert_eq!(listed(&store).await, ["user:7/state.gz"]);
}

/// A key that has its own file, and one whose name is the escaped name of another, have nothing in the way.
#[tokio::test]
async fn what_lies_where_persist_puts_it_is_in_nobodys_way() {
    let (_directory, store) = store();
    let long = format!("{}%", ":".repeat(100));
    for name in ["a:b", "a%3Ab", &long, ".persist-meta-x", "folder:1/x"] {
        put(&store, name, name).await.unwrap();
    }
    for name in ["a%253Ab", "%3A%3A%", "%2Epersist-meta-x", "folder%3A1/x", "folder%3A1/y", "c:d"] {
        assert_eq!(store.load(name).await.unwrap_err().kind(), ErrorKind::NotFound, "{name}");
        store.delete(&key(name), Default::default()).await.unwrap();
    }
    fs::write(store.root().join("a:b"), "foreign").unwrap();
    put(&store, "a:b", "mine").await.unwrap();
    assert_eq!(store.head(&key("a:b")).await.unwrap().size, 4);
    store.delete(&key("a:b"), Default::default()).await.unwrap();
    assert_eq!(store.load("a:b").await.unwrap_err().kind(), ErrorKind::InvalidInput);
    assert_eq!(fs::read(store.root().join("a:b")).unwrap(), b"foreign");
}

/// As after `mv store/agents /larger; ln -s /larger/agents store/agents`.
#[tokio::test]
async fn a_link_on_the_way_to_the_prefix_is_no_empty_folder() {
    let (_directory, store) = store();
    let elsewhere = tempfile::tempdir().unwrap();
    put(&store, "agents/42/state", "state").await.unwrap();
    fs::rename(store.root().join("agents"), elsewhere.path().join("agents")).unwrap();
    symlink(elsewhere.path().join("agents"), store.root().join("agents")).unwrap();
    for prefix in ["agents/", "agents/42/", "agents/42/st"] {
        let rows = store.list(ListOptions::new().prefix(prefix)).try_collect::<Vec<_>>().await;
        let error = rows.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{prefix}");
        assert!(error.to_string().contains("is a symbolic link"), "{error}");
    }
    assert!(listed(&store).await.is_empty());
}

/// A listing tells no name twice, and none that cannot be loaded.
#[tokio::test]
async fn folders_of_other_programs_that_look_like_long_names_give_no_rows() {
    let (_directory, store) = store();
    put(&store, "foobar", "state").await.unwrap();
    for path in ["foo%/bar", "foo%/other", "foo%/folder/in", "foo%/%/x", &"a".repeat(252)] {
        let path = store.root().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, "foreign").unwrap();
    }
    assert_eq!(listed(&store).await, ["foobar"]);
    let (long, longer) = (":".repeat(100), ":".repeat(200));
    put(&store, &long, "state").await.unwrap();
    put(&store, &format!("{longer}/below"), "state").await.unwrap();
    assert_eq!(listed(&store).await, [&long, &format!("{longer}/below"), "foobar"]);
}

/// A name that is renamed while a directory is read can be missed, so a listing reads none without its lock.
#[tokio::test]
async fn a_listing_waits_for_the_writers_of_long_names() {
    let (_directory, store) = store();
    put(&store, &":".repeat(100), "state").await.unwrap();
    let store = LocalAdapter::open_with(store.root(), Duration::from_millis(20)).unwrap();
    let path = store.root().join(format!("{}%", "%3A".repeat(83)));
    let folder = File::open(&path).unwrap();
    folder.lock().unwrap();
    let error = store.list(ListOptions::new()).try_collect::<Vec<_>>().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout);
    assert!(error.to_string().contains(&format!("holds the lock on {}", path.display())), "{error}");
    folder.unlock().unwrap();
    assert_eq!(listed(&store).await.len(), 1);
}
