//! What the SDK's outputs do not tell of an answer: whether it has begun, when, and whether it is S3's at
//! all.

use std::{
    sync::{Arc, Mutex},
    time::{Duration, SystemTime},
};

use aws_sdk_s3::{
    config::{
        ConfigBag, Intercept, RuntimeComponents, interceptors::BeforeDeserializationInterceptorContextRef,
    },
    error::BoxError,
};
use aws_smithy_types::{DateTime, date_time::Format};

use super::{
    client::Shared,
    errors::Failure,
    genuine::{anothers, is_anothers},
};
use crate::lock::lock;

/// An answer as it began.
#[derive(Debug, Clone, Copy)]
struct Seen {
    /// The server's clock: neither PutObject nor CompleteMultipartUpload tells when the object was written.
    time: SystemTime,
    anothers: bool,
}

/// Watches one attempt for the head of its answer.
#[derive(Debug, Clone, Default)]
pub(super) struct Answered(Arc<Mutex<Option<Seen>>>);

impl Answered {
    pub(super) fn time(&self) -> SystemTime {
        self.seen().map_or_else(SystemTime::now, |seen| seen.time)
    }

    /// Refuses a success that has no content with S3 and came with that of another.
    pub(super) fn is_done(&self, operation: &'static str, shared: &Shared) -> Result<(), Failure> {
        match self.seen() {
            Some(Seen { anothers: true, .. }) => Err(anothers(operation, shared)),
            _ => Ok(()),
        }
    }

    /// Resolves when no answer has begun after `limit`.
    pub(super) async fn none_for(&self, limit: Duration) {
        tokio::time::sleep(limit).await;
        if self.seen().is_some() {
            std::future::pending().await
        }
    }

    fn seen(&self) -> Option<Seen> {
        *lock(&self.0)
    }
}

impl Intercept for Answered {
    fn name(&self) -> &'static str {
        "Answered"
    }

    fn read_before_deserialization(
        &self,
        context: &BeforeDeserializationInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> std::result::Result<(), BoxError> {
        let date = context.response().headers().get("date");
        let time = date.and_then(|date| DateTime::from_str(date, Format::HttpDate).ok());
        let time = time.and_then(|time| SystemTime::try_from(time).ok()).unwrap_or_else(SystemTime::now);
        let seen = Seen { time, anothers: is_anothers(context.response()) };
        *lock(&self.0) = Some(seen);
        Ok(())
    }
}
