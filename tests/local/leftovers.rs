//! What failed saves and killed processes leave behind, and what is cleared away of it.

use super::*;

/// How the name of a temporary file goes on.
const DEAD: &str = "01KC0000000000000000000000";

const HOUR: Duration = Duration::from_secs(3600);

/// Later than any leftover is kept.
pub(super) const DAYS: Duration = Duration::from_secs(2 * 24 * 3600);

/// Every directory below the root, some of which may go meanwhile.
fn folders(root: &Path) -> usize {
    let Ok(entries) = fs::read_dir(root) else { return 0 };
    let below = entries.filter_map(|entry| Some(entry.ok()?.path())).filter(|path| path.is_dir());
    below.map(|path| 1 + folders(&path)).sum()
}

#[tokio::test]
async fn leftovers_are_swept_up_when_they_are_old() {
    let (_directory, store) = store();
    store.put(&key("a/state"), Body::from("x"), PutOptions::new().metadata("a", "1")).await.unwrap();
    let sidecar = files(store.root()).into_iter().find(|name| name.contains(".persist-meta-")).unwrap();
    let (begun, mtime) = sidecar.rsplit_once('-').unwrap();
    let orphan = format!("{begun}-2{}", &mtime[1..]);
    // Its file is there, but in another version.
    let json = fs::read_to_string(store.root().join(&sidecar)).unwrap().replace("\"mtime\":1", "\"mtime\":2");
    fs::write(store.root().join(&orphan), json).unwrap();
    let torn = "a/.persist-meta-0123456789abcdef01234567-18ea";
    let dead = format!(".persist-tmp-{DEAD}");
    let in_a = format!("a/{dead}");
    for name in [&in_a, &dead, torn] {
        fs::write(store.root().join(name), "{").unwrap();
    }
    // Held by a process that lives, however long ago it last wrote.
    let held = "a/.persist-tmp-01KC00000000000000000HE1D0";
    let holder = File::create(store.root().join(held)).unwrap();
    holder.try_lock().unwrap();
    assert_eq!(listed(&store).await, ["a/state"]);

    let needed = [held, "a/state", &sidecar];
    let without_owner = [torn, &orphan];
    for (later, left) in [
        (HOUR / 2, [&needed[..], &without_owner, &[&in_a, &dead]].concat()),
        (HOUR * 2, [&needed[..], &without_owner].concat()),
        (DAYS, needed.to_vec()),
    ] {
        LocalAdapter::open_later(store.root(), later).unwrap();
        let mut left: Vec<_> = left.into_iter().map(str::to_owned).collect();
        left.sort();
        assert_eq!(files(store.root()), left, "{later:?} later");
    }
    assert_eq!(store.head(&key("a/state")).await.unwrap().metadata["a"], "1");
}

/// Metadata that cannot be read any more is an error, and must not become none.
#[tokio::test]
async fn a_sweep_leaves_damaged_metadata_of_what_is_there() {
    let (_directory, store) = store();
    store.put(&key("a/state"), Body::from("x"), PutOptions::new().metadata("a", "1")).await.unwrap();
    let sidecar = files(store.root()).into_iter().find(|name| name.contains(".persist-meta-")).unwrap();
    fs::write(store.root().join(sidecar), "{").unwrap();
    LocalAdapter::open_later(store.root(), DAYS).unwrap();
    assert_eq!(store.head(&key("a/state")).await.unwrap_err().kind(), ErrorKind::Corrupt);
}

/// A writer that sleeps between its sidecar and the renaming, as a suspended machine makes it, wakes up to
/// find both.
#[tokio::test(flavor = "multi_thread")]
async fn a_sweep_leaves_what_a_sleeping_writer_is_about_to_need() {
    let (_directory, store) = store();
    let name = key("a/state");
    put(&store, "a/other", "x").await.unwrap();
    let folder = File::open(store.root().join("a")).unwrap();
    folder.lock().unwrap();
    let writer = store.clone();
    let save = tokio::spawn(async move {
        writer.put(&key("a/state"), Body::from("x"), PutOptions::new().metadata("a", "1")).await
    });
    let sidecar = loop {
        let found = files(store.root()).into_iter().find(|name| name.contains(".persist-meta-"));
        match found.map(|name| store.root().join(name)) {
            Some(path) if fs::metadata(&path).unwrap().len() > 0 => break path,
            _ => tokio::task::yield_now().await,
        }
    };
    assert!(sidecar.exists());
    LocalAdapter::open_later(store.root(), DAYS).unwrap();
    folder.unlock().unwrap();
    save.await.unwrap().unwrap();
    assert_eq!(store.head(&name).await.unwrap().metadata["a"], "1");
}

#[tokio::test]
async fn the_first_save_into_a_directory_sweeps_it() {
    let (_directory, store) = store();
    fs::create_dir(store.root().join("a")).unwrap();
    let dead = store.root().join(format!("a/.persist-tmp-{DEAD}"));
    let store = LocalAdapter::open_later(store.root(), HOUR * 2).unwrap();
    fs::write(&dead, "").unwrap();
    put(&store, "a/state", "state").await.unwrap();
    assert_eq!(files(store.root()), ["a/state"]);
}

#[tokio::test]
async fn a_sweep_finds_what_lies_behind_many_snapshots() {
    let (_directory, store) = store();
    for name in 0..3000 {
        fs::write(store.root().join(format!("state {name}")), "").unwrap();
    }
    let dead: Vec<_> = (0..20).map(|name| store.root().join(format!(".persist-tmp-{name:026}"))).collect();
    for path in &dead {
        fs::write(path, "").unwrap();
    }
    LocalAdapter::open_later(store.root(), DAYS).unwrap();
    assert!(dead.iter().all(|path| !path.exists()));
}

/// Only what persist names so is persist's: whoever opens a folder to look must not lose files of another
/// sort.
#[tokio::test]
async fn a_sweep_takes_no_file_that_only_looks_alike() {
    let (_directory, store) = store();
    let names = [
        ".persist-notes.txt",
        ".persist-tmp-notes",
        ".persist-abc123.tmp",
        ".persist-tmp-01kc0000000000000000000000",
        ".persist-tmp-01KC0000000000000000000000.txt",
        ".persist-meta-torn",
        ".persist-meta-0123456789abcdef01234567-",
        ".persist-meta-0123456789abcdef0123456-18ea",
        ".persist-meta-0123456789abcdef01234567-18ea.txt",
    ];
    for name in names {
        fs::write(store.root().join(name), "mine").unwrap();
    }
    LocalAdapter::open_later(store.root(), DAYS).unwrap();
    let mut names = names.map(str::to_owned);
    names.sort();
    assert_eq!(files(store.root()), names);
    assert!(listed(&store).await.is_empty());
}

/// A folder that was made for a save that then failed would stand in the way of a snapshot of that name.
#[tokio::test]
async fn failed_saves_leave_no_folders() {
    let (_directory, store) = store();
    let name = key("a/b/c");
    let version = persist::Version::new("nope");
    let refused = store.put(&name, Body::from("x"), PutOptions::new().replace(version)).await;
    assert_eq!(refused.unwrap_err().kind(), ErrorKind::Conflict);
    assert_eq!(folders(store.root()), 0, "after a conflict");

    let half = futures_util::stream::iter([
        Ok(vec![1; 2 << 20].into()),
        Err(persist::Error::new(ErrorKind::Unavailable, "the source broke")),
    ]);
    store.put(&name, Body::from_stream(half), PutOptions::new()).await.unwrap_err();
    assert_eq!(folders(store.root()), 0, "after a broken body");

    let (sender, body) = tokio::sync::mpsc::channel::<persist::Result<bytes::Bytes>>(1);
    let body =
        futures_util::stream::unfold(body, |mut body| async { body.recv().await.map(|item| (item, body)) });
    let mut put = store.put(&name, Body::from_stream(body), PutOptions::new());
    sender.send(Ok(vec![1; 2 << 20].into())).await.unwrap();
    while files(store.root()).is_empty() {
        assert!(futures_util::FutureExt::now_or_never(&mut put).is_none());
        tokio::task::yield_now().await;
    }
    drop(put);
    while folders(store.root()) > 0 {
        tokio::task::yield_now().await;
    }

    put_all(&store).await;
}

/// To free a large file takes a while, for which nothing else on the runtime's thread may have to wait.
#[test]
fn what_a_dropped_save_has_written_is_removed_on_a_thread_that_may_block() {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().max_blocking_threads(1).build().unwrap();
    runtime.block_on(async {
        let (_directory, store) = store();
        let chunks = futures_util::stream::iter([Ok(vec![1; 2 << 20].into())]);
        let endless = futures_util::StreamExt::chain(chunks, futures_util::stream::pending());
        let (name, body) = (key("a/state"), Body::from_stream(endless));
        let mut put = store.put(&name, body, PutOptions::new());
        let written = || {
            let entry = fs::read_dir(store.root().join("a")).ok()?.next()?;
            entry.unwrap().metadata().ok().map(|meta| meta.len())
        };
        while written() != Some(2 << 20) {
            assert!(futures_util::FutureExt::now_or_never(&mut put).is_none());
            tokio::task::yield_now().await;
        }
        // The answer of that step.
        tokio::task::spawn_blocking(|| ()).await.unwrap();
        assert!(futures_util::FutureExt::now_or_never(&mut put).is_none());
        let (go_on, held) = std::sync::mpsc::channel::<()>();
        drop(tokio::task::spawn_blocking(move || held.recv().is_ok()));
        drop(put);
        assert_eq!(written(), Some(2 << 20));
        drop(go_on);
        tokio::time::timeout(Duration::from_secs(30), persist::cleaned_up()).await.unwrap();
        assert_eq!(folders(store.root()), 0);
    });
}

/// What waits for a lock is over when nobody waits for it any more: it holds one of few threads, and a save
/// its temporary file.
#[test]
fn what_is_given_up_does_not_wait_for_a_lock() {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().max_blocking_threads(1).build().unwrap();
    runtime.block_on(async {
        let (_directory, store) = store();
        put(&store, "a/old", "old").await.unwrap();
        let folder = File::open(store.root().join("a")).unwrap();
        folder.lock().unwrap();
        let name = key("a/state");
        let (moment, long) = (Duration::from_millis(100), Duration::from_secs(30));
        let told = PutOptions::new().metadata("a", "1");
        let save = store.put(&name, Body::from(vec![1; 100_000]), told);
        tokio::time::timeout(moment, save).await.unwrap_err();
        tokio::time::timeout(long, persist::cleaned_up()).await.unwrap();
        assert_eq!(files(store.root()), ["a/old"], "a save");
        let free = || tokio::time::timeout(long, tokio::task::spawn_blocking(|| ()));
        let (old, options) = (key("a/old"), Default::default());
        tokio::time::timeout(moment, store.delete(&old, options)).await.unwrap_err();
        free().await.expect("a delete waits on").unwrap();
        tokio::time::timeout(moment, listed(&store)).await.unwrap_err();
        free().await.expect("a listing waits on").unwrap();
        folder.unlock().unwrap();
        assert_eq!(listed(&store).await, ["a/old"]);
    });
}

async fn put_all(store: &LocalAdapter) {
    put(store, "a", "state").await.unwrap();
    store.delete(&key("a"), Default::default()).await.unwrap();
    put(store, "a/b", "state").await.unwrap();
}

/// A process that was killed leaves its empty folders, whoever comes next.
#[tokio::test]
async fn empty_folders_stand_in_nobodys_way() {
    let (_directory, store) = store();
    fs::create_dir_all(store.root().join("a/b/c")).unwrap();
    fs::create_dir_all(store.root().join("a/d")).unwrap();
    put_all(&store).await;

    fs::create_dir_all(store.root().join("full/empty")).unwrap();
    fs::create_dir_all(store.root().join("full/other")).unwrap();
    fs::write(store.root().join("full/other/state"), "state").unwrap();
    let error = put(&store, "full", "state").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    assert!(error.to_string().contains("with snapshots below it"), "{error}");
    assert!(store.root().join("full/empty").exists(), "something was removed, and for nothing");

    fs::create_dir_all(store.root().join("x/y/z")).unwrap();
    store.delete(&key("x/y/z/missing"), Default::default()).await.unwrap();
    assert!(!store.root().join("x").exists());
    fs::create_dir_all(store.root().join("x")).unwrap();
    store.delete(&key("x/y/z/missing"), Default::default()).await.unwrap();
    assert!(!store.root().join("x").exists());
}

/// What a killed save left in a folder is no snapshot below it.
#[tokio::test]
async fn a_killed_save_blocks_no_name_for_long() {
    let (_directory, store) = store();
    fs::create_dir_all(store.root().join("a/b")).unwrap();
    let dead = store.root().join(format!("a/b/.persist-tmp-{DEAD}"));
    fs::write(&dead, "half").unwrap();
    let error = put(&store, "a", "state").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    assert!(error.to_string().contains("under way or was killed"), "{error}");
    assert!(dead.exists());
    // Opened before it was old, so that no sweep came by.
    let later = LocalAdapter::open_later(store.root(), HOUR / 2).unwrap();
    put(&later, "a", "state").await.unwrap_err();
    fs::rename(store.root().join("a"), store.root().join("aside")).unwrap();
    let later = LocalAdapter::open_later(store.root().join("new"), HOUR * 2).unwrap();
    fs::create_dir(later.root()).unwrap();
    fs::rename(store.root().join("aside"), later.root().join("a")).unwrap();
    put(&later, "a", "state").await.unwrap();
    assert_eq!(files(later.root()), ["a"]);
}
