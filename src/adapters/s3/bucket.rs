//! A bucket and how requests are made to it: each attempt timed and classified, all of them counted by the
//! one retry loop.

use std::{future::Future, sync::Arc, time::Duration};

use aws_sdk_s3::{
    Client,
    config::http::HttpResponse,
    error::{ProvideErrorMetadata, SdkError},
};

use super::{
    client::Shared,
    errors::{self, Failure},
    fail::fail,
    names,
    progress::Progress,
    server::Server,
};
use crate::{ErrorKind, Key, Result, RetryBudget, RetryConfig, Version, retry, retry::retry_unseen};

/// What every operation works on.
#[derive(Debug, Clone)]
pub(super) struct Bucket {
    pub(super) name: String,
    pub(super) shared: Arc<Shared>,
    pub(super) retry: RetryConfig,
    /// That of all operations of the client, but for clean-ups.
    pub(super) budget: Arc<RetryBudget>,
    pub(super) server: Server,
}

impl Bucket {
    /// This bucket for a clean-up, which has retries of its own: the storm that a save failed in has used up
    /// all others, and what is left behind is billed.
    pub(super) fn cleaning_up(&self) -> Bucket {
        Bucket { budget: Arc::default(), ..self.clone() }
    }

    pub(super) fn client(&self) -> &Client {
        &self.shared.client
    }

    /// One attempt, of at most `limit`.
    pub(super) async fn send<T, E>(
        &self,
        operation: &'static str,
        limit: Duration,
        request: impl Future<Output = Result<T, SdkError<E, HttpResponse>>> + Send,
    ) -> Result<T, Failure>
    where
        E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
    {
        // Boxed, since the SDK's futures take many KB each.
        match tokio::time::timeout(limit, Box::pin(request)).await {
            Ok(Ok(output)) => Ok(output),
            Ok(Err(error)) => {
                Err(errors::failure(operation, error, &self.shared, self.server.names_requests))
            }
            Err(_) => Err(Failure::timeout(operation, limit, &self.shared)),
        }
    }

    /// One attempt that sends data: it ends where nothing moves for the limit of silence, and gets its time
    /// otherwise.
    pub(super) async fn send_data<T, E>(
        &self,
        operation: &'static str,
        bytes: u64,
        progress: &Progress,
        request: impl Future<Output = Result<T, SdkError<E, HttpResponse>>> + Send,
    ) -> Result<T, Failure>
    where
        E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
    {
        let silence = self.shared.settings.read_timeout;
        tokio::select! {
            biased;
            outcome = self.send(operation, self.shared.settings.attempt_limit(bytes), request) => outcome,
            () = progress.silent_for(silence) => Err(Failure::timeout(operation, silence, &self.shared)),
        }
    }

    /// Attempts until one succeeds or none is to follow. `attempt` gets the number of those that failed.
    pub(super) async fn retrying<T, F>(&self, attempt: impl FnMut(u32) -> F) -> Result<T>
    where
        F: Future<Output = Result<T>>,
    {
        retry(&self.retry, &self.budget, attempt).await
    }

    /// [`retrying`](Bucket::retrying) of what only reads, or shows to nobody: repeated also where the machine
    /// slept meanwhile.
    pub(super) async fn retrying_unseen<T, F>(&self, attempt: impl FnMut(u32) -> F) -> Result<T>
    where
        F: Future<Output = Result<T>>,
    {
        retry_unseen(&self.retry, &self.budget, attempt).await
    }

    /// Refuses a name that may be that of another object.
    ///
    /// # Errors
    /// `Unsupported`.
    pub(super) fn check_name(&self, name: &str) -> Result<()> {
        if !(name.contains('\\') && self.server.backslash == names::Backslash::Unknown) {
            Ok(())
        } else {
            Err(fail(
                ErrorKind::Unsupported,
                "some servers take a backslash for a slash, and what this one does could not be found out: it refuses such names, or these \
             credentials may not look; use names without it",
            ))
        }
    }

    /// The name of `key` on the server.
    pub(super) fn key(&self, key: &Key) -> String {
        names::to_server(key.as_str(), self.server.backslash)
    }
}

/// The version of an ETag, without its quotes, and without the mark of weak ones: proxies add that, and the
/// service behind them compares with what it gave.
pub(super) fn version(etag: Option<&str>) -> Version {
    let etag = etag.unwrap_or_default();
    let strong = etag.strip_prefix("W/").unwrap_or(etag);
    Version::new(strong.strip_prefix('"').and_then(|text| text.strip_suffix('"')).unwrap_or(strong))
}

/// The value of `If-Match` for a version.
///
/// # Errors
/// `Conflict` for what cannot be an ETag (RFC 9110 section 8.8.3): no object has that version.
pub(super) fn etag(version: &Version) -> Result<String> {
    let mark = version.as_str().strip_prefix("W/").unwrap_or(version.as_str());
    if !mark.trim_matches('"').bytes().all(|b| b.is_ascii_graphic() && b != b'"') {
        return Err(fail(ErrorKind::Conflict, "this version is not one that S3 gives"));
    }
    Ok(if mark.starts_with('"') { version.to_string() } else { format!("\"{version}\"") })
}
