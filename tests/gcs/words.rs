//! Reasons and words of Google's that are rare, and what each asks for.

use persist::{
    ErrorKind, ListOptions, PutMode, PutOptions, RetryConfig, SnapshotAdapter, SnapshotAdapterExt, Tier,
    adapters::gcs::GcsAdapter,
};

use crate::{
    errors::google,
    strict::{BUCKET, Fault, Kind, Rules, Server},
    support::{config, key, open},
};

#[tokio::test]
async fn each_reason_has_a_fix_of_its_own() {
    use ErrorKind::*;
    let server = Server::start().await;
    let store = GcsAdapter::open(BUCKET, &config(&server), &RetryConfig::none()).await.unwrap();
    for (fault, kind, retryable, words) in [
        // What is limited are not always the writes to one object.
        (
            google(429, "rateLimitExceeded", "The project exceeded the rate limit for bandwidth."),
            RateLimited,
            true,
            &["fewer requests (http 429"][..],
        ),
        (
            google(
                410,
                "rateLimitExceeded",
                "The total number of changes to the object b/k exceeds the limit",
            ),
            RateLimited,
            true,
            &["one write a second", "http 410"],
        ),
        (google(410, "backendError", "Backend Error"), Unavailable, true, &["Backend Error"]),
        (google(413, "uploadTooLarge", "The object is too large."), InvalidInput, false, &["at most 5 TiB"]),
        (
            google(
                400,
                "cloudKmsDisabledKey",
                "projects/p/cryptoKeyVersions/1 is not enabled, current state is: DISABLED.",
            ),
            InvalidConfig,
            false,
            &["enabled", "is: DISABLED"],
        ),
        (google(400, "cloudKmsBadKey", "no"), InvalidConfig, false, &["KMS key's name"]),
        (
            google(412, "orgPolicyConstraintFailed", "storage.restrictAuthTypes"),
            AccessDenied,
            false,
            &["policy of the bucket or its organization"],
        ),
        (google(403, "UserProjectAccessDenied", "no"), AccessDenied, false, &["Service Usage Consumer"]),
        (google(403, "UserProjectAccountProblem", "no"), AccessDenied, false, &["billing"]),
        (google(403, "countryBlocked", "no"), AccessDenied, false, &["this country"]),
        (google(403, "quotaExceeded", "no"), AccessDenied, false, &["quota"]),
        (
            google(
                403,
                "forbidden",
                "There is an IP filtering condition that is preventing access to the resource.",
            ),
            AccessDenied,
            false,
            &["IP filter"],
        ),
        // Google's way to say that there is no such object.
        (
            google(403, "forbidden", "x@y does not have storage.objects.list access to the bucket."),
            AccessDenied,
            false,
            &["may be no such snapshot", "storage.objects.list"],
        ),
    ] {
        server.script(Kind::Metadata, [fault.clone()]);
        let error = store.head(&key("k")).await.unwrap_err();
        let text = error.to_string();
        assert_eq!((error.kind(), error.retryable()), (kind, retryable), "{fault:?}: {text}");
        assert!(words.iter().all(|word| text.contains(word)), "{text}");
    }
}

#[tokio::test]
async fn who_may_not_list_is_told_that_there_may_be_nothing() {
    let server = Server::with(Rules { no_list: true, ..Rules::default() }).await;
    let store = open(&server).await;
    for error in [
        store.load("k").await.unwrap_err(),
        store.load("o").await.unwrap_err(),
        store.exists("k").await.unwrap_err(),
        store.delete(&key("k"), persist::DeleteOptions::new()).await.unwrap_err(),
    ] {
        assert_eq!(error.kind(), ErrorKind::AccessDenied, "never that there is nothing: {error}");
        assert!(error.to_string().contains("there may be no such snapshot"), "{error}");
    }
    // Of a listing it is nothing else than what it says.
    let said = "x@y does not have storage.objects.list access to the Google Cloud Storage bucket.";
    server.script(Kind::List, [google(403, "forbidden", said)]);
    let listed =
        futures_util::TryStreamExt::try_collect::<Vec<_>>(store.list(ListOptions::new())).await.unwrap_err();
    assert!(!listed.to_string().contains("there may be"), "{listed}");
    // What is there is another matter.
    store.save("state", "k").await.unwrap();
    assert!(store.exists("k").await.unwrap());
    server.clean();
}

#[tokio::test]
async fn a_limit_of_writes_says_how_long_to_wait() {
    let server = Server::start().await;
    let store = GcsAdapter::open(BUCKET, &config(&server), &RetryConfig::none()).await.unwrap();
    let (writes, requests) = ("The object b/k exceeded the rate limit", "Too many requests");
    for (message, header, wait) in
        [(writes, None, Some(1)), (writes, Some("7"), Some(7)), (requests, None, None)]
    {
        let Fault::Answer(status, _, body) = google(429, "rateLimitExceeded", message) else {
            unreachable!()
        };
        let headers = header.into_iter().map(|seconds| ("retry-after", seconds.into())).collect();
        server.script(Kind::Multipart, [Fault::Answer(status, headers, body)]);
        let error = store.save("state", "k").await.unwrap_err();
        assert_eq!(error.retry_after().map(|wait| wait.as_secs()), wait, "{error}");
    }
}

#[tokio::test]
async fn a_policy_is_no_other_writer_where_nobody_may_look() {
    let server = Server::start().await;
    let store = GcsAdapter::open(BUCKET, &config(&server), &RetryConfig::none()).await.unwrap();
    server.script(Kind::Multipart, [google(412, "orgPolicyConstraintFailed", "storage.restrictAuthTypes")]);
    server.script(Kind::Metadata, [Fault::Status(403)]);
    let create = PutOptions::new().mode(PutMode::Create);
    let error = store.put(&key("k"), "state".into(), create).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AccessDenied, "{error}");
}

#[tokio::test]
async fn a_bucket_that_chooses_classes_itself_says_so() {
    let server = Server::with(Rules { autoclass: true, ..Rules::default() }).await;
    let store = open(&server).await;
    store.save("state", "k").await.unwrap();
    let error = store.set_tier(&key("k"), Tier::Archive).await.unwrap_err();
    assert_eq!((error.kind(), error.retryable()), (ErrorKind::Unsupported, false), "{error}");
    assert!(error.to_string().contains("STANDARD") && error.to_string().contains("Autoclass"), "{error}");
    assert_eq!(store.head(&key("k")).await.unwrap().tier, Some(Tier::Hot));
    assert_eq!(store.load("k").await.unwrap(), "state");
    // What it chose is what is wanted.
    store.set_tier(&key("k"), Tier::Hot).await.unwrap();
    server.clean();
}
