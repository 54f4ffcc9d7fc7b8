//! A builder method for every setting of one service.

use std::{path::PathBuf, time::Duration};

use super::{GcsConfig, S3Config};
use crate::{RetryConfig, Secret};

/// `method field: argument => the field's value`, a line each.
macro_rules! builders {
    ($type:ident { $($method:ident $field:ident: $argument:ty => $set:expr;)* }) => {
        impl $type {
            $(
                #[doc = concat!("Sets [`", stringify!($field), "`](field@Self::", stringify!($field), ").")]
                pub fn $method(mut self, $field: $argument) -> Self {
                    self.$field = $set;
                    self
                }
            )*
        }
    };
}

builders!(S3Config {
    with_region region: impl Into<String> => Some(region.into());
    with_endpoint_url endpoint_url: impl Into<String> => Some(endpoint_url.into());
    with_path_style path_style: bool => Some(path_style);
    with_profile profile: impl Into<String> => Some(profile.into());
    with_access_key_id access_key_id: impl Into<Secret> => Some(access_key_id.into());
    with_secret_access_key secret_access_key: impl Into<Secret> => Some(secret_access_key.into());
    with_session_token session_token: impl Into<Secret> => Some(session_token.into());
    with_anonymous anonymous: bool => anonymous;
    with_requester_pays requester_pays: bool => requester_pays;
    with_encryption encryption: impl Into<String> => Some(encryption.into());
    with_kms_key kms_key: impl Into<String> => Some(kms_key.into());
    with_bucket_key bucket_key: bool => bucket_key;
    with_storage_class storage_class: impl Into<String> => Some(storage_class.into());
    with_checksums checksums: impl Into<String> => Some(checksums.into());
    with_atomic_multipart atomic_multipart: bool => Some(atomic_multipart);
    with_part_size part_size: u64 => Some(part_size);
    with_parallel parallel: usize => Some(parallel);
    with_connect_timeout connect_timeout: Duration => Some(connect_timeout);
    with_read_timeout read_timeout: Duration => Some(read_timeout);
    with_attempt_timeout attempt_timeout: Duration => Some(attempt_timeout);
    with_total_timeout total_timeout: Duration => Some(total_timeout);
});

builders!(GcsConfig {
    with_credentials_path credentials_path: impl Into<PathBuf> => Some(credentials_path.into());
    with_credentials_json credentials_json: impl Into<Secret> => Some(credentials_json.into());
    with_anonymous anonymous: bool => anonymous;
    with_project project: impl Into<String> => Some(project.into());
    with_kms_key kms_key: impl Into<String> => Some(kms_key.into());
    with_encryption_key encryption_key: impl Into<Secret> => Some(encryption_key.into());
    with_storage_class storage_class: impl Into<String> => Some(storage_class.into());
    with_endpoint_url endpoint_url: impl Into<String> => Some(endpoint_url.into());
    with_timeout timeout: Duration => Some(timeout);
    with_connect_timeout connect_timeout: Duration => Some(connect_timeout);
    with_chunk_size chunk_size: u64 => Some(chunk_size);
    with_parallel parallel: usize => Some(parallel);
});

builders!(RetryConfig {
    with_max_attempts max_attempts: u32 => max_attempts;
    with_initial_delay initial_delay: Duration => initial_delay;
    with_max_delay max_delay: Duration => max_delay;
    with_deadline deadline: Duration => deadline;
});
