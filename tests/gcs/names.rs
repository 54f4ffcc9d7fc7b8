//! Names on the wire.

use futures_util::TryStreamExt;
use persist::{DeleteOptions, ListOptions, PutMode, PutOptions, SnapshotAdapter, Tier};

use crate::{
    strict::{Kind, Server},
    support::{data, key, open, read, streamed},
};

/// As keys may be.
const NAME: &str = "a/b+c d%41/é😀?#[]*&=;'\"\\~-_.x";
/// What the start of it would be to a server that reads `+` as a space and `%41` as `A`.
const MISREAD: &str = "a/b c dA/é😀";

#[tokio::test]
async fn every_byte_but_unreserved_ones_is_encoded() {
    let server = Server::start().await;
    let store = open(&server).await;
    let put = store.put(&key(NAME), "state".into(), PutOptions::new()).await.unwrap();
    assert_eq!(store.head(&key(NAME)).await.unwrap(), put);
    assert_eq!(read(&store, NAME).await.unwrap(), "state");
    let paths: Vec<_> = server.logged(Kind::Metadata).into_iter().map(|request| request.path).collect();
    let encoded = "/storage/v1/b/strict-bucket/o/a%2Fb%2Bc%20d%2541%2F%C3%A9%F0%9F%98%80%3F%23%5B%5D%2A%26%3D%3B%27%22%5C~-_.x";
    assert!(!paths.is_empty() && paths.iter().all(|path| path == encoded), "{paths:?}");
    server.clean();
}

#[tokio::test]
async fn every_operation_means_the_name_that_it_was_given() {
    let server = Server::start().await;
    let store = open(&server).await;
    let names = |server: &Server| server.state().objects.keys().cloned().collect::<Vec<_>>();
    let bytes = data(600_000, 1);
    store.put(&key(NAME), streamed(&bytes), PutOptions::new()).await.unwrap();
    assert_eq!((names(&server), server.bytes(NAME).unwrap()), (vec![NAME.to_owned()], bytes.to_vec()));
    store.set_tier(&key(NAME), Tier::Cool).await.unwrap();
    let copy = format!("{NAME}/+ %2F");
    store.copy(&key(NAME), &store, &key(&copy), PutMode::Create).await.unwrap();
    assert_eq!(names(&server), [NAME, &copy]);
    // A listing's prefix, its start, and the token of its pages.
    server.state().plant(MISREAD, "another");
    let list = async |options| {
        let rows: Vec<_> = store.list(options).try_collect().await.unwrap();
        rows.iter().map(|row| row.name().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(list(ListOptions::new().prefix("a/b+c d%41/é")).await, [NAME, &copy]);
    assert_eq!(list(ListOptions::new().start_after(NAME)).await, [copy.as_str()]);
    store.delete(&key(&copy), DeleteOptions::new()).await.unwrap();
    store.delete(&key(NAME), DeleteOptions::new()).await.unwrap();
    assert_eq!(names(&server), [MISREAD]);
    server.clean();
}
