//! Uploads that end otherwise than by their last answer.

use std::time::Duration;

use futures_util::{StreamExt, stream};
use persist::{
    Body, DeleteOptions, Error, ErrorKind, GcsConfig, PutMode, PutOptions, SaveOptions, SnapshotAdapter,
    SnapshotAdapterExt, Version, adapters::gcs::GcsAdapter,
};

use crate::{
    strict::{Fault, Kind, Server},
    support::{config, data, key, open_with, ranges, setup, streamed},
};

const CHUNK: usize = 256 * 1024;

/// Saves a state of many chunks, whose last one meets `fault`, from memory or from a file; what was there is
/// gone before.
async fn save(
    server: &Server,
    store: &GcsAdapter,
    from_file: bool,
    mode: PutMode,
    fault: Option<Fault>,
) -> persist::Result<usize> {
    let folder = tempfile::tempdir().unwrap();
    let (path, state) = (folder.path().join("state"), data(12 * CHUNK, 1));
    std::fs::write(&path, &state).unwrap();
    server.forget_log();
    if let Some(fault) = fault {
        let before = save_chunks(server, store, &state).await;
        server.forget_log();
        server.script(Kind::Data, (1..before).map(|_| Fault::Pass).chain([fault]));
    }
    let options = SaveOptions::new().mode(mode);
    if from_file {
        store.upload_with(&path, "k", options).await?
    } else {
        store.save_with(state, "k", options).await?
    };
    Ok(server.count(Kind::Data))
}

/// How many requests the data of such a state take.
async fn save_chunks(server: &Server, store: &GcsAdapter, state: &bytes::Bytes) -> usize {
    store.save(state.clone(), "probe").await.unwrap();
    server.count(Kind::Data)
}

#[tokio::test]
async fn a_save_whose_last_chunk_is_in_doubt_is_not_made_again_over_a_newer_write() {
    for from_file in [false, true] {
        // It was stored, its answer is lost, a rival builds on it, and the session is forgotten.
        let (server, store) = setup().await;
        server.script(Kind::Probe, [Fault::Overtaken(410, "rival")]);
        let saved = save(&server, &store, from_file, PutMode::Overwrite, Some(Fault::Lost)).await;
        let error = saved.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Conflict, "{error}");
        assert!(error.to_string().contains("theirs stands"), "{error}");
        assert_eq!((server.count(Kind::Start), server.bytes("k").unwrap()), (1, b"rival".to_vec()));
        // It may still arrive: who saves again unconditionally, or to a new key, decides that for himself.
        for mode in [PutMode::Overwrite, PutMode::Create] {
            let (server, store) = setup().await;
            server.script(Kind::Probe, [Fault::Forget(404)]);
            let error = save(&server, &store, from_file, mode, Some(Fault::Reset)).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
            assert!(error.to_string().contains("save again"), "{error}");
            assert_eq!((server.count(Kind::Start), server.bytes("k")), (1, None));
        }
        // What is stored is a success.
        let (server, store) = setup().await;
        server.script(Kind::Probe, [Fault::Forget(404)]);
        save(&server, &store, from_file, PutMode::Overwrite, Some(Fault::Lost)).await.unwrap();
        assert_eq!(store.load("k").await.unwrap(), data(12 * CHUNK, 1));
        server.clean();
    }
}

#[tokio::test]
async fn who_may_not_read_begins_a_lost_upload_anew() {
    for mode in [PutMode::Overwrite, PutMode::Create] {
        let (server, store) = setup().await;
        let state = data(3 * CHUNK, 3);
        server.script(Kind::Metadata, [Fault::Status(403), Fault::Status(403)]);
        server.script(Kind::Data, [Fault::Forget(410)]);
        store.put(&key("k"), state.clone().into(), PutOptions::new().mode(mode)).await.unwrap();
        assert_eq!((server.count(Kind::Start), server.bytes("k").unwrap()), (2, state.to_vec()));
        server.clean();
    }
}

/// Two chunks and a byte, and then nothing for ever.
fn stalled() -> Body {
    let bytes = data(2 * CHUNK + 1, 2);
    Body::from_stream(stream::iter([Ok(bytes)]).chain(stream::pending()))
}

#[tokio::test]
async fn an_upload_that_is_lost_does_not_wait_for_its_source() {
    let half = |server: &Server| {
        let generation = server.state().plant("k", "half").to_string();
        let resource = serde_json::json!({ "name": "k", "size": "4", "generation": generation });
        Fault::Answer(200, vec![], resource.to_string())
    };
    let changed = || Fault::Answer(400, vec![], "Provided CRC32C does not match".into());
    for (before, fault, kind) in [
        (1, Some(Fault::Forget(410)), ErrorKind::Unavailable),
        (1, Some(changed()), ErrorKind::Corrupt),
        (0, None, ErrorKind::Corrupt),
        (1, None, ErrorKind::Corrupt),
    ] {
        let (server, store) = setup().await;
        let fault = fault.unwrap_or_else(|| half(&server));
        server.script(Kind::Data, (0..before).map(|_| Fault::Pass).chain([fault]));
        let name = key("k");
        let put = store.put(&name, stalled(), PutOptions::new());
        let ended =
            tokio::time::timeout(Duration::from_secs(20), put).await.expect("it waits for its source");
        assert_eq!(ended.unwrap_err().kind(), kind);
        assert_eq!(server.bytes("k"), None);
    }
}

#[tokio::test]
async fn a_save_that_is_dropped_where_no_runtime_is_cancels_its_upload() {
    let (server, store) = setup().await;
    let mut put = Box::pin(async move { store.put(&key("k"), stalled(), PutOptions::new()).await });
    while server.count(Kind::Data) < 1 {
        tokio::select! {
            _ = &mut put => panic!("an endless body cannot be stored"),
            () = tokio::time::sleep(Duration::from_millis(1)) => {}
        }
    }
    std::thread::spawn(move || drop(put)).join().unwrap();
    for _ in 0..5000 {
        if server.count(Kind::Cancel) == 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
    assert!(server.state().sessions.is_empty());
}

#[tokio::test]
async fn an_upload_that_begins_anew_says_the_same_of_its_object() {
    let server = Server::start().await;
    let kms = "projects/p/locations/eu/keyRings/r/cryptoKeys/k";
    let store = open_with(GcsConfig {
        kms_key: Some(kms.into()),
        project: Some("payer".into()),
        storage_class: Some("NEARLINE".into()),
        ..config(&server)
    })
    .await;
    let state = data(3 * CHUNK, 4);
    for replace in [false, true] {
        for body in [streamed(&state), Body::from(state.clone())] {
            server.state().objects.clear();
            server.forget_log();
            let (mode, condition) = if !replace {
                (PutMode::Create, 0)
            } else {
                let old = server.state().plant("k", "old");
                (PutMode::Replace(Version::new(old.to_string())), old)
            };
            let changed = Fault::Answer(400, vec![], "Provided CRC32C does not match".into());
            server.script(Kind::Data, [Fault::Forget(410), changed, Fault::Forget(404)]);
            let options = PutOptions::new().metadata("a", "b").content_type("text/plain").mode(mode);
            store.put(&key("k"), body, options).await.unwrap();
            assert_eq!(server.bytes("k").unwrap(), state);
            let starts = server.logged(Kind::Start);
            assert_eq!(starts.len(), 4);
            for start in &starts {
                assert_eq!(start.query("ifGenerationMatch"), Some(condition.to_string().as_str()));
                let (first, again) = (&starts[0], start);
                assert_eq!((&first.query, &first.body), (&again.query, &again.body));
                assert_eq!(again.header("x-upload-content-type"), Some("text/plain"));
            }
        }
    }
    server.clean();
}

#[tokio::test]
async fn an_upload_that_begins_anew_does_not_replace_what_came_between() {
    let (server, store) = setup().await;
    let state = data(3 * CHUNK, 5);
    for body in [streamed(&state), Body::from(state.clone())] {
        server.state().objects.clear();
        server.script(Kind::Data, [Fault::Overtaken(410, "rival")]);
        let error = store.put(&key("k"), body, PutOptions::new().create()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::AlreadyExists, "{error}");
        assert_eq!(server.bytes("k").unwrap(), b"rival");
    }
    server.clean();
}

#[tokio::test]
async fn what_forbids_a_chunk_is_asked_once_and_ends_the_upload() {
    for (status, kind) in [
        (400, ErrorKind::InvalidInput),
        (401, ErrorKind::Unauthenticated),
        (403, ErrorKind::AccessDenied),
        (307, ErrorKind::InvalidConfig),
    ] {
        for sent in [0, 1, 2] {
            let (server, store) = setup().await;
            let elsewhere = format!("{}/upload/storage/v1/b/elsewhere?upload_id=SECRET", server.url);
            let refused = Fault::Answer(status, vec![("location", elsewhere)], String::new());
            server.script(Kind::Data, (0..sent).map(|_| Fault::Pass).chain([refused]));
            let state = streamed(&data(3 * CHUNK, 6));
            let error = store.put(&key("k"), state, PutOptions::new()).await.unwrap_err();
            assert_eq!((error.kind(), error.retryable()), (kind, false), "{status}: {error}");
            let kinds: Vec<_> = server.log().iter().map(|request| request.kind).collect();
            let data = std::iter::repeat_n(Kind::Data, sent + 1);
            let expected: Vec<_> = [Kind::Start].into_iter().chain(data).chain([Kind::Cancel]).collect();
            assert_eq!((kinds, server.bytes("k")), (expected, None), "{status} {sent}");
            server.clean();
        }
    }
}

/// 308 is the status of a redirect as well.
#[tokio::test]
async fn progress_is_no_redirect_whatever_else_it_says() {
    let (server, store) = setup().await;
    let state = data(3 * CHUNK, 7);
    let elsewhere = || Fault::Headers(vec![("location", format!("{}/elsewhere", server.url))]);
    server.script(Kind::Data, [elsewhere(), Fault::Lost]);
    server.script(Kind::Probe, [elsewhere()]);
    store.put(&key("k"), streamed(&state), PutOptions::new()).await.unwrap();
    assert_eq!(
        ranges(&server),
        ["bytes 0-262143/*", "bytes 262144-524287/*", "bytes */*", "bytes 524288-786431/786432"]
    );
    assert_eq!(server.bytes("k").unwrap(), state);
    server.clean();
}

#[tokio::test]
async fn an_object_that_is_there_before_its_end_was_sent_is_removed_when_asking_shows_it_as_well() {
    let (server, store) = setup().await;
    let generation = server.state().plant("k", "half").to_string();
    let half = serde_json::json!({ "name": "k", "size": "4", "generation": generation });
    server.script(Kind::Data, [Fault::Pass, Fault::Status(503)]);
    server.script(Kind::Probe, [Fault::Answer(200, vec![], half.to_string())]);
    let error = store.put(&key("k"), streamed(&data(4 * CHUNK, 8)), PutOptions::new()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
    assert_eq!((server.count(Kind::Data), server.bytes("k")), (2, None));
    assert_eq!(server.logged(Kind::Delete)[0].query("ifGenerationMatch"), Some(generation.as_str()));
}

#[tokio::test]
async fn successes_have_several_statuses() {
    let (server, store) = setup().await;
    let state = data(2 * CHUNK, 9);
    server.state().plant("k", state.clone());
    let stored = server.state().objects["k"].describe("k", true).to_string();
    server.script(Kind::Data, [Fault::Pass, Fault::Answer(201, vec![], stored)]);
    let put = store.put(&key("k"), streamed(&state), PutOptions::new()).await.unwrap();
    assert_eq!((put, server.count(Kind::Data)), (store.head(&key("k")).await.unwrap(), 2));
    // 204 is Google's, 200 that of others.
    server.script(Kind::Delete, [Fault::Answer(200, vec![], String::new())]);
    store.delete(&key("k"), DeleteOptions::new()).await.unwrap();
    store.delete(&key("k"), DeleteOptions::new()).await.unwrap();
    let statuses: Vec<_> = server.logged(Kind::Delete).iter().map(|request| request.status).collect();
    assert_eq!(statuses, [200, 204]);
}

#[tokio::test]
async fn a_save_that_fails_does_not_wait_long_for_the_end_of_its_session() {
    let server = Server::start().await;
    let patient = GcsConfig { timeout: Some(Duration::from_secs(3600)), ..config(&server) };
    let store = open_with(patient).await;
    server.script(Kind::Cancel, [Fault::Hang]);
    let broken = stream::iter([Ok(data(2 * CHUNK, 10)), Err(Error::new(ErrorKind::Io, "the disk is gone"))]);
    let name = key("k");
    let put = store.put(&name, Body::from_stream(broken), PutOptions::new());
    let silence = async {
        while server.count(Kind::Cancel) < 1 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        tokio::time::pause();
        tokio::time::advance(Duration::from_secs(6)).await;
        tokio::time::resume();
    };
    let both = futures_util::future::join(put, silence);
    let (outcome, ()) = tokio::time::timeout(Duration::from_secs(40), both).await.expect("it waits");
    assert_eq!(outcome.unwrap_err().to_string(), "the disk is gone");
    assert_eq!((server.count(Kind::Cancel), server.bytes("k")), (1, None));
}

/// Whoever removes a state must be able to rely on that.
#[tokio::test]
async fn a_page_is_no_deletion() {
    let (server, store) = setup().await;
    store.save("state", "k").await.unwrap();
    let page = || Fault::Answer(200, vec![("content-type", "text/html".into())], "<html>log in".into());
    server.script(Kind::Delete, (0..20).map(|_| page()));
    let error = store.delete(&key("k"), DeleteOptions::new()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    assert!(error.to_string().contains("not the service's"), "{error}");
    assert!(server.bytes("k").is_some());
    // It may have been removed: what is gone then is a success.
    let (server, store) = setup().await;
    server.script(Kind::Delete, [page()]);
    store.delete(&key("k"), DeleteOptions::new()).await.unwrap();
}
