//! Uploads that were begun and neither completed nor removed: they are billed and show in no listing of
//! objects.

use std::time::{Duration, SystemTime};

use aws_sdk_s3::{operation::list_multipart_uploads::ListMultipartUploadsOutput, types::EncodingType};

use super::{answered::Answered, bucket::Bucket, fail::fail, list::decoded, names};
use crate::{ErrorKind, Key, Result};

/// How often an upload is removed again whose parts were under way.
const LATE_ABORTS: u32 = 3;

/// An unfinished multipart upload.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Upload {
    /// The object that it would become. Not a [`Key`]: another program may have begun it.
    pub name: String,
    /// S3's name for the upload.
    pub id: String,
    /// When it was begun, by the service's clock. Not every server tells.
    pub begun: Option<SystemTime>,
    /// How long ago that was when it was listed, by the same clock.
    pub age: Option<Duration>,
}

impl Bucket {
    /// All unfinished uploads of objects whose name starts with `prefix`.
    pub(super) async fn uploads(&self, prefix: &str) -> Result<Vec<Upload>> {
        Ok(self.uploads_now(prefix).await?.0)
    }

    /// With the time that it is for the service.
    async fn uploads_now(&self, prefix: &str) -> Result<(Vec<Upload>, SystemTime)> {
        let answered = Answered::default();
        let prefix = names::to_server(prefix, self.server.backslash);
        let (mut found, mut after) = (Vec::new(), (None::<String>, None::<String>));
        loop {
            let page = self
                .retrying_unseen(|_| async {
                    let (key, id) = after.clone();
                    let request = self
                        .client()
                        .list_multipart_uploads()
                        .bucket(&self.name)
                        .prefix(&prefix)
                        .set_key_marker(key)
                        .set_upload_id_marker(id)
                        // As in listings of objects.
                        .set_encoding_type(self.server.amazon.then_some(EncodingType::Url))
                        .set_request_payer(self.shared.settings.payer.clone());
                    let request = request.customize().interceptor(answered.clone()).send();
                    Ok(self.send("list_uploads", self.shared.silence_limit(), request).await?)
                })
                .await?;
            let now = answered.time();
            let plain = |name: &str| self.plain(&page, name);
            found.extend(page.uploads().iter().filter_map(|upload| {
                let begun = upload.initiated().and_then(|time| SystemTime::try_from(*time).ok());
                Some(Upload {
                    name: names::from_server(&plain(upload.key()?), self.server.backslash),
                    id: upload.upload_id()?.to_string(),
                    begun,
                    // One that begins in this second may have begun behind the answer's.
                    age: begun.map(|begun| now.duration_since(begun).unwrap_or_default()),
                })
            }));
            if page.is_truncated() != Some(true) {
                return Ok((found, now));
            }
            // SeaweedFS gives the second marker alone, and goes on with it.
            let next = (
                page.next_key_marker().filter(|key| !key.is_empty()).map(plain),
                page.next_upload_id_marker().filter(|id| !id.is_empty()).map(str::to_string),
            );
            if next == (None, None) || next == after {
                return Err(fail(
                    ErrorKind::Unsupported,
                    "the server cannot go on with its unfinished uploads behind the first page (ListMultipartUploads)",
                ));
            }
            after = next;
        }
    }

    /// A name as it is. XML cannot hold every character of one.
    fn plain(&self, page: &ListMultipartUploadsOutput, name: &str) -> String {
        let encoded = self.server.amazon && page.encoding_type() == Some(&EncodingType::Url);
        if encoded { decoded(name) } else { name.into() }
    }

    /// The unfinished uploads of one object, and the time that it is for the service.
    pub(super) async fn uploads_of(&self, key: &Key) -> Result<(Vec<Upload>, SystemTime)> {
        let (mut uploads, now) = self.uploads_now(key.as_str()).await?;
        uploads.retain(|upload| upload.name == key.as_str());
        Ok((uploads, now))
    }

    pub(super) async fn has_parts(&self, key: &Key, id: &str) -> Result<bool> {
        let name = self.key(key);
        let output = self
            .retrying_unseen(|_| async {
                let request = self
                    .client()
                    .list_parts()
                    .bucket(&self.name)
                    .key(&name)
                    .upload_id(id)
                    .max_parts(1)
                    .set_request_payer(self.shared.settings.payer.clone());
                Ok(self.send("list_parts", self.shared.silence_limit(), request.send()).await?)
            })
            .await?;
        Ok(!output.parts().is_empty())
    }

    /// Removes an upload and its parts. One that is gone is removed.
    pub(super) async fn abort(&self, name: &str, id: &str) -> Result<()> {
        if id.is_empty() {
            return Err(fail(ErrorKind::InvalidInput, "an upload has an id; `list_uploads` gives it"));
        }
        self.check_name(name)?;
        let name = names::to_server(name, self.server.backslash);
        self.retrying_unseen(|_| async {
            let request = self
                .client()
                .abort_multipart_upload()
                .bucket(&self.name)
                .key(&name)
                .upload_id(id)
                .set_request_payer(self.shared.settings.payer.clone());
            let answered = Answered::default();
            let request = request.customize().interceptor(answered.clone()).send();
            let sent = self.send("abort_upload", self.shared.silence_limit(), request).await;
            match sent.and_then(|_| answered.is_done("abort_upload", &self.shared)) {
                Ok(()) => Ok(()),
                Err(failure) if failure.not_found() => Ok(()),
                Err(failure) => Err(failure.into()),
            }
        })
        .await
    }

    /// Removes what a part has left that was under way when its upload was removed: S3 may keep it, and wants
    /// to be told again.
    pub(super) async fn abort_late_parts(&self, key: &Key, id: &str) {
        for _ in 0..LATE_ABORTS {
            // An upload that is gone is an error here, and so is one that these credentials may not look at.
            if !matches!(self.has_parts(key, id).await, Ok(true)) {
                return;
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
            self.abort_logged(key, id).await;
        }
        if matches!(self.has_parts(key, id).await, Ok(true)) {
            tracing::warn!(
                key = key.logged(),
                "parts of an unfinished upload may be left; `persist doctor --clean-uploads` removes them later"
            );
        }
    }

    pub(super) async fn abort_logged(&self, key: &Key, id: &str) {
        if let Err(error) = self.abort(key.as_str(), id).await {
            tracing::warn!(
                kind = %error.kind(),
                key = key.logged(),
                "an unfinished upload could not be removed; `persist doctor --clean-uploads` does it later"
            );
        }
    }
}
