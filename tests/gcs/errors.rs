//! What the service says, as kinds that a caller can act on, with Google's reason and the fix.

use persist::{
    ErrorKind, GcsConfig, ListOptions, Optional, RetryConfig, SnapshotAdapter, SnapshotAdapterExt,
    adapters::gcs::GcsAdapter,
};

use crate::{
    strict::{BUCKET, Fault, Kind, Server},
    support::{config, key, open, open_with, retry},
};

/// An error in Google's form.
pub fn google(status: u16, reason: &str, message: &str) -> Fault {
    let error = serde_json::json!({ "error": { "code": status, "message": message, "errors": [{ "reason": reason }] } });
    Fault::Answer(status, vec![], error.to_string())
}

#[tokio::test]
async fn every_status_has_its_kind_its_reason_and_its_fix() {
    use ErrorKind::*;
    let server = Server::start().await;
    let store = GcsAdapter::open(BUCKET, &config(&server), &RetryConfig::none()).await.unwrap();
    let html = "<!DOCTYPE html><html><title>Error 502 (Server Error)!!1</title><p>That's an error.</html>";
    for (fault, kind, retryable, words) in [
        (google(400, "invalid", "Bad thing"), InvalidInput, false, &["http 400", "invalid", "Bad thing"][..]),
        (google(400, "invalid", "Cloud KMS key is not valid"), InvalidConfig, false, &["same location"]),
        (google(400, "required", "requester pays bucket"), InvalidConfig, false, &["PERSIST_GCS_PROJECT"]),
        (
            google(403, "forbidden", "x@y does not have storage.objects.get access"),
            AccessDenied,
            false,
            &["Storage Object Admin", "x@y"],
        ),
        (
            Fault::Answer(413, vec![], "<html>413 Request Entity Too Large</html>".into()),
            InvalidConfig,
            false,
            &["client_max_body_size", "PERSIST_GCS_CHUNK_SIZE"],
        ),
        (Fault::Answer(407, vec![], String::new()), InvalidConfig, false, &["HTTPS_PROXY"]),
        (google(403, "rateLimitExceeded", "slow down"), RateLimited, true, &["fewer requests"]),
        (
            google(403, "forbidden", "Permission denied on Cloud KMS key"),
            AccessDenied,
            false,
            &["Encrypter/Decrypter"],
        ),
        // No role helps against these.
        (
            google(403, "retentionPolicyNotMet", "Object 'b/k' is subject to a policy"),
            AccessDenied,
            false,
            &["keeps the object", "another key"],
        ),
        (
            google(
                403,
                "forbidden",
                &format!(
                    "Object 'b/{}?' is subject to bucket's retention policy or object retention and cannot be deleted, overwritten or \
                     archived until 2030-01-01T00:00:00Z",
                    "k".repeat(500)
                ),
            ),
            AccessDenied,
            false,
            &["keeps the object"],
        ),
        (google(403, "objectUnderActiveHold", "no"), AccessDenied, false, &["keeps the object", "release"]),
        (
            google(403, "forbidden", "Object 'b/k' is under active Temporary hold and cannot be deleted"),
            AccessDenied,
            false,
            &["keeps the object"],
        ),
        (
            google(403, "forbidden", "Provided scope(s) are not authorized"),
            AccessDenied,
            false,
            &["scopes are too narrow", "devstorage.read_write"],
        ),
        (
            google(403, "insufficientPermissions", "Insufficient Permission"),
            AccessDenied,
            false,
            &["scopes are too narrow"],
        ),
        (
            google(403, "insufficientPermissions", "Request had insufficient authentication scopes."),
            AccessDenied,
            false,
            &["scopes are too narrow"],
        ),
        // It is not the bucket that these are about.
        (
            google(
                403,
                "forbidden",
                &format!(
                    "{}@p.iam.gserviceaccount.com does not have serviceusage.services.use access to the Google Cloud project.",
                    "a".repeat(500)
                ),
            ),
            AccessDenied,
            false,
            &["Service Usage Consumer", "GOOGLE_CLOUD_QUOTA_PROJECT"],
        ),
        (
            google(403, "forbidden", "Caller does not have required permission to use project p."),
            AccessDenied,
            false,
            &["Service Usage Consumer", "PERSIST_GCS_PROJECT"],
        ),
        (
            google(
                403,
                "forbidden",
                "Request is prohibited by organization's policy. vpcServiceControlsUniqueIdentifier: x",
            ),
            AccessDenied,
            false,
            &["VPC Service Controls", "UniqueIdentifier: x"],
        ),
        (
            google(
                403,
                "accessNotConfigured",
                "Cloud Storage JSON API has not been used in project 1 before or it is disabled.",
            ),
            AccessDenied,
            false,
            &["enable the Cloud Storage JSON API"],
        ),
        // What stands in a name means nothing.
        (
            google(
                403,
                "forbidden",
                "x@y does not have storage.objects.get access to does not have serviceusage.services.use",
            ),
            AccessDenied,
            false,
            &["Storage Object Admin"],
        ),
        (
            google(403, "forbidden", "x' is under active@y does not have storage.objects.get access"),
            AccessDenied,
            false,
            &["Storage Object Admin"],
        ),
        (
            google(
                403,
                "forbidden",
                "kms-writer@rate limit.billing does not have storage.objects.get access",
            ),
            AccessDenied,
            false,
            &["Storage Object Admin"],
        ),
        (
            google(404, "notFound", "No such object: b/the specified bucket does not exist"),
            NotFound,
            false,
            &["no snapshot"],
        ),
        (
            google(404, "notFound", "No such object: b/there is no such bucket"),
            NotFound,
            false,
            &["no snapshot"],
        ),
        (
            google(400, "invalid", "No such thing: kms/crc32c/encryption/requester pays"),
            InvalidInput,
            false,
            &["not accept"],
        ),
        (
            google(
                400,
                "resourceNotEncryptedWithCustomerEncryptionKey",
                "The target object is not encrypted by a customer-supplied encryption key.",
            ),
            InvalidConfig,
            false,
            &["remove PERSIST_GCS_ENCRYPTION_KEY"],
        ),
        (
            google(400, "customerEncryptionKeyIsIncorrect", "The provided encryption key is incorrect."),
            InvalidConfig,
            false,
            &["that it was written with"],
        ),
        (
            google(404, "notFound", "The specified bucket does not exist."),
            NotFound,
            false,
            &["no such bucket"],
        ),
        (google(404, "notFound", "No such object: b/k"), NotFound, false, &["no snapshot"]),
        (
            google(429, "rateLimitExceeded", "the object exceeded the rate limit"),
            RateLimited,
            true,
            &["one write a second"],
        ),
        (
            Fault::Answer(502, vec![], html.into()),
            Unavailable,
            true,
            &["http 502", "Server Error", "That's an error."],
        ),
        (Fault::Answer(503, vec![], String::new()), Unavailable, true, &["http 503)"]),
        (Fault::Answer(500, vec![], "\u{0}{not json".into()), Unavailable, true, &["http 500"]),
        (Fault::Answer(408, vec![], "late".into()), Timeout, true, &["late"]),
        (
            google(
                409,
                "conflict",
                "The metadata for object \"k\" was edited during the operation. Please try again.",
            ),
            Conflict,
            true,
            &["in the way", "was edited during"],
        ),
        (
            google(412, "conditionNotMet", "At least one of the pre-conditions"),
            Conflict,
            false,
            &["condition"],
        ),
        (google(412, "conditionNotMet", "did not hold"), AccessDenied, false, &["policy", "did not hold"]),
        (google(416, "requestedRangeNotSatisfiable", "no"), InvalidInput, false, &["behind the end"]),
        (google(410, "gone", "token"), Unavailable, false, &["has ended", "begin it anew"]),
        (
            google(400, "invalid", "Provided CRC32C \"x\" doesn't match"),
            Corrupt,
            true,
            &["nothing was stored"],
        ),
        (google(403, "accountDisabled", "billing account is closed"), AccessDenied, false, &["billing"]),
        (
            Fault::Answer(404, vec![], html.into()),
            Unavailable,
            true,
            &["not the service's", "ENDPOINT_URL", "That's an error."],
        ),
        (Fault::Answer(404, vec![], String::new()), NotFound, false, &["there is no snapshot"]),
        // Without credentials there is nothing that could be revoked.
        (
            google(401, "required", "Anonymous caller does not have storage.objects.get access to x."),
            Unauthenticated,
            false,
            &["no credentials were sent", "PERSIST_GCS_CREDENTIALS_PATH"],
        ),
        (Fault::Answer(401, vec![], String::new()), Unauthenticated, false, &["credentials"]),
        (
            Fault::Answer(302, vec![("location", "http://elsewhere/".into())], String::new()),
            InvalidConfig,
            false,
            &["http 302", "PERSIST_GCS_ENDPOINT_URL"],
        ),
        (Fault::Answer(418, vec![], "x".repeat(5000)), Unavailable, false, &["…"]),
    ] {
        server.script(Kind::Metadata, [fault.clone()]);
        let error = store.head(&key("k")).await.unwrap_err();
        let text = error.to_string();
        assert_eq!((error.kind(), error.retryable()), (kind, retryable), "{fault:?}: {text}");
        assert!(words.iter().all(|word| text.contains(word)), "{text}");
        assert!(text.starts_with("gcs: head \"k\": ") && !text.contains('\n') && text.len() < 700, "{text}");
    }
}

#[tokio::test]
async fn a_range_behind_the_end_names_the_range() {
    let server = Server::start().await;
    let store = open(&server).await;
    server.state().plant("k", "state");
    let behind = persist::GetOptions::new().range(persist::ByteRange::From(5));
    let error = store.get(&key("k"), behind).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    assert!(server.log().iter().any(|request| request.status == 416), "the service was asked as well");
}

#[tokio::test]
async fn one_connection_carries_all_requests_of_a_client() {
    let server = Server::start().await;
    let store = open(&server).await;
    for i in 0..20 {
        store.save("state", format!("k{i}")).await.unwrap();
        // Refusals do not cost the connection either.
        store.head(&key("missing")).await.unwrap_err();
    }
    assert_eq!(server.connections(), 1);
    // Another adapter of the same configuration is the same client.
    open(&server).await.head(&key("k0")).await.unwrap();
    assert_eq!(server.connections(), 1);
    open_with(GcsConfig { parallel: Some(2), ..config(&server) }).await.head(&key("k0")).await.unwrap();
    assert_eq!(server.connections(), 2);
}

#[tokio::test]
async fn a_missing_bucket_is_never_an_empty_one() {
    let server = Server::start().await;
    let store = GcsAdapter::open("another-bucket", &config(&server), &retry()).await.unwrap();
    let sessions = persist::sessions::Sessions::new(std::sync::Arc::new(store.clone())).unwrap();
    let session = sessions.session("a", "s").unwrap();
    let listed =
        futures_util::TryStreamExt::try_collect::<Vec<_>>(store.list(ListOptions::new().limit(1))).await;
    for error in [
        listed.unwrap_err(),
        store.delete(&key("k"), persist::DeleteOptions::new()).await.unwrap_err(),
        store.save("state", "k").await.unwrap_err(),
        store.load("k").await.unwrap_err(),
        store.exists("k").await.unwrap_err(),
        session.load(persist::sessions::At::Latest).await.unwrap_err(),
        session.load(persist::sessions::At::Tag("best".into())).await.unwrap_err(),
    ] {
        assert_eq!(error.kind(), ErrorKind::NotFound);
        assert!(error.to_string().contains("no such bucket"), "{error}");
        assert!(Err::<(), _>(error).optional().is_err(), "a first run would begin anew");
    }
    assert!(open(&server).await.load("k").await.optional().unwrap().is_none());
}

#[tokio::test]
async fn what_passes_is_retried_and_what_stays_is_not() {
    let server = Server::start().await;
    let store = open(&server).await;
    server.state().plant("k", "state");
    for (faults, requests, works) in [
        (vec![Fault::Status(503), Fault::Status(503)], 3, true),
        (vec![Fault::Reset, Fault::Reset], 3, true),
        (vec![Fault::Reset, Fault::Status(503)], 3, true),
        (vec![Fault::Status(408), Fault::Status(429), Fault::Cut(20)], 4, true),
        (vec![Fault::Status(400)], 1, false),
        (vec![Fault::Status(503), Fault::Status(400)], 2, false),
        (vec![Fault::Reset, Fault::Status(403)], 2, false),
        ((0..9).map(|_| Fault::Status(500)).collect(), 6, false),
    ] {
        server.forget_log();
        server.state().faults = Default::default();
        server.script(Kind::Metadata, faults.clone());
        assert_eq!(store.head(&key("k")).await.is_ok(), works, "{faults:?}");
        assert_eq!(server.count(Kind::Metadata), requests, "{faults:?}");
    }
}

#[tokio::test]
async fn a_service_that_wants_to_wait_too_long_is_not_waited_for() {
    let server = Server::start().await;
    let store = open(&server).await;
    let busy = || Fault::Answer(429, vec![("retry-after", "3600".into())], String::new());
    server.script(Kind::Metadata, [busy(), busy()]);
    let error = store.head(&key("k")).await.unwrap_err();
    assert_eq!((error.kind(), server.count(Kind::Metadata)), (ErrorKind::RateLimited, 1));
    assert_eq!(error.retry_after(), Some(std::time::Duration::from_secs(3600)));
}

#[tokio::test]
async fn a_server_that_is_not_there_says_so() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let store = open_with(GcsConfig { endpoint_url: Some(endpoint), ..GcsConfig::default() }).await;
    let error = store.load("k").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.to_string().contains("cannot be reached"), "{error}");
}

#[tokio::test]
async fn settings_that_cannot_work_are_refused_with_their_name() {
    let base = GcsConfig::default();
    let endpoint = |text: &str| GcsConfig { endpoint_url: Some(text.into()), ..base.clone() };
    for (bucket, config, word) in [
        ("Bucket", base.clone(), "bucket \"Bucket\""),
        ("a/b", base.clone(), "bucket \"a/b\""),
        (BUCKET, GcsConfig { chunk_size: Some(1000), ..base.clone() }, "256 KiB"),
        (BUCKET, GcsConfig { chunk_size: Some(0), ..base.clone() }, "256 KiB"),
        (BUCKET, GcsConfig { parallel: Some(0), ..base.clone() }, "1 to 64"),
        (BUCKET, GcsConfig { storage_class: Some("GLACIER".into()), ..base.clone() }, "NEARLINE"),
        (BUCKET, GcsConfig { timeout: Some(std::time::Duration::ZERO), ..base.clone() }, "timeout"),
        (BUCKET, endpoint("ftp://host"), "http or https"),
        (BUCKET, endpoint("http://host/some/path"), "path"),
        (BUCKET, endpoint("http://user:SECRET@host"), "user name"),
        (BUCKET, endpoint("http://"), "is not"),
        (
            BUCKET,
            GcsConfig { anonymous: true, credentials_json: Some("{}".into()), ..base.clone() },
            "given twice",
        ),
    ] {
        let error = GcsAdapter::open(bucket, &config, &retry()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidConfig, "{error}");
        assert!(error.to_string().contains(word) && !error.to_string().contains("SECRET"), "{error}");
    }
}

#[tokio::test]
async fn emulators_are_named_in_every_way_that_is_in_use() {
    let server = Server::start().await;
    server.state().plant("k", "state");
    let host = server.url.trim_start_matches("http://").to_owned();
    for endpoint in [
        host.clone(),
        format!("http://{host}"),
        format!("http://{host}/"),
        format!("http://{host}/storage/v1"),
        format!("http://{host}/storage/v1/"),
        format!("{host}/storage/v1/b"),
    ] {
        let store =
            open_with(GcsConfig { endpoint_url: Some(endpoint.clone()), ..GcsConfig::default() }).await;
        assert_eq!(crate::support::read(&store, "k").await.unwrap(), "state", "{endpoint}");
    }
}

#[tokio::test]
async fn metadata_that_the_service_has_no_room_for_is_refused_with_its_limit() {
    let server = Server::start().await;
    let store = open(&server).await;
    let tagged = |count: usize, name: &str, value: &str| {
        let tags = (0..count).map(|i| (format!("{i}{}", name.repeat(127)), value.repeat(256)));
        tags.fold(persist::PutOptions::new(), |options, (name, value)| options.tag(name, value))
    };
    for options in [tagged(10, "é", "x"), tagged(10, "x", "字"), tagged(5, "字", "字")] {
        let error = store.put(&key("k"), "x".into(), options).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");
        assert!(error.to_string().contains("8192") && error.to_string().contains("tags"), "{error}");
    }
    assert_eq!(server.log().len(), 0, "nothing was sent");
    for options in [tagged(10, "x", "x"), tagged(4, "字", "字")] {
        let stored = store.put(&key("k"), "x".into(), options.clone()).await.unwrap();
        assert_eq!(stored.tags, options.tags);
    }
    server.clean();
}

#[tokio::test]
async fn reserved_names_are_refused_before_anything_is_sent() {
    let server = Server::start().await;
    let store = open(&server).await;
    let error = store.save("x", ".well-known/acme-challenge/token").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    for name in ["persist-put-id", "persist-tag-x"] {
        let options = persist::PutOptions::new().metadata(name, "v");
        let error = store.put(&key("k"), "x".into(), options).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
    }
    assert_eq!(server.log().len(), 0);
}
