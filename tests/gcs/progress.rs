//! Retries are limited by progress, and not by length: attempts, deadline and the budget that all operations
//! of a client share.

use std::time::Duration;

use persist::{
    Body, ErrorKind, GcsConfig, PutOptions, RetryConfig, SnapshotAdapter, adapters::gcs::GcsAdapter,
};

use crate::{
    strict::{BUCKET, Fault, Kind, Server},
    support::{config, data, key, open, ranges, read, retry, streamed},
};

const CHUNK: usize = 256 * 1024;

#[tokio::test]
async fn attempts_count_from_the_last_progress() {
    let server = Server::start().await;
    let few = RetryConfig { max_attempts: 3, ..retry() };
    let store = GcsAdapter::open(BUCKET, &config(&server), &few).await.unwrap();
    // Two failures for each of sixty chunks, where an operation has three attempts, and all of a client have
    // a hundred retries.
    let faults = (0..60).flat_map(|_| [Fault::Status(503), Fault::Reset, Fault::Pass]);
    server.script(Kind::Data, faults);
    let bytes = data(60 * CHUNK, 15);
    store.put(&key("k"), streamed(&bytes), PutOptions::new()).await.unwrap();
    assert_eq!(server.bytes("k").unwrap(), bytes);
    // And without progress it ends.
    server.forget_log();
    server.script(Kind::Data, (0..9).map(|_| Fault::Persist(0, None)));
    let error = store.put(&key("l"), streamed(&bytes), PutOptions::new()).await.unwrap_err();
    assert_eq!((error.kind(), server.count(Kind::Data)), (ErrorKind::Unavailable, 3));
}

#[tokio::test]
async fn a_request_may_take_longer_than_the_deadline_and_break() {
    let server = Server::start().await;
    let short = RetryConfig { deadline: Duration::from_secs(1), ..retry() };
    let store = GcsAdapter::open(BUCKET, &config(&server), &short).await.unwrap();
    let slow = |fault| Fault::After(1200, Box::new(fault));
    server.script(Kind::Multipart, [slow(Fault::Reset)]);
    store.put(&key("k"), Body::from("state"), PutOptions::new()).await.unwrap();
    // All of it in one request: only what did not arrive is sent again.
    server.script(Kind::Data, [slow(Fault::Persist(2 * CHUNK, Some(0)))]);
    let bytes = data(10 * CHUNK, 25);
    store.put(&key("l"), Body::from(bytes.clone()), PutOptions::new()).await.unwrap();
    assert_eq!(ranges(&server), ["bytes 0-2621439/2621440", "bytes */*", "bytes 524288-2621439/2621440"]);
    assert_eq!(server.bytes("l").unwrap(), bytes);
    server.clean();
}

#[tokio::test]
async fn what_the_last_request_brought_counts_although_time_or_attempts_are_used_up() {
    let bytes = data(10 * CHUNK, 31);
    let (all, rest) = ("bytes 0-2621439/2621440", "bytes 524288-2621439/2621440");
    let late = Fault::After(2300, Box::new(Fault::Persist(2 * CHUNK, Some(0))));
    let ask = "bytes */*";
    for (retry, second, probes, sent) in [
        // The first failure is long ago when the second request breaks. What shows its progress is a request
        // like others.
        (
            RetryConfig { deadline: Duration::from_secs(2), ..retry() },
            late,
            vec![Fault::Pass, Fault::Status(503)],
            vec![all, ask, all, ask, ask, rest],
        ),
        (
            RetryConfig { max_attempts: 2, ..retry() },
            Fault::Persist(2 * CHUNK, Some(0)),
            vec![],
            vec![all, ask, all, ask, rest],
        ),
    ] {
        let server = Server::start().await;
        let store = GcsAdapter::open(BUCKET, &config(&server), &retry).await.unwrap();
        server.script(Kind::Data, [Fault::Status(503), second]);
        server.script(Kind::Probe, probes);
        store.put(&key("k"), Body::from(bytes.clone()), PutOptions::new()).await.unwrap();
        assert_eq!(ranges(&server), sent);
        assert_eq!(server.bytes("k").unwrap(), bytes);
        server.clean();
    }
    // Nothing arrived: the error is that of the data, and is not put off any further.
    let twice = RetryConfig { max_attempts: 2, ..retry() };
    for (retry, sent) in [(&twice, &[all, ask, all, ask][..]), (&RetryConfig::none(), &[all][..])] {
        let server = Server::start().await;
        let store = GcsAdapter::open(BUCKET, &config(&server), retry).await.unwrap();
        server.script(Kind::Data, (0..9).map(|_| Fault::Status(502)));
        let error = store.put(&key("k"), Body::from(bytes.clone()), PutOptions::new()).await.unwrap_err();
        assert!(error.to_string().contains("http 502"), "{error}");
        assert_eq!(
            (ranges(&server), server.count(Kind::Cancel)),
            (sent.iter().map(|r| r.to_string()).collect(), 1)
        );
    }
}

#[tokio::test]
async fn whatever_passes_it_is_asked_before_data_are_sent_again() {
    let bytes = data(2 * CHUNK, 34);
    for status in [408, 409, 429, 500, 502, 503, 504] {
        let server = Server::start().await;
        let store = open(&server).await;
        // What it has acted on in spite of its answer is not sent again.
        server.script(Kind::Data, [Fault::Status(status), Fault::LostTo(status)]);
        store.put(&key("k"), streamed(&bytes), PutOptions::new()).await.unwrap();
        let first = "bytes 0-262143/*";
        assert_eq!(
            ranges(&server),
            [first, "bytes */*", first, "bytes */*", "bytes 262144-524287/524288"],
            "{status}"
        );
        assert_eq!(server.bytes("k").unwrap(), bytes);
        server.clean();
    }
}

#[tokio::test]
async fn a_service_that_wants_a_long_wait_is_asked_nothing_more() {
    let server = Server::start().await;
    let store = open(&server).await;
    let busy = Fault::Answer(503, vec![("retry-after", "3600".into())], String::new());
    server.script(Kind::Data, [busy]);
    let error = store.put(&key("k"), data(2 * CHUNK, 32).into(), PutOptions::new()).await.unwrap_err();
    assert_eq!(error.retry_after(), Some(Duration::from_secs(3600)));
    assert_eq!(ranges(&server), ["bytes 0-524287/524288"]);
}

#[tokio::test]
async fn what_a_service_says_it_has_when_asked_must_be_possible() {
    let has = |range: &str| Fault::Answer(308, vec![("range", range.into())], String::new());
    for (answer, word) in [
        // Bytes that were acknowledged, and let go of here.
        (has("bytes=0-99"), "100 bytes"),
        (Fault::Answer(308, vec![], String::new()), "0 bytes"),
        // Bytes that were never sent.
        (has("bytes=0-524288"), "524289 bytes"),
    ] {
        let server = Server::start().await;
        let store = open(&server).await;
        server.script(Kind::Data, [Fault::Pass, Fault::Status(503)]);
        server.script(Kind::Probe, [answer]);
        let body = streamed(&data(3 * CHUNK, 33));
        let error = store.put(&key("k"), body, PutOptions::new()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
        assert!(error.to_string().contains(word), "{error}");
        assert_eq!((server.count(Kind::Data), server.count(Kind::Cancel), server.bytes("k")), (2, 1, None));
    }
}

#[tokio::test]
async fn a_large_body_in_memory_is_two_requests_and_only_the_rest_is_sent_again() {
    let server = Server::start().await;
    let few = RetryConfig { max_attempts: 3, ..retry() };
    let store = GcsAdapter::open(BUCKET, &config(&server), &few).await.unwrap();
    let bytes = data(10 * CHUNK + 5, 24);
    store.put(&key("k"), Body::from(bytes.clone()), PutOptions::new()).await.unwrap();
    assert_eq!(ranges(&server), ["bytes 0-2621444/2621445"]);
    // Eight breaks, where a stretch without progress has three attempts.
    server.forget_log();
    server.script(Kind::Data, (0..8).map(|_| Fault::Persist(CHUNK, Some(0))));
    store.put(&key("l"), Body::from(bytes.clone()), PutOptions::new()).await.unwrap();
    let sent = ranges(&server);
    assert_eq!(
        (sent.len(), sent[2].as_str(), sent[16].as_str()),
        (17, "bytes 262144-2621444/2621445", "bytes 2097152-2621444/2621445")
    );
    assert_eq!(server.bytes("l").unwrap(), bytes);
    server.clean();
}

#[tokio::test]
async fn a_load_over_a_bad_line_leaves_the_others_their_retries() {
    let server = Server::start().await;
    let store = open(&server).await;
    let bytes = data(CHUNK, 26);
    server.state().plant("k", bytes.clone());
    // More breaks than all operations of a client have retries.
    server.script(Kind::Media, (0..120).map(|_| Fault::Cut(1000)));
    assert!(read(&store, "k").await.unwrap() == bytes);
    assert_eq!(server.count(Kind::Media), 121);
    server.script(Kind::Metadata, (0..4).map(|_| Fault::Status(503)));
    store.head(&key("k")).await.unwrap();
}

#[tokio::test]
async fn a_range_that_cannot_be_understood_is_asked_for_again() {
    for odd in
        ["bytes=5-10", "0-262143", "bytes=0-", "bytes=0-x", "bytes=0-18446744073709551615", "bytes 0-9/*"]
    {
        let server = Server::start().await;
        let store = open(&server).await;
        let bytes = data(2 * CHUNK, 29);
        server.script(Kind::Data, [Fault::Answer(308, vec![("range", odd.into())], String::new())]);
        store.put(&key("k"), streamed(&bytes), PutOptions::new()).await.unwrap();
        assert_eq!(
            ranges(&server),
            ["bytes 0-262143/*", "bytes */*", "bytes 0-262143/*", "bytes 262144-524287/524288"],
            "{odd}"
        );
        assert_eq!(server.bytes("k").unwrap(), bytes);
        server.clean();
    }
}

#[tokio::test]
async fn a_service_that_has_lost_what_it_acknowledged_says_so_until_the_attempts_are_used_up() {
    let lost = || {
        let message = "Invalid request. According to the Content-Range header, the upload offset is 262144 byte(s), which exceeds \
                       already uploaded size of 0 byte(s).";
        Fault::Answer(503, vec![("content-type", "text/plain".into())], message.into())
    };
    // Once: it has all the same what is needed.
    let server = Server::start().await;
    let store = open(&server).await;
    let bytes = data(2 * CHUNK, 30);
    server.script(Kind::Data, [Fault::Pass, lost()]);
    store.put(&key("k"), streamed(&bytes), PutOptions::new()).await.unwrap();
    assert_eq!(server.bytes("k").unwrap(), bytes);
    // Always.
    let server = Server::start().await;
    let store = open(&server).await;
    server.script(Kind::Data, [Fault::Pass].into_iter().chain((0..9).map(|_| lost())));
    let error = store.put(&key("k"), streamed(&bytes), PutOptions::new()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    assert!(error.to_string().contains("http 503") && error.to_string().contains("offset"), "{error}");
    assert_eq!((server.count(Kind::Data), server.count(Kind::Cancel), server.bytes("k")), (7, 1, None));
    server.clean();
}

/// The last bytes of a request are with the operating system when nothing is seen to move any more: a slow
/// line takes its time for them.
#[tokio::test]
async fn what_is_handed_over_may_still_be_on_its_way() {
    let server = Server::start().await;
    let quick = GcsConfig { timeout: Some(Duration::from_secs(1)), ..config(&server) };
    let store = GcsAdapter::open(BUCKET, &quick, &RetryConfig::none()).await.unwrap();
    let late = |ms| Fault::After(ms, Box::new(Fault::Pass));
    server.script(Kind::Multipart, [late(1500), Fault::Hang]);
    // At 64 KiB a second, 256 KiB take four seconds.
    store.put(&key("k"), Body::from(data(CHUNK, 41)), PutOptions::new()).await.unwrap();
    let error = store.put(&key("l"), Body::from("state"), PutOptions::new()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout);
}
