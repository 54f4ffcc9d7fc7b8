//! Answers to loads that are of something else, or lack what would tell.

use std::time::SystemTime;

use persist::{ByteRange, ErrorKind, GetOptions, RetryConfig, SnapshotAdapter, adapters::gcs::GcsAdapter};
use serde_json::json;

use crate::{
    strict::{BUCKET, Fault, Kind, Server},
    support::{config, data, key, open, read},
};

const SIZE: usize = 200_000;

async fn setup() -> (Server, GcsAdapter) {
    let server = Server::start().await;
    let store = open(&server).await;
    server.state().plant("k", data(SIZE, 1));
    (server, store)
}

/// As if the answer were of these bytes.
fn of(range: &str) -> Fault {
    Fault::Headers(vec![("content-range", range.into())])
}

#[tokio::test]
async fn a_range_that_is_not_the_one_asked_for_is_noticed() {
    let (server, store) = setup().await;
    let wrong = [
        of("bytes 11-199999/200000"),
        of("bytes 10-199998/200000"),
        of("bytes 10-199999/200001"),
        of("bytes 10-199999/*"),
        of("10"),
        Fault::Without("content-range"),
    ];
    for fault in wrong {
        server.script(Kind::Media, [fault.clone()]);
        let range = GetOptions::new().range(ByteRange::From(10));
        let error = store.get(&key("k"), range).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported, "{fault:?}: {error}");
        assert!(error.to_string().contains("ignores ranges"), "{error}");
    }
    // In the middle of a load, too.
    let wrong = [
        of("bytes 999-199999/200000"),
        of("bytes 1000-199998/200000"),
        of("bytes 1000-199999/200001"),
        Fault::Without("content-range"),
    ];
    for fault in wrong {
        server.script(Kind::Media, [Fault::Cut(1000), fault.clone()]);
        let error = read(&store, "k").await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported, "{fault:?}: {error}");
    }
    assert_eq!(read(&store, "k").await.unwrap(), data(SIZE, 1));
    server.clean();
}

#[tokio::test]
async fn a_body_of_unknown_length_that_ends_early_goes_on() {
    let (server, store) = setup().await;
    server.script(Kind::Media, [Fault::Unsized(1000), Fault::Unsized(0), Fault::Unsized(70_000)]);
    assert_eq!(read(&store, "k").await.unwrap(), data(SIZE, 1));
    let asked: Vec<_> =
        server.logged(Kind::Media).iter().map(|r| r.header("range").unwrap_or_default().to_owned()).collect();
    assert_eq!(asked, ["", "bytes=1000-199999", "bytes=1000-199999", "bytes=71000-199999"]);
    // Nor is cut metadata taken for whole.
    server.script(Kind::Metadata, [Fault::Unsized(20)]);
    assert_eq!(store.head(&key("k")).await.unwrap().size, SIZE as u64);
    assert_eq!(server.count(Kind::Metadata), 3);
    server.clean();
}

#[tokio::test]
async fn bytes_of_no_generation_are_not_paired_with_metadata() {
    for range in [None, Some(ByteRange::From(10))] {
        let options = || range.map_or(GetOptions::new(), |range| GetOptions::new().range(range));
        let (server, store) = setup().await;
        // The metadata of the first come late, and the bytes of a second one of the same length do not say
        // what they are.
        let late = server.state().objects["k"].describe("k", true).to_string();
        let generation = server.state().plant("k", data(SIZE, 2)).to_string();
        server.script(Kind::Metadata, [Fault::Answer(200, vec![], late)]);
        server.script(Kind::Media, (0..9).map(|_| Fault::Without("x-goog-generation")));
        let object = store.get(&key("k"), options()).await.unwrap();
        assert_eq!(object.meta.version.as_str(), generation);
        let start = object.range.start as usize;
        assert_eq!(object.body.collect(u64::MAX).await.unwrap(), data(SIZE, 2).slice(start..));
        // Nor with what is remembered.
        let generation = server.state().plant("k", data(SIZE, 3)).to_string();
        let object = store.get(&key("k"), options()).await.unwrap();
        assert_eq!(object.meta.version.as_str(), generation);
        assert_eq!(object.body.collect(u64::MAX).await.unwrap(), data(SIZE, 3).slice(start..));
        let named = server.logged(Kind::Media);
        assert_eq!(named.last().unwrap().query("generation"), Some(generation.as_str()));
        server.clean();
    }
}

#[tokio::test]
async fn what_ends_a_load_names_the_key() {
    let (server, _) = setup().await;
    let store = GcsAdapter::open(BUCKET, &config(&server), &RetryConfig::none()).await.unwrap();
    for fault in [Fault::Cut(1000), Fault::Unsized(1000), Fault::Flip(5)] {
        server.script(Kind::Media, [fault.clone()]);
        let text = read(&store, "k").await.unwrap_err().to_string();
        assert!(text.starts_with("gcs: get \"k\": "), "{fault:?}: {text}");
    }
}

#[tokio::test]
async fn a_load_has_as_many_bytes_as_the_object_or_fails() {
    let (server, store) = setup().await;
    let generation = server.state().plant("k", "x".repeat(SIZE)).to_string();
    let answer = |status, from: usize, len| {
        let range = (status == 206).then(|| ("content-range", format!("bytes {from}-{}/{SIZE}", SIZE - 1)));
        let headers = [("x-goog-generation", generation.clone())].into_iter().chain(range);
        Fault::Answer(status, headers.collect(), "x".repeat(len))
    };
    // Too many, at first and where it goes on: the first bytes are right, and so is their checksum.
    for more in [1, 64 * 1024, SIZE] {
        for faults in
            [vec![answer(200, 0, SIZE + more)], vec![Fault::Cut(1000), answer(206, 1000, SIZE - 1000 + more)]]
        {
            server.forget_log();
            let requests = faults.len();
            server.script(Kind::Media, faults);
            let error = read(&store, "k").await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
            assert_eq!(server.count(Kind::Media), requests);
        }
    }
    // None, in spite of what it says: the attempts end.
    server.forget_log();
    server.script(Kind::Media, [answer(200, 0, 0)].into_iter().chain((0..9).map(|_| answer(206, 0, 0))));
    let error = read(&store, "k").await.unwrap_err();
    assert_eq!((error.kind(), server.count(Kind::Media)), (ErrorKind::Unavailable, 6), "{error}");
    server.clean();
}

/// What is of no known age must not be removed for it: sweeps and prunes spare what is young.
#[tokio::test]
async fn an_object_without_a_time_is_young() {
    let server = Server::start().await;
    let store = open(&server).await;
    let before = SystemTime::now();
    for said in [json!({}), json!({ "timeCreated": "today" })] {
        let mut item = json!({ "name": "k", "size": "1", "generation": "1" });
        item.as_object_mut().unwrap().extend(said.as_object().unwrap().clone());
        server.script(Kind::Metadata, [Fault::Answer(200, vec![], item.to_string())]);
        assert!(store.head(&key("k")).await.unwrap().modified >= before);
    }
}

/// A range has no checksum: only its length tells that it is whole.
#[tokio::test]
async fn a_few_bytes_that_came_short_are_fetched_to_their_end() {
    let (server, store) = setup().await;
    let middle = ByteRange::Bounded { start: 10, length: 1000 };
    for (range, wanted) in [(middle, 10..1010), (ByteRange::From(199_000), 199_000..SIZE)] {
        for fault in [Fault::Cut(10), Fault::Unsized(10), Fault::Unsized(0)] {
            server.forget_log();
            server.script(Kind::Media, [fault.clone()]);
            let object = store.get(&key("k"), GetOptions::new().range(range)).await.unwrap();
            assert_eq!(object.body.collect(2000).await.unwrap(), data(SIZE, 1)[wanted.clone()], "{fault:?}");
            assert_eq!(server.count(Kind::Media), 2, "{fault:?}");
        }
    }
    server.clean();
}
