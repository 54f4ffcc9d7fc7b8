//! Storage classes, and how to move an object to another one.

use std::{sync::Mutex, time::Duration};

use aws_sdk_s3::{
    operation::{
        copy_object::{CopyObjectOutput, builders::CopyObjectFluentBuilder},
        head_object::HeadObjectOutput,
    },
    types::{MetadataDirective, StorageClass, TaggingDirective},
};
use aws_smithy_types::{DateTime, date_time::Format};

use super::{
    answered::Answered,
    attributes::{confirmed, encryption_of},
    bucket::{Bucket, etag, version},
    errors::Failure,
    fail::{fail, lacks},
    settings::Encryption,
};
use crate::{ErrorKind, Key, Result, Tier, lock::lock};

/// The storage class of a tier.
pub(super) fn class(tier: Tier) -> StorageClass {
    match tier {
        Tier::Hot => StorageClass::Standard,
        Tier::Cool => StorageClass::StandardIa,
        Tier::Cold => StorageClass::GlacierIr,
        Tier::Archive => StorageClass::DeepArchive,
    }
}

/// The tier of a storage class; S3 names none for its standard.
pub(super) fn of(class: Option<&StorageClass>) -> Tier {
    match class {
        Some(StorageClass::StandardIa | StorageClass::OnezoneIa) => Tier::Cool,
        Some(StorageClass::GlacierIr) => Tier::Cold,
        Some(StorageClass::Glacier | StorageClass::DeepArchive) => Tier::Archive,
        _ => Tier::Hot,
    }
}

/// CopyObject takes objects up to this size.
const LARGEST_COPY: i64 = 5 << 30;

impl Bucket {
    /// Copies the object onto itself with another storage class: S3 has no other way.
    pub(super) async fn set_tier(&self, key: &Key, tier: Tier) -> Result<()> {
        if !self.server.capabilities.tiers {
            return Err(lacks("storage classes"));
        }
        let name = self.key(key);
        // The encryption that the last copy asked for, in case its answer was lost.
        let asked = Mutex::new(None::<Encryption>);
        let asked = || lock(&asked);
        self.retrying(|_| async {
            let head = self.head_once(key).await?;
            if of(head.storage_class()) == tier {
                return kept(asked().as_ref(), &head);
            }
            let size = head.content_length().unwrap_or(0);
            if size > LARGEST_COPY {
                return Err(fail(
                    ErrorKind::Unsupported,
                    "S3 copies at most 5 GiB in one step; use a lifecycle rule for larger objects",
                ));
            }
            let seen = version(head.e_tag());
            // A copy has the encryption that its request names, or else the bucket's, whatever the object
            // had.
            let encryption = self.shared.settings.encryption.clone().or_else(|| Encryption::of(&head));
            let mut request = self
                .client()
                .copy_object()
                .bucket(&self.name)
                .key(&name)
                .copy_source(copy_source(&self.name, &name))
                // Both ends: neither an older version comes back, nor, at Amazon, is a newer one overwritten.
                .copy_source_if_match(etag(&seen)?)
                // Not every server lets an object be copied onto itself with its metadata left alone, so they
                // are written again.
                .metadata_directive(MetadataDirective::Replace)
                .set_metadata(head.metadata().cloned())
                .set_content_type(head.content_type().map(str::to_string))
                .set_content_encoding(head.content_encoding().map(str::to_string))
                .set_content_disposition(head.content_disposition().map(str::to_string))
                .set_content_language(head.content_language().map(str::to_string))
                .set_cache_control(head.cache_control().map(str::to_string))
                .set_expires(
                    head.expires_string().and_then(|at| DateTime::from_str(at, Format::HttpDate).ok()),
                )
                .set_website_redirect_location(head.website_redirect_location().map(str::to_string))
                .tagging_directive(TaggingDirective::Copy)
                .storage_class(class(tier))
                .set_server_side_encryption(encryption.as_ref().map(|e| e.algorithm()))
                .set_ssekms_key_id(encryption.as_ref().and_then(|e| e.key()))
                .set_bucket_key_enabled(encryption.as_ref().and_then(|e| e.bucket_key()))
                .set_request_payer(self.shared.settings.payer.clone());
            // Only where conditional saves work. A server that does not know If-Match of copies ignores it.
            if self.server.capabilities.replace {
                request = request.if_match(etag(&seen)?);
            }
            *asked() = encryption.clone();
            match self.copied(size.max(0) as u64, request).await {
                Ok(output) => {
                    let told = encryption_of(output.server_side_encryption(), output.ssekms_key_id());
                    let bucket_key = output.bucket_key_enabled() == Some(true);
                    match confirmed(encryption.as_ref(), told.as_deref(), bucket_key) {
                        Ok(()) => Ok(()),
                        // Not every server says with its answer how the copy is encrypted; then the copy
                        // itself does.
                        Err(_) => kept(encryption.as_ref(), &self.head_once(key).await?),
                    }
                }
                // Replaced meanwhile: the next attempt moves what is there then.
                Err(failure) if failure.precondition() => Err(failure.error.with_retryable(true)),
                Err(failure) => Err(failure.into()),
            }
        })
        .await
    }

    /// One attempt to copy so many bytes.
    async fn copied(&self, size: u64, request: CopyObjectFluentBuilder) -> Result<CopyObjectOutput, Failure> {
        // Amazon begins its answer at once, and ends it when it has copied. Others answer behind their work,
        // for which they get a second for each 16 MiB.
        let work = Duration::from_secs(size / (16 << 20));
        let attempt = self.shared.settings.attempt_timeout;
        let silence = if self.server.amazon { attempt } else { attempt + work };
        let answered = Answered::default();
        let request = request.customize().interceptor(answered.clone()).send();
        tokio::select! {
            biased;
            outcome = self.send("set_tier", attempt * 5 + work, request) => outcome,
            () = answered.none_for(silence) => Err(Failure::timeout("set_tier", silence, &self.shared)),
        }
    }
}

/// Whether a copy is encrypted as it was to be.
fn kept(asked: Option<&Encryption>, head: &HeadObjectOutput) -> Result<()> {
    let told = encryption_of(head.server_side_encryption(), head.ssekms_key_id());
    confirmed(asked, told.as_deref(), head.bucket_key_enabled() == Some(true)).map_err(|got| {
        fail(
            ErrorKind::Unsupported,
            format!("the object was moved, but not with its encryption: it is {got} now; save it again"),
        )
    })
}

/// `bucket/key`, percent-encoded but for what URLs leave alone and the slashes.
fn copy_source(bucket: &str, name: &str) -> String {
    // That is how access points are named.
    let object = if bucket.starts_with("arn:") { "object/" } else { "" };
    let mut out = format!("{bucket}/{object}");
    for byte in name.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' | b'/' => {
                out.push(byte as char)
            }
            byte => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tiers_and_classes_agree() {
        for tier in [Tier::Hot, Tier::Cool, Tier::Cold, Tier::Archive] {
            assert_eq!(of(Some(&class(tier))), tier);
        }
        assert_eq!(of(None), Tier::Hot);
        assert_eq!(of(Some(&StorageClass::IntelligentTiering)), Tier::Hot);
    }

    #[test]
    fn copy_sources_are_encoded() {
        assert_eq!(copy_source("b", "a/é +%|.json"), "b/a/%C3%A9%20%2B%25%7C.json");
        let point = "arn:aws:s3:eu-west-1:123456789012:accesspoint/agents";
        assert_eq!(copy_source(point, "a/b"), format!("{point}/object/a/b"));
    }
}
