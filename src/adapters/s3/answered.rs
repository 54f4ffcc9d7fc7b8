//! Whether an answer has begun, and when.

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

use crate::lock::lock;

/// The server's clock at its answer: neither PutObject nor CompleteMultipartUpload tells when the object was written.
#[derive(Debug, Clone, Default)]
pub(super) struct Answered(Arc<Mutex<Option<SystemTime>>>);

impl Answered {
    pub(super) fn time(&self) -> SystemTime {
        self.seen().unwrap_or_else(SystemTime::now)
    }

    /// Resolves when no answer has begun after `limit`.
    pub(super) async fn none_for(&self, limit: Duration) {
        tokio::time::sleep(limit).await;
        if self.seen().is_some() {
            std::future::pending().await
        }
    }

    fn seen(&self) -> Option<SystemTime> {
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
        *lock(&self.0) = Some(time);
        Ok(())
    }
}
