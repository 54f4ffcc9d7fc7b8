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
