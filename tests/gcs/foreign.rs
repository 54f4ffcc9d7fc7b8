//! A 404 that is not the service's: an ingress or a gateway says so while the service behind it is away, and
//! not that an object is gone.

use std::{sync::Arc, time::Duration};

use futures_util::TryStreamExt;
use persist::{
    Body, DeleteOptions, ErrorKind, GcsConfig, ListOptions, PutMode, PutOptions, RetryConfig,
    SnapshotAdapter, SnapshotAdapterExt, Tier,
    adapters::gcs::GcsAdapter,
    sessions::{At, Retention, Sessions},
};

use crate::{
    strict::{BUCKET, Fault, Kind, Server},
    support::{config, data, key, open, read, streamed},
};

const CHUNK: usize = 256 * 1024;

fn not_found(body: &str) -> Fault {
    Fault::Answer(404, vec![], body.into())
}

fn page() -> Fault {
    Fault::Answer(
        404,
        vec![("content-type", "text/html".into())],
        "<html>default backend - 404</html>".into(),
    )
}

#[tokio::test]
async fn a_404_that_is_not_the_services_is_an_outage() {
    let server = Server::start().await;
    let once = GcsAdapter::open(BUCKET, &config(&server), &RetryConfig::none()).await.unwrap();
    server.state().plant("k", "state");
    for body in [
        "<html><body>404 Not Found</body></html>",
        "default backend - 404",
        "404 page not found",
        r#"{"message":"no Route matched with those values"}"#,
        r#"{"status":404,"error":"Not Found","path":"/storage/v1/b"}"#,
        r#""error""#,
    ] {
        server.script(Kind::Metadata, [not_found(body), not_found(body)]);
        let head = once.head(&key("k")).await.unwrap_err();
        let exists = once.exists("k").await.unwrap_err();
        server.script(Kind::Media, [not_found(body)]);
        let load = once.load("k").await.unwrap_err();
        server.script(Kind::List, [not_found(body)]);
        let list = once.list(ListOptions::new()).try_collect::<Vec<_>>().await.unwrap_err();
        server.script(Kind::Delete, [not_found(body)]);
        let delete = once.delete(&key("k"), DeleteOptions::new()).await.unwrap_err();
        server.script(Kind::Multipart, [not_found(body)]);
        let save = once.save("state", "new").await.unwrap_err();
        server.script(Kind::Start, [not_found(body)]);
        let start =
            once.put(&key("new"), streamed(&data(3 * CHUNK, 1)), PutOptions::new()).await.unwrap_err();
        server.script(Kind::Rewrite, [not_found(body), not_found(body)]);
        let tier = once.set_tier(&key("k"), Tier::Cool).await.unwrap_err();
        let copy = once.copy(&key("k"), &once, &key("new"), PutMode::Overwrite).await.unwrap_err();
        for error in [head, exists, load, list, delete, save, start, tier, copy] {
            assert_eq!((error.kind(), error.retryable()), (ErrorKind::Unavailable, true), "{body}: {error}");
            assert!(error.to_string().contains("is not the service's"), "{error}");
        }
        assert_eq!((server.bytes("k").unwrap(), server.bytes("new")), ("state".into(), None), "{body}");
    }
    server.clean();
}

#[tokio::test]
async fn an_outage_that_answers_404_is_waited_for() {
    let server = Server::start().await;
    let store = open(&server).await;
    let state = data(3 * CHUNK, 2);
    server.state().plant("k", state.clone());
    server.script(Kind::Metadata, [page(), page()]);
    server.script(Kind::Media, [page(), Fault::Cut(CHUNK), page(), page()]);
    assert!(read(&store, "k").await.unwrap() == state);
    assert!(server.count(Kind::Media) >= 5, "the page in mid-load was not the end of it");

    // What a proxy said may have been done: an overwrite looks first.
    server.forget_log();
    server.script(Kind::Multipart, [page()]);
    store.save("state", "new").await.unwrap();
    server.script(Kind::Multipart, [page()]);
    store.put(&key("made"), Body::from("state"), PutOptions::new().create()).await.unwrap();
    assert_eq!((server.count(Kind::Multipart), server.count(Kind::Metadata)), (4, 1));

    server.script(Kind::Delete, [page()]);
    store.delete(&key("k"), DeleteOptions::new()).await.unwrap();
    assert_eq!(server.bytes("k"), None);
    server.clean();
}

#[tokio::test]
async fn an_upload_goes_on_behind_a_page() {
    let server = Server::start().await;
    let store = open(&server).await;
    let bytes = data(8 * CHUNK, 3);
    server.script(Kind::Data, [Fault::Pass, Fault::Status(503), page()]);
    server.script(Kind::Probe, [page(), not_found("default backend - 404")]);
    // The look ahead of a conditional upload is no place to see a conflict in it, either.
    let version = store.put(&key("k"), Body::from("old"), PutOptions::new()).await.unwrap().version;
    server.script(Kind::Metadata, [page()]);
    store.put(&key("k"), streamed(&bytes), PutOptions::new().replace(version)).await.unwrap();
    assert!(server.bytes("k").unwrap() == bytes);
    assert_eq!(server.count(Kind::Start), 1, "the session was not lost");
    server.clean();
}

#[tokio::test]
async fn what_the_service_says_of_a_lost_session_counts() {
    let front = "<!DOCTYPE html><html lang=en><title>Error 404 (Not Found)!!1</title>";
    let marked = Fault::Answer(404, vec![("x-guploader-uploadid", "id".into())], "Session lost".into());
    for lost in [not_found(""), not_found("Not Found\n"), not_found(front), marked] {
        let server = Server::start().await;
        let store = open(&server).await;
        let bytes = data(3 * CHUNK, 4);
        // Nothing, and plain words, count where nothing shows that the server marks what is its own.
        server.script(Kind::Start, [Fault::Without("x-guploader-uploadid")]);
        server.script(Kind::Data, [Fault::Status(503)]);
        server.script(Kind::Probe, [lost.clone()]);
        store.put(&key("k"), streamed(&bytes), PutOptions::new()).await.unwrap();
        assert_eq!((server.count(Kind::Start), server.count(Kind::Probe)), (2, 1), "{lost:?}");
        assert!(server.bytes("k").unwrap() == bytes);
    }
}

#[tokio::test]
async fn what_the_service_says_of_a_missing_object_counts() {
    let server = Server::start().await;
    let store = open(&server).await;
    for body in [
        r#"{"error":{"code":404,"message":"No such object: b/k","errors":[{"reason":"notFound"}]}}"#,
        "No such object: b/k",
        // As emulators say it.
        "Not Found\n",
        "",
    ] {
        server.script(Kind::Metadata, [not_found(body)]);
        server.script(Kind::Media, [not_found(body)]);
        let error = store.load("k").await.unwrap_err();
        assert_eq!((error.kind(), server.count(Kind::Media)), (ErrorKind::NotFound, 1), "{body}: {error}");
        server.script(Kind::Delete, [not_found(body)]);
        store.delete(&key("k"), DeleteOptions::new()).await.unwrap();
        server.forget_log();
    }
}

/// The metadata are the proof at hand that the object is there.
#[tokio::test]
async fn a_404_that_the_metadata_deny_is_no_removal() {
    let server = Server::start().await;
    let once = GcsAdapter::open(BUCKET, &config(&server), &RetryConfig::none()).await.unwrap();
    let store = open(&server).await;
    server.state().plant("k", "state");
    server.script(Kind::Media, [Fault::Status(404)]);
    let error = once.load("k").await.unwrap_err();
    assert_eq!((error.kind(), error.retryable()), (ErrorKind::Unavailable, true), "{error}");
    assert!(error.to_string().contains("contradicts itself on whether the snapshot is there"), "{error}");
    server.script(Kind::Media, [Fault::Status(404)]);
    assert_eq!(store.load("k").await.unwrap(), "state");
    server.clean();
}

/// What a tag names, and the newest commit, stay, whichever request of a prune meets the page.
#[tokio::test]
async fn a_prune_that_meets_a_page_keeps_what_is_needed() {
    for inline in [1 << 20, 500] {
        // As many requests for metadata as such a prune makes, and one more.
        for n in 0..40 {
            let server = Server::start().await;
            let session = || async {
                let sessions = Sessions::new(Arc::new(open(&server).await)).unwrap();
                sessions.inline_limit(inline).session("a", "s").unwrap()
            };
            let writer = session().await;
            for i in 0..4 {
                writer.save(data(3000, i + 1)).await.unwrap();
            }
            writer.tag("kept", 2).await.unwrap();
            let names: Vec<_> = server.state().objects.keys().cloned().collect();
            names.iter().for_each(|name| server.state().age(name, Duration::from_secs(48 * 3600)));
            server.forget_log();
            server.script(Kind::Metadata, std::iter::repeat_n(Fault::Pass, n).chain([page()]));
            let removed = session().await.prune(Retention::new().last(1)).await.unwrap().removed;
            assert_eq!(removed, [3, 1], "page {n}");
            let met = server.count(Kind::Metadata) > n;
            server.state().faults = Default::default();
            let reader = session().await;
            for (at, seed) in [(At::Tag("kept".into()), 2), (At::Latest, 4)] {
                assert!(reader.load(at).await.unwrap().state == data(3000, seed), "page {n}");
            }
            if !met {
                assert!(n > 5, "{n}");
                break;
            }
        }
    }
}

fn marked() -> Fault {
    Fault::Headers(vec![("x-guploader-uploadid", "id".into())])
}

/// A sidecar that adds TLS is reached by plain http, and says 404 without a word where it has no route.
#[tokio::test]
async fn nothing_said_by_who_is_no_emulator_is_an_outage() {
    let server = crate::support::guarded().await;
    let config = {
        let account = server.state().tokens.service_account().to_string();
        GcsConfig { credentials_json: Some(account.into()), ..config(&server) }
    };
    let once = GcsAdapter::open(BUCKET, &config, &RetryConfig::none()).await.unwrap();
    server.script(Kind::Metadata, [not_found("")]);
    let error = once.head(&key("k")).await.unwrap_err();
    assert_eq!((error.kind(), error.retryable()), (ErrorKind::Unavailable, true), "{error}");
    // Nor by a server that marks its answers, whoever asks.
    let server = Server::start().await;
    let once =
        GcsAdapter::open(BUCKET, &crate::support::config(&server), &RetryConfig::none()).await.unwrap();
    for (fault, kind) in [
        (Fault::Pass, ErrorKind::NotFound),
        (not_found(""), ErrorKind::NotFound),
        (marked(), ErrorKind::NotFound),
        (not_found(""), ErrorKind::Unavailable),
    ] {
        server.script(Kind::Metadata, [fault]);
        assert_eq!(once.head(&key("k")).await.unwrap_err().kind(), kind);
    }
}

/// The start of an upload shows whether the server marks its answers: then nothing is no answer of its own.
#[tokio::test]
async fn nothing_said_to_an_upload_may_be_a_proxys() {
    let server = Server::start().await;
    let store = open(&server).await;
    let bytes = data(8 * CHUNK, 5);
    server.script(Kind::Data, [Fault::Pass, Fault::Status(503), not_found("")]);
    server.script(Kind::Probe, [not_found(""), not_found("Not Found")]);
    store.put(&key("k"), streamed(&bytes), PutOptions::new()).await.unwrap();
    assert!(server.bytes("k").unwrap() == bytes);
    assert_eq!(server.count(Kind::Start), 1, "the session was not lost");
    // Where it stays, the upload begins anew as if the service had said so.
    let bytes = data(3 * CHUNK, 6);
    server.forget_log();
    server.script(Kind::Data, [Fault::Status(503)]);
    server.script(Kind::Probe, (0..5).map(|_| not_found("")));
    store.put(&key("k"), streamed(&bytes), PutOptions::new()).await.unwrap();
    assert_eq!(server.count(Kind::Start), 2);
    assert!(server.bytes("k").unwrap() == bytes);
    server.clean();
}
