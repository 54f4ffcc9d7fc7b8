//! One resumable upload session (<https://cloud.google.com/storage/docs/performing-resumable-uploads>): its
//! requests, and what the answers say about how much is stored.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use reqwest::{
    Method, Response, StatusCode,
    header::{CONTENT_RANGE, HeaderMap, HeaderName, HeaderValue, LOCATION, RANGE},
};
use tokio::runtime::Handle;
use url::Url;

use super::{
    client::{Call, Client, parse},
    errors::Failure,
    model::{Resource, checksum_text},
};
use crate::{
    Error, ErrorKind, Result, cleanup,
    http::{self, Payload},
};

/// Longest wait for the end of an abandoned session: it costs nothing to leave one behind, the service
/// forgets it after a week.
const CANCEL: Duration = Duration::from_secs(5);

/// How far the service is.
#[derive(Debug)]
pub(super) enum Progress {
    /// So many bytes from the start are stored for good.
    Stored(u64),
    /// The object is there.
    Done(Box<Resource>),
}

/// An open session. Its URL is a secret: whoever has it can write. Dropping it ends the session.
pub(super) struct UploadSession {
    client: Arc<Client>,
    url: Url,
    headers: HeaderMap,
    /// Whether it began with a condition, which is checked at its end.
    conditional: bool,
    /// Where to end it: it may be dropped on a thread that belongs to no runtime.
    runtime: Handle,
    open: bool,
}

impl std::fmt::Debug for UploadSession {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("UploadSession(…)")
    }
}

impl UploadSession {
    /// Begins a session with a `POST` that has everything but the data.
    pub(super) async fn start(client: Arc<Client>, call: Call) -> Result<Self, Failure> {
        let conditional = call.conditional;
        let answer = client.send(call).await?;
        let lost = |message: &str| Failure::unsent(Error::new(ErrorKind::Unavailable, message));
        let location = answer.headers().get(LOCATION).and_then(|url| url.to_str().ok());
        let location = location.ok_or_else(|| lost("the service began an upload and did not say where"))?;
        let url =
            client.settings.base.join(location).map_err(|_| lost("the service began an upload at no URL"))?;
        if !client.takes_data(&url) {
            let message = format!(
                "the service began the upload at {}, which is not the endpoint, so nothing was sent there; check what is between",
                url.origin().ascii_serialization()
            );
            return Err(Failure::unsent(Error::new(ErrorKind::Unsupported, message)));
        }
        let headers = client.settings.encryption.headers();
        Ok(UploadSession { client, url, headers, conditional, runtime: Handle::current(), open: true })
    }

    /// Sends the bytes from `from` on. `total` is the object's size, given with the last bytes only, and its
    /// checksum.
    pub(super) async fn send(
        &self,
        from: u64,
        data: Payload,
        total: Option<(u64, u32)>,
    ) -> Result<Progress, Failure> {
        let size = total.map_or_else(|| "*".into(), |(size, _)| size.to_string());
        let range = match data.len() {
            0 => format!("bytes */{size}"),
            len => format!("bytes {from}-{}/{size}", from + len - 1),
        };
        let mut call = self.call(Method::PUT, &range).payload(data);
        if let Some((_, crc32c)) = total
            && let Ok(hash) = HeaderValue::from_str(&format!("crc32c={}", checksum_text(crc32c)))
        {
            // The service compares before it stores.
            call = call.header(HeaderName::from_static("x-goog-hash"), hash);
        }
        self.progress(call).await
    }

    /// Asks how far the service is.
    pub(super) async fn probe(&self) -> Result<Progress, Failure> {
        self.progress(self.call(Method::PUT, "bytes */*").payload(Bytes::new())).await
    }

    async fn progress(&self, mut call: Call) -> Result<Progress, Failure> {
        (call.conditional, call.progress) = (self.conditional, true);
        let answer = self.client.send(call).await?;
        if answer.status() == StatusCode::PERMANENT_REDIRECT {
            return stored(&answer).map(Progress::Stored);
        }
        let body =
            http::text(answer, 1024 * 1024, self.client.settings.timeout).await.map_err(Failure::unread)?;
        Ok(Progress::Done(Box::new(parse(&body).map_err(Failure::unread)?)))
    }

    fn call(&self, method: Method, range: &str) -> Call {
        let call = Call::session(method, self.url.clone()).headers(self.headers.clone());
        match HeaderValue::from_str(range) {
            Ok(range) => call.header(CONTENT_RANGE, range),
            Err(_) => call,
        }
    }

    /// The session has ended by itself; there is nothing to cancel.
    pub(super) fn ended(&mut self) {
        self.open = false;
    }

    /// Ends the session and throws away what it has stored. No answer is no harm.
    pub(super) async fn cancel(mut self) {
        cancel(self.client.clone(), self.url.clone()).await;
        // Only now: whoever is dropped while it waits has the drop below to end the session.
        self.open = false;
    }
}

impl Drop for UploadSession {
    fn drop(&mut self) {
        if self.open {
            cleanup::spawn(&self.runtime, cancel(self.client.clone(), self.url.clone()));
        }
    }
}

async fn cancel(client: Arc<Client>, url: Url) {
    // The answer is 499; what it is does not matter.
    let call = Call::session(Method::DELETE, url).payload(Bytes::new());
    let _ = tokio::time::timeout(CANCEL, client.send(call)).await;
}

/// How many bytes a 308 acknowledges. Without a `Range` that is none.
fn stored(answer: &Response) -> Result<u64, Failure> {
    let Some(range) = answer.headers().get(RANGE) else { return Ok(0) };
    let end =
        range.to_str().ok().and_then(|range| range.trim().strip_prefix("bytes=0-")?.parse::<u64>().ok());
    end.and_then(|end| end.checked_add(1)).ok_or_else(|| {
        let message = "the service's word on the upload's progress cannot be understood";
        Failure::unread(Error::new(ErrorKind::Unavailable, message))
    })
}
