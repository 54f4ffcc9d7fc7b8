//! The one table of settings. It drives the variables, URL parameters, keys of the file, `persist env`,
//! `docs/environment.md` and the tests.

use super::{
    Parsed, StorageBackend, StorageConfig,
    values::{
        below, boolean, chunk, duration, hidden, http, level, number, one_of, path, server, set, size, some,
        text, window,
    },
};

/// A setting and all its names.
#[derive(Debug)]
#[non_exhaustive]
pub struct Setting {
    /// Its key in the file, dots for tables: `s3.region`.
    pub name: &'static str,
    /// The variables that set it. Persist's own, `PERSIST_*`, count more than those that other programs know
    /// too, whichever way round.
    pub variables: &'static [&'static str],
    /// Variables with names so general that they may be meant for somebody else: they count less than the
    /// file.
    pub generic: &'static [&'static str],
    /// What it means, in a sentence, with its unit.
    pub meaning: &'static str,
    /// What holds when it is not set.
    pub default: &'static str,
    /// Whether its value must not be shown.
    pub secret: bool,
    /// Whether it says where snapshots are, so that a storage URL replaces it.
    pub(super) location: bool,
    /// Whether it is a path of this machine.
    pub(super) is_path: bool,
    /// Settings that make sense only together have one: as soon as one of them is set, the others are not
    /// taken from places below. Half of one key and half of another would be worse than none.
    pub(super) bundle: &'static str,
    /// The backend that it is for, if it sets there what another setting sets for all: `gcs_bucket` sets
    /// `bucket`.
    pub(super) only_for: Option<(StorageBackend, &'static str)>,
    pub(super) apply: Apply,
}

/// Parses a value into the configuration; the error is the end of a sentence.
type Apply = fn(&mut StorageConfig, &str) -> Parsed<()>;

impl Setting {
    /// The URL parameter, for settings that have one. Secrets have none: URLs end up in logs and lists of
    /// processes.
    pub fn parameter(&self) -> Option<&'static str> {
        let own = match self.name.split_once('.') {
            Some(("s3" | "gcs", own)) => own,
            _ => self.name,
        };
        (!self.location && !self.secret && self.name != "config").then_some(own)
    }

    /// Whether it means something for this backend.
    pub(super) fn is_for(&self, backend: StorageBackend) -> bool {
        match self.group() {
            "s3" => backend == StorageBackend::S3,
            "gcs" => backend == StorageBackend::Gcs,
            _ => true,
        }
    }

    /// Which setting it sets when `backend` is used: `gcs_bucket` is the bucket when that is GCS, and says
    /// nothing otherwise.
    pub(super) fn target(&self, backend: StorageBackend) -> Option<&'static str> {
        match self.only_for {
            Some((only, target)) => (only == backend).then_some(target),
            None => Some(self.name),
        }
    }

    /// Whether any text is a value. Numbers and flags must not be: `012` and `no` mean one thing to a parser
    /// of files, and another to whoever has a namespace that is called so.
    pub(super) fn is_free_text(&self) -> bool {
        (self.apply)(&mut StorageConfig::default(), "text").is_ok()
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
    Setting {
        name,
        variables,
        generic: &[],
        meaning,
        default,
        secret: false,
        location: false,
        is_path: false,
        bundle: "",
        only_for: None,
        apply,
    }
}

const fn location(
    name: &'static str,
    variables: &'static [&'static str],
    generic: &'static [&'static str],
    meaning: &'static str,
    default: &'static str,
    apply: Apply,
) -> Setting {
    Setting { generic, location: true, ..plain(name, variables, meaning, default, apply) }
}

const fn secret(
    name: &'static str,
    variables: &'static [&'static str],
    meaning: &'static str,
    default: &'static str,
    apply: Apply,
) -> Setting {
    Setting { secret: true, ..plain(name, variables, meaning, default, apply) }
}

impl Setting {
    const fn path(self) -> Self {
        Setting { is_path: true, ..self }
    }

    const fn of(self, bundle: &'static str) -> Self {
        Setting { bundle, ..self }
    }

    const fn sets(self, target: &'static str, backend: StorageBackend) -> Self {
        Setting { only_for: Some((backend, target)), ..self }
    }
}

const S3_CREDENTIALS: &str = "the credentials of s3";
const GCS_CREDENTIALS: &str = "the credentials of gcs";

/// All settings, in the order in which they are applied and shown.
#[rustfmt::skip] // one line a name, one a meaning: a table
pub static SETTINGS: &[Setting] = &[
    plain("config", &["PERSIST_CONFIG"],
        "The configuration file, `.toml` or (feature `yaml`) `.yaml`.", "`persist/persist.toml` in the platform's configuration directory, if it is there", |_, _| Ok(())).path(),
    location("storage_url", &["PERSIST_STORAGE_URL"], &[],
        "Where snapshots are, as a URL: `file:///path`, a path, `memory://`, `s3://bucket/prefix`, `gs://bucket/prefix`.", "unset", |_, _| Ok(())),
    location("backend", &["PERSIST_BACKEND"], &["STORAGE_BACKEND"],
        "The kind of storage: `local`, `memory`, `s3`, `gcs`.", "`local`", |c, v| set(&mut c.backend, v.parse())),
    location("bucket", &["PERSIST_BUCKET"], &["STORAGE_BUCKET"],
        "The bucket of S3 or GCS.", "none: it must be named", |c, v| some(&mut c.bucket, text(v))),
    location("s3_bucket", &["PERSIST_S3_BUCKET", "AWS_S3_BUCKET"], &[],
        "The bucket, when the backend is S3.", "unset", |c, v| some(&mut c.bucket, text(v))).sets("bucket", StorageBackend::S3),
    location("gcs_bucket", &["PERSIST_GCS_BUCKET", "GCS_BUCKET"], &[],
        "The bucket, when the backend is GCS.", "unset", |c, v| some(&mut c.bucket, text(v))).sets("bucket", StorageBackend::Gcs),
    location("prefix", &["PERSIST_PREFIX"], &["STORAGE_PREFIX"],
        "A path inside the bucket or folder below which all keys lie.", "none", |c, v| some(&mut c.prefix, below(v))),
    location("s3_prefix", &["PERSIST_S3_PREFIX"], &[],
        "The prefix, when the backend is S3.", "unset", |c, v| some(&mut c.prefix, below(v))).sets("prefix", StorageBackend::S3),
    location("gcs_prefix", &["PERSIST_GCS_PREFIX"], &[],
        "The prefix, when the backend is GCS.", "unset", |c, v| some(&mut c.prefix, below(v))).sets("prefix", StorageBackend::Gcs),
    location("local_path", &["PERSIST_LOCAL_PATH"], &["STORAGE_BASE_PATH"],
        "The folder of the local backend.", "`persist` in the platform's data directory", |c, v| some(&mut c.local_base_path, path(v))).path(),
    plain("namespace", &["PERSIST_NAMESPACE"],
        "A path below the prefix, for one of several tenants.", "none", |c, v| some(&mut c.namespace, below(v))),
    plain("compression", &["PERSIST_COMPRESSION"],
        "How snapshots are saved: `gzip`, `zstd` (feature `zstd`) or `none`, with a level as `gzip:9`.", "`gzip:6`", |c, v| some(&mut c.codec, v.parse())),
    plain("compression_level", &["PERSIST_COMPRESSION_LEVEL"],
        "The level: 1 to 9 for gzip, 1 to 19 for zstd.", "6 for gzip, 3 for zstd", level),
    plain("idle_timeout", &["PERSIST_IDLE_TIMEOUT"],
        "The longest silence of a storage within one operation, retries included. A save is silent while its parts are sent: give more time than `part_size` times `parallel` take, and for states saved from memory more than 32 MiB take.", "as long as the retries allow", |c, v| some(&mut c.idle_timeout, duration(v))),
    plain("max_bytes", &["PERSIST_MAX_BYTES"],
        "The most bytes of a state that a load gives; bytes, or `8GiB`; 1 KiB or more.", "no limit", |c, v| some(&mut c.max_bytes, size(v, 1 << 10, 1 << 60))),
    plain("max_ratio", &["PERSIST_MAX_RATIO"],
        "How many times a load expands what is stored, beyond the first 64 MiB of a state; 1 to 1,000,000.", "250", |c, v| some(&mut c.max_ratio, number(v, 1, 1_000_000))),
    plain("fence_window", &["PERSIST_FENCE_WINDOW"],
        "Prune removes no commit younger than this, and a writer that paused for half of it looks before it acknowledges a save. The same for all users of a storage; `60s` to `30d`.", "1h", |c, v| some(&mut c.fence_window, window(v))),
    plain("retry.attempts", &["PERSIST_RETRY_ATTEMPTS"],
        "Attempts of a request, the first included; 1 to 100, 1 turns retries off.", "8", |c, v| set(&mut c.retry.max_attempts, number(v, 1, 100))),
    plain("retry.initial_delay", &["PERSIST_RETRY_INITIAL_DELAY"],
        "Upper bound of the first random delay, doubling from there.", "250ms", |c, v| set(&mut c.retry.initial_delay, duration(v))),
    plain("retry.max_delay", &["PERSIST_RETRY_MAX_DELAY"],
        "Upper bound of every random delay.", "20s", |c, v| set(&mut c.retry.max_delay, duration(v))),
    plain("retry.deadline", &["PERSIST_RETRY_DEADLINE"],
        "No further attempt after this long without progress. On local disk the longest wait for the lock of a directory.", "120s", |c, v| set(&mut c.retry.deadline, duration(v))),
    plain("s3.region", &["PERSIST_S3_REGION", "AWS_REGION"],
        "The region to sign for.", "what the AWS SDK finds, else `us-east-1`", |c, v| some(&mut c.s3.region, text(v))),
    plain("s3.endpoint_url", &["PERSIST_S3_ENDPOINT_URL"],
        "Another server than Amazon's.", "Amazon S3, or `AWS_ENDPOINT_URL`", |c, v| some(&mut c.s3.endpoint_url, http(v))),
    plain("s3.path_style", &["PERSIST_S3_PATH_STYLE"],
        "The bucket in the path instead of the host name.", "`true` with an endpoint URL", |c, v| some(&mut c.s3.path_style, boolean(v))),
    plain("s3.profile", &["PERSIST_S3_PROFILE"],
        "The profile in the AWS configuration files.", "`AWS_PROFILE`, else `default`", |c, v| some(&mut c.s3.profile, text(v))).of(S3_CREDENTIALS),
    secret("s3.access_key_id", &["PERSIST_S3_ACCESS_KEY_ID"],
        "An explicit access key id.", "the AWS SDK's chain", |c, v| some(&mut c.s3.access_key_id, hidden(v))).of(S3_CREDENTIALS),
    secret("s3.secret_access_key", &["PERSIST_S3_SECRET_ACCESS_KEY"],
        "Its secret.", "the AWS SDK's chain", |c, v| some(&mut c.s3.secret_access_key, hidden(v))).of(S3_CREDENTIALS),
    secret("s3.session_token", &["PERSIST_S3_SESSION_TOKEN"],
        "Its session token, for temporary credentials.", "unset", |c, v| some(&mut c.s3.session_token, hidden(v))).of(S3_CREDENTIALS),
    plain("s3.anonymous", &["PERSIST_S3_ANONYMOUS"],
        "Unsigned requests, for public buckets.", "`false`", |c, v| set(&mut c.s3.anonymous, boolean(v))).of(S3_CREDENTIALS),
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
        "Checksums on the wire: `full_object`, `when_supported` (not of large objects as a whole) or `when_required` (none).", "`full_object` at Amazon, `when_required` elsewhere", |c, v| some(&mut c.s3.checksums, one_of(v, &["full_object", "when_supported", "when_required"]))),
    plain("s3.atomic_multipart", &["PERSIST_S3_ATOMIC_MULTIPART"],
        "Whether the server decides conditions of multipart uploads atomically.", "`true` at Amazon, `false` elsewhere", |c, v| some(&mut c.s3.atomic_multipart, boolean(v))),
    plain("s3.part_size", &["PERSIST_S3_PART_SIZE"],
        "The first parts of an upload; bytes, or `16MiB`; 5 MiB to 5 GiB.", "8MiB, growing with the upload", |c, v| some(&mut c.s3.part_size, size(v, 5 << 20, 5 << 30))),
    plain("s3.parallel", &["PERSIST_S3_PARALLEL"],
        "Parts of an upload, and ranges of a slow load, under way at once; 1 to 64, 1 never adds ranges.", "4", |c, v| some(&mut c.s3.parallel, number(v, 1, 64))),
    plain("s3.connect_timeout", &["PERSIST_S3_CONNECT_TIMEOUT"],
        "The longest wait for a connection.", "3s", |c, v| some(&mut c.s3.connect_timeout, duration(v))),
    plain("s3.read_timeout", &["PERSIST_S3_READ_TIMEOUT"],
        "The longest silence on a connection.", "30s", |c, v| some(&mut c.s3.read_timeout, duration(v))),
    plain("s3.attempt_timeout", &["PERSIST_S3_ATTEMPT_TIMEOUT"],
        "The longest single attempt.", "60s, more for large parts", |c, v| some(&mut c.s3.attempt_timeout, duration(v))),
    plain("s3.total_timeout", &["PERSIST_S3_TOTAL_TIMEOUT"],
        "The longest operation as a whole, with all of its attempts and with the content of a save or a load.", "none", |c, v| some(&mut c.s3.total_timeout, duration(v))),
    plain("gcs.credentials_path", &["PERSIST_GCS_CREDENTIALS_PATH", "GOOGLE_APPLICATION_CREDENTIALS"],
        "The credentials file.", "gcloud's file, else the metadata server", |c, v| some(&mut c.gcs.credentials_path, path(v))).path().of(GCS_CREDENTIALS),
    secret("gcs.credentials_json", &["PERSIST_GCS_CREDENTIALS_JSON"],
        "The content of a credentials file.", "unset", |c, v| some(&mut c.gcs.credentials_json, hidden(v))).of(GCS_CREDENTIALS),
    plain("gcs.anonymous", &["PERSIST_GCS_ANONYMOUS"],
        "Unsigned requests, for public buckets and emulators.", "`true` with an emulator, else `false`", |c, v| set(&mut c.gcs.anonymous, boolean(v))).of(GCS_CREDENTIALS),
    plain("gcs.project", &["PERSIST_GCS_PROJECT"],
        "The project that is billed, for requester-pays buckets.", "the credentials' quota project", |c, v| some(&mut c.gcs.project, text(v))),
    plain("gcs.kms_key", &["PERSIST_GCS_KMS_KEY"],
        "The Cloud KMS key: `projects/P/locations/L/keyRings/R/cryptoKeys/K`.", "the bucket's", |c, v| some(&mut c.gcs.kms_key, text(v))),
    secret("gcs.encryption_key", &["PERSIST_GCS_ENCRYPTION_KEY"],
        "A customer-supplied key: 32 bytes in base64.", "unset", |c, v| some(&mut c.gcs.encryption_key, hidden(v))),
    plain("gcs.storage_class", &["PERSIST_GCS_STORAGE_CLASS"],
        "The storage class of new objects, such as `NEARLINE`.", "the bucket's", |c, v| some(&mut c.gcs.storage_class, text(v))),
    plain("gcs.endpoint_url", &["PERSIST_GCS_ENDPOINT_URL", "STORAGE_EMULATOR_HOST"],
        "Another server than Google's, with or without `http://`.", "Google Cloud Storage", |c, v| some(&mut c.gcs.endpoint_url, server(v))),
    plain("gcs.timeout", &["PERSIST_GCS_TIMEOUT"],
        "The longest silence within one attempt; seconds.", "30", |c, v| some(&mut c.gcs.timeout, duration(v))),
    plain("gcs.connect_timeout", &["PERSIST_GCS_CONNECT_TIMEOUT"],
        "The longest wait for a connection.", "5s", |c, v| some(&mut c.gcs.connect_timeout, duration(v))),
    plain("gcs.chunk_size", &["PERSIST_GCS_CHUNK_SIZE"],
        "A chunk of a resumable upload; a multiple of 256 KiB, up to 1 GiB.", "8MiB", |c, v| some(&mut c.gcs.chunk_size, chunk(v))),
    plain("gcs.parallel", &["PERSIST_GCS_PARALLEL"],
        "Ranges of a slow load under way at once; 1 to 64, 1 never adds ranges.", "4", |c, v| some(&mut c.gcs.parallel, number(v, 1, 64))),
];
