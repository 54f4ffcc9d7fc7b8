//! What sessions store, counted in bytes.

use std::io::Cursor;

use persist::{
    SnapshotAdapterExt,
    sessions::{Commit, Session, Sessions},
};

use crate::sessions_support::{Counting, Random, TestClock, growing, noise, sessions};

fn fresh() -> (Counting, Sessions) {
    let adapter = Counting::memory();
    (adapter.clone(), sessions(&adapter, &TestClock::new(9)))
}

/// Whether a save was of the whole state, and how many bytes it stored.
fn stored(commit: &Commit) -> (bool, u64) {
    (commit.keyframe, commit.stored_size)
}

async fn save(session: &Session, state: &[u8]) -> (bool, u64) {
    stored(&session.save(state.to_vec()).await.unwrap())
}

/// Of a run whose states grow with every step, the whole history grows no faster than the run.
#[tokio::test]
async fn ten_times_the_steps_are_ten_times_the_bytes() {
    let (adapter, clock) = (Counting::memory(), TestClock::new(8));
    let session = sessions(&adapter, &clock).session("a", "s").unwrap();
    let (mut first, states) = (0, growing(8, 600));
    for (step, state) in (1..).zip(&states) {
        session.save(state.clone()).await.unwrap();
        if step == 60 {
            first = adapter.stored().await;
        }
    }
    let all = adapter.stored().await;
    assert!((9 * first..=11 * first).contains(&all), "{first} bytes after 60 steps, {all} after 600");
}

/// One object each and request each, and little more in it than in a plain save.
#[tokio::test]
async fn small_states_cost_what_a_plain_save_costs() {
    let (adapter, clock) = (Counting::memory(), TestClock::new(9));
    for (steps, size) in [(1, 200..700), (14, 1500..2500), (80, 7500..9500)] {
        let states = growing(9, steps + 3);
        let session = sessions(&adapter, &clock).session("a", format!("s{steps}")).unwrap();
        for state in &states[steps..] {
            assert!(size.contains(&state.len()), "{}", state.len());
            let plain = adapter.save(state.clone(), "plain").await.unwrap().meta.size;
            let before = (adapter.stored().await, adapter.counts());
            session.save(state.clone()).await.unwrap();
            let (stored, puts) = (adapter.stored().await - before.0, adapter.counts().put - before.1.put);
            assert!(stored <= plain + 24, "{stored} bytes of {}, {plain} in a plain save", state.len());
            assert_eq!(puts, 1);
        }
    }
}

/// States without a byte in common, as those that come encrypted: each is stored whole, and beside what a
/// plain save takes there is the manifest, which has the parent's id (16 bytes) in all but the first, and the
/// commit's number, which is a byte longer from 128 on.
#[tokio::test]
async fn small_states_that_change_wholly_are_some_40_bytes_longer() {
    let (adapter, sessions) = fresh();
    let session = sessions.session("a", "s").unwrap();
    for number in 1..=300 {
        let state = noise(number, 2000);
        let plain = adapter.save(state.clone(), "plain").await.unwrap().meta.size;
        let more = if number == 1 { 24 } else { 40 + u64::from(number >= 128) };
        assert_eq!(save(&session, &state).await, (true, plain + more));
    }
}

/// A save is compared with the state before it, not with all of history.
#[tokio::test]
async fn what_went_and_comes_back_is_stored_again() {
    let (adapter, sessions) = fresh();
    let session = sessions.session("a", "turns").unwrap();
    let (a, b) = (noise(1, 100_000), noise(2, 100_000));
    for state in [&a, &b, &a, &b, &a] {
        let (is_whole, bytes) = save(&session, state).await;
        assert!(is_whole && (100_000..100_300).contains(&bytes), "{bytes}");
    }
    // A fork has the state that it starts from.
    let before = adapter.stored().await;
    let fork = session.fork("back", 1).await.unwrap();
    assert!(!save(&fork, &[&a[..], b"!"].concat()).await.0);
    let bytes = adapter.stored().await - before;
    assert!(bytes < 500, "{bytes} bytes for a fork and a save");
    // Where a run only adds, its newest state has all of the older ones. The way there is what came since.
    let (session, states) = (sessions.session("a", "adds").unwrap(), growing(10, 200));
    for state in &states {
        session.save(state.clone()).await.unwrap();
    }
    let (is_whole, bytes) = save(&session, &states[39]).await;
    assert!(!is_whole && bytes < 200, "{bytes} bytes back");
    let (_, bytes) = save(&session, &states[199]).await;
    assert!(bytes > 5000, "{bytes} bytes there");
}

/// As a `HashMap` is written, whose order is another one in each process.
#[tokio::test]
async fn a_map_in_another_order_is_stored_whole() {
    let (_, sessions) = fresh();
    let session = sessions.session("a", "s").unwrap();
    let text = |n| noise(n, 40).iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let mut entries: Vec<String> = (0..1000).map(|n| format!("\"k{n}\":\"{}\"", text(n))).collect();
    let map = |entries: &[String]| format!("{{{}}}", entries.join(",")).into_bytes();
    assert_eq!(map(&entries).len(), 89_891);
    let (_, whole) = save(&session, &map(&entries)).await;
    assert!((45_000..50_000).contains(&whole), "{whole}");
    assert_eq!(save(&session, &map(&entries)).await, (false, 100));
    let mut random = Random(12);
    for _ in 0..3 {
        for last in (1..entries.len()).rev() {
            entries.swap(last, random.below(last as u64 + 1) as usize);
        }
        let (is_whole, bytes) = save(&session, &map(&entries)).await;
        assert!(is_whole && (45_000..50_000).contains(&bytes), "{bytes}");
    }
}

/// A long stream is not held, so there is nothing to compare the next one with; nor has a handle of another
/// process what came before. This is each save of the command line.
#[tokio::test]
async fn a_state_over_the_stream_limit_is_stored_whole_unless_a_handle_holds_the_one_before() {
    let (_, sessions) = fresh();
    let sessions = sessions.inline_limit(2000).stream_limit(6000);
    let handle = |name| sessions.session("a", name).unwrap();
    let state = noise(1, 7000);
    let longer = [&state[..], b"!"].concat();
    for state in [&state, &longer] {
        let commit = handle("streams").save_stream(Cursor::new(state.clone())).await.unwrap();
        assert!(stored(&commit).0 && commit.stored_size > 7000);
        let (is_whole, bytes) = save(&handle("processes"), state).await;
        assert!(is_whole && bytes > 7000);
    }
    let session = handle("lives on");
    assert!(save(&session, &state).await.0);
    let (is_whole, bytes) = save(&session, &longer).await;
    assert!(!is_whole && bytes < 200, "{bytes}");
    // A load into memory holds it as well.
    let session = handle("processes");
    session.rebase().await.unwrap();
    let (is_whole, bytes) = save(&session, &state).await;
    assert!(!is_whole && bytes < 200, "{bytes}");
}
