//! The wire fails in every way that it knows: what comes out is the right result or a typed error, nothing
//! torn, nothing left over.

use std::{sync::LazyLock, time::Duration};

use futures_util::{FutureExt, StreamExt, future::BoxFuture, stream};
use persist::{
    Body, DeleteOptions, Error, ErrorKind, ListOptions, PutOptions, RetryConfig, SnapshotAdapter,
    SnapshotAdapterExt,
};

use crate::{
    bench::{Bench, key, kind, noise},
    support::{
        Seeded, meanwhile, nobody,
        proxy::Fault,
        s3::{LARGE, quick},
        s3_store::{Object, etag_of},
    },
};

/// What passes by itself: the client may try again after each of them.
fn passing() -> Vec<Fault> {
    let error = |code: &str| {
        format!("<?xml version=\"1.0\"?><Error><Code>{code}</Code><Message>scripted</Message></Error>")
    };
    vec![
        Fault::answer_with(500, &[], &error("InternalError")),
        Fault::answer_with(503, &[], &error("SlowDown")),
        Fault::answer(502),
        Fault::answer(429),
        Fault::answer(408),
        Fault::answer_with(503, &[("content-type", "text/html")], "<html>a proxy in between</html>"),
        Fault::ResetBefore,
        Fault::Swallow,
        Fault::CutRequest(100),
        Fault::CutResponse(7),
        Fault::EndResponse(7),
        Fault::FlipRequest(40),
        Fault::Silence,
    ]
}

/// One operation from a known state on, with a check of its outcome.
type Case = for<'a> fn(&'a Bench) -> BoxFuture<'a, ()>;

const CASES: [(&str, &str, &str, Case); 15] = [
    ("overwrite", "PUT", "state", |bench| {
        async {
            let bytes = noise(1, 5000);
            let meta = bench.put("state", &bytes, PutOptions::new()).await.unwrap();
            assert_eq!(meta.version, bench.adapter.head(&key("state")).await.unwrap().version);
            assert_eq!(bench.stored("state"), Some(bytes));
        }
        .boxed()
    }),
    ("create", "PUT", "state", |bench| {
        async {
            let bytes = noise(1, 5000);
            let options = PutOptions::new().create().metadata("own", "1");
            let meta = bench.put("state", &bytes, options).await.unwrap();
            let head = bench.adapter.head(&key("state")).await.unwrap();
            assert_eq!((meta.version, meta.size, meta.metadata), (head.version, 5000, head.metadata));
            assert_eq!(bench.stored("state"), Some(bytes));
        }
        .boxed()
    }),
    ("replace", "PUT", "old", |bench| {
        async {
            let version = bench.adapter.head(&key("old")).await.unwrap().version;
            let bytes = noise(2, 5000);
            bench.put("old", &bytes, PutOptions::new().replace(version)).await.unwrap();
            assert_eq!(bench.stored("old"), Some(bytes));
        }
        .boxed()
    }),
    ("get", "GET", "old", |bench| {
        async { assert_eq!(bench.read("old").await.unwrap(), noise(9, 100_000)) }.boxed()
    }),
    ("head", "HEAD", "old", |bench| {
        async { assert_eq!(bench.adapter.head(&key("old")).await.unwrap().size, 100_000) }.boxed()
    }),
    ("list", "GET", "list-type", |bench| {
        async { assert_eq!(bench.names(ListOptions::new()).await.unwrap(), ["large", "old"]) }.boxed()
    }),
    ("delete", "DELETE", "old", |bench| {
        async {
            bench.adapter.delete(&key("old"), DeleteOptions::new()).await.unwrap();
            assert_eq!(bench.stored("old"), None);
        }
        .boxed()
    }),
    ("move", "PUT", "old", moved),
    ("move, look", "HEAD", "old", moved),
    ("large create, begin", "POST", "uploads", large_create),
    ("large create, part", "PUT", "partNumber=2", large_create),
    ("large create, complete", "POST", "uploadId", large_create),
    ("large overwrite, complete", "POST", "uploadId", |bench| {
        async {
            let bytes = noise(5, LARGE);
            bench.put("large", &bytes, PutOptions::new()).await.unwrap();
            assert!(bench.stored("large") == Some(bytes));
        }
        .boxed()
    }),
    ("large replace, complete", "POST", "uploadId", |bench| {
        async {
            let version = bench.adapter.head(&key("large")).await.unwrap().version;
            let bytes = noise(6, LARGE);
            bench.put("large", &bytes, PutOptions::new().replace(version)).await.unwrap();
            assert!(bench.stored("large") == Some(bytes));
        }
        .boxed()
    }),
    ("large get", "GET", "large", |bench| {
        async { assert!(bench.read("large").await.unwrap() == noise(4, LARGE)) }.boxed()
    }),
];

fn moved(bench: &Bench) -> BoxFuture<'_, ()> {
    async {
        bench.adapter.set_tier(&key("old"), persist::Tier::Cool).await.unwrap();
        assert_eq!(bench.adapter.head(&key("old")).await.unwrap().tier, Some(persist::Tier::Cool));
        assert_eq!(bench.stored("old"), Some(noise(9, 100_000)));
    }
    .boxed()
}

fn large_create(bench: &Bench) -> BoxFuture<'_, ()> {
    async {
        let bytes = noise(3, LARGE);
        let meta = bench.put("new", &bytes, PutOptions::new().create()).await.unwrap();
        assert_eq!(meta.version, bench.adapter.head(&key("new")).await.unwrap().version);
        assert!(bench.stored("new") == Some(bytes), "torn");
    }
    .boxed()
}

/// Puts the server into the state that the cases start from.
fn reset(bench: &Bench) {
    static START: LazyLock<[(&str, Object); 2]> = LazyLock::new(|| {
        [("old", noise(9, 100_000)), ("large", noise(4, LARGE))].map(|(name, bytes)| {
            let etag = etag_of(&[&bytes]);
            (name, Object { bytes, etag, ..Object::default() })
        })
    });
    bench.proxy.clear();
    let mut store = bench.strict.store();
    store.objects = START.iter().map(|(name, object)| (name.to_string(), object.clone())).collect();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_passes_is_carried() {
    // Beside each other, because much of it is waiting; not all at once, because the rest is work.
    let mut cases = stream::iter(CASES).map(|case| tokio::spawn(carried(case))).buffer_unordered(6);
    while let Some(outcome) = cases.next().await {
        outcome.unwrap();
    }
}

async fn carried((name, method, target, case): (&str, &str, &str, Case)) {
    // Only silence: parts of 5 MiB may take their time.
    let bench = Bench::changed(&quick(), |config| config.read_timeout = Some(Duration::from_secs(2))).await;
    // Bodies of 11 MiB for each would take long; the seeds below mix them all.
    let large = name.starts_with("large");
    for fault in passing().into_iter().filter(|fault| !large || !matches!(fault, Fault::Answer { .. })) {
        reset(&bench);
        bench.proxy.fail(1, method, target, fault.clone());
        let outcome = std::panic::AssertUnwindSafe(case(&bench)).catch_unwind().await;
        assert!(outcome.is_ok(), "{name} with {fault:?}");
        let spoilt = bench.proxy.log().iter().filter(|seen| seen.fault == fault).count();
        assert_eq!(spoilt, 1, "{name} with {fault:?}: nothing was spoilt");
        assert!(bench.is_clean(), "{name} with {fault:?}: an upload is left over");
    }
}

/// `PERSIST_TEST_SEEDS` sets how many; each run of a seed is the same.
#[tokio::test(flavor = "multi_thread")]
async fn no_storm_of_faults_loses_or_tears_an_object() {
    let seeds = std::env::var("PERSIST_TEST_SEEDS").map_or(12, |text| text.parse().unwrap());
    let faults: Vec<_> = passing().into_iter().filter(|fault| *fault != Fault::Silence).collect();
    let bench = Bench::with(&RetryConfig { max_attempts: 20, ..quick() }).await;
    for seed in 0..seeds {
        reset(&bench);
        bench.proxy.seeded(seed, 25, faults.clone());
        let mut random = Seeded(seed);
        for step in 0..8 {
            let len = [0, 1, 3000, 200_000, LARGE][random.below(if step == 0 { 5 } else { 4 }) as usize];
            let (name, bytes) = (format!("storm/{seed}/{}", random.below(3)), random.bytes(len));
            let before = bench.stored(&name);
            let context = format!("seed {seed}, step {step}, {len} bytes");
            match bench.put(&name, &bytes, PutOptions::new().create()).await {
                Ok(meta) => {
                    assert!(before.is_none(), "{context}: created twice");
                    assert!(bench.stored(&name) == Some(bytes.clone()), "{context}: torn");
                    assert_eq!(meta.size, len as u64);
                }
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::AlreadyExists, "{context}: {error}");
                    assert!(
                        before.is_some() && bench.stored(&name) == before,
                        "{context}: refused and written"
                    );
                }
            }
            let read = bench.read(&name).await.unwrap_or_else(|error| panic!("{context}: {error}"));
            assert!(Some(read) == bench.stored(&name), "{context}: read something else");
        }
        assert!(bench.is_clean(), "seed {seed}: an upload is left over");
    }
}

#[tokio::test]
async fn a_rival_is_never_taken_for_oneself() {
    let bench = Bench::new().await;
    for (name, len) in [("small", 1000), ("large", LARGE)] {
        let (ours, theirs) = (noise(1, len), noise(2, len));
        bench.put(name, &theirs, PutOptions::new().create()).await.unwrap();
        // Our first attempt never arrives, and the second finds the key taken; the same bytes make no
        // difference.
        for mine in [&ours, &theirs] {
            for method in ["PUT", "POST"] {
                bench.proxy.fail(1, method, name, Fault::ResetBefore);
            }
            assert_eq!(
                kind(bench.put(name, mine, PutOptions::new().create()).await),
                ErrorKind::AlreadyExists
            );
            bench.proxy.clear();
        }
        assert!(bench.stored(name) == Some(theirs));
    }
    assert!(bench.is_clean());
}

#[tokio::test]
async fn attempts_and_gaps_are_as_configured() {
    let bench = Bench::new().await;
    let put = |name: &'static str| bench.put(name, Box::leak(Box::new(noise(1, 100))), PutOptions::new());
    bench.proxy.fail(99, "PUT", "down", Fault::answer(503));
    assert_eq!(kind(put("down").await), ErrorKind::Unavailable);
    assert_eq!(bench.proxy.count("PUT", "down"), 6, "attempts");

    for status in [400, 401, 403, 409, 411, 501] {
        let name: &'static str = Box::leak(format!("refused-{status}").into_boxed_str());
        bench.proxy.fail(99, "PUT", name, Fault::answer(status));
        let error = put(name).await.unwrap_err();
        assert!(!error.retryable(), "{status}: {error}");
        assert_eq!(bench.proxy.count("PUT", name), 1, "{status}");
    }

    bench.proxy.fail(1, "PUT", "asked", Fault::answer_with(429, &[("Retry-After", "1")], ""));
    put("asked").await.unwrap();
    let at: Vec<_> = bench.proxy.log().iter().filter(|s| s.target.contains("asked")).map(|s| s.at).collect();
    assert_eq!(at.len(), 2);
    assert!(at[1] - at[0] >= Duration::from_secs(1), "sooner than the service asked");

    // Longer than the time that is left: the caller hears of it at once.
    bench.proxy.fail(1, "PUT", "later", Fault::answer_with(503, &[("Retry-After", "3600")], ""));
    let error = put("later").await.unwrap_err();
    assert_eq!(error.retry_after(), Some(Duration::from_secs(3600)));
    assert_eq!(bench.proxy.count("PUT", "later"), 1);
}

#[tokio::test]
async fn a_broken_body_goes_on_where_it_broke() {
    let bench = Bench::waiting(&quick(), Duration::from_secs(3)).await;
    let bytes = noise(1, 4 << 20);
    bench.put("state", &bytes, PutOptions::new()).await.unwrap();
    for fault in [Fault::CutResponse(1 << 20), Fault::EndResponse(1 << 20), Fault::Stall(1 << 20)] {
        bench.proxy.clear();
        // Each stall is waited for.
        let times = if matches!(fault, Fault::Stall(_)) { 1 } else { 3 };
        bench.proxy.fail(times, "GET", "state", fault.clone());
        assert!(bench.read("state").await.unwrap() == bytes, "{fault:?}");
        let log = bench.proxy.log();
        assert_eq!(log.len(), times + 1, "{fault:?}");
        assert!(
            log[1..].iter().all(|seen| seen.head.header("if-match").is_some()),
            "not bound to the version"
        );
        let range = log[1].head.header("range").unwrap();
        let from: u64 = range["bytes=".len()..].split('-').next().unwrap().parse().unwrap();
        // A reset may overtake bytes before the client has read them.
        let exact = !matches!(fault, Fault::CutResponse(_));
        assert!(from == 1 << 20 || (!exact && (1..1 << 20).contains(&from)), "{fault:?}: {range}");
    }
    // Another version in the meantime is never glued on.
    bench.proxy.fail(1, "GET", "state", Fault::CutResponse(1 << 20));
    let object = bench.adapter.get(&key("state"), Default::default()).await.unwrap();
    bench.put("state", &noise(2, 4 << 20), PutOptions::new()).await.unwrap();
    assert_eq!(kind(object.body.collect(u64::MAX).await), ErrorKind::Conflict);
}

#[tokio::test]
async fn a_flipped_bit_is_corrupt() {
    let bench = Bench::changed(&quick(), |config| config.checksums = Some("when_supported".into())).await;
    bench.put("state", &noise(1, 1000), PutOptions::new()).await.unwrap();
    bench.proxy.fail(1, "GET", "state", Fault::Flip(500));
    assert_eq!(kind(bench.read("state").await), ErrorKind::Corrupt, "the service's checksum");
    // Nor does a large object get through that came over two connections, of which no one saw the whole.
    let bench = Bench::new().await;
    bench.put("large", &noise(3, LARGE), PutOptions::new()).await.unwrap();
    bench.proxy.fail(1, "GET", "large", Fault::CutResponse(1 << 20));
    bench.proxy.fail(1, "GET", "large", Fault::Flip(500));
    let error = bench.read("large").await.unwrap_err();
    assert_eq!((error.kind(), bench.proxy.count("GET", "large")), (ErrorKind::Corrupt, 2), "{error:?}");
    assert!(bench.read("large").await.unwrap() == noise(3, LARGE));
    // Where checksums are off, the snapshot has its own.
    let bench = Bench::changed(&quick(), |config| config.checksums = Some("when_required".into())).await;
    bench.adapter.save(noise(2, LARGE), "snapshot.gz").await.unwrap();
    bench.proxy.fail(1, "GET", "snapshot", Fault::Flip(3 << 20));
    assert_eq!(kind(bench.adapter.load("snapshot.gz").await), ErrorKind::Corrupt);
    assert!(bench.adapter.load("snapshot.gz").await.unwrap() == noise(2, LARGE));
}

#[tokio::test]
async fn large_uploads_name_the_checksum_of_the_whole() {
    for (checksums, of_whole) in [("full_object", true), ("when_supported", false), ("when_required", false)]
    {
        let bench = Bench::changed(&quick(), |config| config.checksums = Some(checksums.into())).await;
        bench.put("large", &noise(1, LARGE), PutOptions::new()).await.unwrap();
        let posts: Vec<_> = bench.proxy.log().into_iter().filter(|seen| seen.method == "POST").collect();
        let header = |at: usize, name: &str| posts[at].head.header(name).map(str::to_string);
        // Create and Complete; the server compares the value.
        assert_eq!(header(0, "x-amz-checksum-type").is_some(), of_whole, "{checksums}");
        assert_eq!(header(1, "x-amz-checksum-crc32").is_some(), of_whole, "{checksums}");
        assert_eq!(bench.strict.store().objects["large"].checksum.is_some(), of_whole, "{checksums}");
        assert!(bench.read("large").await.unwrap() == noise(1, LARGE));
    }
    // A part that was damaged behind its own check makes no object.
    let bench = Bench::new().await;
    bench.strict.store().spoil_parts = true;
    assert_eq!(kind(bench.put("large", &noise(1, LARGE), PutOptions::new()).await), ErrorKind::Corrupt);
    assert_eq!(bench.proxy.count("POST", "uploadId"), 1, "the same parts again");
    assert!(bench.stored("large").is_none() && bench.is_clean());
}

#[tokio::test]
async fn races_of_conditional_writes_are_tried_again() {
    let bench = Bench::new().await;
    for (name, len) in [("small", 1000), ("large", LARGE)] {
        bench.strict.store().conflicts = 2;
        bench.put(name, &noise(1, len), PutOptions::new().create()).await.unwrap();
        assert_eq!(bench.strict.store().conflicts, 0);
    }
    bench.strict.store().conflicts = usize::MAX;
    let error = bench.put("never", &noise(1, 10), PutOptions::new().create()).await.unwrap_err();
    assert_eq!((error.kind(), error.retryable()), (ErrorKind::Conflict, true));
}

#[tokio::test]
async fn complete_that_fails_behind_a_200_is_tried_again() {
    let bench = Bench::new().await;
    let error = "<?xml version=\"1.0\"?>\n<Error><Code>InternalError</Code><Message>late</Message></Error>";
    bench.proxy.fail(
        2,
        "POST",
        "uploadId",
        Fault::answer_with(200, &[("content-type", "application/xml")], error),
    );
    bench.put("large", &noise(1, LARGE), PutOptions::new().create()).await.unwrap();
    assert_eq!(bench.proxy.count("POST", "uploadId"), 3);
    assert!(bench.stored("large") == Some(noise(1, LARGE)) && bench.is_clean());
}

/// S3 says 200 before it has put a large object together, or has copied one, and what came of it in the body.
#[tokio::test]
async fn conditions_refused_behind_a_200_are_conditions() {
    let bench = Bench::new().await;
    let late = |code: &str| {
        let error =
            format!("<?xml version=\"1.0\"?>\n<Error><Code>{code}</Code><Message>late</Message></Error>");
        Fault::answer_with(200, &[("content-type", "application/xml")], &error)
    };
    let put = |options| bench.put("large", &*Box::leak(Box::new(noise(1, LARGE))), options);
    bench.proxy.fail(1, "POST", "uploadId", late("PreconditionFailed"));
    assert_eq!(kind(put(PutOptions::new().create()).await), ErrorKind::AlreadyExists);
    bench.proxy.fail(1, "POST", "uploadId", late("PreconditionFailed"));
    let version = persist::Version::new("0123");
    assert_eq!(kind(put(PutOptions::new().replace(version.clone())).await), ErrorKind::Conflict);
    bench.proxy.fail(1, "POST", "uploadId", late("NoSuchKey"));
    assert_eq!(kind(put(PutOptions::new().replace(version)).await), ErrorKind::Conflict);
    bench.proxy.fail(1, "POST", "uploadId", late("NoSuchUpload"));
    assert_eq!(kind(put(PutOptions::new()).await), ErrorKind::Conflict);
    assert!(bench.is_clean() && bench.stored("large").is_none());
    // Replaced while it is copied: the new one is moved.
    bench.put("small", &noise(1, 10), PutOptions::new()).await.unwrap();
    bench.proxy.clear();
    bench.proxy.fail(1, "PUT", "small", late("PreconditionFailed"));
    bench.adapter.set_tier(&key("small"), persist::Tier::Cool).await.unwrap();
    assert_eq!(bench.proxy.count("PUT", "small"), 2);
}

/// After a lost race S3 may have ended the upload:
/// https://docs.aws.amazon.com/AmazonS3/latest/API/API_CompleteMultipartUpload.html.
#[tokio::test]
async fn an_upload_that_a_race_has_ended_says_who_won() {
    let bench = Bench::new().await;
    let error = |status: u16, code: &str| {
        Fault::answer_with(
            status,
            &[],
            &format!("<Error><Code>{code}</Code><Message>scripted</Message></Error>"),
        )
    };
    let ended = || {
        bench.proxy.clear();
        bench.proxy.fail(1, "POST", "uploadId", error(409, "ConditionalRequestConflict"));
        bench.proxy.fail(99, "POST", "uploadId", error(404, "NoSuchUpload"));
    };
    let mine = noise(1, LARGE);
    ended();
    let failed = bench.put("large", &mine, PutOptions::new().create()).await.unwrap_err();
    assert_eq!((failed.kind(), failed.retryable()), (ErrorKind::Conflict, true), "{failed}");
    assert!(failed.to_string().contains("save again"), "{failed}");
    assert_eq!(bench.proxy.count("POST", "uploadId"), 2, "tried again in vain");
    let theirs = bench.put("large", &noise(2, 100), PutOptions::new().create()).await.unwrap();
    ended();
    assert_eq!(kind(bench.put("large", &mine, PutOptions::new().create()).await), ErrorKind::AlreadyExists);
    // The winner's version is another one than ours was to replace; or there is none, and ours may be saved
    // again.
    ended();
    let stale = PutOptions::new().replace(persist::Version::new("0123"));
    let failed = bench.put("large", &mine, stale).await.unwrap_err();
    assert_eq!((failed.kind(), failed.retryable()), (ErrorKind::Conflict, false), "{failed}");
    ended();
    let failed = bench.put("large", &mine, PutOptions::new().replace(theirs.version)).await.unwrap_err();
    assert_eq!((failed.kind(), failed.retryable()), (ErrorKind::Conflict, true), "{failed}");
    assert!(bench.is_clean());
}

#[tokio::test]
async fn an_upload_that_ends_early_removes_itself() {
    let bench = Bench::new().await;
    let bytes = noise(1, LARGE);
    // The source fails when the first parts are under way.
    let (go, begun) = tokio::sync::oneshot::channel::<()>();
    let fails = async {
        begun.await.unwrap();
        Err(Error::new(ErrorKind::Io, "the disk is gone"))
    };
    let broken = futures_util::stream::iter([Ok(bytes.clone())]).chain(futures_util::stream::once(fails));
    let new = key("new");
    let put = bench.adapter.put(&new, Body::from_stream(broken), PutOptions::new());
    let sent = || bench.proxy.count("PUT", "partNumber") > 0;
    let error = meanwhile(put, sent, || go.send(()).unwrap()).await;
    assert_eq!(error.unwrap_err().to_string(), "the disk is gone");
    assert!(bench.is_clean() && bench.stored("new").is_none());
    // A part fails for good.
    bench.proxy.fail(99, "PUT", "partNumber=2", Fault::answer(403));
    assert_eq!(kind(bench.put("new", &bytes, PutOptions::new()).await), ErrorKind::AccessDenied);
    assert!(bench.is_clean() && bench.stored("new").is_none());
    // The future is dropped while parts are under way.
    bench.proxy.clear();
    let stuck = futures_util::stream::iter([Ok(bytes)]).chain(futures_util::stream::pending());
    let (adapter, name) = (bench.adapter.clone(), key("new"));
    let put =
        tokio::spawn(async move { adapter.put(&name, Body::from_stream(stuck), PutOptions::new()).await });
    bench.until(|bench| bench.proxy.count("PUT", "partNumber") > 0).await;
    assert!(!bench.is_clean());
    put.abort();
    bench.cleaned().await;
    assert!(bench.is_clean(), "the upload outlived its future");
    assert_eq!(bench.adapter.list_uploads("").await.unwrap(), []);
}

#[tokio::test]
async fn uploads_that_crashed_are_found_and_removed() {
    let bench = Bench::new().await;
    {
        let mut store = bench.strict.store();
        for name in ["a/one", "b/two"] {
            let upload = crate::support::s3_store::Upload { key: name.into(), ..Default::default() };
            store.uploads.insert(format!("id of {name}"), upload);
        }
    }
    let found = bench.adapter.list_uploads("a/").await.unwrap();
    assert_eq!((found.len(), found[0].name.as_str()), (1, "a/one"));
    bench.adapter.abort_upload(&found[0]).await.unwrap();
    bench.adapter.abort_upload(&found[0]).await.unwrap();
    let names: Vec<_> =
        bench.adapter.list_uploads("").await.unwrap().into_iter().map(|upload| upload.name).collect();
    assert_eq!(names, ["b/two"]);
}

#[tokio::test]
async fn nobody_there_is_an_error_in_time() {
    let (closed, _port) = nobody();
    let config = crate::support::s3::small(&format!("http://{closed}"));
    let config = persist::S3Config { anonymous: true, ..config };
    let error = persist::adapters::s3::S3Adapter::open("bucket", &config, &quick()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.to_string().contains(&format!("cannot reach http://{closed}")), "{error}");
}
