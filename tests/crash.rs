//! What the local adapter promises when things go wrong for real: processes killed at any point, rivals in
//! other processes, a full disk, a disk and directories that cannot be written.
//!
//! Each test that needs another process starts this binary again with a role in `PERSIST_TEST_ROLE`; the test
//! then plays that role. `PERSIST_TEST_CRASH_SAVES` (default 3000) says how many saves the killed processes
//! make in all.

#![cfg(all(unix, feature = "testing"))]
#![allow(clippy::unwrap_used)]

#[path = "support/killed.rs"]
mod killed;
#[path = "support/small.rs"]
mod small;

use std::{
    collections::{BTreeMap, BTreeSet},
    env, fs,
    io::{BufRead, BufReader, Write},
    os::unix::{fs::MetadataExt, process::ExitStatusExt},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::mpsc,
    time::Duration,
};

use futures_util::TryStreamExt;
use killed::Killed;
use persist::{
    Body, Codec, ErrorKind, GetOptions, Key, ListOptions, PutOptions, SaveOptions, SnapshotAdapter,
    SnapshotAdapterExt, adapters::local::LocalAdapter,
};
use small::{Seeded, number};

const ROLE: &str = "PERSIST_TEST_ROLE";

/// The role and directory that this process was started for, and the lines that its parent sends.
fn role() -> Option<(String, PathBuf, mpsc::Receiver<String>)> {
    Some((env::var(ROLE).ok()?, env::var_os("PERSIST_TEST_DIRECTORY")?.into(), killed::end_with_parent()))
}

/// This binary again, to run `test` in a role.
fn again(command: &mut Command, test: &str, role: &str, directory: &Path) -> Killed {
    let command = command.env(ROLE, role).env("PERSIST_TEST_DIRECTORY", directory);
    command.arg(env::current_exe().unwrap()).args([test, "--exact", "--nocapture", "--test-threads=1"]);
    let child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
    Killed(child.unwrap_or_else(|error| panic!("cannot start {command:?}: {error}")))
}

/// The same without anything around it. `env` is a program that starts another, like those that the other
/// tests put around it.
fn plainly(test: &str, role: &str, directory: &Path) -> Killed {
    again(&mut Command::new("env"), test, role, directory)
}

/// The lines that the role printed; the test harness prints some of its own.
fn lines(child: &mut Killed) -> impl Iterator<Item = String> + use<> {
    let output = BufReader::new(child.stdout.take().unwrap());
    output.lines().map_while(Result::ok).filter_map(|line| Some(line.split_once("ROLE ")?.1.to_owned()))
}

/// A line in one write: one that is torn by a kill has no end and is not read.
fn say(line: String) {
    std::io::stdout().write_all(format!("ROLE {line}\n").as_bytes()).unwrap();
}

/// A directory in memory where there is room: killing a process tells nothing about disks, and there are
/// thousands of saves. Containers give 64 MiB, which the files of killed savers would fill.
fn directory() -> tempfile::TempDir {
    let memory = Path::new("/dev/shm");
    let room = rustix::fs::statvfs(memory).is_ok_and(|found| found.f_bavail * found.f_frsize >= 1 << 30);
    if room { tempfile::tempdir_in(memory).unwrap() } else { tempfile::tempdir().unwrap() }
}

/// Three processes that play the roles `0`, `1` and `2`, when all of them have started.
fn ready(test: &str, directory: &Path) -> Vec<(Killed, impl Iterator<Item = String> + use<>)> {
    let start = |n: usize| {
        let mut child = plainly(test, &n.to_string(), directory);
        let lines = lines(&mut child);
        (child, lines)
    };
    let mut rivals: Vec<_> = (0..3).map(start).collect();
    for (_, lines) in &mut rivals {
        assert_eq!(lines.next().as_deref(), Some("ready"));
    }
    rivals
}

fn go(child: &mut Killed) {
    writeln!(child.stdin.as_mut().unwrap(), "go").unwrap();
}

/// Three processes that begin together; what each says.
fn rivals(test: &str, directory: &Path) -> Vec<Vec<String>> {
    let mut rivals = ready(test, directory);
    rivals.iter_mut().for_each(|(child, _)| go(child));
    let mut said = Vec::new();
    for (mut child, lines) in rivals {
        said.push(lines.collect());
        assert!(child.wait().unwrap().success());
    }
    said
}

/// In a rival: waits for the others.
fn together(told: &mpsc::Receiver<String>) {
    say("ready".into());
    assert_eq!(told.recv().unwrap(), "go");
}

fn is_root() -> bool {
    fs::metadata("/proc/self").is_ok_and(|me| me.uid() == 0)
}

/// A state of which every line depends on its number. Those of even keys are small, those of odd keys some
/// pieces of the adapter's own size long.
fn state(key: u64, number: u64) -> Vec<u8> {
    let mut random = Seeded(key << 32 | number);
    let len = random.below(if key.is_multiple_of(2) { 3000 } else { 3 << 20 }) as usize;
    let line = format!("{:016x} of state {number}\n", random.below(u64::MAX));
    format!("{number}\n{}", line.repeat(len / line.len())).into_bytes()
}

/// Saves as an agent does, with metadata, which lies in a second file; or streams bytes straight into the
/// adapter.
async fn save(store: &LocalAdapter, key: u64, number: u64) {
    let state = state(key, number);
    if key.is_multiple_of(2) {
        let options = SaveOptions::new().metadata("number", number.to_string());
        store.save_with(state, key_name(key), options).await.unwrap();
    } else {
        let chunks: Vec<_> = state.chunks(64 << 10).map(|chunk| Ok(chunk.to_vec().into())).collect();
        let body = Body::from_stream(futures_util::stream::iter(chunks));
        store.put(&Key::new(key_name(key)).unwrap(), body, PutOptions::new()).await.unwrap();
    }
}

fn number_of(state: &[u8]) -> Option<u64> {
    let end = state.iter().position(|byte| *byte == b'\n')?;
    std::str::from_utf8(&state[..end]).ok()?.parse().ok()
}

const KEYS: u64 = 6;

fn key_name(key: u64) -> String {
    format!("agents/{}/state {key}.bin", key % 2)
}

/// Saves state after state under each of the keys, and says which it begins and which it has done.
async fn save_until_killed(root: &Path) {
    let store = LocalAdapter::open(root).unwrap();
    let tasks: Vec<_> = (0..KEYS)
        .map(|key| {
            let store = store.clone();
            tokio::spawn(async move {
                let mut number = match store.load(key_name(key)).await {
                    Ok(state) => number_of(&state).unwrap(),
                    Err(error) if error.kind() == ErrorKind::NotFound => 0,
                    Err(error) => panic!("{error}"),
                };
                loop {
                    number += 1;
                    say(format!("begins {key} {number}"));
                    save(&store, key, number).await;
                    say(format!("saved {key} {number}"));
                }
            })
        })
        .collect();
    // Each ends by a panic or not at all.
    futures_util::future::select_all(tasks).await.0.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_at_any_point_every_key_holds_a_whole_state() {
    if let Some((_, root, _)) = role() {
        return save_until_killed(&root).await;
    }
    let wanted = number("PERSIST_TEST_CRASH_SAVES", 3000);
    let directory = directory();
    let root = directory.path().to_owned();
    let mut random = Seeded(20_260_731);
    let (mut saves, mut kills) = (0, 0);
    // What each key holds: at least what was reported as saved, at most what was begun.
    let mut saved: BTreeMap<u64, u64> = BTreeMap::new();
    let mut begun = saved.clone();
    while saves < wanted {
        let mut child = plainly("killed_at_any_point_every_key_holds_a_whole_state", "saver", &root);
        let output = lines(&mut child);
        let (tell, started) = mpsc::channel();
        let reader = std::thread::spawn(move || {
            let parsed = output.map(|line| {
                tell.send(()).ok();
                let words: Vec<&str> = line.split(' ').collect();
                (words[0] == "saved", words[1].parse::<u64>().unwrap(), words[2].parse::<u64>().unwrap())
            });
            parsed.collect::<Vec<_>>()
        });
        started.recv().unwrap();
        std::thread::sleep(Duration::from_micros(random.below(150_000)));
        child.kill().unwrap();
        let status = child.wait().unwrap();
        assert_eq!(status.signal(), Some(9), "the saver ended by itself: {status}; its message is above");
        kills += 1;
        assert!(kills < wanted.max(100), "{saves} saves in {kills} processes");
        for (done, key, number) in reader.join().unwrap() {
            let newest = if done { &mut saved } else { &mut begun };
            newest.insert(key, number);
            saves += u64::from(done);
        }
        check(&root, &saved, &begun).await;
    }
    let unfinished =
        all_files(&root).iter().filter(|path| path.to_str().unwrap().contains(".persist-tmp-")).count();
    assert!(unfinished > 0, "none of {kills} kills hit a save under way: this proves nothing");
    swept_up(&root).await;
    println!("{saves} saves, {kills} kills, {unfinished} unfinished files, all swept up");
}

/// Every key holds a whole state, neither older than what was reported nor newer than what was begun.
async fn check(root: &Path, saved: &BTreeMap<u64, u64>, begun: &BTreeMap<u64, u64>) {
    let store = LocalAdapter::open(root).unwrap();
    for key in 0..KEYS {
        let (saved, begun) = (saved.get(&key).copied().unwrap_or(0), begun.get(&key).copied().unwrap_or(0));
        let found = match store.load(key_name(key)).await {
            Ok(bytes) => {
                let number = number_of(&bytes).unwrap();
                assert!(bytes == state(key, number), "state {number} of key {key} is not what was saved");
                let meta = store.head(&Key::new(key_name(key)).unwrap()).await.unwrap();
                let expected = (key % 2 == 0).then(|| number.to_string());
                assert_eq!(meta.metadata.get("number"), expected.as_ref(), "metadata of another version");
                number
            }
            Err(error) if error.kind() == ErrorKind::NotFound => 0,
            Err(error) => panic!("key {key}: {error}"),
        };
        assert!(
            (saved..=begun).contains(&found),
            "key {key} holds {found}, of {saved} saved and {begun} begun"
        );
    }
    let listed: Vec<_> = store.list(ListOptions::new()).try_collect().await.unwrap();
    let names: Vec<&str> = listed.iter().map(|entry| entry.name()).collect();
    let keys: Vec<String> = (0..KEYS).map(key_name).collect();
    assert!(names.iter().all(|name| keys.iter().any(|key| key == name)), "the listing shows {names:?}");
}

/// A day later the next one who opens the store cleans up, and takes nothing that is needed.
async fn swept_up(root: &Path) {
    let store = LocalAdapter::open_later(root, Duration::from_secs(2 * 24 * 3600)).unwrap();
    let with_metadata = (0..KEYS).step_by(2).map(key_name);
    let mut left = 0;
    for name in with_metadata {
        if let Ok(meta) = store.head(&Key::new(name).unwrap()).await {
            assert!(meta.metadata.contains_key("number"), "sweeping took metadata that was needed");
            left += 1;
        }
    }
    let kept = all_files(root).iter().filter(|path| path.to_str().unwrap().contains(".persist-")).count();
    assert_eq!(kept, left, "leftovers stayed: {:?}", all_files(root));
}

fn all_files(root: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(root).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { found.extend(all_files(&path)) } else { found.push(path) }
    }
    found
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_rival_processes_exactly_one_creates() {
    const ROUNDS: usize = 150;
    if let Some((name, root, told)) = role() {
        let store = LocalAdapter::open(root).unwrap();
        say("ready".into());
        for round in 0..ROUNDS {
            assert_eq!(told.recv().unwrap(), "go");
            let key = Key::new(format!("round {round}/state")).unwrap();
            match store.put(&key, Body::from(name.clone()), PutOptions::new().create()).await {
                Ok(_) => say("won".into()),
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::AlreadyExists, "{error}");
                    say("lost".into());
                }
            }
        }
        return;
    }
    let directory = directory();
    let store = LocalAdapter::open(directory.path()).unwrap();
    let mut rivals = ready("of_rival_processes_exactly_one_creates", directory.path());
    let mut who = BTreeSet::new();
    for round in 0..ROUNDS {
        // Each is the first to be told in its turn: on a busy machine, one alone would win all rounds.
        let mut turn: Vec<_> = rivals.iter_mut().collect();
        turn.rotate_left(round % 3);
        turn.into_iter().for_each(|(child, _)| go(child));
        let told: Vec<_> = rivals.iter_mut().map(|(_, lines)| lines.next()).collect();
        let winners: Vec<usize> = (0..3).filter(|n| told[*n].as_deref() == Some("won")).collect();
        let [winner] = winners[..] else { panic!("round {round}: {told:?}") };
        let key = Key::new(format!("round {round}/state")).unwrap();
        let object = store.get(&key, GetOptions::new()).await.unwrap();
        assert_eq!(object.body.collect(9).await.unwrap(), winner.to_string());
        who.insert(winner);
    }
    for (mut child, lines) in rivals {
        assert_eq!(lines.count(), 0);
        assert!(child.wait().unwrap().success());
    }
    assert!(who.len() > 1, "the processes never met: this proves nothing");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rival_processes_lose_no_update() {
    const EACH: u64 = 60;
    let key = Key::new("counter").unwrap();
    let read = async |store: &LocalAdapter| {
        let object = store.get(&key, GetOptions::new()).await.unwrap();
        let count: u64 =
            std::str::from_utf8(&object.body.collect(20).await.unwrap()).unwrap().parse().unwrap();
        (count, object.meta.version)
    };
    if let Some((_, root, told)) = role() {
        let store = LocalAdapter::open(root).unwrap();
        let (mut conflicts, mut first) = (0, true);
        for _ in 0..EACH {
            loop {
                let (count, version) = read(&store).await;
                // All have read the same before the first of them writes: two of three lose.
                if std::mem::take(&mut first) {
                    together(&told);
                }
                // So that the others come in between on one core, too.
                tokio::time::sleep(Duration::from_micros(300)).await;
                let options = PutOptions::new().replace(version);
                match store.put(&key, Body::from((count + 1).to_string()), options).await {
                    Ok(_) => break,
                    Err(error) => assert_eq!(error.kind(), ErrorKind::Conflict, "{error}"),
                }
                conflicts += 1;
            }
        }
        return say(conflicts.to_string());
    }
    let directory = directory();
    let store = LocalAdapter::open(directory.path()).unwrap();
    store.put(&key, Body::from("0"), PutOptions::new()).await.unwrap();
    let said = rivals("rival_processes_lose_no_update", directory.path());
    let conflicts: u64 = said.iter().flatten().map(|line| line.parse::<u64>().unwrap()).sum();
    assert_eq!(read(&store).await.0, 3 * EACH);
    assert!(conflicts >= 2, "two have replaced one version");
}

/// Runs `test` in the role `inside` with a small file system in memory mounted on its directory.
fn inside_small_file_system(test: &str) {
    let directory = tempfile::tempdir().unwrap();
    let mut command = Command::new("unshare");
    // Root needs no namespace of users, which containers often forbid.
    command
        .args(["--mount", "--map-root-user"].iter().take(if is_root() { 1 } else { 2 }))
        .args(["sh", "-c"]);
    command.args(["mount -t tmpfs -o size=4m persist-test \"$PERSIST_TEST_DIRECTORY\" && exec \"$@\"", "sh"]);
    let mut child = again(&mut command, test, "inside", directory.path());
    let said: Vec<String> = lines(&mut child).collect();
    let status = child.wait().unwrap();
    assert!(
        status.success() && said == ["done"],
        "the part inside of a small file system failed, or could not be started: this test mounts a tmpfs, for which root needs \
         CAP_SYS_ADMIN, and others namespaces (sysctl user.max_user_namespaces, kernel.apparmor_restrict_unprivileged_userns)"
    );
}

#[tokio::test]
async fn a_full_disk_leaves_the_old_state_and_no_litter() {
    let Some((_, root, _)) = role() else {
        return inside_small_file_system("a_full_disk_leaves_the_old_state_and_no_litter");
    };
    let store = LocalAdapter::open(&root).unwrap();
    let old: Vec<u8> = state(1, 1).into_iter().cycle().take(1 << 20).collect();
    let plain = || SaveOptions::new().codec(Codec::None);
    store.save_with(old.clone(), "state", plain()).await.unwrap();
    let before = all_files(&root);
    let large: Vec<u8> = vec![7; 8 << 20];
    for round in 0..3 {
        let error = match round {
            0 => store.save_with(large.clone(), "state", plain()).await.unwrap_err(),
            1 => store.save_with(large.clone(), "another/state", plain()).await.unwrap_err(),
            _ => {
                let chunks = (0..128).map(|_| Ok(vec![7; 64 << 10].into()));
                let body = Body::from_stream(futures_util::stream::iter(chunks.collect::<Vec<_>>()));
                store.put(&Key::new("state").unwrap(), body, PutOptions::new()).await.unwrap_err()
            }
        };
        assert_eq!(error.kind(), ErrorKind::Io, "{error}");
        assert!(error.to_string().contains("the disk is full, or has no room for more files"), "{error}");
        assert_eq!(store.load("state").await.unwrap(), old);
        assert_eq!(all_files(&root), before, "round {round} left something behind");
    }
    // The space is free again: two more of 1 MiB fit beside the old one.
    store.save_with(old.clone(), "second", plain()).await.unwrap();
    store.save_with(old.clone(), "state", plain()).await.unwrap();
    say("done".into());
}

#[tokio::test]
async fn a_read_only_file_system_is_said_to_be_one() {
    let Some((_, root, _)) = role() else {
        return inside_small_file_system("a_read_only_file_system_is_said_to_be_one");
    };
    let store = LocalAdapter::open(&root).unwrap();
    store.save("state", "folder/state").await.unwrap();
    let remounted = Command::new("mount").args(["-o", "remount,ro"]).arg(&root).status().unwrap();
    assert!(remounted.success(), "cannot remount");
    let store = LocalAdapter::open(&root).expect("reading needs no writing");
    for key in ["folder/state", "folder/new", "new/state"] {
        let error = store.save("new", key).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::AccessDenied, "{error}");
        assert!(error.to_string().contains("the file system is read-only; mount it writable"), "{error}");
    }
    let error = store.delete(&Key::new("folder/state").unwrap(), Default::default()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AccessDenied, "{error}");
    assert_eq!(store.load("folder/state").await.unwrap(), "state");
    assert_eq!(store.list(ListOptions::new()).try_collect::<Vec<_>>().await.unwrap().len(), 1);
    say("done".into());
}

#[tokio::test]
async fn a_directory_without_permission_is_said_to_be_one() {
    use std::os::unix::fs::PermissionsExt;
    let test = "a_directory_without_permission_is_said_to_be_one";
    let Some((_, root, _)) = role() else {
        let directory = tempfile::tempdir().unwrap();
        // Root may do everything; without these two capabilities it is a user like any other.
        let mut command = Command::new("env");
        if is_root() {
            command = Command::new("setpriv");
            command.args(["--bounding-set", "-dac_override,-dac_read_search"]);
        }
        let mut child = again(&mut command, test, "inside", directory.path());
        let said: Vec<String> = lines(&mut child).collect();
        assert!(
            child.wait().unwrap().success() && said == ["done"],
            "failed inside, or needs `setpriv` to run as root"
        );
        return;
    };
    let store = LocalAdapter::open(&root).unwrap();
    store.save("state", "folder/state").await.unwrap();
    let folder = root.join("folder");
    let set = |mode| fs::set_permissions(&folder, fs::Permissions::from_mode(mode)).unwrap();
    set(0o500);
    for error in [
        store.save("new", "folder/state").await.unwrap_err(),
        store.save("new", "folder/new/state").await.unwrap_err(),
        store.delete(&Key::new("folder/state").unwrap(), Default::default()).await.unwrap_err(),
    ] {
        assert_eq!(error.kind(), ErrorKind::AccessDenied, "{error}");
        assert!(error.to_string().contains("must belong to the user"), "{error}");
        assert!(error.to_string().contains(&folder.display().to_string()), "{error}");
    }
    assert_eq!(store.load("folder/state").await.unwrap(), "state");
    set(0);
    let error = store.load("folder/state").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AccessDenied);
    assert!(error.to_string().contains(&folder.display().to_string()), "{error}");
    let listing = store.list(ListOptions::new()).try_collect::<Vec<_>>().await;
    assert_eq!(
        listing.unwrap_err().kind(),
        ErrorKind::AccessDenied,
        "a listing that misses objects must fail"
    );
    set(0o700);
    assert_eq!(store.load("folder/state").await.unwrap(), "state");
    say("done".into());
}
