//! Names on the wire.

use persist::{PutOptions, SnapshotAdapter};

use crate::{
    strict::{Kind, Server},
    support::{key, open, read},
};

#[tokio::test]
async fn every_byte_but_unreserved_ones_is_encoded() {
    let server = Server::start().await;
    let store = open(&server).await;
    let name = "a/b+c d%41/é😀?#[]*&=;'\"\\~-_.x";
    let put = store.put(&key(name), "state".into(), PutOptions::new()).await.unwrap();
    assert_eq!(store.head(&key(name)).await.unwrap(), put);
    assert_eq!(read(&store, name).await.unwrap(), "state");
    let paths: Vec<_> = server.logged(Kind::Metadata).into_iter().map(|request| request.path).collect();
    let encoded = "/storage/v1/b/strict-bucket/o/a%2Fb%2Bc%20d%2541%2F%C3%A9%F0%9F%98%80%3F%23%5B%5D%2A%26%3D%3B%27%22%5C~-_.x";
    assert!(!paths.is_empty() && paths.iter().all(|path| path == encoded), "{paths:?}");
    server.clean();
}
