//! The library as its users call it.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use persist::{
    ErrorKind, LoadOptions, Optional, PutOptions, SaveOptions, SnapshotAdapter, SnapshotAdapterExt, Tier,
    adapters::{local::LocalAdapter, memory::MemoryAdapter},
    layers::{Fault, Injection, Operation},
    sessions::{At, Sessions},
};

#[tokio::test]
async fn one_line_to_save_one_to_load_through_a_dyn_adapter() {
    let store: Arc<dyn SnapshotAdapter> = Arc::new(MemoryAdapter::new());
    let saved = store.save("state", "agents/42/state.gz").await.unwrap();
    assert_eq!(saved.size, 5);
    assert_eq!(store.load("agents/42/state.gz").await.unwrap(), "state");
    store.save_json(&vec![1, 2], "list.json.gz").await.unwrap();
    assert_eq!(store.load_json::<Vec<i32>>("list.json.gz").await.unwrap(), [1, 2]);
    store.save_stream(&b"streamed"[..], "s.gz").await.unwrap();
    assert!(store.exists("s.gz").await.unwrap() && !store.exists("t.gz").await.unwrap());
}

/// Options reach the storage through every form that takes them.
#[tokio::test]
async fn every_form_of_save_and_load_takes_options() {
    let store = MemoryAdapter::new();
    let folder = tempfile::tempdir().unwrap();
    let (source, target) = (folder.path().join("source"), folder.path().join("target"));
    std::fs::write(&source, "[1]").unwrap();
    let create = || SaveOptions::new().create();
    let first = store.save_with("[1]", "key", create()).await.unwrap();
    let taken = [
        store.save_with("[1]", "key", create()).await,
        store.save_stream_with(&b"[1]"[..], "key", create()).await,
        store.save_body_with("[1]".into(), "key", create()).await,
        store.save_json_with(&[1], "key", create()).await,
        store.upload_with(&source, "key", create()).await,
    ];
    for result in taken {
        assert_eq!(result.unwrap_err().kind(), ErrorKind::AlreadyExists);
    }
    let same = || LoadOptions::new().if_not_version(first.meta.version.clone());
    for kind in [
        store.load_with("key", same()).await.unwrap_err().kind(),
        store.load_stream_with("key", same()).await.unwrap_err().kind(),
        store.load_json_with::<Vec<i32>>("key", same()).await.unwrap_err().kind(),
        store.download_with("key", &target, same()).await.unwrap_err().kind(),
    ] {
        assert_eq!(kind, ErrorKind::NotModified);
    }
    assert!(!target.exists());
    assert!(store.download_if_newer("key", &target, &first.meta.version).await.unwrap().is_none());
    store.save_body("[2]".into(), "key").await.unwrap();
    store.download_if_newer("key", &target, &first.meta.version).await.unwrap().unwrap();
    assert_eq!(std::fs::read(&target).unwrap(), b"[2]");
}

/// A state that was loaded, changed and saved replaces what was loaded, and nothing that came in between.
#[tokio::test]
async fn a_version_of_a_load_shows_a_rival_between_load_and_save() {
    let store = MemoryAdapter::new();
    store.save_json(&vec![1], "key").await.unwrap();
    let (mut state, version) = store.load_json_versioned::<Vec<u32>>("key").await.unwrap();
    let (bytes, same) = store.load_versioned("key").await.unwrap();
    assert_eq!((&bytes[..], &same), (&b"[1]"[..], &version));
    store.save_json(&vec![1, 2], "key").await.unwrap();
    state.push(3);
    let late = store.save_json_with(&state, "key", SaveOptions::new().replace(version.clone())).await;
    assert_eq!(late.unwrap_err().kind(), ErrorKind::Conflict);

    let newer = LoadOptions::new().if_not_version(version);
    let (mut state, version) = store.load_json_versioned_with::<Vec<u32>>("key", newer).await.unwrap();
    state.push(3);
    store.save_json_with(&state, "key", SaveOptions::new().replace(version.clone())).await.unwrap();
    let (state, _) = store.load_versioned_with("key", LoadOptions::new()).await.unwrap();
    assert_eq!(&state[..], b"[1,2,3]");
    let unchanged = store.load_versioned_with("key", LoadOptions::new().if_version(version)).await;
    assert_eq!(unchanged.unwrap_err().kind(), ErrorKind::Conflict);
}

/// Whatever is set behind a condition leaves it as it was.
#[tokio::test]
async fn a_condition_stays_whatever_is_said_of_the_object() {
    let store = MemoryAdapter::new();
    let first = store.save("1", "key").await.unwrap().meta.version;
    let options = || {
        let options = SaveOptions::new().replace(first.clone()).content_type("application/x-own");
        options.metadata("step", "2").tag("team", "a").tag("run", "7").tier(Tier::Cool)
    };
    store.save_with("2", "key", options()).await.unwrap();
    let meta = store.head(&"key".parse().unwrap()).await.unwrap();
    assert_eq!(meta.content_type.as_deref(), Some("application/x-own"));
    assert_eq!(meta.metadata["step"], "2");
    assert_eq!((&meta.tags["team"][..], &meta.tags["run"][..], meta.tier), ("a", "7", Some(Tier::Cool)));
    let late = store.save_with("3", "key", options()).await.unwrap_err();
    assert_eq!((late.kind(), store.load("key").await.unwrap()), (ErrorKind::Conflict, "2".into()));

    // Options of the contract, whole, are where options of a save may begin.
    let put = PutOptions::new().create().tag("team", "b");
    let taken = store.save_with("3", "key", SaveOptions::from(put.clone()).metadata("step", "3")).await;
    assert_eq!(taken.unwrap_err().kind(), ErrorKind::AlreadyExists);
    assert_eq!(SaveOptions::from(put.clone()).put, put);
}

/// What the storage cannot keep is refused, and nothing is saved without it.
#[tokio::test]
async fn a_storage_without_tiers_or_tags_refuses_them() {
    let folder = tempfile::tempdir().unwrap();
    let store = LocalAdapter::open(folder.path()).unwrap();
    let refused = store.save_with("state", "key", SaveOptions::new().tier(Tier::Cold)).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Unsupported);
    let many = (0..11).fold(SaveOptions::new(), |options, n| options.tag(format!("t{n}"), "v"));
    for bad in [many, SaveOptions::new().tag("", "v"), SaveOptions::new().content_type("a\nb")] {
        assert_eq!(store.save_with("state", "key", bad).await.unwrap_err().kind(), ErrorKind::InvalidInput);
    }
    assert!(!store.exists("key").await.unwrap());
}

/// What is not there is `None`; no other error is.
#[tokio::test]
async fn what_is_not_there_is_none() {
    let store = Fault::new(Arc::new(MemoryAdapter::new()));
    assert_eq!(store.load_json::<u64>("key").await.optional().unwrap(), None);
    assert!(store.load_stream("key").await.optional().unwrap().is_none());
    let session = Sessions::new(Arc::new(store.clone())).unwrap().session("a", "s").unwrap();
    assert!(session.load(At::Latest).await.optional().unwrap().is_none());
    store.save_json(&7, "key").await.unwrap();
    assert_eq!(store.load_json::<u64>("key").await.optional().unwrap(), Some(7));
    for kind in [ErrorKind::Corrupt, ErrorKind::AccessDenied, ErrorKind::Unavailable, ErrorKind::Io] {
        store.inject(Operation::Get, Injection::Before(kind));
        assert_eq!(store.load_json::<u64>("key").await.optional().unwrap_err().kind(), kind);
    }
    assert_eq!(store.load("").await.optional().unwrap_err().kind(), ErrorKind::InvalidInput);
}

/// The causes of an error go to logs as well, and a state may hold secrets.
#[tokio::test]
async fn no_error_cites_a_state_that_is_of_another_type() {
    #[derive(Debug, serde::Deserialize)]
    struct State {
        #[serde(rename = "step")]
        _step: u64,
    }
    let state = r#"{"step":"sk-live-SECRET","messages":[]}"#;
    let store = Arc::new(MemoryAdapter::new());
    store.save(state, "state").await.unwrap();
    let session = Sessions::new(store.clone()).unwrap().session("agent", "run").unwrap();
    session.save(state).await.unwrap();
    let restored = session.load(At::Latest).await.unwrap();
    session.save_values(&[("plan", state.into())]).await.unwrap();
    let values = session.load(At::Latest).await.unwrap();
    let errors = [
        store.load_json::<State>("state").await.unwrap_err(),
        store.load_json_versioned::<State>("state").await.unwrap_err(),
        restored.json::<State>().unwrap_err(),
        values.value_json::<State>("plan").unwrap_err(),
    ];
    for error in errors {
        let cause = std::error::Error::source(&error).unwrap();
        assert_eq!(cause.to_string(), "invalid type: string, expected u64 at line 1 column 24");
        assert!(cause.source().is_none());
        assert!(!format!("{error} {error:?} {cause:?}").contains("SECRET"), "{error:?}");
    }
}

/// The state is a public field: whoever takes it out loses the values, and no more.
#[tokio::test]
async fn values_of_a_state_that_was_taken_out_are_empty() {
    let session = Sessions::new(Arc::new(MemoryAdapter::new())).unwrap().session("a", "s").unwrap();
    session.save_values(&[("plan", "1".into()), ("log", "22".into())]).await.unwrap();
    let mut restored = session.load(At::Latest).await.unwrap();
    assert_eq!(restored.value("log").unwrap(), "22");
    assert_eq!(std::mem::take(&mut restored.state), "122");
    assert_eq!(restored.value("log").unwrap(), "");
    assert_eq!(restored.values().map(|(_, value)| value.len()).collect::<Vec<_>>(), [0, 0]);
    assert_eq!(restored.value_json::<u8>("plan").unwrap_err().kind(), ErrorKind::InvalidInput);
}
