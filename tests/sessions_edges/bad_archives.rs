//! Archives that `export` does not write.

use std::sync::Arc;

use persist::{ErrorKind, Limits, sessions::*};

use super::{
    Bench, commit_key,
    imports::{archive, exported, number, small, whole},
    sessions_support::{Counting, TestClock, noise, seqs},
};

/// All commits up to this one.
fn line(upto: u64) -> Vec<u8> {
    small(b'l', &[number(upto), number(1), number(0), number(upto - 1), vec![0]].concat())
}

fn tag(seq: u64, name: &str) -> Vec<u8> {
    let name = [number(name.len() as u64), name.as_bytes().to_vec()].concat();
    small(b't', &[number(seq), vec![0; 16], name].concat())
}

/// The commits of a session, named as in an archive.
async fn commits(bench: &Bench, count: u64) -> Vec<(String, Vec<u8>)> {
    let mut found = Vec::new();
    for seq in 1..=count {
        let key = commit_key("s", seq);
        let name = key.as_str()[key.as_str().find("c/").unwrap()..].to_owned();
        found.push((name, bench.adapter.raw(&key).await));
    }
    found
}

fn of<'a>(line: &'a [u8], commits: &'a [(String, Vec<u8>)]) -> Vec<(&'a str, &'a [u8])> {
    let commits = commits.iter().map(|(name, bytes)| (name.as_str(), &bytes[..]));
    [("line", line)].into_iter().chain(commits).collect()
}

/// What is claimed is what the first one says.
#[tokio::test]
async fn an_archive_has_one_line() {
    let source = Bench::new(1);
    whole(&source, "s", 5).await;
    let commits = commits(&source, 5).await;
    let lines = [2, 3, 5].map(line);
    // Behind a session that is whole.
    let bench = Bench::new(2);
    let copy = bench.session("copy");
    copy.import(&mut &archive(&of(&lines[1], &commits[..3]))[..]).await.unwrap();
    let before = bench.adapter.keys().await;
    let two = archive(&[of(&lines[1], &commits[..3]), of(&lines[2], &commits[3..])].concat());
    let error = bench.session("copy").import(&mut &two[..]).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
    assert_eq!((bench.adapter.keys().await, seqs(&copy).await), (before, vec![3, 2, 1]));
    // Before it is: it stays half, and the right one finishes it.
    let bench = Bench::new(3);
    let copy = bench.session("copy");
    let two = archive(&[of(&lines[0], &commits[..1]), of(&lines[2], &commits[1..3])].concat());
    assert_eq!(copy.import(&mut &two[..]).await.unwrap_err().kind(), ErrorKind::Corrupt);
    assert_eq!(bench.session("copy").save("mine").await.unwrap_err().kind(), ErrorKind::Conflict);
    copy.import(&mut &archive(&of(&lines[0], &commits[..2]))[..]).await.unwrap();
    assert_eq!(seqs(&copy).await, [2, 1]);
}

/// It shows before the session does.
#[tokio::test]
async fn a_bad_tag_ends_an_import_while_nobody_sees_it() {
    let source = Bench::new(4);
    whole(&source, "s", 2).await;
    let (commits, line) = (commits(&source, 2).await, line(2));
    for (seq, name) in [(2, ""), (1, ""), (99, "good")] {
        let bench = Bench::new(5);
        let copy = bench.session("copy");
        let tag = tag(seq, name);
        let bad = archive(&[of(&line, &commits), vec![("t/1", &tag[..])]].concat());
        let error = copy.import(&mut &bad[..]).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
        assert!(error.to_string().contains("tag"), "{error}");
        assert_eq!(copy.load(At::Latest).await.unwrap_err().kind(), ErrorKind::Conflict);
        copy.import(&mut &archive(&of(&line, &commits))[..]).await.unwrap();
        assert_eq!(copy.load(At::Latest).await.unwrap().state, noise(2, 600));
    }
}

/// It shares all but its newest commit with a session that is there.
#[tokio::test]
async fn an_archive_of_another_session_brings_no_tags() {
    let source = Bench::new(6);
    whole(&source, "s", 2).await;
    let archives = exported(&source.session("s")).await;
    let (one, two) = (Bench::new(7), Bench::new(8));
    for (bench, state) in [(&one, "one"), (&two, "two")] {
        bench.session("s").import(&mut &archives[..]).await.unwrap();
        bench.session("s").save(state).await.unwrap();
    }
    two.session("s").tag("foreign", 1).await.unwrap();
    let archive = exported(&two.session("s")).await;
    let before = one.adapter.keys().await;
    let error = one.session("s").import(&mut &archive[..]).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AlreadyExists, "{error}");
    assert_eq!(one.adapter.keys().await, before);
}

/// The end of a session is no state.
#[tokio::test]
async fn an_archive_with_the_end_of_a_session_is_refused() {
    let source = Bench::new(9);
    whole(&source, "s", 3).await.remove().await.unwrap();
    let (commits, line) = (commits(&source, 4).await, line(4));
    let bench = Bench::new(10);
    let copy = bench.session("copy");
    let error = copy.import(&mut &archive(&of(&line, &commits))[..]).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
    assert_eq!(copy.load(At::Latest).await.unwrap_err().kind(), ErrorKind::Conflict);
}

/// Nothing would keep its newest number while it is exchanged.
#[tokio::test]
async fn a_storage_that_cannot_replace_takes_no_import() {
    let source = Bench::new(11);
    let archives =
        [1, 2].map(async |commits| exported(&whole(&source, &format!("s{commits}"), commits).await).await);
    let mut adapter = Counting::memory();
    adapter.can.replace = false;
    let sessions = Sessions::new(Arc::new(adapter.clone())).unwrap().clock(TestClock::new(12));
    let [one, two] = archives;
    let error = sessions.session("a", "two").unwrap().import(&mut &two.await[..]).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
    assert!(adapter.keys().await.is_empty());
    // Where one create brings all, there is nothing to exchange.
    sessions.session("a", "one").unwrap().import(&mut &one.await[..]).await.unwrap();
}

/// It becomes as large in memory as it is.
#[tokio::test]
async fn the_body_of_a_delta_has_the_limit_of_its_state() {
    let bench = Bench::new(13);
    let session = bench.sessions.clone().inline_limit(1000).stream_limit(600_000).session("a", "s").unwrap();
    let mut state = noise(1, 60_000);
    session.save(state.clone()).await.unwrap();
    state.extend(noise(2, 20_000));
    session.save(state).await.unwrap();
    assert!(!session.show(2).await.unwrap().keyframe);
    let body = bench.adapter.key("/b/2-").await;
    // What is read shows in the error: it is as long as no commit says.
    bench.adapter.set(&body, vec![0; 50_000]).await;
    let narrow = bench.sessions.clone().limits(Limits::new().max_bytes(10_000));
    let error = narrow.session("a", "s").unwrap().load(2).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");
    assert!(error.to_string().contains("max_bytes"), "{error}");
    assert_eq!(bench.session("s").load(2).await.unwrap_err().kind(), ErrorKind::Corrupt);
}

/// It is not taken for a damaged one.
#[tokio::test]
async fn an_archive_of_a_later_version_is_refused_by_name() {
    let archive = exported(&whole(&Bench::new(1), "s", 2).await).await;
    let at = archive.windows(10).position(|window| window == br#""format":1"#).unwrap();
    let mut later = archive;
    later[at + 9] = b'2';
    let bench = Bench::new(2);
    let error = bench.session("copy").import(&later[..]).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
    assert!(error.to_string().contains("format 2 of session archives"), "{error}");
    assert!(bench.adapter.keys().await.is_empty());
}

/// What one does about a damaged object of a storage would put a commit into half an import.
#[tokio::test]
async fn damage_is_that_of_the_archive() {
    let bench = Bench::new(14);
    let session = bench.sessions.clone().inline_limit(1000).stream_limit(6000).session("a", "s").unwrap();
    session.save(noise(1, 600)).await.unwrap();
    session.save(noise(2, 9000)).await.unwrap();
    session.tag("good", 1).await.unwrap();
    let archive = exported(&session).await;
    for (entry, what) in [
        ("line", "its line is damaged"),
        ("c/999999999/998-1", "commit 1 is damaged"),
        ("b/2-", "the body of commit 2 is damaged"),
        ("c/999999999/997-2", "commit 2 is damaged"),
        ("t/1", "a tag is damaged"),
    ] {
        let header = archive.chunks(512).position(|block| block.starts_with(entry.as_bytes())).unwrap();
        let mut bad = archive.clone();
        bad[(header + 1) * 512 + 10] ^= 1;
        let bench = Bench::new(15);
        let error = bench.session("copy").import(&mut &bad[..]).await.unwrap_err();
        assert_eq!((error.kind(), error.key()), (ErrorKind::Corrupt, None), "{error}");
        let text = error.to_string();
        assert!(text.contains(what) && text.contains("another archive"), "{text}");
        assert!(!text.contains("fallback"), "{text}");
    }
}

/// Only the archive that an import broke off of finishes it: the error says which that is, and advises nothing
/// that ends the name.
#[tokio::test]
async fn a_name_that_another_archive_has_begun_says_so() {
    let source = Bench::new(16);
    let session = whole(&source, "s", 3).await;
    let first = exported(&session).await;
    session.save("one more").await.unwrap();
    let second = exported(&session).await;
    let bench = Bench::new(17);
    let copy = bench.session("copy");
    let error = copy.import(&mut &first[..first.len() - 2048]).await.unwrap_err();
    let kept = "this session is kept for the archive as it was written";
    assert!(error.kind() == ErrorKind::Corrupt && error.to_string().contains(kept), "{error}");
    let error = copy.load(At::Latest).await.unwrap_err();
    assert!(error.to_string().contains("import the same archive again"), "{error}");
    let error = copy.import(&mut &second[..]).await.unwrap_err();
    let which = "is being imported from another archive, whose newest commit is 3";
    assert!(error.kind() == ErrorKind::AlreadyExists && error.to_string().contains(which), "{error}");
    copy.import(&mut &first[..]).await.unwrap();
    assert_eq!(seqs(&copy).await, [3, 2, 1]);
    let error = copy.import(&mut &second[..]).await.unwrap_err();
    assert!(error.to_string().contains("exists already"), "{error}");
    // Damage in front of the claim keeps no name.
    let error = bench.session("none").import(&mut &first[..600]).await.unwrap_err();
    assert!(!error.to_string().contains(kept), "{error}");
}
