//! What was begun and comes to nothing is removed, at whatever point that happens.

use std::time::{Duration, SystemTime};

use futures_util::future::join_all;
use persist::{Body, ErrorKind, PutOptions, SnapshotAdapter};
use tokio::task::JoinHandle;

use crate::{
    bench::{Bench, key, kind, noise},
    support::{
        proxy::Fault,
        s3::{LARGE, quick},
        s3_store::Upload,
    },
};

/// A large save in a task of its own, to be dropped with it.
fn saved(bench: &Bench) -> JoinHandle<persist::Result<persist::ObjectMeta>> {
    let adapter = bench.adapter.clone();
    tokio::spawn(async move { adapter.put(&key("new"), noise(1, LARGE).into(), PutOptions::new()).await })
}

#[tokio::test]
async fn answers_to_create_that_are_all_lost_leave_nothing() {
    let bench = Bench::new().await;
    bench.proxy.fail(6, "POST", "uploads", Fault::Swallow);
    assert_eq!(kind(bench.put("new", &noise(1, LARGE), PutOptions::new()).await), ErrorKind::Unavailable);
    assert_eq!(bench.proxy.count("POST", "uploads"), 6);
    assert!(bench.is_clean(), "{:?}", bench.strict.store().uploads.keys());
}

#[tokio::test]
async fn a_save_dropped_while_its_upload_begins_leaves_nothing() {
    let bench = Bench::new().await;
    // The answer comes when nobody waits for it any more.
    bench.proxy.fail(1, "POST", "uploads", Fault::Delay(Duration::from_millis(300)));
    let save = saved(&bench);
    bench.until(|bench| bench.proxy.count("POST", "uploads") >= 1).await;
    save.abort();
    bench.until(|bench| bench.proxy.count("DELETE", "uploadId") >= 1).await;
    bench.cleaned().await;
    assert_eq!(bench.proxy.count("PUT", ""), 0);
    // Its answer is lost, and nobody is there to try again.
    bench.proxy.clear();
    bench.proxy.fail(1, "POST", "uploads", Fault::Swallow);
    bench.proxy.fail(1, "POST", "uploads", Fault::Delay(Duration::from_millis(300)));
    let save = saved(&bench);
    bench.until(|bench| bench.proxy.count("POST", "uploads") >= 2).await;
    save.abort();
    bench.until(|bench| bench.proxy.count("DELETE", "uploadId") >= 2).await;
    bench.cleaned().await;
}

#[tokio::test]
async fn a_save_dropped_while_it_cleans_up_leaves_nothing() {
    let bench = Bench::new().await;
    bench.proxy.fail(1, "PUT", "partNumber=2", Fault::answer(403));
    bench.proxy.fail(1, "DELETE", "uploadId", Fault::answer(503));
    bench.proxy.fail(1, "DELETE", "uploadId", Fault::Delay(Duration::from_millis(300)));
    let save = saved(&bench);
    bench.until(|bench| bench.proxy.count("DELETE", "uploadId") >= 1).await;
    save.abort();
    bench.cleaned().await;
    assert!(bench.stored("new").is_none());
}

#[test]
fn a_save_dropped_outside_of_its_runtime_leaves_nothing() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let bench = runtime.block_on(Bench::new());
    let (adapter, new) = (bench.adapter.clone(), key("new"));
    let stuck = futures_util::StreamExt::chain(
        futures_util::stream::iter([Ok(noise(1, LARGE))]),
        futures_util::stream::pending(),
    );
    let mut put = Box::pin(adapter.put(&new, Body::from_stream(stuck), PutOptions::new()));
    runtime.block_on(async {
        tokio::select! {
            _ = &mut put => panic!("it cannot end"),
            () = bench.until(|bench| bench.proxy.count("PUT", "partNumber") > 0) => {}
        }
    });
    assert!(!bench.is_clean());
    drop(put); // here, where there is no runtime
    runtime.block_on(bench.cleaned());
    runtime.block_on(async { drop(bench) });
}

/// The error of a save does not wait for a service that does not answer.
#[tokio::test]
async fn a_failed_save_waits_a_moment_for_its_clean_up() {
    let bench = Bench::with(&quick()).await;
    bench.proxy.fail(1, "PUT", "partNumber=2", Fault::answer(403));
    bench.proxy.fail(1, "DELETE", "uploadId", Fault::Delay(Duration::from_secs(7)));
    let error = bench.put("new", &noise(1, LARGE), PutOptions::new()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AccessDenied);
    assert!(!bench.is_clean(), "it has waited for all of it");
    // It goes on behind the save, and can be waited for.
    persist::cleaned_up().await;
    assert!(bench.is_clean());
    assert_eq!(bench.proxy.count("DELETE", "uploadId"), 1);
}

/// Whatever clock the service has, what was lost is found by it, and what others began before is left alone.
#[tokio::test]
async fn lost_uploads_are_told_by_the_services_clock() {
    for behind in [Duration::from_secs(600), Duration::ZERO] {
        let bench = Bench::new().await;
        {
            let mut store = bench.strict.store();
            store.behind = behind;
            let begun = SystemTime::now() - behind - Duration::from_secs(30);
            let others = Upload { key: "new".into(), begun, ..Default::default() };
            store.uploads.insert("another writer's".into(), others);
        }
        bench.proxy.fail(1, "POST", "uploads", Fault::Swallow);
        bench.put("new", &noise(1, LARGE), PutOptions::new()).await.unwrap();
        let left: Vec<_> = bench.strict.store().uploads.keys().cloned().collect();
        assert_eq!(left, ["another writer's"], "{behind:?}");
    }
}

fn rival(bench: &Bench, id: &str, begun: SystemTime, parts: usize) {
    let part = |number| (number, (bytes::Bytes::new(), String::new(), None));
    let parts = (1..=parts as i32).map(part).collect();
    let upload = Upload { key: "new".into(), begun, parts, ..Default::default() };
    bench.strict.store().uploads.insert(id.into(), upload);
}

fn left(bench: &Bench) -> Vec<String> {
    bench.strict.store().uploads.keys().cloned().collect()
}

/// One that has parts, and one that began behind ours and has none yet: neither is what a lost answer left.
#[tokio::test]
async fn rivals_of_the_same_key_are_left_alone() {
    let bench = Bench::new().await;
    rival(&bench, "a with parts", SystemTime::now(), 1);
    rival(&bench, "b later", SystemTime::now() + Duration::from_secs(30), 0);
    bench.proxy.fail(2, "POST", "uploads", Fault::Swallow);
    bench.put("new", &noise(1, LARGE), PutOptions::new()).await.unwrap();
    assert_eq!(bench.proxy.count("POST", "uploads"), 3);
    assert_eq!(left(&bench), ["a with parts", "b later"]);
    assert_eq!(bench.proxy.count("DELETE", "uploadId"), 2);
}

/// What did not arrive, and what was refused in S3's words, has begun nothing that could be looked for.
#[tokio::test]
async fn refused_creations_leave_nothing_to_look_for() {
    let bench = Bench::new().await;
    rival(&bench, "of a rival", SystemTime::now(), 0);
    let error = |code: &str| format!("<Error><Code>{code}</Code><Message>scripted</Message></Error>");
    for (status, code) in [(500, "InternalError"), (503, "ServiceUnavailable"), (503, "SlowDown")] {
        bench.proxy.fail(1, "POST", "uploads", Fault::answer_with(status, &[], &error(code)));
    }
    bench.put("new", &noise(1, LARGE), PutOptions::new()).await.unwrap();
    assert_eq!(bench.proxy.count("POST", "uploads"), 4);
    assert_eq!((left(&bench), bench.proxy.count("GET", "uploads")), (vec!["of a rival".to_string()], 0));
    // A gateway's answer says nothing of the service behind it.
    bench.proxy.clear();
    bench.strict.store().uploads.clear();
    bench.proxy.fail(1, "POST", "uploads", Fault::answer(504));
    bench.put("new", &noise(1, LARGE), PutOptions::new()).await.unwrap();
    assert_eq!(bench.proxy.count("GET", "uploads"), 1);
}

/// By a lifecycle rule or a clean-up, between two parts.
#[tokio::test]
async fn an_upload_that_is_removed_under_a_save_is_a_conflict() {
    let bench = Bench::new().await;
    let gone = "<Error><Code>NoSuchUpload</Code><Message>scripted</Message></Error>";
    bench.proxy.fail(9, "PUT", "partNumber=2", Fault::answer_with(404, &[], gone));
    let error = bench.put("new", &noise(1, LARGE), PutOptions::new()).await.unwrap_err();
    assert_eq!((error.kind(), error.retryable()), (ErrorKind::Conflict, true), "{error}");
    assert!(error.to_string().contains("save again"), "{error}");
    assert_eq!(bench.proxy.count("PUT", "partNumber=2"), 1, "tried again in vain");
    assert!(bench.is_clean());
}

/// A part that was under way when its upload was removed may be kept all the same, and is billed.
#[tokio::test]
async fn an_upload_whose_part_came_late_is_removed_again() {
    let listed =
        "<?xml version=\"1.0\"?><ListPartsResult><Part><PartNumber>2</PartNumber></Part></ListPartsResult>";
    for (late, removals) in [(0, 1), (1, 2), (99, 4)] {
        let bench = Bench::new().await;
        bench.proxy.fail(9, "PUT", "partNumber=1", Fault::answer(403));
        bench.proxy.fail(1, "PUT", "partNumber=2", Fault::Silence);
        bench.proxy.fail(late, "GET", "uploadId=", Fault::answer_with(200, &[], listed));
        let outcome = bench.put("new", &noise(1, LARGE), PutOptions::new()).await;
        assert_eq!(kind(outcome), ErrorKind::AccessDenied);
        persist::cleaned_up().await;
        let counts = (bench.proxy.count("DELETE", "uploadId="), bench.proxy.count("GET", "uploadId="));
        assert_eq!(counts, (removals, removals), "{late}");
        assert!(bench.is_clean());
    }
    // Where nothing was under way there is nothing to look for.
    let bench = Bench::new().await;
    let refused = "<Error><Code>InvalidRequest</Code><Message>scripted</Message></Error>";
    bench.proxy.fail(1, "POST", "uploadId=", Fault::answer_with(400, &[], refused));
    assert_eq!(kind(bench.put("new", &noise(1, LARGE), PutOptions::new()).await), ErrorKind::InvalidInput);
    assert_eq!((bench.proxy.count("DELETE", "uploadId="), bench.proxy.count("GET", "")), (1, 0));
}

/// Not when the source gives its next chunk, which may take hours.
#[tokio::test]
async fn a_part_that_fails_ends_the_save_at_once() {
    let bench = Bench::new().await;
    bench.proxy.fail(9, "PUT", "partNumber=1", Fault::answer(403));
    let stuck = futures_util::StreamExt::chain(
        futures_util::stream::iter([Ok(noise(1, LARGE))]),
        futures_util::stream::pending(),
    );
    let new = key("new");
    let put = bench.adapter.put(&new, Body::from_stream(stuck), PutOptions::new());
    let ended = tokio::time::timeout(Duration::from_secs(30), put).await.expect("it waits for its source");
    assert_eq!(kind(ended), ErrorKind::AccessDenied);
    assert!(bench.is_clean());
}

/// A save that was given up does not remove what the next save of its key has begun meanwhile, even though
/// that has no part yet.
#[tokio::test]
async fn the_next_save_of_a_key_is_left_alone() {
    let bench = Bench::new().await;
    // One that never arrived counts as lost all the same, since nobody can tell; and one that is answered
    // late.
    bench.proxy.fail(1, "POST", "uploads", Fault::ResetBefore);
    bench.proxy.fail(1, "POST", "uploads", Fault::Delay(Duration::from_millis(1200)));
    let first = saved(&bench);
    bench.until(|bench| bench.proxy.count("POST", "uploads") >= 2).await;
    first.abort();
    // The parts of the next one are on their way until the clean-up of the first is done.
    bench.proxy.fail(3, "PUT", "partNumber", Fault::Delay(Duration::from_secs(3)));
    let second = saved(&bench);
    bench.until(|bench| bench.proxy.count("DELETE", "uploadId") >= 1).await;
    second.await.unwrap().unwrap();
    assert!(bench.stored("new") == Some(noise(1, LARGE)));
    persist::cleaned_up().await;
    assert_eq!((left(&bench).len(), bench.proxy.count("DELETE", "uploadId")), (0, 1));
}

/// However long the listing takes that shows it.
#[tokio::test]
async fn what_began_behind_the_last_attempt_is_left_alone() {
    let bench = Bench::new().await;
    bench.proxy.fail(6, "POST", "uploads", Fault::ResetBefore);
    bench.proxy.fail(1, "GET", "uploads", Fault::Delay(Duration::from_secs(4)));
    let bytes = noise(1, LARGE);
    let rivals = async {
        // It is asked for behind the last attempt.
        bench.until(|bench| bench.proxy.count("GET", "uploads") >= 1).await;
        rival(&bench, "of a rival", SystemTime::now() + Duration::from_secs(4), 0);
    };
    let (outcome, ()) = tokio::join!(bench.put("new", &bytes, PutOptions::new()), rivals);
    assert_eq!(kind(outcome), ErrorKind::Unavailable);
    persist::cleaned_up().await;
    assert_eq!((left(&bench), bench.proxy.count("GET", "uploads")), (vec!["of a rival".to_string()], 1));
}

/// Where there are more than were lost, some are others', and nobody can tell which.
#[tokio::test]
async fn where_it_cannot_be_told_nothing_is_removed() {
    let bench = Bench::new().await;
    let bytes = noise(1, LARGE);
    // Times are in whole seconds: inside of what is looked at, also where this one is cut and the save begins
    // late.
    rival(&bench, "of a rival", SystemTime::now() + Duration::from_secs(1), 0);
    bench.proxy.fail(1, "POST", "uploads", Fault::Swallow);
    bench.put("new", &bytes, PutOptions::new()).await.unwrap();
    persist::cleaned_up().await;
    assert_eq!((left(&bench).len(), bench.proxy.count("DELETE", "uploadId")), (2, 0));
}

/// All retries of a client are used up by the storm that its saves fail in: what they leave is removed all
/// the same.
#[tokio::test]
async fn a_storm_leaves_no_uploads() {
    let bench = Bench::new().await;
    bench.proxy.fail(999, "HEAD", "", Fault::answer(503));
    let target = key("state");
    let looks = join_all((0..25).map(|_| bench.adapter.head(&target))).await;
    assert!(looks.into_iter().all(|look| kind(look) == ErrorKind::Unavailable));
    bench.proxy.clear();
    bench.proxy.fail(1, "HEAD", "", Fault::answer(503));
    assert_eq!(kind(bench.adapter.head(&target).await), ErrorKind::Unavailable, "no retry is left");
    bench.proxy.fail(99, "PUT", "partNumber", Fault::answer(503));
    bench.proxy.fail(3, "DELETE", "uploadId=", Fault::answer(503));
    assert_eq!(kind(bench.put("large", &noise(1, LARGE), PutOptions::new()).await), ErrorKind::Unavailable);
    persist::cleaned_up().await;
    assert!(bench.is_clean());
    assert!(bench.proxy.count("DELETE", "uploadId=") >= 4);
}
