//! Time: what ends where a service gives nothing, and what goes on where it gives too little.

use std::time::Duration;

use futures_util::StreamExt;
use persist::{Body, DeleteOptions, Error, ErrorKind, ListOptions, PutOptions, RetryConfig, SnapshotAdapter};

use crate::{
    bench::{Bench, key, kind, noise},
    support::{
        proxy::Fault,
        s3::{LARGE, quick},
        s3_store::{Object, etag_of},
    },
};

/// Attempts that each end in time end together in time, too, and so does content that keeps coming.
#[tokio::test]
async fn an_operation_has_a_limit_as_a_whole() {
    // Long enough for what must work, also on a busy machine.
    let limit = Duration::from_secs(5);
    let retry = RetryConfig { max_attempts: 1000, ..quick() };
    let bench = Bench::changed(&retry, |config| config.total_timeout = Some(limit)).await;
    let late = |error: Error| {
        assert_eq!(error.kind(), ErrorKind::Timeout, "{error}");
        assert!(error.to_string().contains("raise total_timeout"), "{error}");
    };
    bench.put("state", &noise(1, 1 << 20), PutOptions::new()).await.unwrap();
    assert_eq!(bench.read("state").await.unwrap(), noise(1, 1 << 20));
    assert_eq!(bench.names(ListOptions::new()).await.unwrap(), ["state"]);
    // 64 KiB come every 400 ms: none of them is late, and all of them are.
    bench.proxy.fail(1, "GET", "state", Fault::Slow(Duration::from_millis(400)));
    late(bench.read("state").await.unwrap_err());
    bench.proxy.fail(10_000, "", "", Fault::answer(503));
    let state = key("state");
    let (read, head, delete, list) = tokio::join!(
        bench.read("state"),
        bench.adapter.head(&state),
        bench.adapter.delete(&state, DeleteOptions::new()),
        bench.names(ListOptions::new()),
    );
    late(read.unwrap_err());
    late(head.unwrap_err());
    late(delete.unwrap_err());
    late(list.unwrap_err());
    // A save is dropped, and what it began is removed.
    bench.proxy.clear();
    let stuck = futures_util::stream::iter([Ok(noise(1, LARGE))]).chain(futures_util::stream::pending());
    late(bench.adapter.put(&key("new"), Body::from_stream(stuck), PutOptions::new()).await.unwrap_err());
    assert!(bench.proxy.count("PUT", "partNumber") > 0);
    bench.cleaned().await;
}

/// However large the object is: a copy moves no data that a connection could be waiting for.
#[tokio::test]
async fn a_move_is_tried_again_where_the_server_is_silent() {
    let bench = Bench::waiting(&quick(), Duration::from_secs(1)).await;
    let bytes = bytes::Bytes::from(vec![0; 16 << 20]);
    let object = Object { etag: etag_of(&[&bytes]), bytes, ..Object::default() };
    bench.strict.store().objects.insert("large".into(), object);
    bench.proxy.fail(1, "PUT", "large", Fault::Silence);
    let (large, cool) = (key("large"), persist::Tier::Cool);
    let moved = bench.adapter.set_tier(&large, cool);
    tokio::time::timeout(Duration::from_secs(60), moved).await.expect("it still waits").unwrap();
    assert_eq!(bench.adapter.head(&key("large")).await.unwrap().tier, Some(cool));
}

/// The deadline counts from the first failure: an attempt that took longer than that, because it moved much
/// or the server was silent, is followed by others.
#[tokio::test]
async fn an_attempt_longer_than_the_deadline_is_not_the_last() {
    let retry = RetryConfig { deadline: Duration::from_secs(1), ..quick() };
    let bench = Bench::waiting(&retry, Duration::from_secs(4)).await;
    let (small, large) = (noise(1, 1000), noise(2, LARGE));
    let silent =
        [("PUT", "small"), ("POST", "begin?uploads"), ("PUT", "part?"), ("POST", "complete?uploadId")];
    for (method, target) in silent {
        bench.proxy.fail(1, method, target, Fault::Silence);
    }
    // Large ones one after the other: the server has to answer them in time.
    let (one, two) = tokio::join!(
        bench.put("small", &small, PutOptions::new().create()),
        bench.put("begin", &large, PutOptions::new()),
    );
    for outcome in [one, two] {
        outcome.unwrap();
    }
    for name in ["part", "complete"] {
        bench.put(name, &large, PutOptions::new()).await.unwrap();
    }
    bench.proxy.fail(1, "GET", "begin", Fault::Silence);
    bench.proxy.fail(1, "GET", "begin", Fault::Stall(1 << 20));
    assert!(bench.read("begin").await.unwrap() == large);
    let silent = bench.proxy.log().into_iter().filter(|seen| seen.fault != Fault::Pass).count();
    assert_eq!((silent, bench.is_clean()), (6, true));
    // No answer at all ends in time all the same.
    let looked = bench.proxy.count("HEAD", "");
    bench.proxy.fail(99, "HEAD", "", Fault::Silence);
    assert_eq!(kind(bench.adapter.head(&key("small")).await), ErrorKind::Timeout);
    assert!((1..4).contains(&(bench.proxy.count("HEAD", "") - looked)));
}

/// What a broken or hostile server may write there.
#[tokio::test]
async fn an_endless_retry_after_is_an_error() {
    let bench = Bench::new().await;
    for (header, value) in
        [("retry-after", u64::MAX.to_string()), ("x-amz-retry-after", u64::MAX.to_string())]
    {
        bench.proxy.fail(1, "HEAD", "", Fault::answer_with(503, &[(header, &value)], ""));
        assert_eq!(kind(bench.adapter.head(&key("state")).await), ErrorKind::Unavailable, "{header}");
    }
    // What is no number counts for nothing.
    bench.proxy.fail(1, "HEAD", "", Fault::answer_with(503, &[("retry-after", "-1")], ""));
    assert_eq!(kind(bench.adapter.head(&key("state")).await), ErrorKind::NotFound);
}

/// The header of HTTP has seconds or a date, Amazon's has milliseconds.
#[tokio::test]
async fn a_time_to_retry_after_is_kept_in_each_form() {
    let bench = Bench::new().await;
    let in_an_hour = std::time::SystemTime::now() + Duration::from_secs(3600);
    let date = aws_smithy_types::DateTime::from(in_an_hour)
        .fmt(aws_smithy_types::date_time::Format::HttpDate)
        .unwrap();
    for (header, value) in [("retry-after", &*date), ("x-amz-retry-after", "3600000")] {
        bench.proxy.fail(1, "HEAD", "", Fault::answer_with(503, &[(header, value)], ""));
        let told = bench.adapter.head(&key("state")).await.unwrap_err().retry_after().unwrap();
        assert!((3500..=3600).contains(&told.as_secs()), "{header}: {told:?}");
    }
    // A date is one of the service's clock, whatever this machine's says.
    let (then, later) = ("Wed, 21 Oct 2015 07:28:00 GMT", "Wed, 21 Oct 2015 08:28:00 GMT");
    let asked = [("date", then), ("retry-after", later)];
    bench.proxy.fail(1, "HEAD", "", Fault::answer_with(503, &asked, ""));
    let told = bench.adapter.head(&key("state")).await.unwrap_err().retry_after();
    assert_eq!(told, Some(Duration::from_secs(3600)));
}

/// `Duration::MAX` is how Rust says that there is no limit.
#[tokio::test]
async fn the_longest_limits_are_limits() {
    let bench = Bench::changed(&quick(), |config| {
        for limit in [
            &mut config.connect_timeout,
            &mut config.read_timeout,
            &mut config.attempt_timeout,
            &mut config.total_timeout,
        ] {
            *limit = Some(Duration::MAX);
        }
    })
    .await;
    for (name, len) in [("small", 1000), ("large", LARGE)] {
        bench.put(name, &noise(1, len), PutOptions::new()).await.unwrap();
        assert!(bench.read(name).await.unwrap() == noise(1, len));
    }
    bench.adapter.set_tier(&key("small"), persist::Tier::Cool).await.unwrap();
    assert_eq!(bench.names(ListOptions::new()).await.unwrap(), ["large", "small"]);
}
