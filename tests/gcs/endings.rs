//! Uploads that end otherwise than by their last answer.

use persist::{ErrorKind, PutMode, SaveOptions, SnapshotAdapterExt, adapters::gcs::GcsAdapter};

use crate::{
    strict::{Fault, Kind, Server},
    support::{data, open},
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
