//! Attempts whose outcome is unknown (`docs/adr/0008-gcs-overwrite-retries.md`).

use std::time::{Duration, SystemTime};

use persist::{
    Body, DeleteOptions, ErrorKind, PutMode, PutOptions, RetryConfig, SnapshotAdapter,
    adapters::gcs::GcsAdapter,
};

use crate::{
    strict::{BUCKET, Fault, Kind, Server, http_date},
    support::{config, data, key, open, retry, setup, streamed},
    wire::meanwhile,
};

const HOUR: Duration = Duration::from_secs(3600);

async fn put(store: &GcsAdapter, mode: PutMode) -> persist::Result<persist::ObjectMeta> {
    store.put(&key("k"), Body::from("mine"), PutOptions::new().mode(mode)).await
}

/// The conditions of the writes.
fn conditions(server: &Server) -> Vec<Option<String>> {
    let writes = server.logged(Kind::Multipart);
    writes.iter().map(|request| request.query("ifGenerationMatch").map(Into::into)).collect()
}

#[tokio::test]
async fn ones_own_write_whose_answer_was_lost_is_a_success() {
    for fault in [Fault::Lost, Fault::LostTo(503), Fault::LostTo(408), Fault::LostToPage, Fault::Cut(10)] {
        for mode in ["overwrite", "create", "replace"] {
            let (server, store) = setup().await;
            let mode = match mode {
                "overwrite" => PutMode::Overwrite,
                "create" => PutMode::Create,
                _ => PutMode::Replace(persist::Version::new(server.state().plant("k", "old").to_string())),
            };
            server.script(Kind::Multipart, [fault.clone()]);
            let meta = put(&store, mode.clone()).await.unwrap();
            assert_eq!(meta, store.head(&key("k")).await.unwrap());
            let stored =
                server.logged(Kind::Multipart).iter().filter(|request| request.status == 412).count();
            // An overwrite looks before it writes again; a condition tells by itself.
            let expected = if mode == PutMode::Overwrite { (1, 0) } else { (2, 1) };
            assert_eq!((server.count(Kind::Multipart), stored), expected, "{fault:?} {mode:?}");
            server.clean();
        }
    }
}

#[tokio::test]
async fn somebody_elses_write_is_still_a_conflict() {
    let (server, store) = setup().await;
    server.state().plant("k", "theirs");
    assert_eq!(put(&store, PutMode::Create).await.unwrap_err().kind(), ErrorKind::AlreadyExists);
    assert_eq!(server.log().len(), 1, "the first answer is clear");
    server.script(Kind::Multipart, [Fault::Reset]);
    assert_eq!(put(&store, PutMode::Create).await.unwrap_err().kind(), ErrorKind::AlreadyExists);
    assert_eq!(server.bytes("k").unwrap(), b"theirs");
}

#[tokio::test]
async fn an_overwrite_that_did_not_arrive_is_repeated_only_over_what_was_there() {
    let (server, store) = setup().await;
    let old = server.state().plant("k", "old");
    server.state().age("k", HOUR);
    server.script(Kind::Multipart, [Fault::Reset]);
    put(&store, PutMode::Overwrite).await.unwrap();
    assert_eq!(conditions(&server), [None, Some(old.to_string())]);
    assert_eq!(server.bytes("k").unwrap(), b"mine");
    // Where nothing was, nothing may have come.
    let (server, store) = setup().await;
    server.script(Kind::Multipart, [Fault::Status(502)]);
    put(&store, PutMode::Overwrite).await.unwrap();
    assert_eq!(conditions(&server), [None, Some("0".into())]);
}

#[tokio::test]
async fn who_saves_often_knows_what_was_there() {
    let (server, store) = setup().await;
    for _ in 0..3 {
        server.script(Kind::Multipart, [Fault::Reset]);
        put(&store, PutMode::Overwrite).await.unwrap();
    }
    assert_eq!(server.bytes("k").unwrap(), b"mine");
}

#[tokio::test]
async fn an_overwrite_never_undoes_a_newer_write() {
    // Written while the first attempt was under way, or after it.
    let (server, store) = setup().await;
    server.state().plant("k", "newer");
    server.script(Kind::Multipart, [Fault::Reset]);
    let error = put(&store, PutMode::Overwrite).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
    assert!(error.to_string().contains("theirs stands"), "{error}");
    assert_eq!((server.bytes("k").unwrap().as_slice(), server.count(Kind::Multipart)), (&b"newer"[..], 1));
    // Written between the look and the second attempt.
    let (server, store) = setup().await;
    server.state().plant("k", "old");
    server.state().age("k", HOUR);
    server.script(Kind::Multipart, [Fault::Reset, Fault::Hang]);
    let mut quick = config(&server);
    quick.timeout = Some(Duration::from_millis(500));
    drop(store);
    let store = GcsAdapter::open(BUCKET, &quick, &retry()).await.unwrap();
    let outcome = meanwhile(
        put(&store, PutMode::Overwrite),
        || server.count(Kind::Metadata) >= 1,
        || {
            server.state().plant("k", "newer");
        },
    )
    .await;
    assert_eq!(outcome.unwrap_err().kind(), ErrorKind::Conflict);
    assert_eq!(server.bytes("k").unwrap(), b"newer");
}

/// An answer of a server, or of something between, whose clock is ahead.
fn ahead(by: Duration) -> Fault {
    Fault::Headers(vec![("date", http_date(SystemTime::now() + by))])
}

#[tokio::test]
async fn what_a_clock_cannot_tell_is_not_overwritten() {
    // Without the service's clock, only what was seen before was there before.
    let (server, store) = setup().await;
    server.state().plant("k", "old");
    server.state().age("k", HOUR);
    for operation in ["put", "delete"] {
        server.script(if operation == "put" { Kind::Multipart } else { Kind::Delete }, [Fault::Reset]);
        server.script(Kind::Metadata, [Fault::Without("date")]);
        let error = match operation {
            "put" => put(&store, PutMode::Overwrite).await.map(drop),
            _ => store.delete(&key("k"), DeleteOptions::new()).await,
        };
        assert_eq!(error.unwrap_err().kind(), ErrorKind::Conflict, "{operation}");
        assert_eq!(server.bytes("k").unwrap(), b"old");
    }
    store.head(&key("k")).await.unwrap();
    server.script(Kind::Multipart, [Fault::Reset]);
    server.script(Kind::Metadata, [Fault::Without("date")]);
    put(&store, PutMode::Overwrite).await.unwrap();
    assert_eq!(server.bytes("k").unwrap(), b"mine");
    // At another endpoint than Google's the clock may be that of a proxy.
    let (server, store) = setup().await;
    server.state().plant("k", "newer");
    server.script(Kind::Multipart, [Fault::Reset]);
    server.script(Kind::Metadata, [ahead(Duration::from_secs(30))]);
    assert_eq!(put(&store, PutMode::Overwrite).await.unwrap_err().kind(), ErrorKind::Conflict);
    assert_eq!(server.bytes("k").unwrap(), b"newer");
}

#[tokio::test]
async fn a_refusal_behind_a_lost_answer_says_nothing_about_the_save() {
    let server = Server::start().await;
    let store = open(&server).await;
    for status in [400, 401, 403, 409, 429] {
        let again = || [Fault::Reset].into_iter().chain((0..9).map(move |_| Fault::Status(status)));
        let fails = |outcome: persist::Result<persist::ObjectMeta>, what: &str| {
            let error = outcome.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Unavailable, "{what} {status}: {error}");
            assert_eq!(error.retryable(), matches!(status, 409 | 429), "{what} {status}: {error}");
            assert!(error.to_string().contains("may still"), "{error}");
            assert!(error.to_string().contains(&status.to_string()), "the refusal as well: {error}");
            server.state().faults = Default::default();
            server.state().objects.clear();
        };
        // The one request of a small save; the look of an overwrite; the data of a large save, its next
        // session; a copy.
        server.script(Kind::Multipart, again());
        fails(put(&store, PutMode::Create).await, "create");
        server.script(Kind::Multipart, [Fault::Lost]);
        server.script(Kind::Metadata, (0..9).map(|_| Fault::Status(status)));
        fails(put(&store, PutMode::Overwrite).await, "overwrite");
        let name = key("k");
        let large = || store.put(&name, data(600_000, 1).into(), PutOptions::new().create());
        server.script(Kind::Data, [Fault::Reset]);
        server.script(Kind::Probe, again().skip(1));
        fails(large().await, "data");
        server.script(Kind::Data, [Fault::Reset]);
        server.script(Kind::Probe, [Fault::Forget(404)]);
        server.script(Kind::Start, [Fault::Pass].into_iter().chain(again().skip(1)));
        fails(large().await, "start");
        server.state().plant("from", "state");
        server.script(Kind::Rewrite, [Fault::Pass].into_iter().chain(again()));
        fails(store.copy(&key("from"), &store, &name, PutMode::Create).await, "copy");
        // What was stored is a success, whatever came then.
        server.script(Kind::Multipart, [Fault::Lost].into_iter().chain(again().skip(1)));
        put(&store, PutMode::Create).await.unwrap();
        server.state().faults = Default::default();
        server.state().objects.clear();
        // Without a lost answer the refusal stands for itself.
        server.script(Kind::Multipart, (0..6).map(|_| Fault::Status(status)));
        let error = put(&store, PutMode::Create).await.unwrap_err();
        assert_ne!(error.kind(), ErrorKind::Unavailable, "{error}");
        server.state().faults = Default::default();
    }
    server.clean();
}

#[tokio::test]
async fn what_another_request_was_in_the_way_of_is_tried_again() {
    let (server, store) = setup().await;
    for mode in ["overwrite", "create", "replace"] {
        server.state().objects.clear();
        let mode = match mode {
            "overwrite" => PutMode::Overwrite,
            "create" => PutMode::Create,
            _ => PutMode::Replace(persist::Version::new(server.state().plant("k", "old").to_string())),
        };
        server.forget_log();
        server.script(Kind::Multipart, [Fault::Status(409)]);
        put(&store, mode.clone()).await.unwrap();
        assert_eq!(conditions(&server).len(), 2, "{mode:?}");
        // Nothing is in doubt: the same request once more, and no look.
        assert_eq!(conditions(&server)[0], conditions(&server)[1]);
        assert_eq!(server.count(Kind::Metadata), 0);
    }
    server.script(Kind::Data, [Fault::Status(409), Fault::Status(409)]);
    let bytes = data(600_000, 1);
    store.put(&key("k"), streamed(&bytes), PutOptions::new()).await.unwrap();
    assert_eq!(server.bytes("k").unwrap(), bytes);
    server.script(Kind::Rewrite, [Fault::Status(409), Fault::Pass, Fault::Status(409)]);
    store.copy(&key("k"), &store, &key("copy"), PutMode::Create).await.unwrap();
    server.script(Kind::Rewrite, [Fault::Status(409), Fault::Pass, Fault::Status(409)]);
    store.set_tier(&key("k"), persist::Tier::Cold).await.unwrap();
    server.script(Kind::Delete, [Fault::Status(409)]);
    store.delete(&key("k"), DeleteOptions::new()).await.unwrap();
    assert_eq!(server.bytes("k"), None);
    // For ever: the attempts end.
    server.forget_log();
    server.script(Kind::Multipart, (0..6).map(|_| Fault::Status(409)));
    let error = put(&store, PutMode::Create).await.unwrap_err();
    assert_eq!((error.kind(), error.retryable()), (ErrorKind::Conflict, true), "{error}");
    assert_eq!(server.log().len(), 6);
    server.clean();
}

#[tokio::test]
async fn a_clear_refusal_needs_no_look() {
    let (server, store) = setup().await;
    server.script(Kind::Multipart, [Fault::Status(429), Fault::Status(429)]);
    put(&store, PutMode::Overwrite).await.unwrap();
    assert_eq!((server.count(Kind::Multipart), server.count(Kind::Metadata)), (3, 0));
}

#[tokio::test]
async fn the_last_attempt_may_have_been_the_one() {
    let server = Server::start().await;
    let store = GcsAdapter::open(BUCKET, &config(&server), &RetryConfig::none()).await.unwrap();
    server.script(Kind::Multipart, [Fault::Lost]);
    put(&store, PutMode::Create).await.unwrap();
    server.script(Kind::Multipart, [Fault::Reset]);
    assert_eq!(put(&store, PutMode::Overwrite).await.unwrap_err().kind(), ErrorKind::Unavailable);
}

#[tokio::test]
async fn a_delete_never_takes_a_newer_write() {
    let (server, store) = setup().await;
    // Did not arrive: repeated, for what was there.
    let old = server.state().plant("k", "old");
    server.state().age("k", HOUR);
    server.script(Kind::Delete, [Fault::Reset]);
    store.delete(&key("k"), DeleteOptions::new()).await.unwrap();
    assert_eq!(server.logged(Kind::Delete)[1].query("ifGenerationMatch"), Some(old.to_string().as_str()));
    assert_eq!(server.bytes("k"), None);
    // As new as the first attempt: it may have come after it.
    server.state().plant("k", "newer");
    server.script(Kind::Delete, [Fault::Reset]);
    let error = store.delete(&key("k"), DeleteOptions::new()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
    assert_eq!(server.bytes("k").unwrap(), b"newer");
    // Unless it was seen before.
    store.head(&key("k")).await.unwrap();
    server.script(Kind::Delete, [Fault::Reset]);
    store.delete(&key("k"), DeleteOptions::new()).await.unwrap();
    assert_eq!(server.bytes("k"), None);
    server.state().plant("k", "newest");
    // Arrived.
    server.script(Kind::Delete, [Fault::Lost]);
    store.delete(&key("k"), DeleteOptions::new()).await.unwrap();
    assert_eq!(server.bytes("k"), None);
}

#[tokio::test]
async fn a_delete_of_a_version_is_repeated_as_it_is() {
    let (server, store) = setup().await;
    let generation = server.state().plant("k", "old").to_string();
    let only = DeleteOptions::new().if_version(persist::Version::new(&generation));
    server.script(Kind::Delete, [Fault::Lost]);
    store.delete(&key("k"), only.clone()).await.unwrap();
    let deletes = server.logged(Kind::Delete);
    assert_eq!(deletes.len(), 2);
    assert!(deletes.iter().all(|request| request.query("ifGenerationMatch") == Some(generation.as_str())));
    server.state().plant("k", "newer");
    assert_eq!(store.delete(&key("k"), only).await.unwrap_err().kind(), ErrorKind::Conflict);
}

#[tokio::test]
async fn what_a_tier_was_set_of_is_known() {
    let (server, store) = setup().await;
    put(&store, PutMode::Overwrite).await.unwrap();
    store.set_tier(&key("k"), persist::Tier::Cold).await.unwrap();
    // It was there before the next attempt, however young it is.
    server.script(Kind::Multipart, [Fault::Reset]);
    put(&store, PutMode::Overwrite).await.unwrap();
}

#[tokio::test]
async fn a_tier_that_was_set_without_an_answer_is_set() {
    let (server, store) = setup().await;
    let options = PutOptions::new().metadata("a", "b").tag("t", "u").content_type("application/gzip");
    let before = store.put(&key("k"), Body::from("state"), options).await.unwrap();
    server.script(Kind::Rewrite, [Fault::Pass, Fault::Lost]);
    store.set_tier(&key("k"), persist::Tier::Archive).await.unwrap();
    let after = store.head(&key("k")).await.unwrap();
    assert_eq!(after.tier, Some(persist::Tier::Archive));
    assert_eq!(
        (&after.metadata, &after.tags, &after.content_type),
        (&before.metadata, &before.tags, &before.content_type)
    );
    let rewrites = server.logged(Kind::Rewrite);
    assert!(
        rewrites
            .iter()
            .all(|request| request.query("ifSourceGenerationMatch") == Some(before.version.as_str())
                && request.query("ifGenerationMatch") == Some(before.version.as_str()))
    );
    // Once more changes nothing, and needs no rewrite.
    store.set_tier(&key("k"), persist::Tier::Archive).await.unwrap();
    assert_eq!(server.count(Kind::Rewrite), rewrites.len());
    server.clean();
}

#[tokio::test]
async fn a_delete_of_what_never_was_a_version_is_tried_again() {
    let (server, store) = setup().await;
    server.state().plant("k", "old");
    server.script(Kind::Metadata, [Fault::Status(503), Fault::Reset]);
    let only = DeleteOptions::new().if_version(persist::Version::new("\"etag\""));
    assert_eq!(store.delete(&key("k"), only).await.unwrap_err().kind(), ErrorKind::Conflict);
    assert_eq!((server.count(Kind::Metadata), server.bytes("k").is_some()), (3, true));
}

#[tokio::test]
async fn a_tier_is_not_set_over_a_change_of_metadata() {
    let (server, store) = setup().await;
    put(&store, PutMode::Overwrite).await.unwrap();
    server.script(Kind::Rewrite, [Fault::Pass, Fault::After(200, Box::new(Fault::Pass))]);
    let name = key("k");
    let (outcome, ()) = futures_util::future::join(store.set_tier(&name, persist::Tier::Cold), async {
        while server.count(Kind::Rewrite) < 1 {
            tokio::task::yield_now().await;
        }
        let mut state = server.state();
        let object = state.objects.get_mut("k").unwrap();
        object.metageneration += 1;
        object.resource.insert("metadata".into(), serde_json::json!({ "owner": "somebody" }));
    })
    .await;
    let error = outcome.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict, "{error}");
    assert_eq!(store.head(&name).await.unwrap().metadata["owner"], "somebody");
    store.set_tier(&name, persist::Tier::Cold).await.unwrap();
    assert_eq!(store.head(&name).await.unwrap().metadata["owner"], "somebody");
    server.clean();
}
