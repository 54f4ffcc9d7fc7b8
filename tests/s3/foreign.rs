//! A 404 that is not the service's: an ingress or a gateway says so while the service behind it is away, and
//! not that an object is gone.

use futures_util::TryStreamExt;
use persist::{DeleteOptions, ErrorKind, GetOptions, ListOptions, PutOptions, SnapshotAdapter};

use crate::{
    bench::{Bench, key, kind, noise},
    support::{
        proxy::{Fault, Proxy},
        s3::LARGE,
        s3_server::StrictServer,
    },
};

/// As that of a proxy while the service behind it is replaced: an agent must not start anew by it.
#[tokio::test]
async fn a_404_that_is_not_the_services_is_an_outage() {
    let bench = Bench::new().await;
    bench.put("state", &noise(1, 100), PutOptions::new()).await.unwrap();
    for text in ["default backend - 404", "<html><body>404 page not found</body></html>"] {
        let away = Fault::answer_with(404, &[("content-type", "text/html")], text);
        bench.proxy.clear();
        bench.proxy.fail(6, "GET", "state", away.clone());
        let error = bench.read("state").await.unwrap_err();
        assert_eq!((error.kind(), error.retryable()), (ErrorKind::Unavailable, true), "{error}");
        assert!(error.to_string().contains("is not S3's"), "{error}");
        assert_eq!(bench.read("state").await.unwrap(), noise(1, 100));
        bench.proxy.fail(6, "DELETE", "state", away);
        let removed = bench.adapter.delete(&key("state"), DeleteOptions::new()).await;
        assert_eq!(kind(removed), ErrorKind::Unavailable);
        assert!(bench.stored("state").is_some());
    }
    // One with its own words is the service's, and so is one with the id of the request.
    let named = Fault::answer_with(404, &[("x-amz-request-id", "R")], "");
    for own in [
        named,
        Fault::answer_with(404, &[], "<Error><Code>NoSuchKey</Code><Message>scripted</Message></Error>"),
    ] {
        bench.proxy.fail(1, "GET", "state", own);
        assert_eq!(kind(bench.read("state").await), ErrorKind::NotFound);
    }
}

/// As those of Envoy, HAProxy and load balancers: without a page, and without the id that the server gives
/// each request.
#[tokio::test]
async fn a_404_without_a_word_is_an_outage_where_the_server_names_requests() {
    let bench = Bench::new().await;
    let (state, large) = (noise(1, 100), noise(2, LARGE));
    let replace =
        PutOptions::new().replace(bench.put("state", &state, PutOptions::new()).await.unwrap().version);
    let away = |method, target, times| {
        bench.proxy.clear();
        bench.proxy.fail(times, method, target, Fault::answer(404));
    };
    // For longer than there are attempts.
    let is_away = |outcome: persist::Result<()>| {
        let error = outcome.unwrap_err();
        assert_eq!((error.kind(), error.retryable()), (ErrorKind::Unavailable, true), "{error}");
        assert!(error.to_string().contains("is not S3's"), "{error}");
    };
    away("GET", "state", 6);
    is_away(bench.read("state").await.map(drop));
    away("HEAD", "state", 6);
    is_away(bench.adapter.head(&key("state")).await.map(drop));
    away("GET", "list-type", 6);
    is_away(bench.names(ListOptions::new()).await.map(drop));
    away("PUT", "state", 6);
    is_away(bench.put("state", &noise(3, 100), replace.clone()).await.map(drop));
    away("DELETE", "state", 6);
    is_away(bench.adapter.delete(&key("state"), DeleteOptions::new()).await);
    assert_eq!(bench.stored("state"), Some(state.clone()));
    // For a moment.
    away("GET", "state", 1);
    assert_eq!(bench.read("state").await.unwrap(), state);
    away("PUT", "state", 1);
    bench.put("state", &noise(3, 100), replace).await.unwrap();
    for (method, target) in [("POST", "uploads"), ("PUT", "partNumber=2"), ("POST", "uploadId=")] {
        away(method, target, 1);
        bench.put("large", &large, PutOptions::new()).await.unwrap();
        assert!(bench.stored("large").as_ref() == Some(&large) && bench.is_clean(), "{target}");
    }
}

/// A mirror answers no more than GET and HEAD, and may do so without a word; all else that S3 refuses has a
/// document.
#[tokio::test]
async fn a_404_without_a_word_may_be_a_mirrors_where_requests_have_no_id() {
    let strict = StrictServer::start().await;
    strict.store().nameless = true;
    let proxy = Proxy::start(&strict.server.endpoint).await;
    let adapter = strict.server.behind(proxy.url()).open().await;
    let meta = adapter.put(&key("state"), "state".into(), PutOptions::new()).await.unwrap();
    let away = |method, target| {
        proxy.clear();
        proxy.fail(6, method, target, Fault::answer(404));
    };
    away("GET", "state");
    assert_eq!(kind(adapter.get(&key("state"), GetOptions::new()).await), ErrorKind::NotFound);
    away("HEAD", "state");
    assert_eq!(kind(adapter.head(&key("state")).await), ErrorKind::NotFound);
    assert_eq!(proxy.count("", ""), 1);
    away("PUT", "state");
    let replace = PutOptions::new().replace(meta.version);
    assert_eq!(kind(adapter.put(&key("state"), "new".into(), replace).await), ErrorKind::Unavailable);
    away("DELETE", "state");
    assert_eq!(kind(adapter.delete(&key("state"), DeleteOptions::new()).await), ErrorKind::Unavailable);
    away("GET", "list-type");
    let listed: persist::Result<Vec<_>> = adapter.list(ListOptions::new()).try_collect().await;
    assert_eq!(kind(listed), ErrorKind::Unavailable);
    assert_eq!(strict.store().objects["state"].bytes, "state");
}

/// A HEAD's answer has no text that would tell: VersityGW announces one as plain text, without an id of the
/// request.
#[tokio::test]
async fn a_404_to_a_head_is_the_services_whatever_it_announces() {
    let strict = StrictServer::start().await;
    strict.store().nameless = true;
    let proxy = Proxy::start(&strict.server.endpoint).await;
    let adapter = strict.server.behind(proxy.url()).open().await;
    for media in ["text/plain; charset=utf-8", "text/html", "application/xml"] {
        proxy.clear();
        let missing = Fault::answer_with(404, &[("content-type", media)], "Not Found");
        proxy.fail(6, "HEAD", "missing", missing);
        assert_eq!(kind(adapter.head(&key("missing")).await), ErrorKind::NotFound, "{media}");
        assert_eq!(proxy.count("HEAD", "missing"), 1, "{media}");
    }
}

/// What is saved as a page must not be taken for a proxy's, where nothing else tells.
#[tokio::test]
async fn a_page_that_was_saved_is_loaded_from_a_server_without_ids() {
    let strict = StrictServer::start().await;
    strict.store().nameless = true;
    let adapter = strict.server.open().await;
    let options = PutOptions::new().content_type("text/html");
    adapter.put(&key("report"), "<html>".into(), options).await.unwrap();
    assert_eq!(adapter.head(&key("report")).await.unwrap().size, 6);
    let object = adapter.get(&key("report"), GetOptions::new()).await.unwrap();
    assert_eq!(object.body.collect(10).await.unwrap(), "<html>");
}
