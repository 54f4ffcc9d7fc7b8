//! One attempt at a request.

use std::{
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime},
};

use bytes::{Bytes, BytesMut};
use futures_util::stream::try_unfold;
use reqwest::{
    RequestBuilder, Response,
    header::{CONTENT_LENGTH, DATE, HeaderMap, RETRY_AFTER},
};
use tokio::time::Instant;

use super::Payload;
use crate::{Body, Error, ErrorKind, Result, tls::untrusted};

/// Of a body that was handed over whole, at most so many bytes are still on their way: in buffers here, and
/// in those of the operating system.
const UNSEEN: u64 = 5 * 1024 * 1024;
/// A line is allowed to be so slow, in bytes a second.
const SLOW: u64 = 64 * 1024;
/// An answer that is read whole may take so many times the longest silence.
const MOST_SILENCES: u32 = 10;
/// The most memory that is taken for bytes that have not come yet.
const ROOM: usize = 64 * 1024;

/// An attempt that brought no answer.
#[derive(Debug)]
pub(crate) struct Lost {
    /// What happened.
    pub(crate) error: Error,
    /// Whether the server may have got the request, and so may have acted on it.
    pub(crate) sent: bool,
}

/// Sends a request and waits for the head of the answer. The attempt ends with `Timeout` when neither a byte
/// was taken nor an answer came for `quiet`: a large body on a slow line takes its time, a dead connection
/// does not. Of the last bytes nothing is seen any more: they have the time that they take on a slow line.
pub(crate) async fn send(
    request: RequestBuilder,
    payload: Option<Payload>,
    quiet: Duration,
) -> Result<Response, Lost> {
    let moved = Arc::new(AtomicU64::new(0));
    let len = payload.as_ref().map_or(0, Payload::len);
    let request = match payload {
        // By hand: an upload without a byte says so.
        Some(payload) if payload.len() == 0 => request.header(CONTENT_LENGTH, 0),
        Some(payload) => request.body(payload.into_body(moved.clone())),
        None => request,
    };
    let sending = request.send();
    tokio::pin!(sending);
    let (mut seen, mut unseen) = (0, false);
    loop {
        let wait = if unseen { Duration::from_millis(len.min(UNSEEN) * 1000 / SLOW) } else { quiet };
        match tokio::time::timeout(wait, &mut sending).await {
            Ok(Ok(response)) => return Ok(response),
            Ok(Err(error)) => {
                let sent = !error.is_connect() && !error.is_builder();
                return Err(Lost { error: describe(error), sent });
            }
            Err(_) => match moved.load(Ordering::Relaxed) {
                now if now != seen => seen = now,
                now if now == len && len > 0 && !unseen => unseen = true,
                _ => {
                    return Err(Lost {
                        error: silent(if unseen { quiet + wait } else { quiet }),
                        sent: true,
                    });
                }
            },
        }
    }
}

/// The answer's body, which ends with `Timeout` when no byte came for `quiet`.
pub(crate) fn body(response: Response, quiet: Duration) -> Body {
    Body::from_stream(try_unfold(response, move |mut response| async move {
        Ok(chunk(&mut response, quiet).await?.map(|chunk| (chunk, response)))
    }))
}

/// An answer's body as bytes, at most `most` of them; the rest is left. It ends with `Timeout` as [`body`],
/// and after ten times `quiet` in all.
pub(crate) async fn text(response: Response, most: usize, quiet: Duration) -> Result<Bytes> {
    let (came, end) = read(response, most, quiet).await;
    end.map(|()| came)
}

/// As [`text`]: the bytes that came, and whether they are all or what broke them off.
pub(crate) async fn read(mut response: Response, most: usize, quiet: Duration) -> (Bytes, Result<()>) {
    let whole = response.content_length().unwrap_or_default().min(most as u64) as usize;
    let (mut all, mut started) = (BytesMut::new(), None);
    loop {
        match chunk(&mut response, quiet).await {
            // In one piece, which needs no copy.
            Ok(Some(chunk)) if all.is_empty() && whole > 0 && chunk.len() == whole => return (chunk, Ok(())),
            Ok(Some(chunk)) => {
                // An announced length may be anything.
                all.reserve(chunk.len().max(whole.min(ROOM).saturating_sub(all.len())));
                all.extend_from_slice(&chunk);
                if all.len() >= most {
                    all.truncate(most);
                    return (all.freeze(), Ok(()));
                }
            }
            Ok(None) => return (all.freeze(), Ok(())),
            Err(error) => return (all.freeze(), Err(error)),
        }
        if started.get_or_insert_with(Instant::now).elapsed() > quiet.saturating_mul(MOST_SILENCES) {
            let message = format!(
                "the answer was not whole after {} s; raise the timeout if the line is that slow",
                quiet.saturating_mul(MOST_SILENCES).as_secs_f32()
            );
            return (all.freeze(), Err(Error::new(ErrorKind::Timeout, message)));
        }
    }
}

/// The service's wish for the next attempt (RFC 9110 section 10.2.3), as seconds or as a date.
pub(crate) fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let value = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = value.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let now = server_time(headers).unwrap_or_else(SystemTime::now);
    Some(http_date(value)?.duration_since(now).unwrap_or_default())
}

/// The server's clock when it answered, in whole seconds.
pub(crate) fn server_time(headers: &HeaderMap) -> Option<SystemTime> {
    http_date(headers.get(DATE)?.to_str().ok()?)
}

/// RFC 9110 section 5.6.7, the one form that servers must send.
fn http_date(text: &str) -> Option<SystemTime> {
    Some(jiff::fmt::rfc2822::parse(text).ok()?.timestamp().into())
}

async fn chunk(response: &mut Response, quiet: Duration) -> Result<Option<Bytes>> {
    within(quiet, response.chunk()).await?.map_err(describe)
}

async fn within<T>(quiet: Duration, future: impl Future<Output = T>) -> Result<T> {
    tokio::time::timeout(quiet, future).await.map_err(|_| silent(quiet))
}

fn silent(quiet: Duration) -> Error {
    let message = format!(
        "nothing was sent or received for {} s; raise the timeout if the line is that slow",
        quiet.as_secs_f32()
    );
    Error::new(ErrorKind::Timeout, message)
}

/// What the client library says, without the URL: that of an upload session is a secret.
fn describe(error: reqwest::Error) -> Error {
    let error = error.without_url();
    if let Some((kind, message)) = untrusted(&error) {
        return Error::new(kind, message).with_source(error);
    }
    let (kind, message) = match &error {
        e if e.is_builder() => (ErrorKind::Internal, "the request cannot be built"),
        e if e.is_timeout() => (ErrorKind::Timeout, "the connection could not be made in time"),
        e if e.is_connect() => {
            (ErrorKind::Unavailable, "the server cannot be reached; check the endpoint and the network")
        }
        // A reset in the middle of a body comes as "decode" from reqwest: not a reason to give up.
        _ => (ErrorKind::Unavailable, "the connection broke"),
    };
    Error::new(kind, message).with_source(error)
}
