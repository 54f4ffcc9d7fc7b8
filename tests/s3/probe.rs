//! What the probe of a server may conclude, and what it leaves behind.

use std::time::Duration;

use futures_util::future::join_all;
use persist::{ErrorKind, PutOptions, RetryConfig, S3Config, SnapshotAdapter, adapters::s3::S3Adapter};

use crate::{
    bench::{answer, key, kind},
    support::{
        proxy::{Fault, Proxy},
        s3::{Server, quick},
        s3_server::StrictServer,
    },
};

async fn behind_a_proxy() -> (StrictServer, Proxy, Server) {
    let strict = StrictServer::start().await;
    let proxy = Proxy::start(&strict.server.endpoint).await;
    let server = strict.server.behind(proxy.url());
    (strict, proxy, server)
}

async fn open(server: &Server, prefix: &str) -> S3Adapter {
    S3Adapter::open_under(&server.bucket, prefix, &server.config, &quick()).await.unwrap()
}

/// Waits for such a request.
async fn arrived(proxy: &Proxy, method: &str, target: &str) {
    let wait = async {
        while proxy.count(method, target) == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), wait).await.expect("no such request came");
}

/// `timeout(open)`, or a program that is interrupted at its start.
#[tokio::test]
async fn a_probe_that_is_dropped_leaves_nothing() {
    let (strict, proxy, server) = behind_a_proxy().await;
    proxy.fail(1, "GET", "list-type", Fault::Silence);
    let opening = tokio::spawn(async move { open(&server, "").await });
    arrived(&proxy, "GET", "list-type").await;
    assert!(!strict.store().objects.is_empty());
    opening.abort();
    assert!(opening.await.unwrap_err().is_cancelled());
    persist::cleaned_up().await;
    assert!(strict.store().objects.is_empty(), "{:?}", strict.store().objects.keys());
}

/// Nothing has begun: a program that is interrupted does not wait for a server that is silent.
#[tokio::test]
async fn a_probe_that_is_dropped_before_any_answer_asks_nothing_more() {
    let (_strict, proxy, server) = behind_a_proxy().await;
    proxy.fail(99, "PUT", "", Fault::Silence);
    let opening = tokio::spawn(async move { open(&server, "").await });
    arrived(&proxy, "PUT", "").await;
    opening.abort();
    assert!(opening.await.unwrap_err().is_cancelled());
    persist::cleaned_up().await;
    assert_eq!(proxy.count("DELETE", ""), 0);
}

/// A line that is bad for a moment says nothing about the server.
#[tokio::test]
async fn what_an_outage_hides_is_looked_for_again() {
    for (method, target, attempts) in [("PUT", "a-x", 6), ("PUT", "a/x", 0), ("GET", "list-type", 6)] {
        let (_strict, proxy, server) = behind_a_proxy().await;
        proxy.fail(attempts, method, target, Fault::answer(503));
        let first = open(&server, "").await.capabilities();
        proxy.clear();
        let second = open(&server, "").await.capabilities();
        assert!(second.tags && second.tiers && second.create, "{target}: {second:?}");
        assert_eq!(proxy.count("", "") > 0, attempts > 0, "{target}: whether it has looked again");
        assert_eq!(first.tags, target != "a-x", "{target}");
        proxy.clear();
        open(&server, "").await;
        assert_eq!(proxy.count("", ""), 0, "{target}: what is certain is asked once");
    }
}

/// A web console, a login page, a proxy in maintenance: they say 200 to everything, and store nothing.
#[tokio::test]
async fn a_server_that_is_none_is_not_opened() {
    let (strict, proxy, server) = behind_a_proxy().await;
    let page = Fault::answer_with(200, &[("content-type", "text/html")], "<html>Please log in</html>");
    proxy.fail(9999, "", "", page);
    let error = S3Adapter::open(&server.bucket, &server.config, &quick()).await.unwrap_err();
    assert_eq!((error.kind(), error.retryable()), (ErrorKind::Unavailable, true), "{error}");
    let text = error.to_string();
    assert!(text.contains("is not S3's") && text.contains(&server.endpoint), "{text}");
    persist::cleaned_up().await;
    assert!(strict.store().objects.is_empty());
}

/// A wrong key is not a bucket that may only be read: sessions would say that the server does no conditions.
#[tokio::test]
async fn a_key_that_is_refused_is_named() {
    let (_strict, proxy, mut server) = behind_a_proxy().await;
    server.config.kms_key = Some("no-such-key".into());
    proxy.fail(9, "PUT", "", answer(400, "KMS.NotFoundException"));
    let error = S3Adapter::open(&server.bucket, &server.config, &quick()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AccessDenied, "{error}");
    assert!(error.to_string().contains("the KMS key cannot be used"), "{error}");
}

/// What is not allowed under one prefix says nothing about another.
#[tokio::test]
async fn rights_under_one_prefix_are_not_those_under_another() {
    let (_strict, proxy, server) = behind_a_proxy().await;
    proxy.fail(999, "GET", "lesser", answer(403, "AccessDenied"));
    assert!(!open(&server, "lesser").await.capabilities().tags);
    let asked = proxy.count("", "");
    assert!(!open(&server, "lesser").await.capabilities().tags);
    assert_eq!(proxy.count("", ""), asked, "the same prefix is asked once");
    assert!(open(&server, "all").await.capabilities().tags);
    assert!(proxy.count("", "") > asked);
    assert!(open(&server, "more").await.capabilities().tags);
}

/// As some stores that have no such names: everything else works there.
#[tokio::test]
async fn a_server_without_backslashes_is_a_server() {
    let (strict, proxy, server) = behind_a_proxy().await;
    proxy.fail(99, "PUT", "%5C", answer(400, "InvalidRequest"));
    let adapter = open(&server, "").await;
    let can = adapter.capabilities();
    assert!(can.create && can.replace && can.tags && can.tiers, "{can:?}");
    adapter.put(&key("a/b"), "state".into(), PutOptions::new()).await.unwrap();
    let refused = adapter.put(&key("a\\b"), "state".into(), PutOptions::new()).await;
    assert_eq!(kind(refused), ErrorKind::Unsupported);
    assert_eq!(strict.store().objects.keys().collect::<Vec<_>>(), ["a/b"]);
}

/// A gateway that leaves out the length of what a HEAD is for has not folded any names.
#[tokio::test]
async fn a_head_without_a_length_says_nothing_of_names() {
    let (_strict, proxy, server) = behind_a_proxy().await;
    proxy.fail(9, "HEAD", "/a/x", Fault::answer_with(200, &[("etag", "\"0123\"")], ""));
    let adapter = open(&server, "").await;
    let refused = adapter.put(&key("a\\b"), "state".into(), PutOptions::new()).await;
    assert_eq!(kind(refused), ErrorKind::Unsupported);
}

/// Whoever opens beside it gets the error of the probe that it waited for, and does not wait in a row.
#[tokio::test]
async fn a_server_that_is_away_is_asked_once() {
    let (_strict, proxy, server) = behind_a_proxy().await;
    proxy.fail(9999, "PUT", "", answer(503, "ServiceUnavailable"));
    let attempt = |prefix: &'static str| {
        let server = server.clone();
        async move {
            let opened = S3Adapter::open_under(&server.bucket, prefix, &server.config, &quick()).await;
            let error = opened.unwrap_err();
            assert_eq!((error.kind(), error.retryable()), (ErrorKind::Unavailable, true), "{error}");
            assert!(error.to_string().starts_with("s3: open: the service failed"), "{error}");
            assert!(std::error::Error::source(&error).is_some(), "{error}");
        }
    };
    // Another time, it is looked for again.
    for round in 1..=2 {
        join_all(["a", "b", "c", "d", "e", "f", "g", "h"].map(attempt)).await;
        if round == 1 {
            // The client was still to be made.
            proxy.clear();
            proxy.fail(9999, "PUT", "", answer(503, "ServiceUnavailable"));
        }
    }
    assert_eq!(proxy.count("PUT", ""), 6);
}

/// Its first object may be there, and nothing else.
#[tokio::test]
async fn a_probe_that_was_never_answered_removes_its_first_object() {
    let (strict, proxy, mut server) = behind_a_proxy().await;
    server.config.read_timeout = Some(Duration::from_secs(1));
    proxy.fail(9999, "", "", Fault::Silence);
    let retry = RetryConfig { max_attempts: 2, ..quick() };
    let error = S3Adapter::open(&server.bucket, &server.config, &retry).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout);
    persist::cleaned_up().await;
    assert_eq!((proxy.count("PUT", ""), proxy.count("DELETE", "")), (2, 1));
    assert!(strict.store().objects.is_empty());
}

#[tokio::test]
async fn the_limit_for_an_operation_is_one_for_a_probe() {
    let (_strict, proxy, mut server) = behind_a_proxy().await;
    server.config.total_timeout = Some(Duration::from_millis(300));
    proxy.fail(9999, "", "", Fault::Silence);
    let error = S3Adapter::open(&server.bucket, &server.config, &quick()).await.unwrap_err();
    assert_eq!(error.to_string(), "s3: open: not done within 0.3 s in all; raise total_timeout");
    persist::cleaned_up().await;
    assert_eq!(proxy.count("DELETE", ""), 0);
}

/// Mirrors and caches have no PUT, or want a name for it.
#[tokio::test]
async fn what_only_reads_is_opened_with_one_request() {
    for (status, code, anonymous, opens) in [
        (403, "AccessDenied", false, true),
        (405, "MethodNotAllowed", false, true),
        (501, "NotImplemented", false, true),
        (501, "", false, true),
        (401, "Unauthorized", true, true),
        (401, "Unauthorized", false, false),
    ] {
        let (_strict, proxy, mut server) = behind_a_proxy().await;
        server.config.checksums = None;
        if anonymous {
            (server.config.access_key_id, server.config.secret_access_key) = (None, None);
            server.config.anonymous = true;
        }
        let fault = if code.is_empty() { Fault::answer(status) } else { answer(status, code) };
        proxy.fail(99, "PUT", "", fault);
        let opened = S3Adapter::open(&server.bucket, &server.config, &quick()).await;
        assert_eq!(opened.is_ok(), opens, "{code}, anonymous: {anonymous}");
        if let Ok(opened) = opened {
            assert!(!opened.capabilities().create);
        }
        assert_eq!(proxy.count("", ""), 1, "{code}");
    }
}

/// What a server without encryption answers: it is the setting that it refuses, and not the save.
#[tokio::test]
async fn a_refused_setting_is_no_mirror() {
    let set: [fn(&mut S3Config); 5] = [
        |config| config.encryption = Some("AES256".into()),
        |config| config.encryption = Some("aws:kms".into()),
        |config| config.storage_class = Some("STANDARD_IA".into()),
        |config| config.requester_pays = true,
        |config| config.checksums = Some("when_supported".into()),
    ];
    for set in set {
        let (_strict, proxy, mut server) = behind_a_proxy().await;
        server.config.checksums = None;
        set(&mut server.config);
        proxy.fail(99, "PUT", "", answer(501, "NotImplemented"));
        let error = S3Adapter::open(&server.bucket, &server.config, &quick()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
        let text = error.to_string();
        assert!(
            text.contains("NotImplemented, scripted") && text.contains("encryption, storage_class"),
            "{text}"
        );
        assert_eq!(proxy.count("", ""), 1);
    }
}
