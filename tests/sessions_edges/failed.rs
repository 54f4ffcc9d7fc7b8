//! Prunes that fail, at any of their requests: the announcement is taken back before the caller hears of it,
//! and nothing that is needed goes by a decision of which nobody knows whether it was stored.

use std::{
    fmt,
    sync::{Arc, Mutex},
};

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::stream::BoxStream;
use persist::{
    Body, Capabilities, DeleteOptions, Error, ErrorKind, GetOptions, Key, ListEntry, ListOptions, Object,
    ObjectMeta, PutOptions, Result, SnapshotAdapter, Tier,
    layers::{Injection, Operation},
    sessions::*,
};

use super::{
    Bench,
    sessions_support::{Aged, noise, seqs},
};

fn keep() -> Retention {
    Retention::new().last(1)
}

/// Six commits, the second tagged, all of which a prune may remove.
async fn six(seed: u64) -> Bench {
    let bench = Bench::new(seed);
    let session = bench.unrelated("s", 6).await;
    session.tag("second", 2).await.unwrap();
    bench.hours(5);
    bench
}

async fn has(bench: &Bench, left: &[u64]) {
    let reader = bench.session("s");
    assert_eq!(seqs(&reader).await, left);
    for seq in left {
        assert!(reader.load(*seq).await.unwrap().state == noise(*seq, 600));
    }
    assert!(reader.verify().await.unwrap().is_good());
}

#[tokio::test]
async fn a_prune_that_fails_holds_nobody_up() {
    let (before, after) =
        (Injection::Before(ErrorKind::Unavailable), Injection::After(ErrorKind::Unavailable));
    let (mut failed, mut decided) = (0, 0);
    for (operation, injection) in [
        (Operation::Put, &before),
        (Operation::Put, &after),
        (Operation::Get, &before),
        (Operation::Head, &before),
        (Operation::List, &before),
        (Operation::Delete, &before),
        (Operation::Delete, &after),
    ] {
        for at in 0.. {
            let bench = six(140).await;
            let (fault, sessions) = bench.faulty();
            fault.inject_later(operation, at, injection.clone());
            let outcome = sessions.session("a", "s").unwrap().prune(keep()).await;
            if fault.calls(operation) <= at {
                assert!(outcome.is_ok() && at > 0, "{operation:?}");
                break;
            }
            failed += usize::from(outcome.is_err());
            decided += usize::from(outcome.is_err() && seqs(&bench.session("s")).await == [6, 2]);
            bench.session("s").prune(keep()).await.unwrap_or_else(|error| {
                panic!("{operation:?} {at}: {error}");
            });
            has(&bench, &[6, 2]).await;
        }
    }
    assert!(failed > 15 && decided > 4, "{failed} {decided}");
}

type Held = (Key, Bytes, PutOptions);

/// A storage whose answer to a prune's decision is lost, and which does that later, or never.
#[derive(Clone)]
struct Late {
    inner: Arc<Aged>,
    state: Arc<Mutex<(usize, Option<Held>)>>,
    /// It comes while the announcement is taken back: behind its read, and before its write.
    beside: bool,
}

impl Late {
    /// What the decision meets when it comes.
    async fn arrives(&self) -> Result<ObjectMeta> {
        let held = self.state.lock().unwrap().1.take();
        let (key, bytes, options) = held.unwrap();
        self.inner.put(&key, bytes.into(), options).await
    }
}

impl fmt::Debug for Late {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Late")
    }
}

impl fmt::Display for Late {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}

#[async_trait]
impl SnapshotAdapter for Late {
    fn capabilities(&self) -> Capabilities {
        self.inner.capabilities()
    }
    async fn put(&self, key: &Key, body: Body, options: PutOptions) -> Result<ObjectMeta> {
        let number = {
            let mut state = self.state.lock().unwrap();
            state.0 += 1;
            state.0
        };
        match number {
            2 => {
                let bytes = body.collect(u64::MAX).await?;
                self.state.lock().unwrap().1 = Some((key.clone(), bytes, options));
                return Err(Error::new(ErrorKind::Timeout, "no answer"));
            }
            3 if self.beside => {
                self.arrives().await?;
            }
            _ => {}
        }
        self.inner.put(key, body, options).await
    }
    async fn get(&self, key: &Key, options: GetOptions) -> Result<Object> {
        self.inner.get(key, options).await
    }
    async fn head(&self, key: &Key) -> Result<ObjectMeta> {
        self.inner.head(key).await
    }
    async fn delete(&self, key: &Key, options: DeleteOptions) -> Result<()> {
        self.inner.delete(key, options).await
    }
    fn list(&self, options: ListOptions) -> BoxStream<'_, Result<ListEntry>> {
        self.inner.list(options)
    }
    async fn set_tier(&self, key: &Key, tier: Tier) -> Result<()> {
        self.inner.set_tier(key, tier).await
    }
}

/// A prune of `bench` whose decision gets no answer.
async fn unanswered(bench: &Bench, beside: bool) -> Late {
    let inner = Arc::new(Aged { inner: bench.adapter.clone(), clock: bench.clock.clone() });
    let late = Late { inner, state: Arc::default(), beside };
    let sessions = Sessions::new(Arc::new(late.clone())).unwrap().clock(bench.clock.clone());
    let error = sessions.session("a", "s").unwrap().prune(keep()).await.unwrap_err();
    assert_eq!((error.kind(), error.operation()), (ErrorKind::Timeout, Some("prune")));
    late
}

/// A tag that comes in between sees no announcement, so a decision that did not see the tag must not count.
#[tokio::test]
async fn a_decision_that_comes_late_removes_nothing() {
    let bench = six(141).await;
    let late = unanswered(&bench, false).await;
    bench.session("s").tag("fourth", 4).await.unwrap();
    assert_eq!(late.arrives().await.unwrap_err().kind(), ErrorKind::Conflict);
    has(&bench, &[6, 5, 4, 3, 2, 1]).await;
    assert_eq!(bench.session("s").prune(keep()).await.unwrap().removed, [5, 3, 1]);
    has(&bench, &[6, 4, 2]).await;
}

/// It counts then, and is not undone: what it has given up is no history again.
#[tokio::test]
async fn a_decision_that_comes_beside_its_undoing_stands() {
    let bench = six(142).await;
    unanswered(&bench, true).await;
    has(&bench, &[6, 2]).await;
    let error = bench.session("s").tag("fourth", 4).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    bench.session("s").prune(keep()).await.unwrap();
    assert!(bench.keys("-4").await.is_empty());
    has(&bench, &[6, 2]).await;
}
