//! Downloads: resumed, verified, and of one version.

use std::{collections::BTreeSet, io::Write, time::Duration};

use persist::{
    ByteRange, Codec, ErrorKind, GetOptions, LoadOptions, PutOptions, SaveOptions, SnapshotAdapter,
    SnapshotAdapterExt, Version, adapters::gcs::GcsAdapter,
};

use crate::{
    strict::{BUCKET, Fault, Kind, Logged, Rules, Server},
    support::{config, data, key, open, read, retry, streamed},
};

const CHUNK: usize = 256 * 1024;

async fn setup(bytes: &[u8]) -> (Server, GcsAdapter, u64) {
    let server = Server::start().await;
    let store = open(&server).await;
    let generation = server.state().plant("k", bytes);
    (server, store, generation)
}

/// The ranges that were asked for (empty: everything), and the generations.
fn asked(server: &Server) -> Vec<(String, Option<String>)> {
    let media = server.logged(Kind::Media);
    let range = |r: &Logged| r.header("range").unwrap_or_default().to_owned();
    media.iter().map(|r| (range(r), r.query("generation").map(Into::into))).collect()
}

#[tokio::test]
async fn a_small_load_is_one_request_for_bytes_beside_one_for_metadata() {
    let bytes = data(8 * 1024, 1);
    let (server, store, _) = setup(&bytes).await;
    assert_eq!(read(&store, "k").await.unwrap(), bytes);
    let kinds: BTreeSet<_> = server.log().iter().map(|request| request.kind).collect();
    assert_eq!((kinds, server.log().len()), ([Kind::Media, Kind::Metadata].into(), 2));
    assert_eq!(server.logged(Kind::Media)[0].header("accept-encoding"), Some("gzip"));
    server.clean();
}

#[tokio::test]
async fn what_this_process_knows_is_one_request_until_it_changes() {
    let (server, store, _) = setup(b"first").await;
    let kinds = |server: &Server| {
        let kinds: Vec<_> = server.log().iter().map(|request| request.kind).collect();
        server.forget_log();
        kinds
    };
    let put = store.put(&key("k"), "mine".into(), PutOptions::new().metadata("run", "7")).await.unwrap();
    kinds(&server);
    for _ in 0..2 {
        let object = store.get(&key("k"), GetOptions::new()).await.unwrap();
        assert_eq!(object.meta, put);
        assert_eq!(object.body.collect(9).await.unwrap(), "mine");
        assert_eq!(kinds(&server), [Kind::Media]);
    }
    // Another writer, of whom this process knows nothing: longer, shorter, and empty.
    for state in ["theirs, which is longer", "x", ""] {
        let generation = server.state().plant("k", state);
        let object = store.get(&key("k"), GetOptions::new()).await.unwrap();
        assert_eq!(
            (object.meta.version.as_str(), object.meta.size),
            (&*generation.to_string(), state.len() as u64)
        );
        assert!(object.meta.metadata.is_empty());
        assert_eq!(object.body.collect(99).await.unwrap(), state);
        assert_eq!(kinds(&server)[..2], [Kind::Media, Kind::Metadata]);
        // Now it is known, by what the service said of it.
        store.get(&key("k"), GetOptions::new()).await.unwrap();
        assert_eq!(kinds(&server), [Kind::Media]);
    }
    // The same content, of which something else is said now.
    let put = store.put(&key("k"), "mine".into(), PutOptions::new().metadata("run", "7")).await.unwrap();
    for changed in [("x-goog-metageneration", "2"), ("x-goog-storage-class", "COLDLINE")] {
        kinds(&server);
        server.script(Kind::Media, [Fault::Headers(vec![(changed.0, changed.1.into())])]);
        let object = store.get(&key("k"), GetOptions::new()).await.unwrap();
        assert_eq!(
            (object.meta, kinds(&server)),
            (put.clone(), vec![Kind::Media, Kind::Metadata]),
            "{changed:?}"
        );
    }
    // Gone.
    store.delete(&key("k"), Default::default()).await.unwrap();
    assert_eq!(store.get(&key("k"), GetOptions::new()).await.unwrap_err().kind(), ErrorKind::NotFound);
    server.clean();
}

#[tokio::test]
async fn a_load_of_any_size_is_one_request_for_bytes() {
    let bytes = data(20 * CHUNK + 123, 11);
    let (server, store, generation) = setup(&bytes).await;
    assert_eq!(read(&store, "k").await.unwrap(), bytes);
    assert_eq!(asked(&server), [(String::new(), None)]);
    // Also of a version that is newer than the one at hand, whose metadata come first.
    server.forget_log();
    let newer = GetOptions::new().if_not_version(Version::new("17"));
    let object = store.get(&key("k"), newer).await.unwrap();
    assert_eq!(object.body.collect(u64::MAX).await.unwrap(), bytes);
    assert_eq!(asked(&server), [(String::new(), Some(generation.to_string()))]);
    server.clean();
}

#[tokio::test]
async fn a_wrong_byte_of_a_small_plain_state_is_noticed_by_load() {
    // Of a stream nothing is known beforehand, so only the service's checksum can tell.
    for body in [persist::Body::from("a small state"), streamed(&"a small state".into())] {
        let (server, store, _) = setup(b"").await;
        let plain = SaveOptions::new().codec(Codec::None);
        store.save_body_with(body, "s", plain).await.unwrap();
        server.script(Kind::Media, [Fault::Flip(3)]);
        assert_eq!(store.load("s").await.unwrap_err().kind(), ErrorKind::Corrupt);
        assert_eq!(store.load("s").await.unwrap(), "a small state");
    }
}

#[tokio::test]
async fn a_broken_body_goes_on_where_it_broke_with_the_same_generation() {
    let bytes = data(200_000, 2);
    let (server, store, generation) = setup(&bytes).await;
    server.script(Kind::Media, [Fault::Cut(1000), Fault::Reset, Fault::Cut(500), Fault::Status(503)]);
    assert_eq!(read(&store, "k").await.unwrap(), bytes);
    let of = |range: &str| (range.to_owned(), Some(generation.to_string()));
    assert_eq!(
        asked(&server),
        [
            (String::new(), None),
            of("bytes=1000-199999"),
            of("bytes=1000-199999"),
            of("bytes=1500-199999"),
            of("bytes=1500-199999"),
        ]
    );
    server.clean();
}

#[tokio::test]
async fn a_small_load_is_in_memory_and_one_that_breaks_goes_on_all_the_same() {
    let bytes = data(8 * 1024, 5);
    let (server, store, generation) = setup(&bytes).await;
    let k = key("k");
    let get = |options| store.get(&k, options);
    let part = ByteRange::Bounded { start: 10, length: 100 };
    for (options, wanted) in [(GetOptions::new(), 0..8192), (GetOptions::new().range(part), 10..110)] {
        let object = get(options).await.unwrap();
        assert_eq!(object.body.in_memory().unwrap(), &bytes[wanted]);
    }
    for fault in [Fault::Cut(1000), Fault::Unsized(1000)] {
        server.forget_log();
        server.script(Kind::Media, [fault, Fault::Reset]);
        assert_eq!(get(GetOptions::new()).await.unwrap().body.collect(u64::MAX).await.unwrap(), bytes);
        let rest = ("bytes=1000-8191".to_owned(), Some(generation.to_string()));
        assert_eq!(asked(&server), [(String::new(), None), rest.clone(), rest]);
    }
    // The bytes that are not those stored are no body in memory, which cannot fail.
    server.script(Kind::Media, [Fault::Flip(3)]);
    let damaged = get(GetOptions::new()).await.unwrap().body;
    assert!(damaged.in_memory().is_none());
    assert_eq!(damaged.collect(u64::MAX).await.unwrap_err().kind(), ErrorKind::Corrupt);
    server.clean();
}

#[tokio::test]
async fn two_versions_are_never_glued_together() {
    let (server, store, _) = setup(&data(200_000, 3)).await;
    server.script(Kind::Media, [Fault::Cut(1000)]);
    let mut object = store.get(&key("k"), GetOptions::new()).await.unwrap();
    assert!(object.body.chunk().await.unwrap().is_some());
    server.state().plant("k", data(200_000, 4));
    let error = object.body.collect(u64::MAX).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
}

#[tokio::test]
async fn nor_by_a_server_that_ignores_which_one_was_asked_for() {
    // A range has no checksum that would tell.
    for range in [None, Some(ByteRange::From(10))] {
        let server = Server::with(Rules { ignores_generation: true, ..Rules::default() }).await;
        let store = open(&server).await;
        server.state().plant("k", data(200_000, 3));
        server.script(Kind::Media, [Fault::Cut(1000)]);
        let options = range.map_or(GetOptions::new(), |range| GetOptions::new().range(range));
        let mut object = store.get(&key("k"), options).await.unwrap();
        assert!(object.body.chunk().await.unwrap().is_some());
        server.state().plant("k", data(200_000, 4));
        let error = object.body.collect(u64::MAX).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Conflict, "{range:?}: {error}");
        assert_eq!(server.count(Kind::Media), 2);
    }
}

#[tokio::test]
async fn metadata_and_bytes_are_of_one_version() {
    let (server, store, _) = setup(b"old").await;
    // The metadata of this version come late, when another one is there.
    let late = server.state().objects["k"].describe("k", true).to_string();
    server.state().plant("k", "newer");
    server.script(Kind::Metadata, [Fault::Answer(200, vec![], late)]);
    let object = store.get(&key("k"), GetOptions::new()).await.unwrap();
    assert_eq!(object.meta.size, 5);
    assert_eq!(object.body.collect(9).await.unwrap(), "newer");
}

#[tokio::test]
async fn writers_that_come_again_and_again_are_no_failure_of_a_reader() {
    let server = Server::start().await;
    let store = GcsAdapter::open(BUCKET, &config(&server), &persist::RetryConfig::none()).await.unwrap();
    let (versions, long) = (["1", "22", "333", "4444", "55555"], "0".repeat(9));
    for options in [
        GetOptions::new(),
        GetOptions::new().if_not_version(Version::new("17")),
        GetOptions::new().range(ByteRange::Last(1)),
        GetOptions::new().range(ByteRange::From(0)),
    ] {
        server.forget_log();
        server.state().plant("k", long.clone());
        // Whichever answer comes first, there is another version behind it.
        server.script(Kind::Metadata, versions.map(Fault::Rival));
        server.script(Kind::Media, [Fault::Rival("a"), Fault::Rival("bb")]);
        let object = store.get(&key("k"), options).await.unwrap();
        let (meta, start) = (object.meta, object.range.start as usize);
        let bytes = object.body.collect(9).await.unwrap();
        assert_eq!((meta.size as usize, object.range.end), (start + bytes.len(), meta.size));
        assert!(server.log().len() > 4, "every writer was met: {}", server.log().len());
        server.state().faults = Default::default();
    }
    // One that is removed meanwhile is not there.
    server.state().plant("k", "1");
    server.script(Kind::Media, [Fault::Status(404)]);
    server.script(Kind::Metadata, [Fault::Pass, Fault::Status(404)]);
    let error = store.get(&key("k"), GetOptions::new()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    server.clean();
}

#[tokio::test]
async fn a_wrong_byte_is_noticed_wherever_it_is() {
    let size = 3 * CHUNK + 17;
    let (server, store, _) = setup(&data(size, 5)).await;
    for at in [0, 500, 2 * CHUNK, size - 1] {
        server.script(Kind::Media, [Fault::Flip(at)]);
        let mut body = store.get(&key("k"), GetOptions::new()).await.unwrap().body;
        let mut read = 0;
        let error = loop {
            match body.chunk().await {
                Ok(chunk) => read += chunk.expect("the end of damaged bytes").len(),
                Err(error) => break error,
            }
        };
        assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
        assert!(error.to_string().contains("crc32c"), "{error}");
        assert!(read < size, "a reader that counts has the damaged bytes and no error");
    }
    // Also where the download broke in between.
    let (server, store, _) = setup(&data(10_000, 6)).await;
    server.script(Kind::Media, [Fault::Cut(5000), Fault::Flip(10)]);
    assert_eq!(read(&store, "k").await.unwrap_err().kind(), ErrorKind::Corrupt);
}

#[tokio::test]
async fn ranges_of_a_large_object_move_only_what_was_asked() {
    let bytes = data(5 * CHUNK, 8);
    let (server, store, _) = setup(&bytes).await;
    for (range, expected) in [
        (ByteRange::Bounded { start: 300_000, length: 10 }, 300_000..300_010),
        (ByteRange::Last(7), 5 * CHUNK - 7..5 * CHUNK),
        (ByteRange::From(5 * CHUNK as u64 - 3), 5 * CHUNK - 3..5 * CHUNK),
        (ByteRange::Bounded { start: 100, length: u64::MAX }, 100..5 * CHUNK),
        (ByteRange::Bounded { start: 10, length: 2 * CHUNK as u64 }, 10..10 + 2 * CHUNK),
    ] {
        server.forget_log();
        let object = store.get(&key("k"), GetOptions::new().range(range)).await.unwrap();
        assert_eq!(object.range, expected.start as u64..expected.end as u64);
        assert_eq!(object.meta.size, bytes.len() as u64);
        assert_eq!(object.body.collect(u64::MAX).await.unwrap(), bytes.slice(expected.clone()));
        assert_eq!(server.count(Kind::Media), 1);
    }
    server.clean();
}

#[tokio::test]
async fn an_empty_object_is_no_unsatisfiable_range() {
    let (_server, store, _) = setup(b"").await;
    let object = store.get(&key("k"), GetOptions::new()).await.unwrap();
    assert_eq!((object.range, object.body.collect(0).await.unwrap().len()), (0..0, 0));
}

#[tokio::test]
async fn an_unchanged_snapshot_is_one_request() {
    let (server, store, generation) = setup(b"state").await;
    let known = |generation: u64| LoadOptions::new().if_not_version(Version::new(generation.to_string()));
    let error = store.load_with("k", known(generation)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotModified);
    let log = server.log();
    assert_eq!((log.len(), log[0].status), (1, 304));
    assert_eq!(log[0].query("ifGenerationNotMatch"), Some(generation.to_string().as_str()));
    assert_eq!(store.load_with("k", known(17)).await.unwrap(), "state");
    // The same to a file.
    server.forget_log();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("state");
    let version = Version::new(generation.to_string());
    assert!(store.download_if_newer("k", &file, &version).await.unwrap().is_none() && !file.exists());
    assert_eq!(server.log().len(), 1);
    let newer = server.state().plant("k", "newer");
    let meta = store.download_if_newer("k", &file, &version).await.unwrap().unwrap();
    assert_eq!(meta.version.as_str(), newer.to_string());
    assert_eq!(std::fs::read(&file).unwrap(), b"newer");
    // With a version that must be there, the service checks.
    let old = GetOptions::new().if_version(Version::new("17"));
    assert_eq!(store.get(&key("k"), old).await.unwrap_err().kind(), ErrorKind::Conflict);
    assert!(server.log().iter().any(|request| request.status == 412));
    server.clean();
}

#[tokio::test]
async fn what_other_tools_stored_compressed_comes_as_it_is_stored() {
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    gzip.write_all(b"a state that gsutil cp -Z stored").unwrap();
    let gzip = gzip.finish().unwrap();
    let (server, store, _) = setup(&gzip).await;
    server.state().objects.get_mut("k").unwrap().resource.insert("contentEncoding".into(), "gzip".into());
    assert_eq!(read(&store, "k").await.unwrap(), gzip);
    assert_eq!(store.load("k").await.unwrap(), "a state that gsutil cp -Z stored");
    server.clean();
}

#[tokio::test]
async fn what_was_decompressed_on_the_way_is_refused() {
    for mark in [
        ("warning", "214 UploadServer gunzipped"),
        ("x-guploader-response-body-transformations", "gunzipped"),
    ] {
        let (server, store, _) = setup(b"plain").await;
        server.script(Kind::Media, [Fault::Headers(vec![(mark.0, mark.1.into())])]);
        let error = read(&store, "k").await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported);
        assert!(error.to_string().contains("contentEncoding"), "{error}");
    }
}

#[tokio::test]
async fn a_server_that_ignores_ranges_is_noticed() {
    let (server, store, generation) = setup(&data(1000, 9)).await;
    let whole = vec![("x-goog-generation", generation.to_string())];
    let whole = Fault::Answer(200, whole, "x".repeat(1000));
    server.script(Kind::Media, [whole]);
    let range = GetOptions::new().range(ByteRange::From(10));
    let error = store.get(&key("k"), range).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(error.to_string().contains("ignores ranges"), "{error}");
}

#[tokio::test]
async fn a_stalled_transfer_ends_and_goes_on() {
    let bytes = data(100_000, 10);
    let (server, _, _) = setup(&bytes).await;
    let mut quick = config(&server);
    quick.timeout = Some(Duration::from_millis(500));
    let store = GcsAdapter::open(BUCKET, &quick, &retry()).await.unwrap();
    server.script(Kind::Media, [Fault::Stall(70_000), Fault::Hang]);
    server.script(Kind::Metadata, [Fault::Hang]);
    assert_eq!(read(&store, "k").await.unwrap(), bytes);
    // And an upload that nobody answers.
    server.script(Kind::Multipart, (0..6).map(|_| Fault::Hang));
    server.script(Kind::Metadata, (0..6).map(|_| Fault::Hang));
    let error = store.save("state", "s").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout);
}

/// A cache that goes by the path alone gives the same old bytes as often as it is asked.
#[tokio::test]
async fn older_bytes_than_were_asked_for_are_not_asked_for_for_ever() {
    let (server, store, _) = setup(b"state").await;
    let old = || Fault::Headers(vec![("x-goog-generation", "1".into())]);
    server.script(Kind::Media, (0..50).map(|_| old()));
    let error = read(&store, "k").await.unwrap_err();
    assert_eq!((error.kind(), error.retryable()), (ErrorKind::Unavailable, false), "{error}");
    assert!(error.to_string().contains("caches"), "{error}");
    assert_eq!(asked(&server).len(), 2);
}

/// Where the server gives the newest bytes whatever was asked for, a writer that comes again and again is no
/// cache.
#[tokio::test]
async fn bytes_that_are_overtaken_are_no_old_ones() {
    let server = Server::with(Rules { ignores_generation: true, ..Rules::default() }).await;
    let store = open(&server).await;
    server.state().plant("k", "first");
    // Metadata of the first, bytes of the second, metadata of the third.
    server.script(Kind::Metadata, [Fault::Rival("second")]);
    server.script(Kind::Media, [Fault::Rival("third")]);
    let newer = GetOptions::new().if_not_version(Version::new("17"));
    let object = store.get(&key("k"), newer).await.unwrap();
    assert_eq!(object.body.collect(9).await.unwrap(), "third");
    assert_eq!(server.count(Kind::Media), 2);
}
