//! Uploads that were begun and neither completed nor removed: they are billed and show in no listing of objects.

use std::time::SystemTime;

use super::{
    answered::Answered,
    bucket::{Bucket, fail},
    head::time,
    names,
};
use crate::{ErrorKind, Key, Result};

/// An unfinished multipart upload.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Upload {
    /// The object that it would become. Not a [`Key`]: another program may have begun it.
    pub name: String,
    /// S3's name for the upload.
    pub id: String,
    /// When it was begun, by the service's clock.
    pub begun: SystemTime,
}

impl Bucket {
    /// All unfinished uploads of objects whose name starts with `prefix`.
    pub(super) async fn uploads(&self, prefix: &str) -> Result<Vec<Upload>> {
        Ok(self.uploads_now(prefix).await?.0)
    }

    /// With the time that it is for the service.
    async fn uploads_now(&self, prefix: &str) -> Result<(Vec<Upload>, SystemTime)> {
        let answered = Answered::default();
        let folds = self.found.folds_backslash;
        let prefix = names::to_server(prefix, folds);
        let (mut found, mut after) = (Vec::new(), None::<(String, String)>);
        loop {
            let page = self
                .retrying(|_| async {
                    let (key, id) = after.clone().unzip();
                    let request = self
                        .client()
                        .list_multipart_uploads()
                        .bucket(&self.name)
                        .prefix(&prefix)
                        .set_key_marker(key)
                        .set_upload_id_marker(id)
                        .set_request_payer(self.shared.settings.payer.clone());
                    let request = request.customize().interceptor(answered.clone()).send();
                    Ok(self.send("list uploads", self.shared.silence_limit(), request).await?)
                })
                .await?;
            found.extend(page.uploads().iter().filter_map(|upload| {
                Some(Upload {
                    name: names::from_server(upload.key()?, folds),
                    id: upload.upload_id()?.to_string(),
                    begun: time(upload.initiated()),
                })
            }));
            let next = page
                .next_key_marker()
                .map(str::to_string)
                .zip(page.next_upload_id_marker().map(str::to_string));
            if page.is_truncated() != Some(true) || next.is_none() || next == after {
                return Ok((found, answered.time()));
            }
            after = next;
        }
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
            .retrying(|_| async {
                let request = self
                    .client()
                    .list_parts()
                    .bucket(&self.name)
                    .key(&name)
                    .upload_id(id)
                    .max_parts(1)
                    .set_request_payer(self.shared.settings.payer.clone());
                Ok(self.send("list parts", self.shared.silence_limit(), request.send()).await?)
            })
            .await?;
        Ok(!output.parts().is_empty())
    }

    /// Removes an upload and its parts. One that is gone is removed.
    pub(super) async fn abort(&self, name: &str, id: &str) -> Result<()> {
        if id.is_empty() {
            return Err(fail(ErrorKind::InvalidInput, "an upload has an id; `list_uploads` gives it"));
        }
        let name = names::to_server(name, self.found.folds_backslash);
        self.retrying(|_| async {
            let request = self
                .client()
                .abort_multipart_upload()
                .bucket(&self.name)
                .key(&name)
                .upload_id(id)
                .set_request_payer(self.shared.settings.payer.clone());
            match self.send("abort upload", self.shared.silence_limit(), request.send()).await {
                Ok(_) => Ok(()),
                Err(failure) if failure.not_found() => Ok(()),
                Err(failure) => Err(failure.into()),
            }
        })
        .await
    }

    pub(super) async fn abort_logged(&self, key: &Key, id: &str) {
        if let Err(error) = self.abort(key.as_str(), id).await {
            tracing::warn!(
                kind = %error.kind(),
                key = key.pseudonym(),
                "an unfinished upload could not be removed; `persist doctor --clean-uploads` does it later"
            );
        }
    }
}
