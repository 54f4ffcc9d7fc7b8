use std::time::{Duration, SystemTime};

use tokio::time::Instant;

use super::window;
use crate::began::Began;

const SECOND: Duration = Duration::from_secs(1);

/// So many seconds ago, by the clock that runs and by the one on the wall.
fn at(running: u32, wall: u32) -> Began {
    Began { running: Instant::now() - running * SECOND, clock: SystemTime::now() - wall * SECOND }
}

#[tokio::test(start_paused = true)]
async fn what_was_lost_is_looked_for_when_it_was_begun() {
    tokio::time::advance(10_000 * SECOND).await;
    let now = SystemTime::now();
    // Awake all the time: exactly then.
    let (window, certain) = window(now, &(at(60, 60), at(30, 30)));
    assert!(certain);
    for (ago, within) in [(70, false), (60, true), (30, true), (20, false)] {
        assert_eq!(window.contains(&(now - ago * SECOND)), within, "{ago}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_machine_that_slept_does_not_know_when() {
    tokio::time::advance(10_000 * SECOND).await;
    let now = SystemTime::now();
    // Begun an hour ago, right before the lid was closed; 11 s ago by the clock that stood still.
    let (window, certain) = window(now, &(at(11, 3610), at(8, 8)));
    assert!(window.contains(&(now - 3610 * SECOND)) && !certain);
    // The wall's clock set back meanwhile, and one that slept behind the attempt.
    for attempt in [(at(60, 0), at(30, 0)), (at(60, 3660), at(30, 3630))] {
        let (window, certain) = super::window(now, &attempt);
        assert!(window.contains(&(now - 60 * SECOND)) && window.contains(&(now - 30 * SECOND)) && !certain);
    }
}
