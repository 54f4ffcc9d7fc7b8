//! A success that is not the service's: scanners of downloads, login pages and proxies in maintenance say 200.

use std::{sync::Arc, time::Duration};

use futures_util::TryStreamExt;
use persist::{
    Body, DeleteOptions, ErrorKind, ListOptions, PutOptions, RetryConfig, SnapshotAdapter,
    SnapshotAdapterExt,
    adapters::gcs::GcsAdapter,
    sessions::{At, Sessions},
};

use crate::{
    strict::{BUCKET, Fault, Kind, Server},
    support::{config, data, key, open, read},
};

const SIZE: usize = 200_000;

fn page(len: usize) -> Fault {
    Fault::Answer(200, vec![("content-type", "Text/HTML; charset=utf-8".into())], "x".repeat(len))
}

async fn once(server: &Server) -> GcsAdapter {
    GcsAdapter::open(BUCKET, &config(server), &RetryConfig::none()).await.unwrap()
}

#[tokio::test]
async fn a_page_in_place_of_an_object_is_an_outage() {
    let server = Server::start().await;
    server.state().plant("k", data(SIZE, 1));
    let json =
        |body: &str| Fault::Answer(200, vec![("content-type", "application/json".into())], body.into());
    // Of another length, or a page: what is neither may come from a server that strips headers.
    for page in [page(0), page(1000), page(SIZE), page(SIZE + 1), json(r#"{"status":"ok"}"#)] {
        server.script(Kind::Media, [page.clone(), page.clone()]);
        let error = read(&once(&server).await, "k").await.unwrap_err();
        assert_eq!((error.kind(), error.retryable()), (ErrorKind::Unavailable, true), "{error}");
        assert!(error.to_string().contains("is not the service's"), "{error}");
        server.script(Kind::Media, [page.clone(), page.clone()]);
        assert!(read(&open(&server).await, "k").await.unwrap() == data(SIZE, 1));
        // In the middle of a load, too.
        server.script(Kind::Media, [Fault::Cut(1000), page.clone(), page]);
        assert!(read(&open(&server).await, "k").await.unwrap() == data(SIZE, 1));
    }
    let bare = Fault::Answer(200, vec![], String::from_utf8(vec![b'x'; SIZE]).unwrap());
    server.state().plant("k", "x".repeat(SIZE));
    server.script(Kind::Media, [bare.clone(), bare]);
    assert_eq!(read(&once(&server).await, "k").await.unwrap().len(), SIZE);
    server.clean();
}

#[tokio::test]
async fn an_object_may_be_a_page_itself() {
    let server = Server::start().await;
    let options = PutOptions::new().content_type("text/html");
    once(&server).await.put(&key("k"), Body::from("<html>"), options).await.unwrap();
    let bare = Fault::Answer(200, vec![("content-type", "text/html".into())], "<html>".into());
    server.script(Kind::Media, [bare.clone(), bare]);
    assert_eq!(read(&once(&server).await, "k").await.unwrap(), "<html>");
    server.clean();
}

/// A page that passes for a damaged commit would give an older state, and the next save would go on from it.
#[tokio::test]
async fn a_fallback_does_not_pass_over_a_commit_for_a_page() {
    let server = Server::start().await;
    let session = |store| Sessions::new(Arc::new(store)).unwrap().session("a", "s").unwrap();
    let writer = session(open(&server).await);
    for seed in 1..=3 {
        writer.save(data(3000, seed)).await.unwrap();
    }
    for pages in 1..=24 {
        server.script(Kind::Media, (0..pages).map(|_| page(20_000)));
        match session(open(&server).await).load_with_fallback(At::Latest).await {
            Ok(found) => assert!(found.state == data(3000, 3), "{pages} pages"),
            Err(error) => assert_eq!(error.kind(), ErrorKind::Unavailable, "{pages} pages: {error}"),
        }
        server.state().faults = Default::default();
        let error = session(once(&server).await);
        server.script(Kind::Media, [page(20_000), page(20_000)]);
        assert_eq!(error.load(At::Latest).await.unwrap_err().kind(), ErrorKind::Unavailable);
    }
    assert_eq!(once(&server).await.load("none").await.unwrap_err().kind(), ErrorKind::NotFound);
}

/// An agent that finds no session begins a new one.
#[tokio::test]
async fn json_of_another_is_no_empty_listing() {
    let server = Server::start().await;
    server.state().plant("k", "state");
    for body in [r#"{"status":"ok"}"#, "{}", r#"{"kind":"health"}"#] {
        server.script(Kind::List, [Fault::Answer(200, vec![], body.into())]);
        let listed = once(&server).await.list(ListOptions::new()).try_collect::<Vec<_>>().await;
        let error = listed.unwrap_err();
        assert_eq!((error.kind(), error.retryable()), (ErrorKind::Unavailable, true), "{body}: {error}");
        assert!(error.to_string().contains("is not the service's"), "{error}");
        server.script(Kind::List, [Fault::Answer(200, vec![], body.into())]);
        let listed = open(&server).await.list(ListOptions::new()).try_collect::<Vec<_>>().await;
        assert_eq!(listed.unwrap().len(), 1);
    }
    let none = open(&server).await.list(ListOptions::new().prefix("none")).try_collect::<Vec<_>>().await;
    assert!(none.unwrap().is_empty());
    for body in [r#"{"items":[]}"#, r#"{"kind":"storage#objects"}"#] {
        server.script(Kind::List, [Fault::Answer(200, vec![], body.into())]);
        let listed = once(&server).await.list(ListOptions::new()).try_collect::<Vec<_>>().await;
        assert!(listed.unwrap().is_empty(), "{body}");
    }
    server.clean();
}

/// A gateway's default route says so of everything; emulators say 200 with `null` or an empty object.
#[tokio::test]
async fn json_of_another_is_no_removal() {
    let server = Server::start().await;
    let remove = async |store: GcsAdapter| store.delete(&key("k"), DeleteOptions::new()).await;
    for body in [r#"{"status":"ok"}"#, r#"["ok"]"#, "true", "OK"] {
        let yes = Fault::Answer(200, vec![("etag", "W/\"f-1\"".into())], body.into());
        server.state().plant("k", "state");
        server.script(Kind::Delete, [yes.clone()]);
        let error = remove(once(&server).await).await.unwrap_err();
        assert_eq!((error.kind(), error.retryable()), (ErrorKind::Unavailable, true), "{body}: {error}");
        assert!(error.to_string().contains("is not the service's"), "{error}");
        // What was there long before is what was to go.
        server.state().age("k", Duration::from_secs(3600));
        server.script(Kind::Delete, [yes]);
        remove(open(&server).await).await.unwrap();
        assert_eq!(server.bytes("k"), None, "{body}");
    }
    for body in ["", "null", "{}\n"] {
        server.script(Kind::Delete, [Fault::Answer(200, vec![], body.into())]);
        remove(once(&server).await).await.unwrap();
    }
    server.clean();
}
