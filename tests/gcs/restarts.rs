//! Sessions that the service ends with 410 for a reason that passes: the next one is waited for, and not
//! begun for ever.

use std::time::Duration;

use persist::{
    Body, Error, ErrorKind, PutOptions, RetryConfig, SnapshotAdapter, SnapshotAdapterExt,
    adapters::gcs::GcsAdapter,
};

use crate::{
    errors::google,
    strict::{BUCKET, Fault, Kind, Server},
    support::{config, data, key, retry, setup, streamed},
};

const CHUNK: usize = 256 * 1024;
/// So much that it is compressed in a stream.
const LONG: usize = 12 * CHUNK;
const HOUR: Duration = Duration::from_secs(3600);

/// The end of a session: for a limit, with what is asked for, if anything, or a failure of the service.
fn ended(reason: &str, after: Option<Duration>) -> Fault {
    let Fault::Answer(status, _, body) = google(410, reason, "Enough.") else { unreachable!() };
    let after = after.map(|after| ("retry-after", after.as_secs().to_string()));
    Fault::Answer(status, after.into_iter().collect(), body)
}

async fn put(store: &GcsAdapter, body: Body) -> Result<(), Error> {
    store.put(&key("k"), body, PutOptions::new()).await.map(drop)
}

#[tokio::test]
async fn a_reason_that_passes_is_waited_for_and_reported() {
    let state = data(2 * CHUNK, 1);
    for (reason, kind) in
        [("rateLimitExceeded", ErrorKind::RateLimited), ("backendError", ErrorKind::Unavailable)]
    {
        let (server, store) = setup().await;
        server.script(Kind::Data, [ended(reason, None), ended(reason, None)]);
        put(&store, state.clone().into()).await.unwrap();
        assert_eq!(server.count(Kind::Start), 3);
        assert!(server.bytes("k").unwrap() == state);
        server.forget_log();
        server.script(Kind::Data, (0..9).map(|_| ended(reason, None)));
        let error = put(&store, state.clone().into()).await.unwrap_err();
        assert_eq!((error.kind(), error.retryable()), (kind, true), "{error}");
        assert_eq!(server.count(Kind::Start), 4, "so often the whole body is sent at most");
        server.clean();
    }
}

#[tokio::test]
async fn a_session_is_not_begun_anew_before_the_service_wants_it() {
    let state = data(2 * CHUNK, 2);
    // Longer than there is time for, and where there is to be one attempt.
    for (config_of, after) in [(retry(), Some(HOUR)), (RetryConfig::none(), None)] {
        let server = Server::start().await;
        let store = GcsAdapter::open(BUCKET, &config(&server), &config_of).await.unwrap();
        server.script(Kind::Data, [ended("rateLimitExceeded", after)]);
        let error = put(&store, state.clone().into()).await.unwrap_err();
        assert_eq!((error.kind(), error.retry_after()), (ErrorKind::RateLimited, after), "{error}");
        assert_eq!((server.count(Kind::Start), server.count(Kind::Data)), (1, 1));
        // Behind the first chunk of a stream, which `save` can make once more.
        server.forget_log();
        server.script(Kind::Data, [Fault::Pass, ended("rateLimitExceeded", after)]);
        let error = store.save(data(LONG, 3), "k.gz").await.unwrap_err();
        assert_eq!((error.kind(), error.retry_after()), (ErrorKind::RateLimited, after), "{error}");
        assert_eq!(server.count(Kind::Start), 1, "{error}");
        server.clean();
    }
}

#[tokio::test]
async fn what_has_no_reason_begins_anew_at_once() {
    let (server, store) = setup().await;
    let once = GcsAdapter::open(BUCKET, &config(&server), &RetryConfig::none()).await.unwrap();
    server.script(Kind::Data, [Fault::Forget(410), Fault::Forget(404)]);
    put(&once, data(2 * CHUNK, 4).into()).await.unwrap();
    assert_eq!(server.count(Kind::Start), 3);
    // A stream whose second chunk was refused for a limit is made once more by `save`.
    server.forget_log();
    server.script(Kind::Data, [Fault::Pass, ended("rateLimitExceeded", None)]);
    let state = data(LONG, 5);
    store.save(state.clone(), "k.gz").await.unwrap();
    assert_eq!(server.count(Kind::Start), 2);
    assert!(store.load("k.gz").await.unwrap() == state);
    server.script(Kind::Data, [Fault::Pass, ended("rateLimitExceeded", None)]);
    let error = put(&store, streamed(&state)).await.unwrap_err();
    assert_eq!((error.kind(), error.retryable()), (ErrorKind::RateLimited, true), "{error}");
    assert!(error.to_string().contains("cannot be read twice"), "{error}");
    server.clean();
}
