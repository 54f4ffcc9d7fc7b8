//! Buckets whose readers pay, and the project that does.

use futures_util::TryStreamExt;
use persist::{
    DeleteOptions, GcsConfig, ListOptions, PutMode, PutOptions, SnapshotAdapter, SnapshotAdapterExt, Tier,
    adapters::gcs::GcsAdapter,
};

use crate::{
    strict::{BUCKET, Kind, Rules, Server},
    support::{config, data, guarded, key, open, open_with, retry, streamed},
};

/// Every operation once, with every kind of request but the end of a failed upload.
async fn everything(store: &GcsAdapter) {
    let state = data(600_000, 1);
    store.put(&key("large"), streamed(&state), PutOptions::new().create()).await.unwrap();
    store.save("state", "k").await.unwrap();
    assert_eq!(store.load("k").await.unwrap(), "state");
    store.head(&key("k")).await.unwrap();
    store.set_tier(&key("k"), Tier::Cool).await.unwrap();
    store.copy(&key("k"), store, &key("copy"), PutMode::Create).await.unwrap();
    let rows: Vec<_> = store.list(ListOptions::new()).try_collect().await.unwrap();
    assert_eq!(rows.len(), 3);
    store.delete(&key("k"), DeleteOptions::new()).await.unwrap();
}

/// The requests that the API's rules on billing are about: the URL of an upload session has everything in it.
fn kinds(server: &Server) -> Vec<Kind> {
    let mut kinds: Vec<_> = server.log().iter().map(|request| request.kind).collect();
    kinds.sort();
    kinds.dedup();
    kinds
}

#[tokio::test]
async fn the_project_that_pays_is_named_in_every_request() {
    let server = Server::with(Rules { user_project: Some("payer".into()), ..Rules::default() }).await;
    let error = open(&server).await.save("state", "k").await.unwrap_err();
    assert!(error.to_string().contains("PERSIST_GCS_PROJECT"), "{error}");
    server.forget_log();
    everything(&open_with(GcsConfig { project: Some("payer".into()), ..config(&server) }).await).await;
    use Kind::*;
    let all = [Multipart, Start, Data, Metadata, Media, List, Delete, Rewrite];
    assert_eq!(kinds(&server), all);
    for request in server.log().into_iter().filter(|request| request.kind != Data) {
        assert_eq!(request.query("userProject"), Some("payer"), "{:?}", request.kind);
        assert_eq!(request.header("x-goog-user-project"), None, "{:?}", request.kind);
    }
    server.clean();
}

#[tokio::test]
async fn so_is_the_project_of_the_credentials() {
    let server = guarded().await;
    let credentials = server.state().tokens.authorized_user().to_string();
    let config = GcsConfig { credentials_json: Some(credentials.into()), ..config(&server) };
    everything(&GcsAdapter::open(BUCKET, &config, &retry()).await.unwrap()).await;
    for request in server.log() {
        let named = !matches!(request.kind, Kind::Data | Kind::Token);
        let project = named.then_some("quota-project");
        assert_eq!(request.header("x-goog-user-project"), project, "{:?}", request.kind);
        assert_eq!(request.query("userProject"), None, "{:?}", request.kind);
    }
    server.clean();
}
