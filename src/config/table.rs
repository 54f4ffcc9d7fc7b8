//! The one table of settings. It drives the variables, URL parameters, keys of the file, `persist env`, `docs/environment.md`
//! and the tests.

use std::{path::PathBuf, time::Duration};

use super::StorageConfig;
use crate::Secret;

/// A setting and all its names.
#[derive(Debug)]
#[non_exhaustive]
pub struct Setting {
    /// Its key in the file, dots for tables: `s3.region`. The part behind the dot is its URL parameter.
    pub name: &'static str,
    /// The variables that set it, the first that is set counts.
    pub variables: &'static [&'static str],
    /// Generic variables, which count less than the file.
    pub generic: &'static [&'static str],
    /// What it means, in a sentence, with its unit.
    pub meaning: &'static str,
    /// What holds when it is not set.
    pub default: &'static str,
    /// Whether its value must not be shown.
    pub secret: bool,
    /// Whether it says where snapshots are, so that a storage URL replaces it.
    pub(super) location: bool,
    pub(super) apply: Apply,
}

/// Parses a value into the configuration; the error is the end of a sentence.
type Apply = fn(&mut StorageConfig, &str) -> Result<(), String>;

impl Setting {
    /// The URL parameter, for settings that have one.
    pub fn parameter(&self) -> Option<&'static str> {
        let own = self.name.rsplit('.').next().unwrap_or(self.name);
        (!self.location && !self.secret && self.name != "config").then_some(own)
    }

    /// The table of the file that it stands in: empty, `s3`, `gcs` or `retry`.
    pub fn group(&self) -> &'static str {
        self.name.split_once('.').map_or("", |(group, _)| group)
    }
}

/// The setting called `name`.
pub(super) fn setting(name: &str) -> Option<&'static Setting> {
    SETTINGS.iter().find(|setting| setting.name == name)
}

const fn plain(
    name: &'static str,
    variables: &'static [&'static str],
    meaning: &'static str,
    default: &'static str,
    apply: Apply,
) -> Setting {
    Setting { name, variables, generic: &[], meaning, default, secret: false, location: false, apply }
}

const fn location(
    name: &'static str,
    variables: &'static [&'static str],
    generic: &'static [&'static str],
    meaning: &'static str,
    default: &'static str,
    apply: Apply,
) -> Setting {
    Setting { name, variables, generic, meaning, default, secret: false, location: true, apply }
}

const fn secret(
    name: &'static str,
    variables: &'static [&'static str],
    meaning: &'static str,
    default: &'static str,
    apply: Apply,
) -> Setting {
    Setting { name, variables, generic: &[], meaning, default, secret: true, location: false, apply }
}

/// All settings, in the order in which they are applied and shown.
#[rustfmt::skip] // one line a name, one a meaning: a table
pub static SETTINGS: &[Setting] = &[
    plain("config", &["PERSIST_CONFIG"],
        "The configuration file.", "`persist.toml` in the current folder, for the command line; none for the library", |_, _| Ok(())),
    location("storage_url", &["PERSIST_STORAGE_URL"], &[],
        "Where snapshots are, as a URL: `file:///path`, a path, `memory://`, `s3://bucket/prefix`, `gs://bucket/prefix`.", "unset", |_, _| Ok(())),
    location("backend", &["PERSIST_BACKEND"], &["STORAGE_BACKEND"],
        "The kind of storage: `local`, `memory`, `s3`, `gcs`.", "`local`", |c, v| set(&mut c.backend, v.parse())),
    location("bucket", &["PERSIST_BUCKET"], &["STORAGE_BUCKET"],
        "The bucket of S3 or GCS.", "none: it must be named", |c, v| some(&mut c.bucket, text(v))),
    location("s3_bucket", &["AWS_S3_BUCKET"], &[],
        "The bucket, when the backend is S3; before `PERSIST_BUCKET`.", "unset", |c, v| some(&mut c.bucket, text(v))),
    location("gcs_bucket", &["PERSIST_GCS_BUCKET", "GCS_BUCKET"], &[],
        "The bucket, when the backend is GCS; before `PERSIST_BUCKET`.", "unset", |c, v| some(&mut c.bucket, text(v))),
    location("prefix", &["PERSIST_PREFIX"], &["STORAGE_PREFIX"],
        "A path inside the bucket or folder below which all keys lie.", "none", |c, v| some(&mut c.prefix, text(v))),
    location("gcs_prefix", &["PERSIST_GCS_PREFIX"], &[],
        "The prefix, when the backend is GCS; before `PERSIST_PREFIX`.", "unset", |c, v| some(&mut c.prefix, text(v))),
    location("local_path", &["PERSIST_LOCAL_PATH"], &["STORAGE_BASE_PATH"],
        "The folder of the local backend.", "`persist` in the platform's data directory", |c, v| some(&mut c.local_base_path, text(v).map(PathBuf::from))),
    plain("namespace", &["PERSIST_NAMESPACE"],
        "A path below the prefix, for one of several tenants.", "none", |c, v| some(&mut c.namespace, text(v))),
    plain("compression", &["PERSIST_COMPRESSION"],
        "How snapshots are saved: `gzip`, `zstd` (feature `zstd`) or `none`, with a level as `gzip:9`.", "`gzip:6`", |c, v| some(&mut c.codec, v.parse())),
    plain("compression_level", &["PERSIST_COMPRESSION_LEVEL"],
        "The level: 1 to 9 for gzip, 1 to 19 for zstd.", "6 for gzip, 3 for zstd", level),
    plain("operation_timeout", &["PERSIST_OPERATION_TIMEOUT"],
        "The longest that one operation may take, its retries included; seconds, or `500ms`, `2m`.", "as long as the retries allow", |c, v| some(&mut c.timeout, duration(v))),
    plain("retry.attempts", &["PERSIST_RETRY_ATTEMPTS"],
        "Attempts of a request, the first included; 1 turns retries off.", "8", |c, v| set(&mut c.retry.max_attempts, number(v, 1, 100))),
    plain("retry.initial_delay", &["PERSIST_RETRY_INITIAL_DELAY"],
        "Upper bound of the first random delay, doubling from there.", "250ms", |c, v| set(&mut c.retry.initial_delay, duration(v))),
    plain("retry.max_delay", &["PERSIST_RETRY_MAX_DELAY"],
        "Upper bound of every delay.", "20s", |c, v| set(&mut c.retry.max_delay, duration(v))),
    plain("retry.deadline", &["PERSIST_RETRY_DEADLINE"],
        "No further attempt after this long without progress.", "120s", |c, v| set(&mut c.retry.deadline, duration(v))),
    plain("s3.region", &["PERSIST_S3_REGION", "AWS_REGION"],
        "The region to sign for.", "what the AWS SDK finds, else `us-east-1`", |c, v| some(&mut c.s3.region, text(v))),
    plain("s3.endpoint_url", &["PERSIST_S3_ENDPOINT_URL"],
        "Another server than Amazon's.", "Amazon S3, or `AWS_ENDPOINT_URL`", |c, v| some(&mut c.s3.endpoint_url, http(v))),
    plain("s3.path_style", &["PERSIST_S3_PATH_STYLE"],
        "The bucket in the path instead of the host name.", "`true` with an endpoint URL", |c, v| some(&mut c.s3.path_style, boolean(v))),
    plain("s3.profile", &["PERSIST_S3_PROFILE"],
        "The profile in the AWS configuration files.", "`AWS_PROFILE`, else `default`", |c, v| some(&mut c.s3.profile, text(v))),
    secret("s3.access_key_id", &["PERSIST_S3_ACCESS_KEY_ID"],
        "An explicit access key id.", "the AWS SDK's chain", |c, v| some(&mut c.s3.access_key_id, hidden(v))),
    secret("s3.secret_access_key", &["PERSIST_S3_SECRET_ACCESS_KEY"],
        "Its secret.", "the AWS SDK's chain", |c, v| some(&mut c.s3.secret_access_key, hidden(v))),
    secret("s3.session_token", &["PERSIST_S3_SESSION_TOKEN"],
        "Its session token, for temporary credentials.", "unset", |c, v| some(&mut c.s3.session_token, hidden(v))),
    plain("s3.anonymous", &["PERSIST_S3_ANONYMOUS"],
        "Unsigned requests, for public buckets.", "`false`", |c, v| set(&mut c.s3.anonymous, boolean(v))),
    plain("s3.requester_pays", &["PERSIST_S3_REQUESTER_PAYS"],
        "The requester pays for requests and transfer.", "`false`", |c, v| set(&mut c.s3.requester_pays, boolean(v))),
    plain("s3.encryption", &["PERSIST_S3_ENCRYPTION"],
        "Encryption by the service: `AES256` or `aws:kms`.", "the bucket's", |c, v| some(&mut c.s3.encryption, one_of(v, &["AES256", "aws:kms"]))),
    plain("s3.kms_key", &["PERSIST_S3_KMS_KEY"],
        "The KMS key's id or ARN; means `aws:kms`.", "the account's", |c, v| some(&mut c.s3.kms_key, text(v))),
    plain("s3.bucket_key", &["PERSIST_S3_BUCKET_KEY"],
        "An S3 bucket key, with `aws:kms`.", "`false`", |c, v| set(&mut c.s3.bucket_key, boolean(v))),
    plain("s3.storage_class", &["PERSIST_S3_STORAGE_CLASS"],
        "The storage class of new objects, such as `STANDARD_IA`.", "`STANDARD`", |c, v| some(&mut c.s3.storage_class, text(v))),
    plain("s3.checksums", &["PERSIST_S3_CHECKSUMS"],
        "Checksums on the wire: `when_supported` or `when_required`.", "`when_supported` at Amazon, `when_required` elsewhere", |c, v| some(&mut c.s3.checksums, one_of(v, &["when_supported", "when_required"]))),
    plain("s3.atomic_multipart", &["PERSIST_S3_ATOMIC_MULTIPART"],
        "Whether the server decides conditions of multipart uploads atomically.", "`true` at Amazon, `false` elsewhere", |c, v| some(&mut c.s3.atomic_multipart, boolean(v))),
    plain("s3.part_size", &["PERSIST_S3_PART_SIZE"],
        "The first parts of an upload; bytes, or `16MiB`; 5 MiB to 5 GiB.", "8MiB, growing with the upload", |c, v| some(&mut c.s3.part_size, size(v, 5 << 20, 5 << 30))),
    plain("s3.parallel", &["PERSIST_S3_PARALLEL"],
        "Parts and ranges under way at once.", "4", |c, v| some(&mut c.s3.parallel, number(v, 1, 64))),
    plain("s3.connect_timeout", &["PERSIST_S3_CONNECT_TIMEOUT"],
        "The longest wait for a connection.", "3s", |c, v| some(&mut c.s3.connect_timeout, duration(v))),
    plain("s3.read_timeout", &["PERSIST_S3_READ_TIMEOUT"],
        "The longest silence on a connection.", "30s", |c, v| some(&mut c.s3.read_timeout, duration(v))),
    plain("s3.attempt_timeout", &["PERSIST_S3_ATTEMPT_TIMEOUT"],
        "The longest single attempt.", "60s, more for large parts", |c, v| some(&mut c.s3.attempt_timeout, duration(v))),
    plain("gcs.credentials", &["PERSIST_GCS_CREDENTIALS", "GOOGLE_APPLICATION_CREDENTIALS"],
        "The credentials file.", "gcloud's file, else the metadata server", |c, v| some(&mut c.gcs.credentials_path, text(v).map(PathBuf::from))),
    secret("gcs.credentials_json", &["PERSIST_GCS_CREDENTIALS_JSON"],
        "The content of a credentials file.", "unset", |c, v| some(&mut c.gcs.credentials_json, hidden(v))),
    plain("gcs.anonymous", &["PERSIST_GCS_ANONYMOUS"],
        "Unsigned requests, for public buckets and emulators.", "`true` with an emulator, else `false`", |c, v| set(&mut c.gcs.anonymous, boolean(v))),
    plain("gcs.project", &["PERSIST_GCS_PROJECT"],
        "The project that is billed, for requester-pays buckets.", "the credentials' quota project", |c, v| some(&mut c.gcs.project, text(v))),
    plain("gcs.kms_key", &["PERSIST_GCS_KMS_KEY"],
        "The Cloud KMS key: `projects/P/locations/L/keyRings/R/cryptoKeys/K`.", "the bucket's", |c, v| some(&mut c.gcs.kms_key, text(v))),
    secret("gcs.encryption_key", &["PERSIST_GCS_ENCRYPTION_KEY"],
        "A customer-supplied key: 32 bytes in base64.", "unset", |c, v| some(&mut c.gcs.encryption_key, hidden(v))),
    plain("gcs.storage_class", &["PERSIST_GCS_STORAGE_CLASS"],
        "The storage class of new objects, such as `NEARLINE`.", "the bucket's", |c, v| some(&mut c.gcs.storage_class, text(v))),
    plain("gcs.endpoint_url", &["PERSIST_GCS_ENDPOINT_URL", "STORAGE_EMULATOR_HOST"],
        "Another server than Google's, with or without `http://`.", "Google Cloud Storage", |c, v| some(&mut c.gcs.endpoint_url, text(v))),
    plain("gcs.timeout", &["PERSIST_GCS_TIMEOUT"],
        "The longest single attempt; seconds.", "30", |c, v| some(&mut c.gcs.timeout, duration(v))),
    plain("gcs.connect_timeout", &["PERSIST_GCS_CONNECT_TIMEOUT"],
        "The longest wait for a connection.", "5s", |c, v| some(&mut c.gcs.connect_timeout, duration(v))),
    plain("gcs.chunk_size", &["PERSIST_GCS_CHUNK_SIZE"],
        "A chunk of a resumable upload; a multiple of 256 KiB.", "8MiB", |c, v| some(&mut c.gcs.chunk_size, chunk(v))),
    plain("gcs.parallel", &["PERSIST_GCS_PARALLEL"],
        "Ranges under way at once.", "4", |c, v| some(&mut c.gcs.parallel, number(v, 1, 64))),
];

// How values are read. Errors are the end of the sentence `variable PERSIST_X ("value"): …`.

fn set<T, E: ToString>(place: &mut T, value: Result<T, E>) -> Result<(), String> {
    *place = value.map_err(|error| error.to_string())?;
    Ok(())
}

fn some<T, E: ToString>(place: &mut Option<T>, value: Result<T, E>) -> Result<(), String> {
    *place = Some(value.map_err(|error| error.to_string())?);
    Ok(())
}

fn text(value: &str) -> Result<String, String> {
    match value {
        "" => Err("it is empty; give a value or leave it out".into()),
        _ if value.chars().any(char::is_control) => {
            Err("it contains a control character, perhaps a line break".into())
        }
        _ => Ok(value.into()),
    }
}

/// The rule of [`text`] without its value in the message; line breaks are allowed, since JSON has them.
fn hidden(value: &str) -> Result<Secret, String> {
    if value.trim().is_empty() {
        Err("it is empty; give a value or leave it out".into())
    } else {
        Ok(value.into())
    }
}

fn boolean(value: &str) -> Result<bool, String> {
    match value.to_ascii_lowercase().as_str() {
        "true" | "1" | "yes" | "on" => Ok(true),
        "false" | "0" | "no" | "off" => Ok(false),
        _ => Err("use `true` or `false`".into()),
    }
}

fn number<T: TryFrom<u64>>(value: &str, least: u64, most: u64) -> Result<T, String> {
    let bad = || format!("use a whole number from {least} to {most}");
    let number = value.parse().ok().filter(|number| (least..=most).contains(number)).ok_or_else(bad)?;
    T::try_from(number).map_err(|_| bad())
}

/// Seconds, or a number with `ms`, `s`, `m` or `h`; more than nothing, at most a day.
fn duration(value: &str) -> Result<Duration, String> {
    let bad = || "use seconds such as `30`, or `500ms`, `2m`, `1h`; more than 0, at most 24h".to_string();
    let digits = value.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(value.len());
    let (number, unit) = value.split_at(digits);
    let unit = match unit {
        "ms" => 0.001,
        "" | "s" => 1.0,
        "m" => 60.0,
        "h" => 3600.0,
        _ => return Err(bad()),
    };
    let seconds = number.trim().parse::<f64>().map_err(|_| bad())? * unit;
    if !(0.001..=86_400.0).contains(&seconds) {
        return Err(bad());
    }
    Ok(Duration::from_millis((seconds * 1000.0).round() as u64))
}

/// Bytes, or a number with `KiB`, `MiB`, `GiB`.
fn size(value: &str, least: u64, most: u64) -> Result<u64, String> {
    let bad = || format!("use bytes, or `8MiB`; {} KiB to {} MiB", least >> 10, most >> 20);
    let digits = value.find(|c: char| !c.is_ascii_digit()).unwrap_or(value.len());
    let (number, unit) = value.split_at(digits);
    let shift = match unit {
        "" => 0,
        "KiB" => 10,
        "MiB" => 20,
        "GiB" => 30,
        _ => return Err(bad()),
    };
    let number: u64 = number.parse().map_err(|_| bad())?;
    number.checked_mul(1 << shift).filter(|bytes| (least..=most).contains(bytes)).ok_or_else(bad)
}

fn chunk(value: &str) -> Result<u64, String> {
    let bytes = size(value, 256 << 10, 1 << 30)?;
    if bytes % (256 << 10) == 0 { Ok(bytes) } else { Err("use a multiple of 256KiB".into()) }
}

fn http(value: &str) -> Result<String, String> {
    match url::Url::parse(value) {
        Ok(url) if matches!(url.scheme(), "http" | "https") && url.has_host() => Ok(value.into()),
        _ => Err("use a URL such as `https://s3.example.com`".into()),
    }
}

fn one_of(value: &str, right: &[&str]) -> Result<String, String> {
    match right.iter().find(|name| **name == value) {
        Some(name) => Ok((*name).into()),
        None => Err(format!("use `{}`", right.join("` or `"))),
    }
}

fn level(config: &mut StorageConfig, value: &str) -> Result<(), String> {
    let codec = config.codec.unwrap_or_default();
    some(
        &mut config.codec,
        number(value, 0, 255).and_then(|level| codec.with_level(level).map_err(|e| e.to_string())),
    )
}
