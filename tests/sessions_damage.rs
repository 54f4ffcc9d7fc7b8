//! Damage of any byte of any object of a session is found and named; the bytes are those that the golden
//! files pin.
#![allow(clippy::unwrap_used)]

mod sessions_support;

use std::path::PathBuf;

use persist::{ErrorKind, Key, sessions::*};
use sessions_support::*;

/// A session that has one of everything, and a fork of it.
async fn everything(adapter: &Counting) -> Sessions {
    let clock = TestClock::new(11);
    let sessions =
        sessions(adapter, &clock).writer("host/1").inline_limit(2000).stream_limit(6000).level(6).unwrap();
    let session = sessions.session("agent", "main").unwrap();
    let states = growing(11, 12);
    for (step, state) in states.iter().enumerate() {
        clock.pass(1000);
        let options = CommitOptions::new().label("é").step(step as u64).metadata("k", "v");
        session.save_with(state.clone(), options).await.unwrap();
    }
    // A delta and a keyframe whose bodies are objects of their own.
    let noise = |seed, len: usize| {
        let mut random = Random(seed);
        (0..len).map(|_| random.next() as u8).collect::<Vec<u8>>()
    };
    session.save(noise(1, 5000)).await.unwrap();
    session.save([noise(1, 5000), noise(2, 2100)].concat()).await.unwrap();
    session.save_stream(std::io::Cursor::new(noise(3, 7000))).await.unwrap();
    let values = [("state", "{}".into()), ("image", noise(4, 300).into())];
    session.save_values(&values).await.unwrap();
    session.tag("good", 5).await.unwrap();
    let fork = session.fork("branch", 10).await.unwrap();
    fork.save(states[11].clone()).await.unwrap();
    fork.take_over().await.unwrap();
    let long = sessions.session("a".repeat(400), "s").unwrap();
    long.save("x").await.unwrap();
    // Only so that there is a line.
    let pruned = session.prune(Retention::new().last(100)).await.unwrap();
    assert!(pruned.removed.is_empty());
    sessions
}

/// Loads everything that the session has, by the ways that read each kind of object.
async fn read_all(sessions: &Sessions) -> Vec<persist::Error> {
    let mut errors = Vec::new();
    for (agent, name) in [("agent", "main"), ("agent", "branch"), (&"a".repeat(400), "s")] {
        let session = sessions.session(agent, name).unwrap();
        let mut ats: Vec<At> = (1..=16).map(At::Seq).collect();
        ats.truncate(match name {
            "main" => 16,
            "branch" => 12,
            _ => 1,
        });
        ats.extend((name == "main").then(|| At::Tag("good".into())));
        for at in ats.into_iter().chain([At::Latest]) {
            if let Err(error) = session.load(at.clone()).await {
                errors.push(error);
            }
            if let Err(error) = async { session.load_stream(at).await?.1.collect(u64::MAX).await }.await {
                errors.push(error);
            }
        }
    }
    errors
}

#[tokio::test]
async fn every_flipped_byte_of_every_object_is_found() {
    let adapter = Counting::memory();
    let sessions = everything(&adapter).await;
    assert!(read_all(&sessions).await.is_empty());
    let (main, branch) =
        (sessions.session("agent", "main").unwrap(), sessions.session("agent", "branch").unwrap());
    for session in [&main, &branch] {
        let verified = session.verify().await.unwrap();
        assert!(verified.is_good() && verified.garbage == 0, "{verified:?}");
    }
    assert_eq!(main.verify().await.unwrap().good, 16);
    let keys = adapter.keys().await;
    for kind in ["/c/", "/b/", "/t/", "/f/", "line"] {
        assert!(keys.iter().any(|key| key.as_str().contains(kind)), "{kind} in {keys:?}");
    }
    for key in &keys {
        let whole = adapter.raw(key).await;
        for at in 0..whole.len() {
            let mut bad = whole.clone();
            bad[at] ^= 1 << (at % 8);
            adapter.set(key, bad).await;
            let is_named = noticed(&main, &branch, &sessions, key).await;
            assert!(is_named, "byte {at} of {key}");
        }
        adapter.set(key, whole).await;
    }
    assert!(read_all(&sessions).await.is_empty());
}

/// Whether a load that needs the object refuses, and names this object and no other.
async fn noticed(main: &Session, branch: &Session, sessions: &Sessions, key: &Key) -> bool {
    let text = key.as_str();
    let seq = || text.rsplit('-').next().unwrap().parse().unwrap();
    let result = if text.contains("/main/c/") {
        main.load(At::Seq(seq())).await
    } else if text.contains("/main/b/") {
        main.load(At::Seq(text.rsplit('/').next().unwrap().split('-').next().unwrap().parse().unwrap())).await
    } else if text.contains("/branch/c/") {
        // Commit 1 is the origin: older commits are found through it.
        branch.load(At::Seq(if seq() == 1 { 3 } else { seq() })).await
    } else if text.contains("/t/") {
        main.load(At::Tag("good".into())).await
    } else if text.ends_with("/line") {
        main.load(At::Seq(1)).await
    } else if text.contains("/f/") {
        let verified = main.verify().await.unwrap();
        return verified.damaged.iter().any(|damaged| damaged.key.as_deref() == Some(text));
    } else {
        sessions.session("a".repeat(400), "s").unwrap().load(At::Latest).await
    };
    match result {
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
            error.key() == Some(key)
        }
        Ok(_) => false,
    }
}

fn golden(name: &str) -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "tests", "golden", "sessions", name].iter().collect()
}

/// A file a stored object: what older versions wrote must load for ever, and what is written must not change
/// unnoticed. `PERSIST_TEST_WRITE_GOLDEN=1` writes them anew.
#[tokio::test]
async fn the_bytes_are_those_of_the_golden_files() {
    let adapter = Counting::memory();
    let _ = everything(&adapter).await;
    let keys = adapter.keys().await;
    let index = keys.iter().map(|key| format!("{key}\n")).collect::<String>();
    if std::env::var("PERSIST_TEST_WRITE_GOLDEN").is_ok() {
        let _ = std::fs::remove_dir_all(golden(""));
        std::fs::create_dir_all(golden("")).unwrap();
        std::fs::write(golden("index.txt"), &index).unwrap();
        for (number, key) in keys.iter().enumerate() {
            std::fs::write(golden(&format!("{number:02}.bin")), adapter.raw(key).await).unwrap();
        }
    }
    assert_eq!(std::fs::read_to_string(golden("index.txt")).unwrap(), index);
    let old = Counting::memory();
    for (number, key) in keys.iter().enumerate() {
        let bytes = std::fs::read(golden(&format!("{number:02}.bin"))).unwrap();
        assert!(bytes == adapter.raw(key).await, "{key} is written with other bytes than before");
        old.set(key, bytes).await;
    }
    let sessions = Sessions::new(std::sync::Arc::new(old)).unwrap();
    assert!(read_all(&sessions).await.is_empty());
    let session = sessions.session("agent", "main").unwrap();
    assert_eq!(session.load(12).await.unwrap().state, growing(11, 12)[11]);
    let commit = session.load(At::Tag("good".into())).await.unwrap().commit;
    assert_eq!((commit.seq, commit.label.as_deref(), commit.step), (5, Some("é"), Some(4)));
}

/// The same for archives, which may be all that is left of a session.
#[tokio::test]
async fn the_bytes_of_an_archive_are_those_of_the_golden_file() {
    let source = everything(&Counting::memory()).await;
    let mut archive = Vec::new();
    source.session("agent", "main").unwrap().export(&mut archive).await.unwrap();
    let file = [env!("CARGO_MANIFEST_DIR"), "tests", "golden", "session-v1.tar"].iter().collect::<PathBuf>();
    if std::env::var("PERSIST_TEST_WRITE_GOLDEN").is_ok() {
        std::fs::write(&file, &archive).unwrap();
    }
    let old = std::fs::read(file).unwrap();
    assert!(archive == old, "an archive has other bytes than before");
    let sessions = sessions(&Counting::memory(), &TestClock::new(12)).inline_limit(2000);
    let session = sessions.session("agent", "main").unwrap();
    assert_eq!(session.import(&old[..]).await.unwrap().commits, 16);
    assert!(session.verify().await.unwrap().is_good());
    assert_eq!(session.load(12).await.unwrap().state, growing(11, 12)[11]);
    assert_eq!(session.load(At::Tag("good".into())).await.unwrap().commit.seq, 5);
}

#[tokio::test]
async fn a_newer_version_is_refused_by_name() {
    let adapter = Counting::memory();
    let sessions = everything(&adapter).await;
    let session = sessions.session("agent", "main").unwrap();
    let reseal = |mut bytes: Vec<u8>, head: usize, from: usize| {
        let end = bytes.len() - 4;
        let check = crc32c::crc32c_append(crc32c::crc32c(&bytes[..head]), &bytes[from..end]);
        bytes[end..].copy_from_slice(&check.to_le_bytes());
        bytes
    };
    let key = adapter.keys().await.into_iter().find(|key| key.as_str().contains("main/t/")).unwrap();
    let mut tag = adapter.raw(&key).await;
    tag[3] = 9;
    adapter.set(&key, reseal(tag, 0, 0)).await;
    let error = session.load(At::Tag("good".into())).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(error.to_string().contains("version 9"), "{error}");
    // A delta: its check covers the head, and the manifest with its length at the end.
    let keys = adapter.keys().await;
    let mut deltas = Vec::new();
    for key in keys.iter().filter(|key| key.as_str().contains("main/c/")) {
        let bytes = adapter.raw(key).await;
        if bytes.starts_with(b"PSC") {
            deltas.push((key, bytes));
        }
    }
    let (key, delta) = deltas.pop().unwrap();
    let seq: u64 = key.as_str().rsplit('-').next().unwrap().parse().unwrap();
    let len = u32::from_le_bytes(delta[delta.len() - 8..delta.len() - 4].try_into().unwrap()) as usize;
    let manifest = delta.len() - 8 - len;
    for (at, what) in
        [(3, "version 7 of commits"), (manifest, "version 7 of commits"), (manifest + 2, "flag 0x")]
    {
        let mut newer = delta.clone();
        newer[at] = 7;
        if what.starts_with("flag") {
            // The second byte of the flags: bits that no version before has.
            newer[at] |= 0x70;
        }
        adapter.set(key, reseal(newer, 4, manifest)).await;
        let error = session.load(seq).await.unwrap_err();
        assert!(error.kind() == ErrorKind::Unsupported && error.to_string().contains(what), "{error}");
    }
}

/// A session in which every commit has a body of its own: random, and hence keyframes or deltas that do not
/// fit.
async fn with_bodies(adapter: &Counting) -> (Session, Vec<Vec<u8>>) {
    let sessions = sessions(adapter, &TestClock::new(13)).inline_limit(1000).stream_limit(6000);
    let session = sessions.session("a", "s").unwrap();
    let noise = |seed, len: usize| {
        let mut random = Random(seed);
        (0..len).map(|_| random.next() as u8).collect::<Vec<u8>>()
    };
    // A keyframe, a delta, a long stream.
    let states = vec![noise(1, 5000), [noise(1, 5000), noise(2, 2000)].concat(), noise(3, 9000)];
    session.save(states[0].clone()).await.unwrap();
    session.save(states[1].clone()).await.unwrap();
    session.save_stream(std::io::Cursor::new(states[2].clone())).await.unwrap();
    (session, states)
}

#[tokio::test]
async fn an_import_stores_no_damaged_body_and_leaves_what_is_there() {
    let adapter = Counting::memory();
    let (session, states) = with_bodies(&adapter).await;
    let bodies: Vec<Key> =
        adapter.keys().await.into_iter().filter(|key| key.as_str().contains("/b/")).collect();
    assert_eq!(bodies.len(), 3, "{bodies:?}");
    let mut archive = Vec::new();
    session.export(&mut archive).await.unwrap();
    for body in &bodies {
        let bytes = adapter.raw(body).await;
        let start = archive.windows(bytes.len()).position(|window| window == &bytes[..]).unwrap();
        for at in [start, start + bytes.len() / 2, start + bytes.len() - 1] {
            let mut bad = archive.clone();
            bad[at] ^= 1;
            let target = Counting::memory();
            let copy =
                Sessions::new(std::sync::Arc::new(target.clone())).unwrap().session("a", "copy").unwrap();
            let error = copy.import(&mut &bad[..]).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
            // The archive is damaged, and no object of the storage.
            assert!(error.to_string().contains("cannot be read: the body of commit "), "{error}");
            assert_eq!(error.key(), None);
            // Nothing damaged stays, and a good archive goes on from there.
            let name = body.as_str().rsplit('/').next().unwrap();
            assert!(!target.keys().await.iter().any(|key| key.as_str().ends_with(name)));
            copy.import(&mut &archive[..]).await.unwrap();
            assert!(copy.verify().await.unwrap().is_good());
            // Over the session that it came from: what is there stays.
            session.import(&mut &bad[..]).await.unwrap();
            assert!(session.verify().await.unwrap().is_good());
        }
    }
    // A body whose commit is another one's.
    let other = Counting::memory();
    let taken = sessions(&other, &TestClock::new(14))
        .inline_limit(1000)
        .stream_limit(6000)
        .session("a", "s")
        .unwrap();
    taken.save(states[1].clone()).await.unwrap();
    let before = other.keys().await;
    assert_eq!(taken.import(&mut &archive[..]).await.unwrap_err().kind(), ErrorKind::AlreadyExists);
    assert_eq!(other.keys().await, before);
}

#[tokio::test]
async fn an_import_does_not_begin_in_a_session_whose_first_commits_were_pruned() {
    let (adapter, clock) = (Counting::memory(), TestClock::new(15));
    let aged = Aged { inner: adapter.clone(), clock: clock.clone() };
    let sessions = Sessions::new(std::sync::Arc::new(aged)).unwrap().clock(clock.clone());
    let session = sessions.session("a", "s").unwrap();
    let mut random = Random(1);
    for _ in 0..5 {
        let state: Vec<u8> = (0..3000).map(|_| random.next() as u8).collect();
        session.save(state).await.unwrap();
    }
    clock.pass(5 * 3_600_000);
    session.prune(Retention::new().last(2)).await.unwrap();
    let mut archive = Vec::new();
    assert_eq!(session.export(&mut archive).await.unwrap().commits, 2);
    let before = adapter.keys().await;
    assert_eq!(session.import(&mut &archive[..]).await.unwrap_err().kind(), ErrorKind::AlreadyExists);
    assert_eq!(adapter.keys().await, before);
}

#[tokio::test]
async fn damage_elsewhere_does_not_hide_a_commit_and_a_fallback_is_never_newer() {
    let (adapter, clock) = (Counting::memory(), TestClock::new(16));
    let session = sessions(&adapter, &clock).session("a", "s").unwrap();
    let mut commits = Vec::new();
    for state in growing(16, 20) {
        clock.pass(60_000);
        commits.push(session.save(state).await.unwrap());
    }
    session.tag("old", 4).await.unwrap();
    let keys = adapter.keys().await;
    let of = |seq: u64| keys.iter().find(|key| key.as_str().ends_with(&format!("-{seq}"))).unwrap();
    // The last byte is of the check of the manifest: nothing is known of such a commit.
    let damage = async |seq: u64| {
        let whole = adapter.raw(of(seq)).await;
        let mut bad = whole.clone();
        *bad.last_mut().unwrap() ^= 1;
        adapter.set(of(seq), bad).await;
        whole
    };
    for bad in 1..=20 {
        let whole = damage(bad).await;
        for wanted in [3, 9, 10, 11, 17] {
            let commit = &commits[wanted - 1];
            for at in [At::Id(commit.id), At::Time(commit.id.time())] {
                let shown = session.show(at.clone()).await;
                // The damaged one may be the commit of that time; of an id, only where it is that commit.
                match shown {
                    Ok(shown) => assert_eq!(shown.seq, wanted as u64),
                    Err(error) => {
                        assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
                        assert!(
                            bad == wanted as u64 || (matches!(at, At::Time(_)) && bad == wanted as u64 + 1)
                        );
                    }
                }
                match session.load_with_fallback(at).await {
                    Ok(good) => assert!(good.commit.seq <= wanted as u64, "{} for {wanted}", good.commit.seq),
                    // Their first keyframe.
                    Err(error) => assert!(error.kind() == ErrorKind::Corrupt && bad == 1, "{error}"),
                }
            }
        }
        adapter.set(of(bad), whole).await;
    }
    // What a damaged tag named is not known, so nothing is guessed.
    let tag = keys.iter().find(|key| key.as_str().contains("/t/")).unwrap();
    adapter.set(tag, b"PSR damaged".to_vec()).await;
    let error = session.load_with_fallback(At::Tag("old".into())).await.unwrap_err();
    assert_eq!((error.kind(), error.key()), (ErrorKind::Corrupt, Some(tag)));
}

/// Whatever kind of object is damaged, and whoever reads it: the advice is the one for sessions.
#[tokio::test]
async fn damage_of_a_body_is_told_in_the_same_words_as_of_a_commit() {
    let adapter = Counting::memory();
    let sessions = everything(&adapter).await;
    let main = sessions.session("agent", "main").unwrap();
    let keys = adapter.keys().await;
    let of_states =
        keys.iter().filter(|key| ["/main/c/", "/main/b/"].iter().any(|at| key.as_str().contains(at)));
    for key in of_states {
        let whole = adapter.raw(key).await;
        for at in [0, 20, whole.len() / 2, whole.len() - 1] {
            adapter.flip(key, at).await;
            for error in read_all(&sessions).await {
                let text = error.to_string();
                assert!(!text.contains("the snapshot"), "byte {at} of {key}: {text}");
                let advised = error.kind() != ErrorKind::Corrupt || text.contains("restore ");
                assert!(advised, "byte {at} of {key}: {text}");
            }
            let verified = main.verify().await.unwrap();
            assert!(!verified.is_good(), "byte {at} of {key}");
            for damaged in verified.damaged {
                assert!(!damaged.reason.contains("damaged: "), "byte {at} of {key}: {damaged:?}");
            }
            adapter.set(key, whole.clone()).await;
        }
    }
}
