use std::cell::{Cell, RefCell};

use super::*;

thread_local! {
    static SYNCED: RefCell<Vec<u64>> = const { RefCell::new(Vec::new()) };
    static FAILS: Cell<Option<Errno>> = const { Cell::new(None) };
}

/// A directory is about to be synced. Fails where the test on this thread wants that.
pub(super) fn note(directory: &File) -> io::Result<()> {
    SYNCED.with_borrow_mut(|synced| synced.push(directory.metadata().unwrap().ino()));
    FAILS.take().map_or(Ok(()), |errno| Err(errno.into()))
}

/// The next sync of a directory on this thread fails.
pub(in super::super) fn fail_next() {
    FAILS.set(Some(Errno::IO));
}

/// The directories that were synced meanwhile, by their inodes.
pub(in super::super) fn synced(work: impl FnOnce()) -> Vec<u64> {
    SYNCED.take();
    work();
    SYNCED.take()
}

pub(in super::super) fn inode(path: &Path) -> u64 {
    path.metadata().unwrap().ino()
}

fn make(root: &Root, path: &str) {
    let key = Key::new(format!("{path}/file")).unwrap();
    let place = super::super::name::Location::of(&key);
    assert!(matches!(root.make(&key, &place.directories).unwrap(), Made::Done(_)));
}

fn root(path: &Path) -> Root {
    Root::new(path.to_path_buf(), Duration::from_secs(1))
}

#[test]
fn every_name_above_the_root_is_durable_before_anything_is_made_below_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("new/root");
    let root = root(&path);
    let done = synced(|| make(&root, "a"));
    let above = [folder.path().parent().unwrap(), folder.path(), &folder.path().join("new"), &path];
    assert_eq!(done, above.map(inode));
    assert!(synced(|| make(&root, "a")).is_empty(), "synced again");
}

/// Who made it may have been killed before it synced.
#[test]
fn the_name_of_a_root_that_others_made_is_made_durable() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("root");
    std::fs::create_dir(&path).unwrap();
    let root = root(&path);
    assert_eq!(synced(|| make(&root, "a")), [folder.path(), &path].map(inode));
    // Once is enough, but for a root that was made anew.
    assert_eq!(synced(|| make(&root, "b")), [inode(&path)]);
    std::fs::remove_dir_all(&path).unwrap();
    let done = synced(|| make(&root, "a"));
    assert!(done.contains(&inode(folder.path())) && done.contains(&inode(&path)), "{done:?}");
}

/// File systems give the inode of a removed directory to the next one at once.
#[test]
fn a_directory_that_was_removed_and_made_again_is_another_one() {
    let folder = tempfile::tempdir().unwrap();
    let root = root(folder.path());
    make(&root, "a/b");
    std::fs::remove_dir_all(folder.path().join("a")).unwrap();
    let done = synced(|| make(&root, "a/b"));
    assert_eq!(done, [folder.path(), &folder.path().join("a")].map(inode), "made by this process");
    std::fs::remove_dir(folder.path().join("a/b")).unwrap();
    std::fs::create_dir(folder.path().join("a/b")).unwrap();
    assert_eq!(synced(|| make(&root, "a/b")), [inode(&folder.path().join("a"))], "made by another");
}
