//! Any bytes as the file in which local disk keeps what was said of a snapshot: an answer or an error, never a
//! panic. `TMPDIR=/dev/shm cargo +nightly fuzz run sidecar` (on a disk, ten times slower)

#![no_main]

use std::{fs, path::Path, time::SystemTime};

use futures_util::StreamExt;
use libfuzzer_sys::fuzz_target;
use persist::{
    Body, GetOptions, Key, ListOptions, PutOptions, SnapshotAdapter, adapters::local::LocalAdapter,
};

fuzz_target!(|input: &[u8]| {
    let folder = tempfile::tempdir().expect("a folder");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
    runtime.block_on(async {
        let store = LocalAdapter::open(folder.path()).expect("a store");
        let key = Key::new("key").expect("a key");
        let options = PutOptions::new().content_type("text/plain");
        store.put(&key, Body::from("state"), options).await.expect("stored");
        let mut entries =
            fs::read_dir(folder.path()).expect("a folder").map(|entry| entry.expect("one").path());
        let sidecar =
            entries.find(|path| path.to_string_lossy().contains("/.persist-meta-")).expect("a sidecar");
        let own = fs::read_to_string(&sidecar).expect("JSON");
        let (bound, _) = own.split_once(r#""content_type""#).expect("what was said");
        for cut in [false, true] {
            if cut {
                cut_time(&folder.path().join("key"));
            }
            // As it is, and behind what binds it to the snapshot, so that a reader takes the rest seriously.
            for bytes in [input, &[bound.as_bytes(), input].concat()] {
                fs::write(&sidecar, bytes).expect("written");
                let _ = store.head(&key).await;
                let _ = store.get(&key, GetOptions::new()).await;
                let _ = store.list(ListOptions::new()).collect::<Vec<_>>().await;
            }
        }
    });
});

/// To whole seconds, as `tar` does: the sidecar is then looked for among all of the folder.
fn cut_time(file: &Path) {
    let file = fs::File::options().write(true).open(file).expect("the snapshot");
    let time = file.metadata().and_then(|file| file.modified()).expect("a time");
    let since = time.duration_since(SystemTime::UNIX_EPOCH).expect("after 1970");
    file.set_modified(time - std::time::Duration::from_nanos(since.subsec_nanos().into())).expect("set");
}
