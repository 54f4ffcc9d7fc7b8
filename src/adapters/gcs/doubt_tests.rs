use std::time::{Duration, SystemTime};

use tokio::time::Instant;

use super::existed;
use crate::{
    GcsConfig,
    adapters::gcs::{model::Resource, settings::Settings},
    began::Began,
};

const SECOND: Duration = Duration::from_secs(1);

/// An object that was written so many seconds before the attempt (or behind it: less than 0).
fn written(before: f64, attempt: SystemTime) -> Resource {
    let time = attempt + Duration::from_secs(10_000) - Duration::from_secs_f64(10_000.0 + before);
    let time = jiff::Timestamp::try_from(time).unwrap();
    let text = format!(r#"{{"name":"k","size":"1","generation":"7","timeCreated":"{time}"}}"#);
    serde_json::from_str(&text).unwrap()
}

/// An attempt of this age, by the clock that runs and by the one on the wall, and whether what was written so
/// many seconds before it counts as older.
fn older(running: u64, wall: i64, before: f64) -> bool {
    let (now, running) = (SystemTime::now(), Duration::from_secs(running));
    let clock = match u64::try_from(wall) {
        Ok(ago) => now - Duration::from_secs(ago),
        Err(_) => now + Duration::from_secs(wall.unsigned_abs()),
    };
    let attempt = Began { running: Instant::now() - running, clock };
    let ago = running.as_secs().max(wall.max(0) as u64);
    existed(&written(before, now - Duration::from_secs(ago)), None, Some(now), attempt)
}

#[tokio::test(start_paused = true)]
async fn only_what_is_older_than_the_attempt_was_there_before() {
    tokio::time::advance(Duration::from_secs(10_000)).await;
    for (running, wall) in [(0, 0), (60, 60), (2, 3600), (60, -3600), (60, 59)] {
        for before in [3600.0, 3.0, 0.5] {
            assert!(older(running, wall, before), "{running} {wall} {before}");
        }
        // While the attempt was under way, while the machine slept, and just now.
        for behind in [0.5, 1.0, 10.0, 30.0, 60.0, 3590.0, 5000.0] {
            assert!(!older(running, wall, -behind), "{running} {wall} {behind}");
        }
    }
}

#[tokio::test]
async fn what_is_seen_tells_without_a_clock() {
    let (now, attempt) = (SystemTime::now(), Began::now());
    let old = written(3600.0, now);
    assert!(existed(&old, None, Some(now), attempt));
    assert!(!existed(&old, None, None, attempt), "no clock of the service's");
    assert!(existed(&old, Some(7), None, attempt) && !existed(&old, Some(6), None, attempt));
    let ageless = Resource { time_created: None, ..old };
    assert!(!existed(&ageless, None, Some(now), attempt));
}

#[tokio::test]
async fn another_clock_than_the_services_is_trusted_less() {
    for (endpoint, margin) in [
        (None, SECOND),
        (Some("https://storage-x.p.googleapis.com"), SECOND),
        (Some("https://proxy.example"), 60 * SECOND),
        (Some("https://googleapis.com.example"), 60 * SECOND),
    ] {
        let config =
            GcsConfig { anonymous: true, endpoint_url: endpoint.map(Into::into), ..GcsConfig::default() };
        assert_eq!(Settings::new(&config, &|_| None).await.unwrap().clock_margin(), margin, "{endpoint:?}");
    }
}
