//! What an object has besides its bytes: asked for, and as the server says that it is.

use std::{collections::HashMap, time::SystemTime};

use aws_sdk_s3::{
    operation::head_object::HeadObjectOutput,
    types::{ServerSideEncryption, StorageClass},
};
use aws_smithy_types::DateTime;

use super::{fail::fail, settings::Encryption};
use crate::{ErrorKind, Result, Version};

/// The metadata by which a writer knows its own earlier attempt, whose answer was lost. Callers never see it.
pub(super) const PUT_ID: &str = "persist-put-id";

/// The header attributes of an object, as PutObject, CreateMultipartUpload and CopyObject take them.
#[derive(Debug, Clone)]
pub(super) struct Attributes {
    pub(super) content_type: Option<String>,
    pub(super) metadata: Option<HashMap<String, String>>,
    pub(super) tagging: Option<String>,
    pub(super) storage_class: Option<StorageClass>,
    pub(super) encryption: Option<Encryption>,
}

/// Sets [`Attributes`] on the SDK's request builders, which share no trait.
macro_rules! with_attributes {
    ($request:expr, $attributes:expr, $settings:expr) => {{
        let (attributes, settings) = (&$attributes, &$settings);
        let encryption = attributes.encryption.as_ref();
        $request
            .set_content_type(attributes.content_type.clone())
            .set_metadata(attributes.metadata.clone())
            .set_tagging(attributes.tagging.clone())
            .set_storage_class(attributes.storage_class.clone())
            .set_server_side_encryption(encryption.map(|e| e.algorithm()))
            .set_ssekms_key_id(encryption.and_then(|e| e.key()))
            .set_bucket_key_enabled(encryption.and_then(|e| e.bucket_key()))
            .set_request_payer(settings.payer.clone())
    }};
}
pub(super) use with_attributes;

/// What an answer says was stored: the SDK's outputs have these methods, and no trait for them.
macro_rules! stored {
    ($output:expr, $size:expr, $modified:expr) => {
        $crate::adapters::s3::attributes::Stored {
            version: $crate::adapters::s3::bucket::version($output.e_tag()),
            size: $size,
            modified: $modified,
            encryption: $crate::adapters::s3::attributes::encryption_of(
                $output.server_side_encryption(),
                $output.ssekms_key_id(),
            ),
            bucket_key: $output.bucket_key_enabled() == Some(true),
        }
    };
}
pub(super) use stored;

impl Attributes {
    /// Whether its writer can know it again.
    pub(super) fn is_marked(&self) -> bool {
        self.metadata.as_ref().is_some_and(|metadata| metadata.contains_key(PUT_ID))
    }

    /// An object of these attributes, if it bears the mark of this put.
    pub(super) fn own(&self, head: &HeadObjectOutput) -> Option<Stored> {
        let mark = self.metadata.as_ref()?.get(PUT_ID)?;
        head.metadata()?.get(PUT_ID).filter(|found| *found == mark)?;
        let size = head.content_length().unwrap_or(0).max(0) as u64;
        Some(stored!(head, size, time(head.last_modified())))
    }
}

/// What the server says it stored.
#[derive(Debug)]
pub(super) struct Stored {
    pub(super) version: Version,
    pub(super) size: u64,
    pub(super) modified: SystemTime,
    pub(super) encryption: Option<String>,
    pub(super) bucket_key: bool,
}

/// Several servers drop an encryption that they cannot do without a word: what was asked for must be in the
/// reply.
pub(super) fn confirm(attributes: &Attributes, stored: &Stored) -> Result<()> {
    let asked = attributes.encryption.as_ref();
    confirmed(asked, stored.encryption.as_deref(), stored.bucket_key).map_err(|got| {
        fail(ErrorKind::Unsupported, format!("encryption was asked for, but the server answers with {got}"))
    })
}

/// Whether `got` is what was asked for; what it is instead.
pub(super) fn confirmed<'a>(
    asked: Option<&Encryption>,
    got: Option<&'a str>,
    got_bucket_key: bool,
) -> Result<(), &'a str> {
    let got = got.unwrap_or("none");
    let same = match asked {
        None => true,
        Some(Encryption::S3) => got == "AES256",
        Some(Encryption::Kms { algorithm, key, bucket_key }) => {
            let id = key.as_deref().unwrap_or_default();
            // An alias comes back as the key it stands for; an id as the end of an ARN.
            let right_key = id.contains("alias/") || got.ends_with(id);
            got.starts_with(algorithm.as_str()) && right_key && (!bucket_key || got_bucket_key)
        }
    };
    if same { Ok(()) } else { Err(got) }
}

pub(super) fn encryption_of(algorithm: Option<&ServerSideEncryption>, key: Option<&str>) -> Option<String> {
    match (algorithm?.as_str(), key) {
        (algorithm, Some(key)) => Some(format!("{algorithm} {key}")),
        (algorithm, None) => Some(algorithm.into()),
    }
}

/// A time of the server, in whole seconds, since no other is in the head of an answer; one that it does not
/// give, or that is none, is the epoch.
pub(super) fn time(time: Option<&DateTime>) -> SystemTime {
    let seconds = time.map_or(0, DateTime::secs);
    SystemTime::try_from(DateTime::from_secs(seconds)).unwrap_or(SystemTime::UNIX_EPOCH)
}
