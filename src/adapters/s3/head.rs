//! Metadata, and removal.

use std::collections::{BTreeMap, HashMap};

use aws_sdk_s3::operation::{get_object::GetObjectOutput, head_object::HeadObjectOutput};

use super::{
    answered::Answered,
    attributes::{PUT_ID, encryption_of, time},
    bucket::{Bucket, etag, version},
    errors::Failure,
    fail::{fail, lacks},
    genuine::Shown,
    tier,
};
use crate::{DeleteOptions, ErrorKind, Key, ObjectMeta, Result, options::REPLACED_BEFORE_REMOVAL};

/// Fills an [`ObjectMeta`] from the two outputs, which have the same accessors and no common trait.
macro_rules! meta {
    ($key:expr, $size:expr, $output:expr) => {
        ObjectMeta {
            content_type: $output.content_type().map(str::to_string),
            metadata: users_own($output.metadata()),
            tier: Some(tier::of($output.storage_class())),
            encryption: encryption_of($output.server_side_encryption(), $output.ssekms_key_id()),
            ..ObjectMeta::new($key.clone(), $size, version($output.e_tag()), time($output.last_modified()))
        }
    };
}

impl Bucket {
    pub(super) async fn head(&self, key: &Key) -> Result<ObjectMeta> {
        let output = self.retrying_unseen(|_| async { Ok(self.head_once(key).await?) }).await?;
        let size = output.content_length().unwrap_or(0).max(0) as u64;
        let mut meta = meta!(key, size, output);
        meta.tags = self.tags_if(output.tag_count(), key).await?;
        Ok(meta)
    }

    /// One attempt, for those that have attempts of their own.
    pub(super) async fn head_once(&self, key: &Key) -> Result<HeadObjectOutput, Failure> {
        let request = self
            .client()
            .head_object()
            .bucket(&self.name)
            .key(self.key(key))
            .set_request_payer(self.shared.settings.payer.clone());
        let answer = self.send("head", self.shared.silence_limit(), request.send()).await;
        let shown = answer.and_then(|output| {
            Shown::from(&output).checked("head", key, &self.shared)?;
            Ok(output)
        });
        shown.map_err(|mut failure| {
            failure.error = failure.error.with_key(key);
            failure
        })
    }

    /// The metadata in a GET's answer; `size` is the whole object's.
    pub(super) async fn meta_of_get(
        &self,
        key: &Key,
        size: u64,
        output: &GetObjectOutput,
    ) -> Result<ObjectMeta> {
        let mut meta = meta!(key, size, output);
        meta.tags = match self.tags_if(output.tag_count(), key).await {
            Ok(tags) => tags,
            // Removed since; the content that is being read is whole all the same.
            Err(error) if error.kind() == ErrorKind::NotFound => BTreeMap::new(),
            Err(error) => return Err(error),
        };
        Ok(meta)
    }

    /// The tags, which take a request of their own: made only where the server says that there are some. Who
    /// may not see them sees none.
    async fn tags_if(&self, count: Option<i32>, key: &Key) -> Result<BTreeMap<String, String>> {
        if count.unwrap_or(0) > 0 && self.server.capabilities.tags {
            match self.tags(key).await {
                Err(error) if error.kind() == ErrorKind::AccessDenied => Ok(BTreeMap::new()),
                tags => tags,
            }
        } else {
            Ok(BTreeMap::new())
        }
    }

    pub(super) async fn tags(&self, key: &Key) -> Result<BTreeMap<String, String>> {
        let name = self.key(key);
        let output = self
            .retrying_unseen(|_| async {
                let request = self
                    .client()
                    .get_object_tagging()
                    .bucket(&self.name)
                    .key(&name)
                    .set_request_payer(self.shared.settings.payer.clone());
                Ok(self.send("tags", self.shared.silence_limit(), request.send()).await?)
            })
            .await?;
        Ok(output.tag_set().iter().map(|tag| (tag.key().into(), tag.value().into())).collect())
    }

    pub(super) async fn delete(&self, key: &Key, options: DeleteOptions) -> Result<()> {
        if options.if_version.is_some() && !self.server.capabilities.conditional_delete {
            return Err(lacks("conditional removal"));
        }
        let name = self.key(key);
        self.retrying(|_| async {
            let request = self
                .client()
                .delete_object()
                .bucket(&self.name)
                .key(&name)
                .set_if_match(options.if_version.as_ref().map(etag).transpose()?)
                .set_request_payer(self.shared.settings.payer.clone());
            let answered = Answered::default();
            let request = request.customize().interceptor(answered.clone()).send();
            let sent = self.send("delete", self.shared.silence_limit(), request).await;
            match sent.and_then(|_| answered.is_done("delete", &self.shared)) {
                Ok(()) => Ok(()),
                Err(failure) if failure.not_found() => Ok(()),
                // Some servers refuse the condition for a missing key too; what is gone is as asked for.
                Err(failure) if failure.precondition() => match self.head_once(key).await {
                    Err(failure) if failure.not_found() => Ok(()),
                    // A missing key would look the same; what is there was not removed.
                    Err(failure) if failure.is_denied() => Err(fail(
                        ErrorKind::AccessDenied,
                        "the service refused the condition, and these credentials cannot see what is there; allow s3:GetObject \
                         (and s3:ListBucket, which tells a missing key)",
                    )
                    .with_source(failure.error)),
                    Err(failure) => Err(failure.into()),
                    Ok(_) => Err(fail(ErrorKind::Conflict, REPLACED_BEFORE_REMOVAL)),
                },
                Err(failure) => Err(failure.into()),
            }
        })
        .await
    }
}

fn users_own(metadata: Option<&HashMap<String, String>>) -> BTreeMap<String, String> {
    let mut all: BTreeMap<_, _> = metadata.cloned().unwrap_or_default().into_iter().collect();
    all.remove(PUT_ID);
    all
}
