//! What happens while a version is about to be visible.

use std::{collections::HashSet, os::unix::fs::MetadataExt, rc::Rc, sync::Mutex, time::SystemTime};

use super::*;
use crate::lock::lock;

/// Which file it is: its inode, and when it was made. File systems use an inode again.
type Identity = (u64, Option<SystemTime>);
type Step = RefCell<Option<Box<dyn FnOnce()>>>;

thread_local! {
    static AT_SYNC: Step = const { RefCell::new(None) };
    static AT_RENAME: Step = const { RefCell::new(None) };
}

/// Files whose content is durable, of all threads: a sidecar is synced by another one.
static SYNCED: Mutex<Option<HashSet<Identity>>> = Mutex::new(None);

fn identity(file: &File) -> Identity {
    let found = file.metadata().unwrap();
    (found.ino(), found.created().ok())
}

/// A file was synced.
pub(in super::super) fn note(file: &File) {
    lock(&SYNCED).get_or_insert_default().insert(identity(file));
}

/// Whether all files in a directory were synced, by their names.
fn synced(directory: &Path) -> Vec<(String, bool)> {
    let files = std::fs::read_dir(directory).unwrap().map(|entry| {
        let entry = entry.unwrap();
        let file = identity(&File::open(entry.path()).unwrap());
        (
            entry.file_name().into_string().unwrap(),
            lock(&SYNCED).as_ref().is_some_and(|all| all.contains(&file)),
        )
    });
    files.collect()
}

pub(super) fn at_sync() {
    AT_SYNC.take().into_iter().for_each(|step| step());
}

pub(super) fn at_rename() {
    AT_RENAME.take().into_iter().for_each(|step| step());
}

/// Or a power cut would leave an empty file behind an acknowledged save.
#[test]
fn the_content_and_its_metadata_are_synced_before_they_are_visible() {
    for granule in [1, 1_000_000_000] {
        coarse(granule);
        for (options, files) in [(PutOptions::new(), 1), (PutOptions::new().metadata("a", "1"), 2)] {
            let folder = tempfile::tempdir().unwrap();
            let (store, seen) = (Store::new(folder.path()), Rc::new(RefCell::new(None)));
            let (path, sees) = (folder.path().to_path_buf(), seen.clone());
            AT_RENAME.set(Some(Box::new(move || drop(sees.replace(Some(synced(&path)))))));
            store.put("state", options).unwrap();
            let seen = seen.take().expect("a renaming");
            assert!(seen.len() == files && seen.iter().all(|(_, synced)| *synced), "{granule}: {seen:?}");
        }
    }
}

/// By then a rival may have saved.
#[test]
fn a_save_that_is_given_up_while_it_syncs_is_not_seen() {
    let folder = tempfile::tempdir().unwrap();
    let (store, key) = (Store::new(folder.path()), Key::new("state").unwrap());
    let mut staged = Staged::new(store.0.clone(), &key, Arc::new(Location::of(&key))).unwrap();
    staged.write(&[Bytes::from("late")]).unwrap();
    let given_up = Arc::new(AtomicBool::new(false));
    let gives_up = given_up.clone();
    AT_SYNC.set(Some(Box::new(move || gives_up.store(true, std::sync::atomic::Ordering::SeqCst))));
    staged.commit(&key, &PutOptions::new(), &given_up).unwrap_err();
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}

/// Of another program, which knows nothing of the lock.
#[test]
fn a_file_that_appears_before_the_renaming_is_not_lost() {
    let folder = tempfile::tempdir().unwrap();
    let (store, state) = (Store::new(folder.path()), folder.path().join("state"));
    let path = state.clone();
    AT_RENAME.set(Some(Box::new(move || std::fs::write(path, "foreign").unwrap())));
    let refused = store.put("lost", PutOptions::new().create()).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::AlreadyExists);
    assert_eq!(std::fs::read(state).unwrap(), b"foreign");
}

/// Where file times are coarse, its own metadata may have the name of the current version's.
#[test]
fn a_refused_save_leaves_the_metadata_of_what_is_there() {
    let folder = tempfile::tempdir().unwrap();
    let (store, key) = (Store::new(folder.path()), Key::new("state").unwrap());
    coarse(2_000_000_000);
    for _ in 0..3 {
        let meta = store.put("state", PutOptions::new().metadata("a", "1")).unwrap();
        let refused = store.put("lost", PutOptions::new().metadata("a", "2").create()).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::AlreadyExists);
        assert_eq!(store.head(), meta);
        delete(&store.0, &key, &DeleteOptions::new(), &AtomicBool::new(false)).unwrap();
    }
}

/// Its second time may be the first one again, and so the name of its metadata: it is behind that of the
/// current version both times.
#[test]
fn metadata_that_is_written_anew_under_its_name_stays() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::new(folder.path());
    coarse(1_000_000_000);
    store.put("state", PutOptions::new()).unwrap();
    let to_come = SystemTime::now() + Duration::from_secs(3600);
    File::options().write(true).open(folder.path().join("state")).unwrap().set_modified(to_come).unwrap();
    // The first sync under the lock takes so long that all is done once more.
    TAKES.set(vec![0, 2 * MOST_LATE, 0]);
    SYNCS.set(0);
    let meta = store.put("state", PutOptions::new().metadata("a", "1")).unwrap();
    assert_eq!(SYNCS.get(), 3);
    assert_eq!(store.head(), meta);
    assert_eq!(meta.metadata["a"], "1");
}
