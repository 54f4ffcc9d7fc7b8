//! Signs the claim of a service account (RFC 7523) with `yup-oauth2`.
//!
//! That crate signs only within a request for a token that it sends itself, and it does not look at the
//! answer's status. So it gets a connection in memory, which keeps the request. The request goes out by the
//! one client that all others use: with its proxy, its time limits, and an eye on status and `Retry-After`.

use std::{
    convert::Infallible,
    future::{Ready, ready},
    io,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard},
    task::{Context, Poll, Waker},
};

use hyper_util::{
    client::legacy::{
        Client,
        connect::{Connected, Connection},
    },
    rt::{TokioExecutor, TokioIo},
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tower_service::Service;
use yup_oauth2::{
    CustomHyperClientBuilder, ServiceAccountAuthenticator, ServiceAccountKey, authenticator::Authenticator,
};

use crate::lock::lock;

/// What the crate takes for a token.
const ANSWER: &[u8] =
    b"HTTP/1.1 200 OK\r\ncontent-length: 57\r\n\r\n{\"access_token\":\"-\",\"token_type\":\"Bearer\",\"expires_in\":9}";

/// The form that a token endpoint wants to see, with a claim that is signed now.
pub(super) async fn form(key: ServiceAccountKey, scope: &str) -> io::Result<String> {
    let memory = Memory::default();
    let authenticator = authenticator(key, memory.clone()).await?;
    authenticator.token(&[scope]).await.map_err(io::Error::other)?;
    memory.form().ok_or_else(|| io::Error::other("no request was made"))
}

/// Whether the key can sign.
pub(super) async fn check(key: ServiceAccountKey) -> io::Result<()> {
    authenticator(key, Memory::default()).await.map(drop)
}

async fn authenticator(key: ServiceAccountKey, memory: Memory) -> io::Result<Authenticator<Memory>> {
    let client = Client::builder(TokioExecutor::new()).pool_max_idle_per_host(0).build(memory);
    ServiceAccountAuthenticator::with_client(key, CustomHyperClientBuilder::from(client)).build().await
}

/// A request as it was written.
#[derive(Clone, Default)]
struct Memory(Arc<Mutex<Vec<u8>>>);

impl Memory {
    fn written(&self) -> MutexGuard<'_, Vec<u8>> {
        lock(&self.0)
    }

    /// The body, when all of it is there.
    fn form(&self) -> Option<String> {
        let written = self.written();
        let (head, body) = std::str::from_utf8(&written).ok()?.split_once("\r\n\r\n")?;
        let mut headers = head.lines().filter_map(|line| line.split_once(':'));
        let (_, length) = headers.find(|(name, _)| name.eq_ignore_ascii_case("content-length"))?;
        (length.trim().parse() == Ok(body.len())).then(|| body.to_owned())
    }
}

/// Wherever the crate wants to connect to.
impl<Address> Service<Address> for Memory {
    type Response = TokioIo<InMemory>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Address) -> Self::Future {
        ready(Ok(TokioIo::new(InMemory { memory: self.clone(), answer: ANSWER, reader: None })))
    }
}

/// A connection that keeps what is written, and answers when it is all there.
struct InMemory {
    memory: Memory,
    answer: &'static [u8],
    reader: Option<Waker>,
}

impl AsyncWrite for InMemory {
    fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.memory.written().extend_from_slice(bytes);
        if let Some(reader) = self.reader.take() {
            reader.wake();
        }
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

impl AsyncRead for InMemory {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.memory.form().is_none() {
            self.reader = Some(cx.waker().clone());
            return Poll::Pending;
        }
        let (now, later) = self.answer.split_at(self.answer.len().min(into.remaining()));
        into.put_slice(now);
        self.answer = later;
        Poll::Ready(Ok(()))
    }
}

impl Connection for InMemory {
    fn connected(&self) -> Connected {
        Connected::new()
    }
}
