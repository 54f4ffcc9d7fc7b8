//! Stores that came here by a copy: of a copy that keeps times coarsely or rounds them, and of one that is
//! under way.

use std::fs::FileTimes;

use super::{leftovers::DAYS, *};

/// Cuts a file's time as a copy does that keeps it in steps of so many nanoseconds.
fn cut(path: &Path, step: i64) {
    let found = fs::metadata(path).unwrap();
    let time = (found.mtime() * 1_000_000_000 + found.mtime_nsec()) / step * step;
    let time = SystemTime::UNIX_EPOCH + Duration::from_nanos(time as u64);
    File::options().write(true).open(path).unwrap().set_times(FileTimes::new().set_modified(time)).unwrap();
}

/// What becomes of seconds and nanoseconds.
type Rounding = fn(f64, f64) -> i64;

/// Copies a file's time as programs do that hold it as a floating-point number.
fn rounded(path: &Path, copy: Rounding) {
    let found = fs::metadata(path).unwrap();
    let before = (found.mtime(), found.mtime_nsec());
    let time = copy(before.0 as f64, before.1 as f64);
    let time = SystemTime::UNIX_EPOCH + Duration::from_nanos(time as u64);
    File::options().write(true).open(path).unwrap().set_times(FileTimes::new().set_modified(time)).unwrap();
    let found = fs::metadata(path).unwrap();
    assert_ne!((found.mtime(), found.mtime_nsec()), before, "this time would show nothing");
}

fn nanoseconds(seconds: f64) -> i64 {
    seconds.trunc() as i64 * 1_000_000_000 + (seconds.fract() * 1e9) as i64
}

/// A state that is a gzip file itself: without its metadata, a load would unpack it.
async fn gzip() -> bytes::Bytes {
    let (_directory, store) = store();
    store.save("packed", "state").await.unwrap();
    fs::read(store.root().join("state")).unwrap().into()
}

async fn save(store: &LocalAdapter, name: &str, state: &bytes::Bytes) {
    let options = SaveOptions::new().codec(Codec::None).metadata("a", "1");
    store.save_with(state.clone(), name, options).await.unwrap();
}

async fn is_whole(store: &LocalAdapter, name: &str, state: &bytes::Bytes, when: &str) {
    for _ in 0..2 {
        assert_eq!(store.load(name).await.unwrap(), state, "{when}");
    }
    assert_eq!(store.head(&key(name)).await.unwrap().metadata["a"], "1", "{when}");
}

/// tar and zip keep seconds, or every other one; so do FAT and others; some tools keep micro- or
/// milliseconds.
#[tokio::test]
async fn what_was_said_of_a_snapshot_is_found_where_a_copy_cut_its_time() {
    for step in [100, 1_000, 1_000_000, 10_000_000, 1_000_000_000, 2_000_000_000] {
        survives(&format!("{step} ns"), |path| cut(path, step)).await;
    }
}

/// Python's `os.utime(path, (atime, mtime))`, and hence its `shutil` and `tarfile`; seconds that are
/// multiplied; JavaScript's milliseconds.
#[tokio::test]
async fn what_was_said_of_a_snapshot_is_found_where_a_copy_rounded_its_time() {
    let ways: [(&str, Rounding); 4] = [
        ("seconds", |seconds, rest| nanoseconds(seconds + 1e-9 * rest)),
        ("seconds, and cut", |seconds, rest| nanoseconds(seconds + 1e-9 * rest) / 100 * 100),
        ("seconds, multiplied", |seconds, rest| ((seconds + 1e-9 * rest) * 1e9) as i64),
        ("milliseconds", |seconds, rest| nanoseconds((seconds * 1e3 + rest / 1e6) / 1e3)),
    ];
    for (how, copy) in ways {
        survives(how, |path| rounded(path, copy)).await;
    }
}

async fn survives(how: &str, copy: impl Fn(&Path)) {
    let state = gzip().await;
    let (_directory, store) = store();
    save(&store, "a/state", &state).await;
    put(&store, "a/other", "other").await.unwrap();
    copy(&store.root().join("a/state"));
    copy(&store.root().join("a/other"));
    let store = LocalAdapter::open(store.root()).unwrap();
    is_whole(&store, "a/state", &state, how).await;
    assert!(store.head(&key("a/other")).await.unwrap().metadata.is_empty());
    let store = LocalAdapter::open_later(store.root(), DAYS).unwrap();
    is_whole(&store, "a/state", &state, &format!("{how}, and swept")).await;
    // The next version has what is said of it alone.
    put(&store, "a/state", "next").await.unwrap();
    assert!(store.head(&key("a/state")).await.unwrap().metadata.is_empty());
    LocalAdapter::open_later(store.root(), DAYS).unwrap();
    assert_eq!(files(store.root()), ["a/other", "a/state"]);
}

#[tokio::test]
async fn metadata_that_could_be_of_another_version_is_never_taken() {
    let (_directory, store) = store();
    let state = gzip().await;
    save(&store, "state", &state).await;
    let sidecar = files(store.root()).into_iter().find(|name| name.contains(".persist-meta-")).unwrap();
    let (begun, mtime) = sidecar.rsplit_once('-').unwrap();
    let mtime = i64::from_str_radix(mtime, 16).unwrap();
    let json = fs::read_to_string(store.root().join(&sidecar)).unwrap();
    // A killed writer's, of the same second.
    let other = mtime / 1_000_000_000 * 1_000_000_000 + 123_456_789;
    let beside = store.root().join(format!("{begun}-{other:x}"));
    let told = json.replace(&mtime.to_string(), &other.to_string()).replace("\"a\":\"1\"", "\"a\":\"2\"");
    cut(&store.root().join("state"), 1_000_000_000);
    fs::write(&beside, &told).unwrap();
    for result in [store.load("state").await.map(drop), store.head(&key("state")).await.map(drop)] {
        let error = result.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
        assert!(error.to_string().contains("keeps the times"), "{error}");
    }
    // Of another length, and hence of another version.
    let size = format!("\"size\":{}", state.len());
    assert!(told.contains(&size), "{told}");
    fs::write(&beside, told.replace(&size, "\"size\":1")).unwrap();
    is_whole(&store, "state", &state, "beside another's").await;
    // Damaged, it could be anybody's.
    fs::write(&beside, "{").unwrap();
    assert_eq!(store.load("state").await.unwrap_err().kind(), ErrorKind::Corrupt);
}

/// Copies bring metadata first, since its name sorts before others, and with its old time. Whoever opens the
/// store meanwhile must not take it for a leftover.
#[tokio::test]
async fn a_store_that_is_opened_while_it_is_copied_loses_nothing() {
    let (_directory, source) = store();
    let state = gzip().await;
    save(&source, "state", &state).await;
    let (_other, target) = store();
    let names = files(source.root());
    assert!(names[0].starts_with(".persist-meta-") && names.len() == 2, "{names:?}");
    for name in names {
        let (from, to) = (source.root().join(&name), target.root().join(&name));
        if name.starts_with(".persist-") {
            age(&from);
        }
        // `-p` keeps times.
        let copied = std::process::Command::new("cp").arg("-p").args([&from, &to]).status().unwrap();
        assert!(copied.success());
        LocalAdapter::open_later(target.root(), Duration::from_secs(12 * 3600)).unwrap();
    }
    is_whole(&target, "state", &state, "copied").await;
}

/// Makes a file look as if it was written long ago.
fn age(path: &Path) {
    let file = File::options().write(true).open(path).unwrap();
    file.set_times(FileTimes::new().set_modified(SystemTime::now() - DAYS)).unwrap();
}

/// What it says of another snapshot, or of another version, is not true of this one.
#[tokio::test]
async fn metadata_of_another_file_is_damage() {
    let (_directory, store) = store();
    save(&store, "state", &gzip().await).await;
    let sidecar = files(store.root()).into_iter().find(|name| name.contains(".persist-meta-")).unwrap();
    let json = fs::read_to_string(store.root().join(&sidecar)).unwrap();
    let (_, time) = sidecar.rsplit_once('-').unwrap();
    let time = i64::from_str_radix(time, 16).unwrap();
    let (another, earlier) = (json.replace("state", "other"), json.replace(&time.to_string(), "1"));
    for wrong in [another, earlier] {
        assert_ne!(wrong, json);
        fs::write(store.root().join(&sidecar), &wrong).unwrap();
        for result in [store.load("state").await.map(drop), store.head(&key("state")).await.map(drop)] {
            let error = result.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Corrupt, "{wrong}");
            assert!(error.to_string().contains("another file"), "{error}");
        }
    }
}
