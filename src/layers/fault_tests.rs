use std::{sync::Arc, time::Duration};

use futures_util::{FutureExt, TryStreamExt};
use tokio::sync::Notify;

use super::{Fault, Injection, Operation};
use crate::{
    Body, ErrorKind, GetOptions, Key, ListOptions, PutOptions, SnapshotAdapter, SnapshotAdapterExt,
    adapters::memory::MemoryAdapter,
};

fn store() -> (Fault, Key) {
    (Fault::new(Arc::new(MemoryAdapter::new())), Key::new("state").unwrap())
}

#[tokio::test]
async fn before_does_nothing_and_after_does_it() {
    let (store, key) = store();
    store.inject(Operation::Put, Injection::Before(ErrorKind::Timeout));
    let put = || store.put(&key, Body::from("state"), PutOptions::new());
    assert_eq!(put().await.unwrap_err().kind(), ErrorKind::Timeout);
    assert!(!store.exists(&key).await.unwrap());
    store.inject_later(Operation::Put, 1, Injection::After(ErrorKind::Unavailable));
    put().await.unwrap();
    store.delete(&key, Default::default()).await.unwrap();
    assert_eq!(put().await.unwrap_err().kind(), ErrorKind::Unavailable);
    assert!(store.exists(&key).await.unwrap());
    assert_eq!((store.calls(Operation::Put), store.calls(Operation::Head)), (3, 2));
}

#[tokio::test]
async fn bodies_and_listings_are_cut_and_changed() {
    let (store, key) = store();
    store.inject(Operation::Put, Injection::CutAfter(3));
    assert!(store.put(&key, Body::from("0123456789"), PutOptions::new()).await.is_err());
    assert!(!store.exists(&key).await.unwrap(), "a cut body was stored");
    store.put(&key, Body::from("0123456789"), PutOptions::new()).await.unwrap();

    store.inject(Operation::Get, Injection::CutAfter(3));
    let mut body = store.get(&key, GetOptions::new()).await.unwrap().body;
    assert_eq!(body.chunk().await.unwrap().unwrap(), "012");
    assert_eq!(body.chunk().await.unwrap_err().kind(), ErrorKind::Unavailable);
    store.inject(Operation::Get, Injection::Flip(1));
    let body = store.get(&key, GetOptions::new()).await.unwrap().body;
    assert_eq!(body.collect(10).await.unwrap(), "0023456789");

    store.inject(Operation::List, Injection::CutAfter(1));
    let mut rows = store.list(ListOptions::new());
    assert!(rows.try_next().await.unwrap().is_some() && rows.try_next().await.is_err());
}

#[tokio::test(start_paused = true)]
async fn a_held_writer_stalls_until_it_is_let_go() {
    let (store, key) = store();
    let gate = Arc::new(Notify::new());
    store.inject(Operation::Put, Injection::Hold(gate.clone()));
    let mut put = store.put(&key, Body::from("late"), PutOptions::new());
    tokio::time::sleep(Duration::from_secs(3600)).await;
    assert!((&mut put).now_or_never().is_none() && !store.exists(&key).await.unwrap());
    gate.notify_one();
    put.await.unwrap();
    assert!(store.exists(&key).await.unwrap());
}

#[tokio::test]
async fn a_seed_decides() {
    let run = async |seed| {
        let store = Fault::seeded(Arc::new(MemoryAdapter::new()), seed, 0.3);
        let mut outcomes = Vec::new();
        for n in 0..200 {
            outcomes.push(store.save("state", format!("state {n}")).await.is_ok());
        }
        store.heal();
        store.save("state", "healed").await.unwrap();
        outcomes
    };
    let first = run(1).await;
    assert_eq!(first, run(1).await);
    assert_ne!(first, run(2).await);
    let failed = first.iter().filter(|ok| !**ok).count();
    assert!((20..100).contains(&failed), "{failed} of 200 failed at a rate of 0.3");
}
