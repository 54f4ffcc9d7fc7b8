//! Copies inside the service.

use std::time::Duration;

use persist::{
    Body, ErrorKind, GcsConfig, PutMode, PutOptions, RetryConfig, SnapshotAdapter, SnapshotAdapterExt, Tier,
    Version, adapters::gcs::GcsAdapter,
};

use serde_json::json;

use crate::{
    strict::{BUCKET, Fault, Kind, Rules, Server},
    support::{config, data, key, open, open_with, retry},
};

async fn setup() -> (Server, GcsAdapter) {
    let server = Server::start().await;
    let store = open(&server).await;
    let options = PutOptions::new().metadata("a", "b").tag("t", "u").content_type("application/gzip");
    store.put(&key("dir/from"), data(100_000, 1).into(), options).await.unwrap();
    server.forget_log();
    (server, store)
}

async fn copy(store: &GcsAdapter, mode: PutMode) -> persist::Result<persist::ObjectMeta> {
    store.copy(&key("dir/from"), store, &key("dir/to"), mode).await
}

#[tokio::test]
async fn no_byte_comes_here_and_everything_is_kept() {
    let (server, store) = setup().await;
    let copied = copy(&store, PutMode::Overwrite).await.unwrap();
    let kinds: Vec<_> = server.log().iter().map(|request| request.kind).collect();
    assert_eq!(kinds, [Kind::Metadata, Kind::Rewrite, Kind::Rewrite]);
    assert!(
        server.logged(Kind::Rewrite)[0].path.ends_with("/o/dir%2Ffrom/rewriteTo/b/strict-bucket/o/dir%2Fto")
    );
    assert_eq!(server.bytes("dir/to").unwrap(), data(100_000, 1));
    let (from, to) = (store.head(&key("dir/from")).await.unwrap(), store.head(&key("dir/to")).await.unwrap());
    assert_eq!(copied, to);
    assert_eq!((from.size, from.metadata, from.tags), (to.size, to.metadata, to.tags));
    assert_eq!(from.content_type, to.content_type);
    server.clean();
}

#[tokio::test]
async fn the_target_has_conditions_and_the_source_one_version() {
    let (server, store) = setup().await;
    let first = copy(&store, PutMode::Create).await.unwrap();
    assert_eq!(copy(&store, PutMode::Create).await.unwrap_err().kind(), ErrorKind::AlreadyExists);
    let second = copy(&store, PutMode::Replace(first.version.clone())).await.unwrap();
    let error = copy(&store, PutMode::Replace(first.version)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
    assert_eq!(store.head(&key("dir/to")).await.unwrap(), second);
    // Another writer comes between the two steps.
    server.script(Kind::Metadata, [Fault::Rival("newer")]);
    let error = copy(&store, PutMode::Overwrite).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
    assert!(error.to_string().contains("while it was copied"), "{error}");
    assert_eq!(store.head(&key("dir/to")).await.unwrap(), second);
    let missing = store.copy(&key("no"), &store, &key("dir/to"), PutMode::Overwrite).await.unwrap_err();
    assert_eq!(missing.kind(), ErrorKind::NotFound);
    assert!(missing.to_string().contains("\"no\""), "{missing}");
    server.clean();
}

#[tokio::test]
async fn a_lost_answer_is_a_success_and_a_newer_write_stands() {
    for mode in [PutMode::Overwrite, PutMode::Create] {
        for fault in [Fault::Lost, Fault::LostTo(503), Fault::Cut(9), Fault::Reset, Fault::Status(429)] {
            let (server, store) = setup().await;
            server.script(Kind::Rewrite, [Fault::Pass, fault.clone()]);
            let copied = copy(&store, mode.clone()).await.unwrap();
            assert_eq!(copied, store.head(&key("dir/to")).await.unwrap(), "{fault:?}");
            assert_eq!(server.bytes("dir/to").unwrap(), data(100_000, 1));
            server.clean();
        }
    }
    let (server, store) = setup().await;
    server.state().plant("dir/to", "newer");
    server.script(Kind::Rewrite, [Fault::Reset]);
    assert_eq!(copy(&store, PutMode::Overwrite).await.unwrap_err().kind(), ErrorKind::Conflict);
    assert_eq!(server.bytes("dir/to").unwrap(), b"newer");
    // What is old enough was there before.
    server.state().age("dir/to", Duration::from_secs(3600));
    server.script(Kind::Rewrite, [Fault::Reset]);
    copy(&store, PutMode::Overwrite).await.unwrap();
}

#[tokio::test]
async fn an_answer_that_says_nothing_is_a_lost_one() {
    for said in [r#"{"done":true}"#, r#"{"done":false}"#] {
        let (server, store) = setup().await;
        server.state().plant("dir/to", "newer");
        server.script(Kind::Rewrite, [Fault::Pass, Fault::Answer(200, vec![], said.into())]);
        assert_eq!(copy(&store, PutMode::Overwrite).await.unwrap_err().kind(), ErrorKind::Conflict, "{said}");
        assert_eq!(server.bytes("dir/to").unwrap(), b"newer");
    }
}

/// While an attempt of unknown outcome is open, a source that is gone says nothing about the target.
#[tokio::test]
async fn a_source_that_goes_after_a_lost_answer_leaves_the_outcome_open() {
    for mode in [PutMode::Overwrite, PutMode::Create] {
        let (server, store) = setup().await;
        server.script(Kind::Rewrite, [Fault::Pass, Fault::Status(504), Fault::Status(404)]);
        let error = copy(&store, mode.clone()).await.unwrap_err();
        assert_eq!((error.kind(), server.count(Kind::Rewrite)), (ErrorKind::Unavailable, 3), "{error}");
        let said = ["an attempt may still take effect", "while it was copied"];
        assert!(said.iter().all(|said| error.to_string().contains(said)), "{error}");
        assert_eq!(server.bytes("dir/to"), None);
        // And it may be there already.
        server.script(Kind::Rewrite, [Fault::Pass, Fault::LostTo(504), Fault::Status(404)]);
        if mode == PutMode::Overwrite {
            // Not when it was looked for before the next attempt.
            server.script(Kind::Metadata, [Fault::Pass, Fault::Status(404)]);
        }
        let copied = copy(&store, mode).await.unwrap();
        assert_eq!(copied, store.head(&key("dir/to")).await.unwrap());
        // Without a lost answer nothing is open.
        server.script(Kind::Rewrite, [Fault::Pass, Fault::Status(404)]);
        assert_eq!(copy(&store, PutMode::Overwrite).await.unwrap_err().kind(), ErrorKind::Conflict);
        server.clean();
    }
}

#[tokio::test]
async fn a_step_that_fails_is_repeated_where_it_was() {
    let (server, store) = setup().await;
    let replace = PutMode::Replace(copy(&store, PutMode::Overwrite).await.unwrap().version);
    for (mode, faults, begins, steps) in [
        // Any fault under a condition, and what was not acted on: the same step once more.
        (replace, vec![Fault::Status(503), Fault::Reset, Fault::Status(503)], 1, 5),
        (PutMode::Overwrite, vec![Fault::Status(429), Fault::Status(429)], 1, 4),
        // An unconditional copy gets a condition after a lost answer, and with it a new token; then it stays
        // with that.
        (PutMode::Overwrite, vec![Fault::Reset, Fault::Pass, Fault::Reset, Fault::Status(503)], 2, 6),
    ] {
        server.forget_log();
        server.script(Kind::Rewrite, [Fault::Pass].into_iter().chain(faults.clone()));
        copy(&store, mode).await.unwrap();
        let rewrites = server.logged(Kind::Rewrite);
        let anew = rewrites.iter().filter(|request| request.query("rewriteToken").is_none()).count();
        assert_eq!((anew, rewrites.len()), (begins, steps), "{faults:?}");
        assert_eq!(server.bytes("dir/to").unwrap(), data(100_000, 1));
    }
    server.clean();
}

#[tokio::test]
async fn a_tier_is_set_with_the_token_of_the_step_before() {
    let (server, store) = setup().await;
    let faults = [Fault::Status(503), Fault::Pass, Fault::Reset, Fault::Status(429), Fault::Cut(9)];
    server.script(Kind::Rewrite, faults);
    store.set_tier(&key("dir/from"), Tier::Cold).await.unwrap();
    let rewrites = server.logged(Kind::Rewrite);
    let tokens: Vec<_> = rewrites.iter().map(|request| request.query("rewriteToken").is_some()).collect();
    // The last one finds its own work done.
    assert_eq!(tokens, [false, false, true, true, true, true]);
    assert_eq!(store.head(&key("dir/from")).await.unwrap().tier, Some(Tier::Cold));
    assert_eq!(server.bytes("dir/from").unwrap(), data(100_000, 1));
    server.clean();
}

#[tokio::test]
async fn a_step_may_take_the_service_longer_than_other_requests() {
    let server = Server::start().await;
    let quick = GcsConfig { timeout: Some(Duration::from_secs(2)), ..config(&server) };
    // One attempt: a step that is given up is an error.
    let store = GcsAdapter::open(BUCKET, &quick, &RetryConfig::none()).await.unwrap();
    store.save("state", "from").await.unwrap();
    let slow = || Fault::After(2500, Box::new(Fault::Pass));
    server.script(Kind::Rewrite, [slow(), Fault::Pass, slow()]);
    store.copy(&key("from"), &store, &key("dir/to"), PutMode::Overwrite).await.unwrap();
    store.set_tier(&key("dir/to"), Tier::Cool).await.unwrap();
    assert_eq!(server.count(Kind::Rewrite), 4);
}

#[tokio::test]
async fn the_copy_is_encrypted_and_classed_as_new_snapshots_are() {
    let server = Server::start().await;
    let csek = "U1NTU1NTU1NTU1NTU1NTU1NTU1NTU1NTU1NTU1NTU1M=";
    let kms = "projects/p/locations/eu/keyRings/r/cryptoKeys/k";
    for secret in [
        GcsConfig { encryption_key: Some(csek.into()), ..config(&server) },
        GcsConfig { kms_key: Some(kms.into()), storage_class: Some("COLDLINE".into()), ..config(&server) },
    ] {
        let store = open_with(secret).await;
        store.save("state", "from").await.unwrap();
        let copied = store.copy(&key("from"), &store, &key("dir/to"), PutMode::Overwrite).await.unwrap();
        assert!(copied.encryption.is_some());
        assert_eq!(store.load("dir/to").await.unwrap(), "state");
        if copied.encryption.unwrap().starts_with(kms) {
            assert_eq!(copied.tier, Some(Tier::Cold));
        }
    }
    server.clean();
}

/// What another tool stored without it would be served from caches under its new name, too.
#[tokio::test]
async fn a_copy_is_kept_out_of_caches() {
    let (server, store) = setup().await;
    for (source, target) in [(None, "private, max-age=0"), (Some("no-store"), "no-store")] {
        {
            let mut state = server.state();
            let resource = &mut state.objects.get_mut("dir/from").unwrap().resource;
            resource.remove("cacheControl");
            resource.extend(source.map(|value| ("cacheControl".into(), value.into())));
        }
        copy(&store, PutMode::Overwrite).await.unwrap();
        assert_eq!(server.state().objects["dir/to"].resource["cacheControl"], target);
    }
    server.clean();
}

#[tokio::test]
async fn other_settings_are_refused() {
    let (server, store) = setup().await;
    let other = GcsConfig { project: Some("payer".into()), ..config(&server) };
    let other = GcsAdapter::open(BUCKET, &other, &retry()).await.unwrap();
    assert!(store.can_copy_to(&store.clone()) && !store.can_copy_to(&other));
    let error = store.copy(&key("dir/from"), &other, &key("dir/to"), PutMode::Overwrite).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    let error =
        store.copy(&key("dir/from"), &store, &key("dir/to"), PutMode::Replace(Version::new("x"))).await;
    assert_eq!(error.unwrap_err().kind(), ErrorKind::Conflict);
    store.put(&key("k"), Body::from("x"), PutOptions::new()).await.unwrap();
    let reserved = key(".well-known/acme-challenge/x");
    let error = store.copy(&key("k"), &store, &reserved, PutMode::Create).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
}

/// A server that says for ever that there is more to do, and nothing new of it.
#[tokio::test]
async fn a_rewrite_that_does_not_go_on_is_given_up() {
    let (server, store) = setup().await;
    let step = |token: &str, total: &str| {
        let said = json!({ "done": false, "rewriteToken": token, "totalBytesRewritten": total });
        Fault::Answer(200, vec![], said.to_string())
    };
    for tier in [false, true] {
        server.forget_log();
        // What has another token, or more bytes, goes on.
        let first = [step("x", "1"), step("y", "1"), step("y", "2")];
        server.script(Kind::Rewrite, first.into_iter().chain((0..9).map(|_| step("y", "2"))));
        let outcome = async {
            if tier {
                store.set_tier(&key("dir/from"), Tier::Cold).await
            } else {
                copy(&store, PutMode::Overwrite).await.map(drop)
            }
        };
        let error =
            tokio::time::timeout(Duration::from_secs(20), outcome).await.expect("for ever").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
        // Six attempts at the one that does not.
        assert_eq!(server.count(Kind::Rewrite), 3 + 6, "{error}");
        server.script(Kind::Rewrite, [Fault::Pass, Fault::Pass]);
        server.state().faults = Default::default();
    }
}

/// All operations of a client share a budget of a hundred retries: what brought something gives back what it
/// cost.
#[tokio::test]
async fn copies_that_needed_retries_do_not_use_up_those_of_others() {
    let (server, store) = setup().await;
    for _ in 0..30 {
        server.script(Kind::Rewrite, [Fault::Pass].into_iter().chain((0..5).map(|_| Fault::Status(429))));
        copy(&store, PutMode::Overwrite).await.unwrap();
    }
    server.clean();
}

#[tokio::test]
async fn a_copy_that_is_there_is_a_success_whatever_becomes_of_its_source() {
    for mode in [PutMode::Create, PutMode::Overwrite] {
        for removed in [false, true] {
            let (server, store) = setup().await;
            let late = Fault::After(200, Box::new(Fault::Pass));
            server.script(Kind::Rewrite, [Fault::Pass, Fault::Lost, late]);
            let (copied, ()) = futures_util::future::join(copy(&store, mode.clone()), async {
                while server.count(Kind::Rewrite) < 2 {
                    tokio::task::yield_now().await;
                }
                if removed {
                    let _ = server.state().objects.remove("dir/from");
                } else {
                    let _ = server.state().plant("dir/from", "newer");
                }
            })
            .await;
            assert_eq!(copied.unwrap(), store.head(&key("dir/to")).await.unwrap());
            assert_eq!(server.bytes("dir/to").unwrap(), data(100_000, 1));
            server.clean();
        }
    }
}

#[tokio::test]
async fn a_copy_that_is_not_what_was_asked_for_is_removed() {
    let kms = "projects/p/locations/eu/keyRings/r/cryptoKeys/k";
    let server = Server::start().await;
    let plain = open(&server).await;
    let keyed = open_with(GcsConfig { kms_key: Some(kms.into()), ..config(&server) }).await;
    let bytes = data(100_000, 2);
    server.state().plant("dir/from", bytes.clone());
    let sum = crate::strict::checksum(&bytes);
    for (store, size, sum, kind) in [
        (&plain, "99999", sum.as_str(), ErrorKind::Corrupt),
        (&plain, "100000", "AAAAAA==", ErrorKind::Corrupt),
        (&keyed, "100000", sum.as_str(), ErrorKind::Unsupported),
    ] {
        server.forget_log();
        let generation = server.state().plant("dir/to", "bad").to_string();
        let stored = json!({ "name": "dir/to", "size": size, "generation": generation, "crc32c": sum });
        let done = json!({ "done": true, "resource": stored }).to_string();
        server.script(Kind::Rewrite, [Fault::Pass, Fault::Answer(200, vec![], done)]);
        let error = copy(store, PutMode::Overwrite).await.unwrap_err();
        assert_eq!(error.kind(), kind, "{error}");
        assert!(
            error.to_string().contains("is removed again; a snapshot that it replaced is gone"),
            "{error}"
        );
        assert_eq!(server.bytes("dir/to"), None);
        let delete = server.logged(Kind::Delete).remove(0);
        assert_eq!(delete.query("ifGenerationMatch"), Some(generation.as_str()), "nobody else's may go");
    }
    server.clean();
}

#[tokio::test]
async fn what_is_done_in_one_step_is_one_request() {
    let server = Server::with(Rules { one_step: true, ..Rules::default() }).await;
    let store = open(&server).await;
    store.save("state", "from").await.unwrap();
    for faults in [vec![], vec![Fault::Lost]] {
        server.forget_log();
        server.script(Kind::Rewrite, faults.clone());
        let copy = store.copy(&key("from"), &store, &key("to"), PutMode::Overwrite).await.unwrap();
        assert_eq!(copy.version.as_str(), server.state().objects["to"].generation.to_string(), "{faults:?}");
        // A lost answer to a condition is one more request, and a look.
        server.script(Kind::Rewrite, faults.clone());
        let tier = if faults.is_empty() { Tier::Cold } else { Tier::Cool };
        store.set_tier(&key("to"), tier).await.unwrap();
        assert_eq!(store.head(&key("to")).await.unwrap().tier, Some(tier));
        assert_eq!(server.count(Kind::Rewrite), 2 + faults.len(), "{faults:?}");
        server.clean();
    }
}
