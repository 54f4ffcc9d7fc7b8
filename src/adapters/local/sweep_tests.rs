use std::{io, path::Path};

use super::*;

#[test]
fn without_locks_the_age_must_do() {
    assert!(is_held(Err(TryLockError::WouldBlock)));
    assert!(!is_held(Ok(())));
    // Locks that the file system does not have, or not of such files.
    for error in [rustix::io::Errno::BADF, rustix::io::Errno::OPNOTSUPP, rustix::io::Errno::NOLCK] {
        assert!(!is_held(Err(TryLockError::Error(io::Error::from(error)))));
    }
}

/// Names and times are enough to see that metadata is needed.
#[test]
fn metadata_of_what_is_there_costs_one_look() {
    let folder = tempfile::tempdir().unwrap();
    let root = Root::new(folder.path().to_path_buf(), Duration::ZERO);
    let made = |name: &Path| File::create(folder.path().join(name)).unwrap();
    for number in 0..50 {
        let file = format!("state {number}");
        let mtime = Stamp::from(&made(Path::new(&file)).metadata().unwrap()).mtime;
        made(Path::new(&super::super::own::sidecar(&file, mtime)));
    }
    let at = File::open(folder.path()).unwrap();
    let mut left = budget();
    directory(&root, &at, &mut left);
    assert_eq!(budget() - left, 100 + 50 * LOOK);
    // Short of that, none is looked into.
    let mut left = 100 + 10 * LOOK;
    directory(&root, &at, &mut left);
    assert!(left < LOOK);
}
