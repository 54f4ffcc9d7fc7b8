use std::{
    cell::{Cell, RefCell},
    path::{Path, PathBuf},
    sync::atomic::AtomicBool,
    time::Duration,
};

use super::{
    super::{
        dir::tests::{fail_next, inode, synced},
        stamp::tests::{coarse, pass},
    },
    *,
};
use crate::Version;

#[path = "publish_tests.rs"]
pub(super) mod publish;

thread_local! {
    static ANSWER: Cell<Option<Errno>> = const { Cell::new(None) };
    static SYNCS: Cell<usize> = const { Cell::new(0) };
    static APPEARS: RefCell<Vec<PathBuf>> = const { RefCell::new(Vec::new()) };
    static LOCKED: Cell<i64> = const { Cell::new(0) };
    static LOOKS: RefCell<Option<(PathBuf, Vec<bool>)>> = const { RefCell::new(None) };
    static TAKES: RefCell<Vec<i64>> = const { RefCell::new(Vec::new()) };
}

/// A file is synced, which takes as long as the test on this thread wants it.
pub(super) fn file_synced() {
    SYNCS.set(SYNCS.get() + 1);
    publish::at_sync();
    pass(TAKES.with_borrow_mut(Vec::pop).unwrap_or(0));
    LOOKS.with_borrow_mut(|looks| {
        if let Some((directory, free)) = looks {
            free.push(File::open(directory).unwrap().try_lock().is_ok());
        }
    });
}

/// The lock was waited for as long as the test on this thread wants it.
pub(in super::super) fn locked() {
    pass(LOCKED.take());
}

/// What a renaming is said to have come to, in place of its result, where the test on this thread wants that.
pub(super) fn answer(renamed: rustix::io::Result<()>) -> rustix::io::Result<()> {
    ANSWER.take().map_or(renamed, Err)
}

/// Directories appear before a renaming, or a file in one, where the test on this thread wants that.
pub(super) fn about_to_rename() {
    publish::at_rename();
    for path in APPEARS.take() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        // Of a snapshot there is also a file.
        if path.ends_with("below") {
            std::fs::write(path, "").unwrap()
        } else {
            std::fs::create_dir(path).unwrap()
        }
    }
}

struct Store(Arc<Root>);

impl Store {
    fn new(path: &Path) -> Self {
        Store(Arc::new(Root::new(path.to_path_buf(), Duration::from_secs(1))))
    }

    fn put(&self, content: &str, options: PutOptions) -> Result<ObjectMeta> {
        let (key, dropped) = (Key::new("state").unwrap(), AtomicBool::new(false));
        let mut staged = Staged::new(self.0.clone(), &key, Arc::new(Location::of(&key)))?;
        staged.write(&[Bytes::from(content.to_owned())])?;
        staged.commit(&key, &options, &dropped)
    }

    fn head(&self) -> ObjectMeta {
        let key = Key::new("state").unwrap();
        super::super::read::head(&self.0, &key, &Location::of(&key)).unwrap()
    }
}

/// ext4 with small inodes, HFS+ and some NFS servers keep whole seconds, FAT every other one.
#[test]
fn versions_differ_where_file_times_are_coarse() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::new(folder.path());
    coarse(2_000_000_000);
    let mut versions: Vec<Version> = Vec::new();
    for round in 0..20 {
        let options = PutOptions::new().metadata("round", round.to_string());
        let meta = store.put("state", options).unwrap();
        assert_eq!(store.head(), meta);
        assert_eq!(meta.metadata["round"], round.to_string());
        assert!(!versions.contains(&meta.version), "round {round}: {:?} again", meta.version);
        if let Some(old) = versions.first() {
            let refused = store.put("lost", PutOptions::new().replace(old.clone())).unwrap_err();
            assert_eq!(refused.kind(), ErrorKind::Conflict);
            assert_eq!(store.head(), meta, "a refused save left something");
        }
        let sidecars = std::fs::read_dir(folder.path()).unwrap().count();
        assert_eq!(sidecars, 2, "round {round}: a file and its metadata");
        versions.push(meta.version);
    }
    store.put("state", PutOptions::new().replace(versions.pop().unwrap())).unwrap();
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    assert!(store.head().metadata.is_empty());
}

/// Another program, or another machine's clock, gave the file a time to come.
#[test]
fn a_version_is_later_than_the_one_it_replaces_where_file_times_are_coarse() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::new(folder.path());
    coarse(1_000_000_000);
    store.put("state", PutOptions::new().metadata("a", "1")).unwrap();
    let path = folder.path().join("state");
    let to_come = std::time::SystemTime::now() + Duration::from_secs(3600);
    File::options().write(true).open(&path).unwrap().set_modified(to_come).unwrap();
    let meta = store.put("state", PutOptions::new().metadata("a", "2")).unwrap();
    assert!(meta.modified >= to_come);
    assert_eq!(store.head(), meta);
}

/// NFS: the server has renamed, its answer was lost, and the client asked again.
#[test]
fn a_renaming_that_happened_is_none_that_failed() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::new(folder.path());
    for (round, error) in [Errno::NOENT, Errno::EXIST, Errno::TIMEDOUT, Errno::IO].into_iter().enumerate() {
        for mode in [PutMode::Overwrite, PutMode::Create] {
            let made = mode == PutMode::Create;
            let options = PutOptions::new().metadata("round", round.to_string());
            ANSWER.set(Some(error));
            let meta = store.put("state", if made { options.create() } else { options }).unwrap();
            assert_eq!(store.head(), meta);
            assert_eq!(meta.metadata["round"], round.to_string());
            assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 2, "a file and its metadata");
            let (key, options) = (Key::new("state").unwrap(), DeleteOptions::default());
            delete(&store.0, &key, &options, &AtomicBool::new(false)).unwrap();
        }
    }
    // The second name of a file whose first one stayed, as a link has it.
    let state = folder.path().join("state");
    store.put("old", PutOptions::new()).unwrap();
    ANSWER.set(Some(Errno::EXIST));
    assert_eq!(store.put("new", PutOptions::new().create()).unwrap_err().kind(), ErrorKind::AlreadyExists);
    assert_eq!(std::fs::read(state).unwrap(), b"old");
    ANSWER.take();
}

/// A save below the name makes it, and takes no lock for that.
#[test]
fn a_directory_that_appears_before_the_renaming_is_no_snapshot() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::new(folder.path());
    let (path, key) = (folder.path().join("state"), Key::new("state").unwrap());
    for options in [PutOptions::new, || PutOptions::new().create()] {
        APPEARS.set(vec![path.clone()]);
        store.put("in place of an empty one", options()).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"in place of an empty one");
        delete(&store.0, &key, &DeleteOptions::new(), &AtomicBool::new(false)).unwrap();
        APPEARS.set(vec![path.join("below")]);
        let error = store.put("refused", options()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");
        assert!(error.to_string().contains("there is a directory \"state\""), "{error}");
        std::fs::remove_dir_all(&path).unwrap();
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "a refused save left something");
    }
}

/// Every kind but `Io` says that nothing was changed.
#[test]
fn what_fails_behind_the_renaming_is_io() {
    for errno in [Errno::ROFS, Errno::ACCESS, Errno::OPNOTSUPP, Errno::BADF, Errno::NOLCK, Errno::IO] {
        let error = unsynced("the snapshot was stored", errno.into());
        assert_eq!(error.kind(), ErrorKind::Io, "{errno}");
        assert!(error.to_string().starts_with("the snapshot was stored, but"), "{error}");
    }
}

/// It may be an attempt of the caller whose last sync failed, or is still under way: who is told of it relies
/// on it.
#[test]
fn what_a_save_or_removal_finds_done_is_made_durable() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::new(folder.path());
    let (key, below) = (Key::new("state").unwrap(), Key::new("none/state").unwrap());
    let remove = |key: &Key| delete(&store.0, key, &DeleteOptions::new(), &AtomicBool::new(false));
    let first = store.put("first", PutOptions::new()).unwrap().version;
    fail_next();
    let error = store.put("second", PutOptions::new().replace(first.clone())).unwrap_err();
    assert!(
        error.kind() == ErrorKind::Io && error.to_string().contains("a power cut may undo it"),
        "{error}"
    );
    assert_eq!(std::fs::read(folder.path().join("state")).unwrap(), b"second");
    let again = PutOptions::new().replace(first);
    for (options, kind) in
        [(again, ErrorKind::Conflict), (PutOptions::new().create(), ErrorKind::AlreadyExists)]
    {
        let put = || store.put("second", options.clone()).unwrap_err().kind();
        assert_eq!(synced(|| assert_eq!(put(), kind)), [inode(folder.path())], "{kind:?}");
        fail_next();
        assert_eq!(put(), ErrorKind::Io, "{kind:?}");
    }
    fail_next();
    assert_eq!(remove(&key).unwrap_err().kind(), ErrorKind::Io);
    assert!(!folder.path().join("state").exists());
    fail_next();
    assert_eq!(remove(&key).unwrap_err().kind(), ErrorKind::Io);
    assert_eq!(synced(|| remove(&key).unwrap()), [inode(folder.path())]);
    // No directory, nothing to sync.
    assert!(synced(|| remove(&below).unwrap()).is_empty());
}

/// It may be carried out late: by then others have saved.
#[test]
fn a_removal_that_was_given_up_removes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let (store, key) = (Store::new(folder.path()), Key::new("state").unwrap());
    store.put("state", PutOptions::new()).unwrap();
    let given_up = AtomicBool::new(true);
    delete(&store.0, &key, &DeleteOptions::new(), &given_up).unwrap_err();
    assert_eq!(std::fs::read(folder.path().join("state")).unwrap(), b"state");
}

/// What prunes of sessions rely on: a process that was stopped, or waited for a lock, makes no version that
/// is old from the start.
#[test]
fn a_version_is_as_new_as_it_is_visible() {
    const MINUTE: i64 = 60_000_000_000;
    let ages = |modified: std::time::SystemTime| {
        let modified = modified.duration_since(std::time::UNIX_EPOCH).unwrap().as_nanos() as i64;
        assert!(
            (-3_000_000_000..=MOST_LATE + 1_000_000_000).contains(&(now() - modified)),
            "{} ns",
            now() - modified
        );
    };
    // How many syncs there are where times are kept exactly, and where they are not.
    let cases: [(&[i64], [usize; 2]); 4] = [
        (&[], [1, 2]),
        (&[MOST_LATE / 2], [1, 2]),
        (&[MINUTE], [2, 3]),
        // From the back: also the sync of the new time takes long.
        (&[0, 2 * MINUTE, MINUTE], [3, 4]),
    ];
    for (granule, which) in [(1, 0), (1_000_000_000, 1)] {
        coarse(granule);
        for (takes, syncs) in cases {
            for plain in [true, false] {
                let folder = tempfile::tempdir().unwrap();
                let store = Store::new(folder.path());
                let options = || if plain { PutOptions::new() } else { PutOptions::new().metadata("a", "1") };
                let mut last = None;
                for round in 0..3 {
                    let options = match &last {
                        None => options().create(),
                        Some(_) if round == 1 => options(),
                        Some(last) => options().replace(Version::clone(last)),
                    };
                    TAKES.set(takes.to_vec());
                    SYNCS.set(0);
                    let began = std::time::Instant::now();
                    let meta = store.put("state", options).unwrap();
                    // Time that the disk really takes counts, too.
                    if began.elapsed() < Duration::from_secs(1) {
                        assert_eq!(SYNCS.get(), syncs[which], "{takes:?} {granule}");
                    }
                    ages(meta.modified);
                    assert_eq!(store.head(), meta);
                    assert_eq!(meta.metadata.len(), usize::from(!plain));
                    let files = std::fs::read_dir(folder.path()).unwrap().count();
                    assert_eq!(files, if plain { 1 } else { 2 });
                    assert_ne!(last.replace(meta.version.clone()), Some(meta.version));
                }
            }
        }
    }
    // A disk that is slow each time, and one that never gets it done in time.
    coarse(1);
    let folder = tempfile::tempdir().unwrap();
    let store = Store::new(folder.path());
    TAKES.set(vec![MINUTE / 4; 10]);
    store.put("state", PutOptions::new().metadata("a", "1")).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let store = Store::new(folder.path());
    TAKES.set(vec![MINUTE; 10]);
    let error = store.put("state", PutOptions::new().metadata("a", "1")).unwrap_err();
    assert!(error.kind() == ErrorKind::Timeout && error.retryable(), "{error}");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    TAKES.take();
}

/// Each of those who wait for the lock would be late in its turn, if the one before it synced its file again
/// under the lock.
#[test]
fn a_version_that_waited_long_for_the_lock_is_synced_again_without_it() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::new(folder.path());
    coarse(1);
    for options in [PutOptions::new, || PutOptions::new().metadata("a", "1")] {
        LOCKED.set(60_000_000_000);
        LOOKS.set(Some((folder.path().to_path_buf(), Vec::new())));
        let began = std::time::Instant::now();
        let meta = store.put("state", options()).unwrap();
        let free = LOOKS.take().unwrap().1;
        // Time that the disk really takes counts, too.
        if began.elapsed() < Duration::from_secs(1) {
            assert_eq!(free, [true, true], "whether the lock was free at each sync");
        }
        assert_eq!(store.head(), meta);
        assert!(meta.modified >= std::time::SystemTime::now() + Duration::from_secs(50), "not dated again");
    }
}
