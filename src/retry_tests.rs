use std::time::{Duration, SystemTime};

use tokio::time::Instant;

use super::{RetryBudget, RetryConfig, retry, retry_since};
use crate::{Error, ErrorKind, Result, began::Began};

fn failing(kind: ErrorKind) -> Error {
    Error::new(kind, "scripted")
}

/// Runs with the given failures, then success; returns the outcome, the attempts and the virtual time.
async fn run(
    config: &RetryConfig,
    failures: u32,
    error: impl Fn() -> Error + Send + Sync,
) -> (Result<()>, u32, Duration) {
    let (started, budget, mut attempts) = (Instant::now(), RetryBudget::default(), 0);
    let outcome = retry(config, &budget, |failed| {
        assert_eq!(failed, attempts);
        attempts += 1;
        let outcome = if attempts <= failures { Err(error()) } else { Ok(()) };
        async { outcome }
    })
    .await;
    (outcome, attempts, started.elapsed())
}

#[tokio::test(start_paused = true)]
async fn errors_that_pass_are_retried_until_one_attempt_succeeds() {
    let (outcome, attempts, _) = run(&RetryConfig::default(), 7, || failing(ErrorKind::Unavailable)).await;
    assert!(outcome.is_ok());
    assert_eq!(attempts, 8);
}

#[tokio::test(start_paused = true)]
async fn stops_at_the_last_attempt_and_at_once_for_what_stays() {
    let (outcome, attempts, _) = run(&RetryConfig::default(), 99, || failing(ErrorKind::Unavailable)).await;
    assert_eq!((outcome.unwrap_err().kind(), attempts), (ErrorKind::Unavailable, 8));
    let (outcome, attempts, elapsed) =
        run(&RetryConfig::default(), 99, || failing(ErrorKind::AccessDenied)).await;
    assert_eq!(
        (outcome.unwrap_err().kind(), attempts, elapsed),
        (ErrorKind::AccessDenied, 1, Duration::ZERO)
    );
}

#[tokio::test(start_paused = true)]
async fn delays_stay_under_doubling_bounds() {
    let config = RetryConfig { max_attempts: 6, ..RetryConfig::default() };
    for _ in 0..50 {
        let (_, _, elapsed) = run(&config, 5, || failing(ErrorKind::RateLimited)).await;
        assert!(elapsed <= Duration::from_millis(250 + 500 + 1000 + 2000 + 4000 + 10), "{elapsed:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn no_delay_is_longer_than_the_bound_of_all() {
    let (long, short) = (Duration::from_secs(60), Duration::from_secs(1));
    let config =
        RetryConfig { max_attempts: 2, initial_delay: long, max_delay: short, ..RetryConfig::default() };
    for _ in 0..50 {
        let (_, _, elapsed) = run(&config, 1, || failing(ErrorKind::RateLimited)).await;
        assert!(elapsed <= short + Duration::from_millis(10), "{elapsed:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn waits_as_long_as_the_service_asks_but_not_past_the_deadline() {
    let (outcome, _, elapsed) = run(&RetryConfig::default(), 1, || {
        failing(ErrorKind::RateLimited).with_retry_after(Duration::from_secs(7))
    })
    .await;
    assert!(outcome.is_ok() && elapsed >= Duration::from_secs(7), "{elapsed:?}");
    // Not even once more: at the end of the wait it would be too late.
    let config = RetryConfig { max_delay: Duration::from_secs(86_400), ..RetryConfig::default() };
    let (outcome, attempts, elapsed) =
        run(&config, 1, || failing(ErrorKind::RateLimited).with_retry_after(Duration::from_secs(900))).await;
    assert!(outcome.is_err() && attempts == 1 && elapsed == Duration::ZERO, "{elapsed:?}");
}

/// Proxies and maintenance pages say 30 or 60 seconds, which is longer than any random delay.
#[tokio::test(start_paused = true)]
async fn a_service_may_ask_for_all_that_is_left_of_the_deadline() {
    for (asked, right) in [(30, 2), (90, 2), (120, 1)] {
        let asked = Duration::from_secs(asked);
        let error = || failing(ErrorKind::Unavailable).with_retry_after(asked);
        let (_, attempts, elapsed) = run(&RetryConfig::default(), 1, error).await;
        assert_eq!(attempts, right, "{asked:?}");
        assert!(attempts == 1 || elapsed >= asked, "{elapsed:?}");
    }
}

/// Else all that were asked for the same wait would come back at the same moment.
#[tokio::test(start_paused = true)]
async fn those_who_were_asked_to_wait_do_not_come_back_together() {
    let asked = Duration::from_secs(30);
    let mut times = std::collections::BTreeSet::new();
    for _ in 0..50 {
        let error = || failing(ErrorKind::Unavailable).with_retry_after(asked);
        times.insert(run(&RetryConfig::default(), 1, error).await.2);
    }
    assert!(times.len() > 10 && times.iter().all(|time| *time >= asked), "{times:?}");
}

#[tokio::test(start_paused = true)]
async fn an_outage_empties_the_shared_budget() {
    let (config, budget) = (RetryConfig::default(), RetryBudget::new(10));
    let mut attempts = 0;
    for _ in 0..20 {
        let _ = retry(&config, &budget, |_| {
            attempts += 1;
            async { Err::<(), _>(failing(ErrorKind::Unavailable)) }
        })
        .await;
    }
    assert_eq!(attempts, 20 + 10, "20 first attempts, 10 retries");
}

#[tokio::test(start_paused = true)]
async fn the_deadline_begins_with_the_first_failure() {
    let slow = |seconds: u64, failures: u32| async move {
        let (config, budget, mut attempts) = (RetryConfig::default(), RetryBudget::default(), 0);
        let outcome = retry(&config, &budget, |failed| {
            attempts += 1;
            async move {
                tokio::time::sleep(Duration::from_secs(seconds)).await;
                if failed < failures { Err(failing(ErrorKind::Unavailable)) } else { Ok(()) }
            }
        });
        (outcome.await.is_ok(), attempts)
    };
    // Longer than the deadline, but the first.
    assert_eq!(slow(300, 1).await, (true, 2));
    // 0, 50 and 100 seconds after the first failure there is time left, at 150 there is none.
    assert_eq!(slow(50, 9).await, (false, 4));
}

#[tokio::test(start_paused = true)]
async fn progress_gives_back_what_it_cost() {
    let (config, budget) = (RetryConfig { max_attempts: 4, ..RetryConfig::default() }, RetryBudget::new(10));
    let mut retries = config.start();
    for _ in 0..50 {
        for _ in 0..3 {
            retries.wait(failing(ErrorKind::Unavailable), &budget).await.unwrap();
        }
        retries.progress(&budget);
        assert_eq!(retries.failed(), 0);
    }
    // And never more than there was.
    for _ in 0..10 {
        let mut others = config.start();
        others.wait(failing(ErrorKind::Unavailable), &budget).await.unwrap();
    }
    assert!(config.start().wait(failing(ErrorKind::Unavailable), &budget).await.is_err());
}

#[cfg(feature = "gcs")]
#[tokio::test(start_paused = true)]
async fn what_was_spent_before_asking_is_given_back_as_well() {
    let (config, budget) = (RetryConfig { max_attempts: 4, ..RetryConfig::default() }, RetryBudget::new(10));
    let mut retries = config.start();
    for _ in 0..50 {
        for attempt in 1..=4 {
            assert_eq!(retries.pause(&failing(ErrorKind::Unavailable), &budget).await, attempt < 4);
        }
        assert!(retries.ask(Began::now(), &failing(ErrorKind::Unavailable), &budget).await);
        retries.progress(&budget);
    }
    // One attempt is one attempt, what stays stays, and what the machine slept through is over.
    let once = RetryConfig::none();
    for (config, kind, began, asks) in [
        (&once, ErrorKind::Unavailable, Began::now(), false),
        (&config, ErrorKind::AccessDenied, Began::now(), false),
        (&config, ErrorKind::Unavailable, slept_for(config.deadline), false),
        (&config, ErrorKind::Unavailable, slept_for(config.deadline / 2), true),
    ] {
        assert_eq!(config.start().ask(began, &failing(kind), &budget).await, asks, "{kind} {began:?}");
    }
}

/// Whatever a service asks for is a number that somebody else chose.
#[tokio::test(start_paused = true)]
async fn an_endless_retry_after_behind_another_failure_ends_the_retries() {
    let (config, budget) = (RetryConfig::default(), RetryBudget::default());
    let mut retries = config.start();
    retries.wait(failing(ErrorKind::Unavailable), &budget).await.unwrap();
    tokio::time::advance(Duration::from_secs(2)).await;
    let endless = failing(ErrorKind::RateLimited).with_retry_after(Duration::MAX);
    assert_eq!(retries.wait(endless, &budget).await.unwrap_err().kind(), ErrorKind::RateLimited);
}

/// The clock that runs stands still while a machine sleeps: what would be repeated behind that is of another
/// day.
#[tokio::test(start_paused = true)]
async fn a_sleep_counts_for_the_deadline() {
    let (config, budget) = (RetryConfig::default(), RetryBudget::default());
    for (slept, goes_on) in [(10, true), (3600, false)] {
        let mut retries = config.start();
        retries.wait(failing(ErrorKind::Timeout), &budget).await.unwrap();
        retries.since = Some(slept_for(Duration::from_secs(slept)));
        let waited = retries.wait(failing(ErrorKind::Timeout), &budget).await;
        assert_eq!(waited.is_ok(), goes_on, "{slept}");
    }
}

/// What shows to nobody may as well be repeated another day, wherever the machine slept.
#[tokio::test(start_paused = true)]
async fn a_sleep_does_not_count_for_what_is_unseen() {
    let (config, budget) = (RetryConfig::default(), RetryBudget::default());
    let mut retries = config.start_unseen();
    for _ in 0..2 {
        for slept in [Duration::ZERO, config.deadline, config.deadline * 30] {
            retries.since = retries.since.map(|_| slept_for(slept));
            retries.wait(failing(ErrorKind::Timeout), &budget).await.unwrap();
        }
        retries.progress(&budget);
    }
    // Time that it was awake counts as ever.
    retries.wait(failing(ErrorKind::Timeout), &budget).await.unwrap();
    tokio::time::advance(config.deadline).await;
    assert!(retries.wait(failing(ErrorKind::Timeout), &budget).await.is_err());
}

fn slept_for(slept: Duration) -> Began {
    Began { running: Instant::now(), clock: SystemTime::now() - slept }
}

/// As long as a machine sleeps, a delay stands still.
#[tokio::test(start_paused = true)]
async fn a_sleep_in_a_delay_counts_for_the_deadline() {
    let (short, second) = (Duration::from_millis(1), Duration::from_secs(1));
    let config = RetryConfig { initial_delay: short, max_delay: short, ..RetryConfig::default() };
    let budget = RetryBudget::default();
    let mut retries = config.start();
    retries.since = Some(slept_for(config.deadline - second));
    let mut waiting = Box::pin(retries.wait(failing(ErrorKind::Timeout), &budget));
    assert!(futures_util::FutureExt::now_or_never(&mut waiting).is_none(), "there is time left");
    std::thread::sleep(second);
    assert_eq!(waiting.await.unwrap_err().kind(), ErrorKind::Timeout);
}

/// The usual place for a sleep is the first attempt, before there is a failure to count from.
#[tokio::test(start_paused = true)]
async fn a_sleep_in_the_first_attempt_counts_for_the_deadline() {
    let (second, hour) = (Duration::from_secs(1), Duration::from_secs(3600));
    let (config, budget) = (RetryConfig::default(), RetryBudget::default());
    // How long it sleeps and is awake in its first attempt, and how many attempts come of it.
    for (slept, awake, expected) in
        [(hour, second, 1), (second * 10, second, 2), (Duration::ZERO, hour, 2), (hour, hour, 1)]
    {
        let began = Began { running: Instant::now(), clock: SystemTime::now() - slept - awake };
        let mut attempts = 0;
        let outcome = retry_since(Some(began), &config, &budget, |failed| {
            attempts += 1;
            async move {
                if failed > 0 {
                    return Ok(());
                }
                tokio::time::advance(awake).await;
                Err(failing(ErrorKind::Timeout))
            }
        });
        assert_eq!((outcome.await.is_ok(), attempts), (expected == 2, expected), "{slept:?}, {awake:?}");
    }
}
