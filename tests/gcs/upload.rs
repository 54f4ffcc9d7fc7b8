//! Uploads: what goes over the wire, and what happens when it does not arrive.

use std::time::Duration;

use futures_util::{StreamExt, TryStreamExt, stream};
use persist::{
    Body, Error, ErrorKind, GcsConfig, GetOptions, ListEntry, ListOptions, PutMode, PutOptions, SaveOptions,
    SnapshotAdapter, SnapshotAdapterExt, Version, adapters::gcs::GcsAdapter,
};
use serde_json::{Value, json};

use crate::{
    strict::{BUCKET, Fault, Kind, Server},
    support::{config, data, key, open_with, ranges, retry, setup, streamed},
    wire::meanwhile,
};

const CHUNK: usize = 256 * 1024;

#[tokio::test]
async fn a_partial_answer_has_all_that_a_whole_one_has() {
    let (server, plain) = setup().await;
    let kms = GcsConfig {
        kms_key: Some("projects/p/locations/eu/keyRings/r/cryptoKeys/k".into()),
        ..config(&server)
    };
    let supplied = Some("U1NTU1NTU1NTU1NTU1NTU1NTU1NTU1NTU1NTU1NTU1M=".into());
    let supplied = GcsConfig { encryption_key: supplied, ..config(&server) };
    for (i, store) in [plain, open_with(kms).await, open_with(supplied).await].into_iter().enumerate() {
        let (name, options) = (format!("k{i}"), PutOptions::new().content_type("text/plain"));
        let options = options.metadata("a", "b").tag("t", "u").tier(persist::Tier::Cold);
        let put = store.put(&key(&name), "state".into(), options).await.unwrap();
        assert_eq!((put.encryption.is_some(), put.metadata.len()), (i > 0, 1));
        assert_eq!(store.head(&key(&name)).await.unwrap(), put);
        let rows: Vec<_> = store.list(ListOptions::new().prefix(&name)).try_collect().await.unwrap();
        assert_eq!(rows, [ListEntry::Object(put)]);
    }
    server.clean();
}

#[tokio::test]
async fn a_small_save_is_one_request() {
    let (server, store) = setup().await;
    let state = data(8 * 1024, 1);
    store.save(state.clone(), "agents/42.gz").await.unwrap();
    let log = server.log();
    assert_eq!(log.iter().map(|request| request.kind).collect::<Vec<_>>(), [Kind::Multipart]);
    assert_eq!(store.load("agents/42.gz").await.unwrap(), state);
    server.clean();
}

#[tokio::test]
async fn the_resource_says_what_is_stored_and_never_an_encoding() {
    let (server, store) = setup().await;
    let options = PutOptions::new()
        .content_type("application/gzip")
        .metadata("run", "7")
        .tag("team/a b", "x=y")
        .tier(persist::Tier::Cool);
    for (kind, body) in
        [(Kind::Multipart, Body::from("state")), (Kind::Start, streamed(&data(CHUNK + 1, 13)))]
    {
        let put = store.put(&key("k"), body, options.clone()).await.unwrap();
        assert_eq!(put.metadata, options.metadata, "the adapter's own entries are not the caller's");
        assert_eq!((&put.tags, put.tier), (&options.tags, Some(persist::Tier::Cool)));
        let request = server.logged(kind).remove(0);
        let body = String::from_utf8(request.body.to_vec()).unwrap();
        let json = if kind == Kind::Start { &body } else { body.split("\r\n").nth(3).unwrap() };
        let resource: Value = serde_json::from_str(json).unwrap();
        assert_eq!(resource["contentType"], "application/gzip");
        assert_eq!(resource["storageClass"], "NEARLINE");
        assert_eq!(resource["cacheControl"], "private, max-age=0");
        // That of a stream is known at its end.
        let sum = (kind == Kind::Multipart).then(|| crate::strict::checksum(b"state"));
        assert_eq!(resource.get("crc32c").map(|sum| sum.as_str().unwrap()), sum.as_deref());
        assert_eq!(resource["metadata"]["run"], "7");
        assert_eq!(resource["metadata"]["persist-tag-team%2Fa%20b"], "x=y");
        assert!(resource["metadata"]["persist-put-id"].as_str().unwrap().len() >= 26);
        assert!(resource.get("contentEncoding").is_none() && request.header("content-encoding").is_none());
        assert!(request.header("accept-encoding").is_none(), "nothing may ask for compressed answers");
    }
    server.clean();
}

#[tokio::test]
async fn one_chunk_takes_one_request_and_a_byte_more_a_session() {
    let (server, store) = setup().await;
    store.put(&key("a"), streamed(&data(CHUNK, 1)), PutOptions::new()).await.unwrap();
    assert_eq!((server.count(Kind::Multipart), server.count(Kind::Start)), (1, 0));
    let bytes = data(CHUNK + 1, 2);
    store.put(&key("b"), streamed(&bytes), PutOptions::new()).await.unwrap();
    assert_eq!((server.count(Kind::Multipart), server.count(Kind::Start)), (1, 1));
    assert_eq!(ranges(&server), ["bytes 0-262143/*", "bytes 262144-262144/262145"]);
    let last = server.logged(Kind::Data).remove(1);
    assert_eq!(last.header("x-goog-hash").unwrap(), format!("crc32c={}", crate::strict::checksum(&bytes)));
    assert_eq!(server.bytes("b").unwrap(), bytes);
    server.clean();
}

#[tokio::test]
async fn after_every_failure_it_asks_how_much_arrived() {
    let (server, store) = setup().await;
    let bytes = data(3 * CHUNK, 3);
    server.script(Kind::Data, [Fault::Status(503), Fault::Lost, Fault::Reset, Fault::Pass]);
    store.put(&key("k"), streamed(&bytes), PutOptions::new()).await.unwrap();
    assert_eq!(
        ranges(&server),
        [
            "bytes 0-262143/*",
            "bytes */*",
            "bytes 0-262143/*",
            "bytes */*", // all of it: the answer alone was lost
            "bytes 262144-524287/*",
            "bytes */*",
            "bytes 262144-524287/*",
            "bytes 524288-786431/786432",
        ]
    );
    assert_eq!(server.bytes("k").unwrap(), bytes);
    server.clean();
}

#[tokio::test]
async fn what_was_partly_taken_goes_on_behind_it() {
    let server = Server::start().await;
    let mut config = config(&server);
    config.chunk_size = Some(4 * CHUNK as u64);
    let store = GcsAdapter::open(BUCKET, &config, &retry()).await.unwrap();
    let bytes = data(5 * CHUNK, 4);
    server.script(Kind::Data, [Fault::Persist(2 * CHUNK + 100, None), Fault::Persist(CHUNK, Some(0))]);
    store.put(&key("k"), streamed(&bytes), PutOptions::new()).await.unwrap();
    assert_eq!(
        ranges(&server),
        [
            "bytes 0-1048575/*",
            "bytes 524288-1048575/*",
            "bytes */*",
            "bytes 786432-1048575/*",
            "bytes 1048576-1310719/1310720",
        ]
    );
    assert_eq!(server.bytes("k").unwrap(), bytes);
    server.clean();
}

#[tokio::test]
async fn acknowledged_bytes_between_quanta_are_sent_again_so_that_chunks_stay_whole() {
    let server = Server::start().await;
    let mut config = config(&server);
    config.chunk_size = Some(2 * CHUNK as u64);
    let store = GcsAdapter::open(BUCKET, &config, &retry()).await.unwrap();
    let bytes = data(3 * CHUNK, 5);
    // 300,000 bytes are there, says the answer; the strict server refuses chunks that are no multiple of 256 KiB.
    server.script(Kind::Data, [Fault::Answer(308, vec![("range", "bytes=0-299999".into())], String::new())]);
    let outcome = store.put(&key("k"), streamed(&bytes), PutOptions::new()).await;
    // The server had none of it, which the next answer shows.
    assert_eq!(ranges(&server)[..2], ["bytes 0-524287/*", "bytes 262144-524287/*"]);
    outcome.unwrap();
    assert_eq!(server.bytes("k").unwrap(), bytes);
    server.clean();
}

#[tokio::test]
async fn an_answer_without_a_range_means_nothing_arrived() {
    let (server, store) = setup().await;
    let bytes = data(2 * CHUNK, 6);
    server.script(Kind::Data, [Fault::Persist(0, None)]);
    store.put(&key("k"), streamed(&bytes), PutOptions::new()).await.unwrap();
    assert_eq!(ranges(&server), ["bytes 0-262143/*", "bytes 0-262143/*", "bytes 262144-524287/524288"]);
    assert_eq!(server.bytes("k").unwrap(), bytes);
}

#[tokio::test]
async fn a_lost_answer_to_the_last_chunk_is_a_success() {
    for fault in [Fault::Lost, Fault::LostTo(503), Fault::LostTo(408), Fault::Cut(20)] {
        let (server, store) = setup().await;
        let bytes = data(2 * CHUNK, 7);
        server.script(Kind::Data, [Fault::Pass, fault.clone()]);
        let put = store.put(&key("k"), streamed(&bytes), PutOptions::new().create()).await.unwrap();
        assert_eq!(server.count(Kind::Probe), 1, "{fault:?}");
        assert_eq!(put, store.head(&key("k")).await.unwrap());
    }
}

#[tokio::test]
async fn all_bytes_and_no_object_ask_for_the_end_alone() {
    let (server, store) = setup().await;
    let bytes = data(2 * CHUNK, 8);
    // Everything is kept, but the upload is not ended.
    server.script(Kind::Data, [Fault::Pass, Fault::Persist(CHUNK, None)]);
    server.state().faults.keep_open = true;
    store.put(&key("k"), streamed(&bytes), PutOptions::new()).await.unwrap();
    assert_eq!(ranges(&server).last().unwrap(), "bytes */524288");
    let sum = format!("crc32c={}", crate::strict::checksum(&bytes));
    assert_eq!(server.logged(Kind::Data).pop().unwrap().header("x-goog-hash"), Some(sum.as_str()));
    assert_eq!(server.bytes("k").unwrap(), bytes);
    server.clean();
}

#[tokio::test]
async fn a_service_that_loses_or_invents_bytes_is_not_believed() {
    for (answers, word) in [
        // Bytes of an earlier chunk, which are gone here.
        (
            vec![Fault::Pass, Fault::Answer(308, vec![("range", "bytes=0-99".into())], String::new())],
            "100 bytes",
        ),
        (vec![Fault::Answer(308, vec![("range", "bytes=0-999999".into())], String::new())], "1000000 bytes"),
    ] {
        let (server, store) = setup().await;
        server.script(Kind::Data, answers);
        let error = store.put(&key("k"), streamed(&data(3 * CHUNK, 9)), PutOptions::new()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt);
        assert!(error.to_string().contains(word), "{error}");
        assert_eq!(server.count(Kind::Cancel), 1);
        assert_eq!(server.bytes("k"), None);
    }
}

#[tokio::test]
async fn an_upload_that_ends_in_its_middle_is_removed() {
    let (server, store) = setup().await;
    let generation = server.state().plant("k", "half");
    let half = json!({ "name": "k", "size": "4", "generation": generation.to_string() });
    server.script(Kind::Data, [Fault::Answer(200, vec![], half.to_string())]);
    let error = store.put(&key("k"), streamed(&data(3 * CHUNK, 10)), PutOptions::new()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    assert_eq!(server.bytes("k"), None, "what is cut short must not stay");
}

#[tokio::test]
async fn a_lost_session_begins_anew_from_memory() {
    for status in [404, 410] {
        let (server, store) = setup().await;
        let bytes = data(3 * CHUNK, 11);
        server.script(Kind::Data, [Fault::Persist(CHUNK, Some(503)), Fault::Forget(status)]);
        store.put(&key("k"), Body::from(bytes.clone()), PutOptions::new()).await.unwrap();
        assert_eq!(server.count(Kind::Start), 2);
        assert_eq!(server.bytes("k").unwrap(), bytes);
        server.clean();
    }
}

#[tokio::test]
async fn a_lost_session_of_a_stream_is_a_clear_error() {
    let (server, store) = setup().await;
    server.script(Kind::Data, [Fault::Pass, Fault::Forget(410)]);
    let error = store.put(&key("k"), streamed(&data(3 * CHUNK, 12)), PutOptions::new()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.to_string().contains("cannot be read twice"), "{error}");
    assert_eq!(server.bytes("k"), None);
}

#[tokio::test]
async fn a_lost_session_of_a_file_or_a_state_begins_once_more() {
    let folder = tempfile::tempdir().unwrap();
    let (path, state) = (folder.path().join("state"), data(12 * CHUNK, 28));
    std::fs::write(&path, &state).unwrap();
    for fault in [Fault::Forget(410), Fault::Answer(400, vec![], "Provided CRC32C does not match".into())] {
        let (server, store) = setup().await;
        server.script(Kind::Data, [Fault::Pass, fault.clone()]);
        store.upload(&path, "file").await.unwrap();
        assert_eq!(server.count(Kind::Start), 2, "{fault:?}");
        assert!(store.load("file").await.unwrap() == state);
        server.script(Kind::Data, [Fault::Pass, fault.clone()]);
        store.save(state.clone(), "state").await.unwrap();
        assert_eq!(server.count(Kind::Start), 4, "{fault:?}");
        assert!(store.load("state").await.unwrap() == state);
        // Once, and not for ever.
        server.script(Kind::Data, [Fault::Pass, fault.clone(), Fault::Pass, fault]);
        store.upload(&path, "never").await.unwrap_err();
        assert_eq!((server.count(Kind::Start), server.bytes("never")), (6, None));
        server.clean();
    }
}

#[tokio::test]
async fn a_session_lost_in_the_first_chunk_begins_anew_even_for_a_stream() {
    let (server, store) = setup().await;
    let bytes = data(3 * CHUNK, 13);
    server.script(Kind::Data, [Fault::Forget(404)]);
    store.put(&key("k"), streamed(&bytes), PutOptions::new()).await.unwrap();
    assert_eq!(server.count(Kind::Start), 2);
    assert_eq!(server.bytes("k").unwrap(), bytes);
    server.clean();
}

#[tokio::test]
async fn a_session_that_is_gone_because_the_object_is_there_is_a_success() {
    let (server, store) = setup().await;
    let bytes = data(2 * CHUNK, 14);
    server.script(Kind::Data, [Fault::Pass, Fault::Lost]);
    server.script(Kind::Probe, [Fault::Forget(404)]);
    store.put(&key("k"), streamed(&bytes), PutOptions::new()).await.unwrap();
    assert_eq!((server.count(Kind::Start), server.count(Kind::Metadata)), (1, 1));
    assert_eq!(server.bytes("k").unwrap(), bytes);
}

#[tokio::test]
async fn conditions_go_with_the_start_and_hold_at_the_end() {
    let (server, store) = setup().await;
    let bytes = data(2 * CHUNK, 16);
    let first = store.put(&key("k"), streamed(&bytes), PutOptions::new().create()).await.unwrap();
    assert_eq!(server.logged(Kind::Start)[0].query("ifGenerationMatch"), Some("0"));
    assert!(server.logged(Kind::Data).iter().all(|request| request.query("ifGenerationMatch").is_none()));
    // Another writer comes while the upload is under way.
    let name = key("k");
    let put = store.put(&name, streamed(&bytes), PutOptions::new().replace(first.version.clone()));
    let rival = || {
        server.state().plant("k", "rival");
    };
    let outcome = meanwhile(put, || server.count(Kind::Start) >= 2, rival).await;
    assert_eq!(outcome.unwrap_err().kind(), ErrorKind::Conflict);
    assert_eq!(server.bytes("k").unwrap(), b"rival");
}

#[tokio::test]
async fn a_condition_that_fails_already_spares_the_upload() {
    let (server, store) = setup().await;
    server.state().plant("k", "there");
    let bytes = data(3 * CHUNK, 17);
    let modes = [
        (PutMode::Create, ErrorKind::AlreadyExists),
        (PutMode::Replace(Version::new("17")), ErrorKind::Conflict),
        (PutMode::Replace(Version::new("0")), ErrorKind::Conflict),
        (PutMode::Replace(Version::new("\"etag\"")), ErrorKind::Conflict),
    ];
    for (mode, kind) in modes {
        let error = store.put(&key("k"), streamed(&bytes), PutOptions::new().mode(mode)).await.unwrap_err();
        assert_eq!(error.kind(), kind);
    }
    assert_eq!((server.count(Kind::Start), server.count(Kind::Data)), (0, 0));
    assert_eq!(server.bytes("k").unwrap(), b"there");
}

#[tokio::test]
async fn who_may_create_need_not_read() {
    let (server, store) = setup().await;
    let bytes = data(3 * CHUNK, 26);
    for body in [streamed(&bytes), Body::from(bytes.clone())] {
        server.state().objects.clear();
        server.script(Kind::Metadata, [Fault::Status(403)]);
        store.put(&key("k"), body, PutOptions::new().create()).await.unwrap();
        assert_eq!(server.bytes("k").unwrap(), bytes);
        // The condition holds at the end all the same.
        server.script(Kind::Metadata, [Fault::Status(403)]);
        let error = store.put(&key("k"), streamed(&bytes), PutOptions::new().create()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::AlreadyExists);
    }
    assert_eq!((server.count(Kind::Metadata), server.count(Kind::Start)), (4, 4));
    server.clean();
}

#[tokio::test]
async fn a_failing_source_cancels_the_upload_and_comes_back_as_it_is() {
    let (server, store) = setup().await;
    let bytes = data(2 * CHUNK, 18);
    let broken = stream::iter([Ok(bytes), Err(Error::new(ErrorKind::Io, "the disk is gone"))]);
    let error = store.put(&key("k"), Body::from_stream(broken), PutOptions::new()).await.unwrap_err();
    assert_eq!(error.to_string(), "the disk is gone");
    assert_eq!(server.count(Kind::Cancel), 1);
    assert_eq!(server.bytes("k"), None);
    assert!(server.state().sessions.is_empty());
}

#[tokio::test]
async fn a_dropped_save_cancels_the_upload() {
    let (server, store) = setup().await;
    let endless = stream::iter([Ok(data(2 * CHUNK, 19))]).chain(stream::pending());
    let name = key("k");
    let put = store.put(&name, Body::from_stream(endless), PutOptions::new());
    let mut put = Box::pin(put);
    while server.count(Kind::Data) < 1 {
        tokio::select! {
            _ = &mut put => panic!("an endless body cannot be stored"),
            () = tokio::time::sleep(std::time::Duration::from_millis(1)) => {}
        }
    }
    drop(put);
    for _ in 0..5000 {
        if server.count(Kind::Cancel) == 0 {
            tokio::time::sleep(std::time::Duration::from_millis(1)).await;
        }
    }
    assert!(server.state().sessions.is_empty());
    assert_eq!(server.bytes("k"), None);
}

#[tokio::test]
async fn a_save_that_is_dropped_while_it_cancels_is_cancelled_all_the_same() {
    let (server, store) = setup().await;
    server.script(Kind::Cancel, [Fault::Hang]);
    let broken = stream::iter([Ok(data(2 * CHUNK, 27)), Err(Error::new(ErrorKind::Io, "the disk is gone"))]);
    let name = key("k");
    let mut put = Box::pin(store.put(&name, Body::from_stream(broken), PutOptions::new()));
    while server.count(Kind::Cancel) < 1 {
        tokio::select! {
            _ = &mut put => panic!("the service has not answered"),
            () = tokio::time::sleep(Duration::from_millis(1)) => {}
        }
    }
    drop(put);
    for _ in 0..5000 {
        if !server.state().sessions.is_empty() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
    assert!(server.state().sessions.is_empty());
    assert_eq!(server.count(Kind::Cancel), 2);
}

#[tokio::test]
async fn a_stored_object_that_is_not_what_was_sent_is_removed() {
    // Either the checksum alone tells, or the length alone.
    for (large, shorter) in [(false, 0), (false, 1), (true, 0), (true, 1)] {
        let (server, store) = setup().await;
        let generation = server.state().plant("k", "bad");
        let sent = if large { data(CHUNK + 5, 20) } else { "sent".into() };
        let sum = if shorter == 0 { "AAAAAA==".into() } else { crate::strict::checksum(&sent) };
        let size = (sent.len() - shorter).to_string();
        let wrong = json!({ "name": "k", "size": size, "generation": generation.to_string(), "crc32c": sum });
        let (kind, body) =
            if !large { (Kind::Multipart, Body::from(sent)) } else { (Kind::Data, streamed(&sent)) };
        let before = if large { vec![Fault::Pass] } else { vec![] };
        server.script(kind, before.into_iter().chain([Fault::Answer(200, vec![], wrong.to_string())]));
        let error = store.put(&key("k"), body, PutOptions::new()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
        assert_eq!(server.bytes("k"), None);
        let delete = server.logged(Kind::Delete).remove(0);
        assert_eq!(
            delete.query("ifGenerationMatch"),
            Some(generation.to_string().as_str()),
            "nobody else's may go"
        );
    }
}

#[tokio::test]
async fn a_start_without_an_answer_only_leaves_an_unused_session() {
    let (server, store) = setup().await;
    let bytes = data(2 * CHUNK, 21);
    server.script(Kind::Start, [Fault::Lost, Fault::Status(503), Fault::Answer(200, vec![], String::new())]);
    store.put(&key("k"), streamed(&bytes), PutOptions::new().create()).await.unwrap();
    assert_eq!(server.count(Kind::Start), 4);
    assert_eq!(server.bytes("k").unwrap(), bytes);
}

#[tokio::test]
async fn save_stream_and_conditions_work_together() {
    let (server, store) = setup().await;
    let state = data(4 * CHUNK, 22);
    let options = || SaveOptions::new().mode(PutMode::Create);
    store.save_body_with(streamed(&state), "s.gz", options()).await.unwrap();
    let error = store.save_body_with(streamed(&state), "s.gz", options()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AlreadyExists);
    assert_eq!(store.load("s.gz").await.unwrap(), state);
    server.clean();
}

#[tokio::test]
async fn int64_fields_may_be_strings_or_numbers() {
    let (server, store) = setup().await;
    let big = i64::MAX as u64;
    for number in [json!(big), json!(big.to_string())] {
        let resource = json!({ "name": "k", "size": number, "generation": number, "timeCreated": "2026-01-02T03:04:05.678Z" });
        server.script(Kind::Metadata, [Fault::Answer(200, vec![], resource.to_string())]);
        let meta = store.head(&key("k")).await.unwrap();
        assert_eq!((meta.size, meta.version.as_str()), (big, big.to_string().as_str()));
    }
    server.script(
        Kind::Metadata,
        (0..6).map(|_| Fault::Answer(200, vec![], r#"{"name":"SECRET","size":"x"}"#.into())),
    );
    let error = store.get(&key("k"), GetOptions::new()).await.unwrap_err();
    assert!(!format!("{error:?}").contains("SECRET"), "{error:?}");
}

#[tokio::test]
async fn a_refusal_whose_answer_was_lost_with_the_session_is_still_a_conflict() {
    let (server, store) = setup().await;
    let bytes = data(2 * CHUNK, 23);
    let name = key("k");
    server.script(Kind::Data, [Fault::Pass, Fault::Lost]);
    let put = store.put(&name, streamed(&bytes), PutOptions::new().create());
    let rival = || {
        server.state().plant("k", "rival");
    };
    let outcome = meanwhile(put, || server.count(Kind::Start) >= 1, rival).await;
    assert_eq!(outcome.unwrap_err().kind(), ErrorKind::AlreadyExists);
    assert_eq!(server.logged(Kind::Probe)[0].status, 404);
    assert_eq!(server.bytes("k").unwrap(), b"rival");
}
