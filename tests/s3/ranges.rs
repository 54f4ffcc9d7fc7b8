//! Answers to loads that hold other bytes than were asked for, or do not say which.

use std::sync::Arc;

use persist::{
    ByteRange, ErrorKind, GetOptions, SnapshotAdapter,
    sessions::{At, Sessions},
};

use crate::{
    bench::{Bench, key},
    support::proxy::Fault,
};

/// What passes for a damaged commit would give an older state, and the next save would go on from it.
#[tokio::test]
async fn a_fallback_does_not_pass_over_a_commit_for_another_range() {
    let bench = Bench::new().await;
    let session = || Sessions::new(Arc::new(bench.adapter.clone())).unwrap().session("a", "s").unwrap();
    let writer = session();
    for state in ["one", "two"] {
        writer.save(state).await.unwrap();
    }
    let names = || bench.strict.store().objects.keys().cloned().collect::<Vec<_>>();
    let before = names();
    writer.save("three").await.unwrap();
    let newest = names().into_iter().find(|name| !before.contains(name)).unwrap();
    // As of a cache that answers for a large object with its first slice.
    let slice = [("etag", "\"0123\""), ("content-range", "bytes 0-4/100")];
    bench.proxy.fail(99, "GET", newest.rsplit('/').next().unwrap(), Fault::answer_with(206, &slice, "12345"));
    let error = session().load_with_fallback(At::Latest).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
    bench.proxy.clear();
    assert_eq!(session().load_with_fallback(At::Latest).await.unwrap().state, "three");
}

/// Scanners and buffers in between send on in chunks what had a length. A range says all the same which bytes
/// come.
#[tokio::test]
async fn a_range_in_chunks_is_loaded_and_a_whole_object_in_chunks_is_named() {
    let bench = Bench::new().await;
    let chunked = |status, headers: &[(&str, &str)]| {
        let headers: Vec<_> = [("etag", "\"0123\""), ("transfer-encoding", "chunked")]
            .into_iter()
            .chain(headers.iter().copied())
            .collect();
        Fault::answer_with(status, &headers, "5\r\n12345\r\n0\r\n\r\n")
    };
    let state = key("state");
    let range = ("content-range", "bytes 10-14/100");
    let middle = GetOptions::new().range(ByteRange::Bounded { start: 10, length: 5 });
    bench.proxy.fail(1, "GET", "state", chunked(206, &[range]));
    let object = bench.adapter.get(&state, middle.clone()).await.unwrap();
    assert_eq!((object.meta.size, object.range.clone()), (100, 10..15));
    assert_eq!(object.body.collect(10).await.unwrap(), "12345");
    for (answer, options) in [(chunked(206, &[]), middle), (chunked(200, &[]), GetOptions::new())] {
        bench.proxy.fail(1, "GET", "state", answer);
        let error = bench.adapter.get(&state, options).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
        assert!(error.to_string().contains("Content-Length"), "{error}");
    }
}
