//! The file beside a snapshot: `docs/format.md` has its form, and stores that exist have such files.

use persist::{LoadOptions, SaveOptions};

use super::*;

/// A state that is a gzip file itself, which only the file beside it says.
const STATE: &[u8] = include_bytes!("../golden/local/state.gz");
const SIDECAR: &str = include_str!("../golden/local/sidecar.json");
/// The time of `state.gz` in nanoseconds since 1970, and the name that it gives.
const TIME: u64 = 1768867200123456789;
const NAME: &str = ".persist-meta-0a0309779e2c76df225b49e9-188c4758be32cd15";

fn options() -> SaveOptions {
    let plain = SaveOptions::new().codec(Codec::None);
    plain.content_type("application/x-own").metadata("step", "7").tag("team", "a/b")
}

#[tokio::test]
async fn the_file_beside_a_snapshot_of_the_first_version_is_read() {
    let (_directory, store) = store();
    fs::write(store.root().join("state.gz"), STATE).unwrap();
    let file = File::options().write(true).open(store.root().join("state.gz")).unwrap();
    file.set_modified(SystemTime::UNIX_EPOCH + Duration::from_nanos(TIME)).unwrap();
    fs::write(store.root().join(NAME), SIDECAR).unwrap();
    assert!(store.load_with("state.gz", LoadOptions::new().verify_digest()).await.unwrap() == STATE);
    let meta = store.head(&key("state.gz")).await.unwrap();
    assert_eq!(meta.content_type.as_deref(), Some("application/x-own"));
    assert_eq!(meta.metadata["step"], "7");
    assert_eq!(meta.metadata.len(), 4);
    assert_eq!(meta.tags["team"], "a/b");
}

/// But for its time, which is that of the save.
#[tokio::test]
async fn the_same_file_is_still_written_beside_it() {
    let (_directory, store) = store();
    store.save_with(STATE, "state.gz", options()).await.unwrap();
    let saved = store.root().join("state.gz").metadata().unwrap().modified().unwrap();
    let time = saved.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_nanos();
    let (prefix, _) = NAME.rsplit_once('-').unwrap();
    let name = format!("{prefix}-{time:x}");
    assert_eq!(files(store.root()), [name.as_str(), "state.gz"]);
    let written = fs::read_to_string(store.root().join(name)).unwrap();
    assert_eq!(written, SIDECAR.replace(&TIME.to_string(), &time.to_string()));
}
