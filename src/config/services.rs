//! What only one service needs. Plain data, there in every build, so that a configuration can name a backend
//! that is not compiled in.

use std::{path::PathBuf, time::Duration};

use crate::Secret;

/// Settings of S3 and of servers that speak its API. All unset: what the AWS SDK finds in its environment and
/// files.
#[derive(Debug, Clone, Default, PartialEq)]
#[must_use]
pub struct S3Config {
    /// Region to sign for; default: what the AWS SDK finds, else `us-east-1`.
    pub region: Option<String>,
    /// URL of another server than Amazon's, such as `http://127.0.0.1:9000`.
    pub endpoint_url: Option<String>,
    /// Bucket in the path instead of the host name; default: as soon as `endpoint_url` is set.
    pub path_style: Option<bool>,
    /// Profile in the AWS configuration files.
    pub profile: Option<String>,
    /// Explicit access key id; with `secret_access_key`.
    pub access_key_id: Option<Secret>,
    /// Explicit secret access key.
    pub secret_access_key: Option<Secret>,
    /// Session token of temporary credentials.
    pub session_token: Option<Secret>,
    /// Unsigned requests, for public buckets.
    pub anonymous: bool,
    /// The requester pays for requests and transfer.
    pub requester_pays: bool,
    /// Server-side encryption: `AES256` (SSE-S3) or `aws:kms` (SSE-KMS).
    pub encryption: Option<String>,
    /// KMS key id or ARN; means `aws:kms`.
    pub kms_key: Option<String>,
    /// Use an S3 bucket key with `aws:kms`.
    pub bucket_key: bool,
    /// S3 storage class of new objects, such as `STANDARD_IA`.
    pub storage_class: Option<String>,
    /// Checksums on the wire: `full_object` (default at Amazon) of objects and parts, `when_supported` not of
    /// large objects as a whole, `when_required` (default at custom endpoints) none.
    pub checksums: Option<String>,
    /// Whether the server honours `If-None-Match` and `If-Match` on CompleteMultipartUpload atomically.
    /// Default: only Amazon is trusted, since no probe can show it; elsewhere conditional saves of more than
    /// `part_size * parallel` bytes are refused.
    pub atomic_multipart: Option<bool>,
    /// First part size in bytes, 5 MiB to 5 GiB; default 8 MiB, growing with the upload.
    pub part_size: Option<u64>,
    /// Parts of an upload, and ranges of a slow load, under way at once, 1 to 64; default 4. 1 never
    /// adds ranges.
    pub parallel: Option<usize>,
    /// Longest wait for a connection; default 3 s.
    pub connect_timeout: Option<Duration>,
    /// Longest silence on a connection; default 30 s.
    pub read_timeout: Option<Duration>,
    /// Longest single attempt; default 60 s, more for large parts.
    pub attempt_timeout: Option<Duration>,
    /// Longest operation as a whole, with all of its attempts and with the content of a save or a load;
    /// default: none.
    pub total_timeout: Option<Duration>,
}

/// Settings of Google Cloud Storage. All unset: Application Default Credentials.
#[derive(Debug, Clone, Default, PartialEq)]
#[must_use]
pub struct GcsConfig {
    /// Credentials file; default: `GOOGLE_APPLICATION_CREDENTIALS`, gcloud's file, the metadata server.
    pub credentials_path: Option<PathBuf>,
    /// The content of a credentials file.
    pub credentials_json: Option<Secret>,
    /// Unsigned requests, for public buckets and emulators.
    pub anonymous: bool,
    /// Project that is billed (`userProject`), for requester-pays buckets.
    pub project: Option<String>,
    /// Cloud KMS key: `projects/P/locations/L/keyRings/R/cryptoKeys/K`.
    pub kms_key: Option<String>,
    /// Customer-supplied AES-256 key, 32 bytes in base64.
    pub encryption_key: Option<Secret>,
    /// GCS storage class of new objects, such as `NEARLINE`.
    pub storage_class: Option<String>,
    /// Another server than Google's (`STORAGE_EMULATOR_HOST`), with or without `http://`.
    pub endpoint_url: Option<String>,
    /// Longest silence within one attempt; default 30 s.
    pub timeout: Option<Duration>,
    /// Longest wait for a connection; default 5 s.
    pub connect_timeout: Option<Duration>,
    /// Chunk of a resumable upload in bytes, a multiple of 256 KiB, at most 1 GiB; default 8 MiB.
    pub chunk_size: Option<u64>,
    /// Ranges of a slow load under way at once, 1 to 64; default 4. 1 never adds ranges.
    pub parallel: Option<usize>,
}
