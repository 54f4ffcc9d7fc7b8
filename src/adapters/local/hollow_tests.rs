use std::{fs, time::Duration};

use super::*;

/// A writer below may have come since the look; its lock is another one.
#[test]
fn what_came_since_the_look_stays() {
    let folder = tempfile::tempdir().unwrap();
    let root = Root::new(folder.path().to_path_buf(), Duration::from_secs(1));
    let file = |name: &str| folder.path().join("a").join(name);
    let at = File::open(folder.path()).unwrap();
    // A snapshot, and what a save that is under way has written.
    for name in ["c", ".persist-tmp-01ARZ3NDEKTSV4RRFFQ69G5FAV"] {
        fs::create_dir_all(folder.path().join("a")).unwrap();
        fs::write(file(name), "state").unwrap();
        assert_eq!(clear(&root, &at, "a"), Err(Errno::NOTEMPTY), "{name}");
        assert_eq!(fs::read(file(name)).unwrap(), b"state", "{name}");
        fs::remove_dir_all(folder.path().join("a")).unwrap();
    }
}
