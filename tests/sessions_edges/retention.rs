//! Rules of days and removal, tested as an author of a runtime tests them: with a clock and no waiting.

use std::{sync::Arc, time::Duration};

use persist::{adapters::memory::MemoryAdapter, sessions::*};

use super::sessions_support::{TestClock, noise};

const DAY: u64 = 24 * 3_600_000;

#[tokio::test]
async fn forty_days_pass_in_a_test() {
    let clock = TestClock::new(40);
    let storage = Arc::new(MemoryAdapter::with_clock(clock.clone()));
    let sessions = Sessions::new(storage).unwrap().clock(clock.clone());
    let session = sessions.session("a", "s").unwrap();
    for day in 0..40 {
        clock.pass(DAY);
        session.save(noise(day, 300)).await.unwrap();
    }
    // The last two are younger than a day and a half.
    let keep = Retention::new().within(Duration::from_millis(DAY + DAY / 2)).weekly(3);
    let pruned = session.prune(keep).await.unwrap();
    assert_eq!((pruned.kept, pruned.kept_by.young, pruned.removed.len()), (4, 0, 36), "{pruned:?}");
    session.remove().await.unwrap();
    assert!(session.prune(Retention::new().last(1)).await.unwrap().kept > 1, "the fence window");
    clock.pass(DAY);
    assert_eq!(session.prune(Retention::new().last(1)).await.unwrap().kept, 1);
}
