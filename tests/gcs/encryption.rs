//! Keys of the deployment's own.

use persist::{
    Body, DeleteOptions, Error, ErrorKind, GcsConfig, PutMode, PutOptions, SnapshotAdapter,
    SnapshotAdapterExt, Tier, Version, adapters::gcs::GcsAdapter,
};
use serde_json::json;

use crate::{
    strict::{BUCKET, Fault, Kind, Logged, Rules, Server},
    support::{config, data, key, open, open_with, read, retry, streamed},
};

const KMS: &str = "projects/p/locations/eu/keyRings/r/cryptoKeys/k";
/// 32 bytes of `S`.
const CSEK: &str = "U1NTU1NTU1NTU1NTU1NTU1NTU1NTU1NTU1NTU1NTU1M=";
/// 32 bytes of `O`.
const OTHER: &str = "T09PT09PT09PT09PT09PT09PT09PT09PT09PT09PT08=";

#[tokio::test]
async fn a_kms_key_is_a_parameter_of_what_writes_and_of_nothing_else() {
    let server = Server::start().await;
    let store = open_with(GcsConfig { kms_key: Some(KMS.into()), ..config(&server) }).await;
    let bytes = data(600_000, 1);
    store.put(&key("small"), "state".into(), PutOptions::new()).await.unwrap();
    let put = store.put(&key("large"), streamed(&bytes), PutOptions::new()).await.unwrap();
    assert_eq!(put.encryption, Some(format!("{KMS}/cryptoKeyVersions/1")));
    assert_eq!(read(&store, "large").await.unwrap(), bytes);
    store.set_tier(&key("small"), Tier::Cold).await.unwrap();
    for request in server.log() {
        let writes = matches!(request.kind, Kind::Multipart | Kind::Start);
        assert_eq!(request.query("kmsKeyName"), writes.then_some(KMS), "{:?}", request.kind);
        let rewrites = request.kind == Kind::Rewrite;
        assert_eq!(request.query("destinationKmsKeyName"), rewrites.then_some(KMS));
    }
    server.clean(); // among other things: no kmsKeyName in any JSON
}

#[tokio::test]
async fn a_tier_is_set_under_the_key_that_the_snapshot_has() {
    let server = Server::start().await;
    let with_key = open_with(GcsConfig { kms_key: Some(KMS.into()), ..config(&server) }).await;
    with_key.save("state", "k").await.unwrap();
    // By a process that knows nothing of the key.
    let store = open(&server).await;
    store.set_tier(&key("k"), Tier::Cold).await.unwrap();
    let meta = store.head(&key("k")).await.unwrap();
    assert_eq!((meta.tier, meta.encryption), (Some(Tier::Cold), Some(format!("{KMS}/cryptoKeyVersions/1"))));
    assert_eq!(server.logged(Kind::Rewrite)[0].query("destinationKmsKeyName"), Some(KMS));
    // A server that does otherwise is noticed, also where the answer was lost.
    server.state().rules.drops_keys = true;
    for faults in [vec![], vec![Fault::Pass, Fault::Lost]] {
        server.state().objects.get_mut("k").unwrap().kms = Some(KMS.into());
        server.script(Kind::Rewrite, faults);
        let tier =
            if meta.tier == store.head(&key("k")).await.unwrap().tier { Tier::Cool } else { Tier::Cold };
        let error = store.set_tier(&key("k"), tier).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
        assert_eq!(store.load("k").await.unwrap(), "state", "it stays");
    }
    server.clean();
}

#[tokio::test]
async fn a_supplied_key_is_in_the_headers_of_every_request_that_needs_it() {
    let server = Server::start().await;
    let secret = GcsConfig { encryption_key: Some(CSEK.into()), ..config(&server) };
    let store = open_with(secret.clone()).await;
    let bytes = data(600_000, 2);
    store.save_with(bytes.clone(), "large", persist::SaveOptions::new()).await.unwrap();
    store.put(&key("large2"), streamed(&bytes), PutOptions::new()).await.unwrap();
    store.put(&key("small"), "state".into(), PutOptions::new()).await.unwrap();
    store.set_tier(&key("small"), Tier::Cool).await.unwrap();
    assert_eq!(store.load("large").await.unwrap(), bytes);
    assert_eq!(read(&store, "large2").await.unwrap(), bytes);
    assert_eq!(read(&store, "small").await.unwrap(), "state");
    for request in server.log() {
        assert_eq!(request.header("x-goog-encryption-algorithm"), Some("AES256"), "{:?}", request.kind);
        assert_eq!(request.header("x-goog-encryption-key"), Some(CSEK));
    }
    // Without the key, or with another one, the error says what is missing.
    let plain = open(&server).await;
    let other = open_with(GcsConfig { encryption_key: Some(OTHER.into()), ..config(&server) }).await;
    for error in [
        read(&plain, "small").await.unwrap_err(),
        read(&other, "small").await.unwrap_err(),
        other.head(&key("small")).await.unwrap_err(),
    ] {
        assert_eq!(error.kind(), ErrorKind::InvalidConfig);
        assert!(error.to_string().contains("encryption key that it was written with"), "{error}");
    }
    assert!(!format!("{secret:?}{store:?}").contains(CSEK));
    server.clean();
}

#[tokio::test]
async fn a_server_that_drops_the_key_is_noticed_and_nothing_stays_unencrypted() {
    let server = Server::with(Rules { drops_keys: true, ..Rules::default() }).await;
    for config in [
        GcsConfig { kms_key: Some(KMS.into()), ..config(&server) },
        GcsConfig { encryption_key: Some(CSEK.into()), ..config(&server) },
    ] {
        let store = open_with(config.clone()).await;
        for body in [Body::from("state"), streamed(&data(600_000, 3))] {
            if config.encryption_key.is_some() && body.len().is_none() {
                continue; // the strict server wants no key on chunks of a session that has none
            }
            let error = store.put(&key("k"), body, PutOptions::new().create()).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
            assert!(error.to_string().ends_with("was stored is removed again"), "{error}");
            assert_eq!(server.bytes("k"), None);
        }
    }
    // What it replaced is not back.
    let store = open_with(GcsConfig { kms_key: Some(KMS.into()), ..config(&server) }).await;
    for small in [true, false] {
        for replace in [true, false] {
            let old = Version::new(server.state().plant("k", "old").to_string());
            let mode = if replace { PutMode::Replace(old) } else { PutMode::Overwrite };
            let body = if small { Body::from("state") } else { streamed(&data(600_000, 3)) };
            let error = store.put(&key("k"), body, PutOptions::new().mode(mode)).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
            assert!(
                error.to_string().contains("is removed again; a snapshot that it replaced is gone"),
                "{error}"
            );
            assert_eq!(server.bytes("k"), None);
        }
    }
}

/// Its URL is a credential of its own, and it has no use for a key.
#[tokio::test]
async fn the_end_of_an_upload_shows_no_key() {
    let server = Server::start().await;
    let store = open_with(GcsConfig { encryption_key: Some(CSEK.into()), ..config(&server) }).await;
    let broken = [Ok(data(600_000, 4)), Err(Error::new(ErrorKind::Io, "the disk is gone"))];
    let body = Body::from_stream(futures_util::stream::iter(broken));
    store.put(&key("k"), body, PutOptions::new()).await.unwrap_err();
    let keys =
        |request: &Logged| request.headers.keys().filter(|name| name.as_str().contains("encryption")).count();
    let of = |kind| server.logged(kind).iter().map(keys).collect::<Vec<_>>();
    assert_eq!((of(Kind::Start), of(Kind::Cancel)), (vec![3], vec![0]));
    server.clean();
}

#[tokio::test]
async fn what_is_stored_without_the_key_and_cannot_be_removed_is_named() {
    let server = Server::with(Rules { drops_keys: true, ..Rules::default() }).await;
    let store = open_with(GcsConfig { kms_key: Some(KMS.into()), ..config(&server) }).await;
    for (fault, said) in
        [(Fault::Status(403), "could not be removed: remove generation "), (Fault::Lost, "is removed again")]
    {
        server.script(Kind::Delete, [fault.clone()]);
        let error = store.put(&key("k"), "state".into(), PutOptions::new()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
        assert!(error.to_string().contains(said), "{fault:?}: {error}");
        if fault == Fault::Status(403) {
            let generation = server.state().objects["k"].generation;
            assert!(error.to_string().ends_with(&format!("generation {generation}")), "{error}");
            assert_eq!(server.bytes("k").unwrap(), b"state");
        }
    }
    // Somebody else's object is not removed, and nobody is told to.
    let ours = server.state().plant("k", "state");
    server.state().plant("k", "theirs");
    let stored = json!({ "name": "k", "size": "5", "generation": ours.to_string() });
    server.script(Kind::Multipart, [Fault::Answer(200, vec![], stored.to_string())]);
    let error = store.put(&key("k"), "state".into(), PutOptions::new()).await.unwrap_err();
    assert!(error.to_string().ends_with("another writer has replaced what was stored"), "{error}");
    assert_eq!(server.bytes("k").unwrap(), b"theirs");
}

#[tokio::test]
async fn keys_that_cannot_be_used_are_refused_at_once() {
    let server = Server::start().await;
    let base = config(&server);
    for (config, word) in [
        (GcsConfig { kms_key: Some("my-key".into()), ..base.clone() }, "projects/P/locations/L"),
        (
            GcsConfig { kms_key: Some(format!("{KMS}/cryptoKeyVersions/1")), ..base.clone() },
            "without a version",
        ),
        (GcsConfig { encryption_key: Some("c2hvcnQ=".into()), ..base.clone() }, "32 bytes"),
        (GcsConfig { encryption_key: Some("SECRET!".into()), ..base.clone() }, "32 bytes"),
        (
            GcsConfig { kms_key: Some(KMS.into()), encryption_key: Some(CSEK.into()), ..base },
            "exclude each other",
        ),
    ] {
        let error = GcsAdapter::open(BUCKET, &config, &retry()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidConfig);
        assert!(error.to_string().contains(word) && !error.to_string().contains("SECRET"), "{error}");
    }
}

#[tokio::test]
async fn what_needs_no_key_works_on_objects_under_another_key_or_none() {
    for before in [None, Some(OTHER.into())] {
        let server = Server::start().await;
        let old = open_with(GcsConfig { encryption_key: before, ..config(&server) }).await;
        let store = open_with(GcsConfig { encryption_key: Some(CSEK.into()), ..config(&server) }).await;
        let bytes = data(600_000, 4);
        let put = async |body: Body, options| store.put(&key("k"), body, options).await;
        // What is there is replaced, in one request and in many.
        for body in [Body::from("new"), streamed(&bytes), bytes.clone().into()] {
            let version = old.put(&key("k"), "old".into(), PutOptions::new()).await.unwrap().version;
            put(body, PutOptions::new().replace(version)).await.unwrap();
        }
        // Or is in the way.
        old.put(&key("k"), "old".into(), PutOptions::new()).await.unwrap();
        let error = put(streamed(&bytes), PutOptions::new().create()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::AlreadyExists, "{error}");
        // Lost answers, and versions that are not there.
        server.state().age("k", std::time::Duration::from_secs(3600));
        server.script(Kind::Multipart, [Fault::Reset]);
        put("new".into(), PutOptions::new()).await.unwrap();
        assert_eq!(read(&store, "k").await.unwrap(), "new");
        old.put(&key("k"), "old".into(), PutOptions::new()).await.unwrap();
        let only = DeleteOptions::new().if_version(persist::Version::new("17"));
        assert_eq!(store.delete(&key("k"), only).await.unwrap_err().kind(), ErrorKind::Conflict);
        server.state().age("k", std::time::Duration::from_secs(3600));
        server.script(Kind::Delete, [Fault::Reset]);
        store.delete(&key("k"), DeleteOptions::new()).await.unwrap();
        assert_eq!(server.bytes("k"), None);
        server.clean();
    }
}

#[tokio::test]
async fn what_was_recognised_without_the_key_is_still_verified_by_loads() {
    let server = Server::start().await;
    let store = open_with(GcsConfig { encryption_key: Some(CSEK.into()), ..config(&server) }).await;
    server.script(Kind::Multipart, [Fault::Lost]);
    store.put(&key("k"), "state".into(), PutOptions::new()).await.unwrap();
    server.script(Kind::Media, [Fault::Flip(2)]);
    assert_eq!(read(&store, "k").await.unwrap_err().kind(), ErrorKind::Corrupt);
    server.script(Kind::Rewrite, [Fault::Pass, Fault::Lost]);
    store.set_tier(&key("k"), Tier::Cold).await.unwrap();
    server.script(Kind::Media, [Fault::Flip(2)]);
    assert_eq!(read(&store, "k").await.unwrap_err().kind(), ErrorKind::Corrupt);
    server.clean();
}

#[tokio::test]
async fn what_follows_a_failure_carries_the_supplied_key_as_well() {
    let server = Server::start().await;
    let store = open_with(GcsConfig { encryption_key: Some(CSEK.into()), ..config(&server) }).await;
    let bytes = data(3 * 256 * 1024, 5);
    let faults = [Fault::Forget(410), Fault::Lost, Fault::Status(503), Fault::Persist(0, None)];
    server.script(Kind::Data, faults);
    store.put(&key("k"), streamed(&bytes), PutOptions::new()).await.unwrap();
    server.script(Kind::Media, [Fault::Cut(1000), Fault::Status(503), Fault::Cut(5000)]);
    assert_eq!(read(&store, "k").await.unwrap(), bytes);
    assert_eq!(
        [Kind::Start, Kind::Probe, Kind::Media].map(|kind| server.count(kind)),
        [2, 2, 4],
        "all of it was met"
    );
    for request in server.log() {
        assert_eq!(request.header("x-goog-encryption-key"), Some(CSEK), "{:?}", request.kind);
    }
    server.clean();
}
