//! What saves and loads cost far into a long run, counted: its history grows in proportion to its steps, and
//! what a save asks of the storage, and what a load reads, does not grow.

use persist::sessions::At;

use crate::sessions_support::{Counting, Counts, Random, TestClock, sessions};

/// A small step, so that 20,000 of them take seconds: most of a commit is what is said about it.
#[tokio::test]
async fn twenty_thousand_steps_cost_each_what_the_first_ones_cost() {
    let (adapter, clock) = (Counting::memory(), TestClock::new(8));
    let session = sessions(&adapter, &clock).session("a", "s").unwrap();
    let (mut random, mut state, mut stored) = (Random(8), String::new(), Vec::new());
    assert!(session.rebase().await.unwrap().is_none());
    let mut saves = adapter.counts();
    for step in 1..=20_000 {
        // Less than a fence window in all, so that no save has to look again.
        clock.pass(100);
        state.push_str(&format!("{:08x}", random.next() as u32));
        session.save(state.clone()).await.unwrap();
        if ![200, 600, 2000, 6000, 20_000].contains(&step) {
            continue;
        }
        let made = adapter.counts() - saves;
        let since = step - stored.last().map_or(0, |&(step, _)| step);
        assert_eq!(made, Counts { put: since, ..Counts::default() }, "one request a save up to {step}");
        stored.push((step, adapter.stored().await));
        let middle = session.show(step / 2).await.unwrap();
        let halvings = u64::from(step.ilog2()) + 1;
        for (at, listings, beside) in
            [(At::Latest, 1, 0), (At::Seq(step / 2), 0, 1), (At::Time(middle.time), 1, halvings)]
        {
            let reader = sessions(&adapter, &clock).session("a", "s").unwrap();
            let before = adapter.counts();
            let loaded = reader.load(at.clone()).await.unwrap();
            let cost = adapter.counts() - before;
            let wanted = if at == At::Latest { step } else { middle.seq };
            assert!(loaded.commit.seq == wanted && loaded.state == state[..8 * wanted as usize]);
            assert!(cost.get <= 64 + beside, "{} objects of {at:?} of {step}", cost.get);
            assert_eq!((cost.put, cost.list), (0, listings), "{at:?} of {step}");
        }
        saves = adapter.counts();
    }
    // Tenfold steps: 200 and 2,000, 600 and 6,000, 2,000 and 20,000.
    for (short, long) in [(0, 2), (1, 3), (2, 4)] {
        let ((_, few), (steps, many)) = (stored[short], stored[long]);
        assert!((9 * few..=11 * few).contains(&many), "{few} bytes of {}, {many} of {steps}", steps / 10);
    }
}
