use std::{path::Path, sync::atomic::AtomicBool, time::Duration};

use super::{super::stamp::tests::coarse, *};
use crate::Version;

struct Store(Arc<Root>);

impl Store {
    fn new(path: &Path) -> Self {
        Store(Arc::new(Root::new(path.to_path_buf(), Duration::from_secs(1))))
    }

    fn put(&self, content: &str, options: PutOptions) -> Result<ObjectMeta> {
        let (key, dropped) = (Key::new("state").unwrap(), AtomicBool::new(false));
        let mut staged = Staged::new(self.0.clone(), &key, Arc::new(Place::of(&key)))?;
        staged.write(&[Bytes::from(content.to_owned())])?;
        staged.commit(&key, &options, &dropped)
    }

    fn head(&self) -> ObjectMeta {
        let key = Key::new("state").unwrap();
        super::super::read::head(&self.0, &key, &Place::of(&key)).unwrap()
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
