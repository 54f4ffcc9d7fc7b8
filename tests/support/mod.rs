//! What several integration tests share. Each uses a part of it.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used)]

pub mod http1;
pub mod proxy;
#[cfg(feature = "s3")]
pub mod s3;
#[cfg(feature = "s3")]
pub mod s3_access;
#[cfg(feature = "s3")]
pub mod s3_server;
#[cfg(feature = "s3")]
pub mod s3_store;
pub mod small;

pub use small::Seeded;

/// The environment variable `name`, which `scripts/services up` prints.
///
/// A missing server fails the test; it is never passed over.
pub fn service(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| {
        panic!(
            "{name} is not set: start the servers with `eval \"$(scripts/services up)\"`, or run scripts/test"
        )
    })
}

/// Runs `work`, and `then` as soon as something has `happened` meanwhile.
///
/// Work that ends before is a failure: to wait on would be for ever.
pub async fn meanwhile<T>(
    work: impl Future<Output = T>,
    happened: impl Fn() -> bool,
    then: impl FnOnce(),
) -> T {
    let mut work = std::pin::pin!(work);
    while !happened() {
        tokio::select! {
            biased;
            _ = &mut work => panic!("it ended before that happened"),
            () = tokio::task::yield_now() => {}
        }
    }
    then();
    work.await
}

/// An address at which nobody listens, for as long as what comes with it lives: the port is taken.
pub fn nobody() -> (std::net::SocketAddr, tokio::net::TcpSocket) {
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind(([127, 0, 0, 1], 0).into()).unwrap();
    (socket.local_addr().unwrap(), socket)
}
