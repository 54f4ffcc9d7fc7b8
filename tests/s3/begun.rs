//! What was begun and comes to nothing is removed, at whatever point that happens.

use std::time::Duration;

use persist::{Body, ErrorKind, PutOptions, SnapshotAdapter};
use tokio::task::JoinHandle;

use crate::{
    bench::{Bench, key, kind, noise},
    support::{
        proxy::Fault,
        s3::{LARGE, quick},
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
            let begun = std::time::SystemTime::now() - behind - Duration::from_secs(30);
            let others = crate::support::s3_store::Upload { key: "new".into(), begun, ..Default::default() };
            store.uploads.insert("another writer's".into(), others);
        }
        bench.proxy.fail(1, "POST", "uploads", Fault::Swallow);
        bench.put("new", &noise(1, LARGE), PutOptions::new()).await.unwrap();
        let left: Vec<_> = bench.strict.store().uploads.keys().cloned().collect();
        assert_eq!(left, ["another writer's"], "{behind:?}");
    }
}
