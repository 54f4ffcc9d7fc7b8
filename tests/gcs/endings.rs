//! Uploads that end otherwise than by their last answer.

use std::time::Duration;

use futures_util::{StreamExt, stream};
use persist::{
    Body, ErrorKind, PutMode, PutOptions, SaveOptions, SnapshotAdapter, SnapshotAdapterExt,
    adapters::gcs::GcsAdapter,
};

use crate::{
    strict::{Fault, Kind, Server},
    support::{data, key, open},
};

const CHUNK: usize = 256 * 1024;

async fn setup() -> (Server, GcsAdapter) {
    let server = Server::start().await;
    let store = open(&server).await;
    (server, store)
}

/// Saves a state of many chunks, whose last one meets `fault`, from memory or from a file; what was there is gone before.
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
    match from_file {
        true => store.upload_with(&path, "k", options).await?,
        false => store.save_with(state, "k", options).await?,
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
