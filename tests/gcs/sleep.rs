//! Machines that sleep in the middle of a write: what has no condition is not repeated over what others saved
//! meanwhile.

use std::time::Duration;

use persist::{
    Body, DeleteOptions, ErrorKind, PutMode, PutOptions, RetryConfig, SnapshotAdapter,
    adapters::gcs::GcsAdapter,
};

use crate::{
    strict::{BUCKET, Fault, Kind, Server},
    support::{config, data, key, retry},
    wire::meanwhile,
};

const DEADLINE: Duration = Duration::from_secs(1);

async fn setup() -> (Server, GcsAdapter) {
    let server = Server::start().await;
    let short = RetryConfig { deadline: DEADLINE, ..retry() };
    let store = GcsAdapter::open(BUCKET, &config(&server), &short).await.unwrap();
    (server, store)
}

/// The clock that runs stands still for longer than the deadline, the one on the wall does not, and a rival
/// saves.
fn sleep(server: &Server, name: &str) {
    tokio::time::pause();
    std::thread::sleep(DEADLINE + Duration::from_millis(100));
    tokio::time::resume();
    server.state().plant(name, "rival");
}

#[tokio::test]
async fn a_copy_is_not_repeated_over_what_came_while_the_machine_slept() {
    // In the first attempt, and between two steps.
    for faults in [vec![Fault::Status(429)], vec![Fault::Pass, Fault::Pass]] {
        for mode in [PutMode::Overwrite, PutMode::Create] {
            let (server, store) = setup().await;
            server.state().plant("from", "state");
            server.script(Kind::Rewrite, faults.clone());
            let (from, to) = (key("from"), key("to"));
            let copy = store.copy(&from, &store, &to, mode.clone());
            let slept = || sleep(&server, "to");
            let error = meanwhile(copy, || server.count(Kind::Metadata) > 0, slept).await.unwrap_err();
            // A condition tells by itself.
            let (kinds, rewrites) = match mode {
                PutMode::Create => (&[ErrorKind::AlreadyExists][..], if faults.len() == 1 { 2 } else { 1 }),
                _ => (&[ErrorKind::RateLimited, ErrorKind::Timeout][..], 1),
            };
            assert!(kinds.contains(&error.kind()), "{error}");
            assert_eq!(
                (server.count(Kind::Rewrite), server.bytes("to").unwrap()),
                (rewrites, b"rival".into())
            );
            server.clean();
        }
    }
}

#[tokio::test]
async fn an_upload_that_was_lost_while_the_machine_slept_is_not_begun_anew() {
    let state = data(2 * 256 * 1024, 1);
    for mode in [PutMode::Overwrite, PutMode::Create] {
        let (server, store) = setup().await;
        server.script(Kind::Data, [Fault::Forget(410)]);
        let options = PutOptions::new().mode(mode.clone());
        let name = key("k");
        let put = store.put(&name, Body::from(state.clone()), options);
        let error =
            meanwhile(put, || server.count(Kind::Start) > 0, || sleep(&server, "k")).await.unwrap_err();
        let kind = match mode {
            PutMode::Create => ErrorKind::AlreadyExists,
            _ => ErrorKind::Unavailable,
        };
        assert_eq!((error.kind(), server.count(Kind::Start)), (kind, 1), "{error}");
        assert_eq!(server.bytes("k").unwrap(), b"rival");
        server.clean();
    }
}

#[tokio::test]
async fn a_save_or_a_removal_is_not_repeated_over_what_came_while_the_machine_slept() {
    for removes in [false, true] {
        let (server, store) = setup().await;
        let kind = if removes { Kind::Delete } else { Kind::Multipart };
        server.script(kind, [Fault::Status(429)]);
        let name = key("k");
        let work = async {
            if removes {
                store.delete(&name, DeleteOptions::new()).await
            } else {
                store.put(&name, Body::from("state"), PutOptions::new()).await.map(drop)
            }
        };
        let error = meanwhile(work, || server.connections() > 0, || sleep(&server, "k")).await.unwrap_err();
        assert_eq!((error.kind(), server.count(kind)), (ErrorKind::RateLimited, 1), "{error}");
        assert_eq!(server.bytes("k").unwrap(), b"rival");
        server.clean();
    }
}
