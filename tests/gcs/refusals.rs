//! Refusals that are no conflict between writers: policies, and redirects.

use std::future::Future;

use futures_util::TryStreamExt;
use persist::{
    Body, DeleteOptions, Error, ErrorKind, ListOptions, PutMode, PutOptions, SnapshotAdapter,
    SnapshotAdapterExt, Tier, Version, adapters::gcs::GcsAdapter,
};

use crate::{
    strict::{Fault, Kind, Server},
    support::{data, key, setup, streamed},
};

/// A 412 with these words.
fn refusal(message: &str) -> Fault {
    let error =
        serde_json::json!({ "code": 412, "message": message, "errors": [{ "reason": "conditionNotMet" }] });
    Fault::Answer(412, vec![], serde_json::json!({ "error": error }).to_string())
}

/// The policy of an organization, and one whose words are not known.
fn policies() -> [Fault; 2] {
    [
        "Request violates constraint 'constraints/gcp.restrictNonCmekServices', an organization's policy",
        "New objects of the bucket must have a key, by its policy.",
    ]
    .map(refusal)
}

async fn put(store: &GcsAdapter, name: &str, body: Body, mode: PutMode) -> persist::Result<()> {
    store.put(&key(name), body, PutOptions::new().mode(mode)).await.map(drop)
}

/// The operation meets the fault once, is not repeated, and says what the service said.
async fn is_forbidden<T: std::fmt::Debug>(
    server: &Server,
    (kind, before): (Kind, usize),
    fault: &Fault,
    operation: impl Future<Output = persist::Result<T>>,
) {
    server.forget_log();
    server.script(kind, (0..before).map(|_| Fault::Pass).chain([fault.clone()]));
    let error: Error = operation.await.unwrap_err();
    let text = error.to_string();
    assert_eq!((error.kind(), error.retryable()), (ErrorKind::AccessDenied, false), "{kind:?}: {text}");
    assert!(text.contains("PERSIST_GCS_KMS_KEY") && text.contains("policy"), "{text}");
    assert!(text.contains("constraint") || text.contains("must have a key"), "Google's words: {text}");
    assert_eq!(server.count(kind), before + 1, "{text}");
}

#[tokio::test]
async fn a_policy_that_forbids_a_write_is_no_other_writer() {
    for fault in &policies() {
        let (server, store) = setup().await;
        let there = Version::new(server.state().plant("there", "state").to_string());
        let large = data(600_000, 1);
        for (name, mode) in [
            ("new", PutMode::Overwrite),
            ("new", PutMode::Create),
            ("there", PutMode::Overwrite),
            ("there", PutMode::Replace(there.clone())),
        ] {
            let put = |body| put(&store, name, body, mode.clone());
            is_forbidden(&server, (Kind::Multipart, 0), fault, put("mine".into())).await;
            is_forbidden(&server, (Kind::Start, 0), fault, put(streamed(&large))).await;
            is_forbidden(&server, (Kind::Data, 2), fault, put(streamed(&large))).await;
            assert_eq!(server.count(Kind::Cancel), 1);
            let (from, to) = (key("there"), key(if name == "new" { name } else { "other" }));
            let mode = if name == "new" { mode.clone() } else { PutMode::Create };
            is_forbidden(&server, (Kind::Rewrite, 1), fault, store.copy(&from, &store, &to, mode)).await;
        }
        is_forbidden(&server, (Kind::Rewrite, 0), fault, store.set_tier(&key("there"), Tier::Cold)).await;
        for only in [DeleteOptions::new(), DeleteOptions::new().if_version(there)] {
            is_forbidden(&server, (Kind::Delete, 0), fault, store.delete(&key("there"), only)).await;
        }
        assert_eq!((server.bytes("new"), server.bytes("there").unwrap()), (None, b"state".to_vec()));
        server.clean();
    }
}

#[tokio::test]
async fn a_conflict_in_words_that_are_not_known_is_one_all_the_same() {
    let (server, store) = setup().await;
    server.state().plant("k", "theirs");
    let bytes = data(600_000, 2);
    for (mode, kind) in [
        (PutMode::Create, ErrorKind::AlreadyExists),
        (PutMode::Replace(Version::new("17")), ErrorKind::Conflict),
    ] {
        server.script(Kind::Multipart, [Fault::Answer(412, vec![], String::new())]);
        let error = put(&store, "k", "mine".into(), mode.clone()).await.unwrap_err();
        assert_eq!(error.kind(), kind, "{error}");
        // Who may create need not read: the condition was sent, so it is what the answer speaks of.
        server.script(Kind::Multipart, [Fault::Answer(412, vec![], String::new())]);
        server.script(Kind::Metadata, [Fault::Status(403)]);
        let error = put(&store, "k", "mine".into(), mode.clone()).await.unwrap_err();
        assert_eq!(error.kind(), kind, "{error}");
        server.script(Kind::Metadata, [Fault::Status(403)]);
        server.script(Kind::Data, [Fault::Pass, Fault::Pass, Fault::Answer(412, vec![], String::new())]);
        let error = put(&store, "k", streamed(&bytes), mode).await.unwrap_err();
        assert_eq!(error.kind(), kind, "{error}");
    }
    let only = DeleteOptions::new().if_version(Version::new("17"));
    server.script(Kind::Delete, [Fault::Answer(412, vec![], String::new())]);
    assert_eq!(store.delete(&key("k"), only).await.unwrap_err().kind(), ErrorKind::Conflict);
    assert_eq!(server.bytes("k").unwrap(), b"theirs");
}

#[tokio::test]
async fn a_redirect_is_no_success_and_names_the_setting() {
    let (server, store) = setup().await;
    server.state().plant("k", "state");
    let k = key("k");
    for status in [301, 302, 307, 308] {
        let location = format!("{}/upload/storage/v1/b/elsewhere?upload_id=SECRET", server.url);
        let moved = Fault::Answer(status, vec![("location", location)], String::new());
        server.forget_log();
        for kind in [Kind::Delete, Kind::Start, Kind::Multipart, Kind::List, Kind::Rewrite] {
            server.script(kind, [moved.clone()]);
        }
        server.script(Kind::Metadata, [moved.clone()]);
        let head = store.head(&k).await.unwrap_err();
        server.script(Kind::Metadata, [moved.clone()]);
        server.script(Kind::Media, [moved.clone()]);
        for (error, what) in [
            (head, "head"),
            (store.load("k").await.unwrap_err(), "load"),
            (store.delete(&k, DeleteOptions::new()).await.unwrap_err(), "delete"),
            (put(&store, "k", streamed(&data(600_000, 3)), PutMode::Overwrite).await.unwrap_err(), "start"),
            (put(&store, "k", "mine".into(), PutMode::Overwrite).await.unwrap_err(), "save"),
            (store.list(ListOptions::new()).try_collect::<Vec<_>>().await.unwrap_err(), "list"),
            (store.set_tier(&k, Tier::Cold).await.unwrap_err(), "tier"),
        ] {
            let text = error.to_string();
            let seen = (error.kind(), error.retryable());
            assert_eq!(seen, (ErrorKind::InvalidConfig, false), "{what} {status}: {text}");
            assert!(text.contains("PERSIST_GCS_ENDPOINT_URL") && !text.contains("SECRET"), "{text}");
        }
        assert_eq!(server.bytes("k").unwrap(), b"state");
        assert_eq!((server.count(Kind::Delete), server.count(Kind::Data)), (1, 0));
    }
    server.clean();
}
