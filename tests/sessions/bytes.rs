//! What sessions store, counted in bytes.

use persist::SnapshotAdapterExt;

use crate::sessions_support::{Counting, TestClock, growing, sessions};

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
