//! The configuration, checked, with its defaults.

use std::time::Duration;

use aws_sdk_s3::{
    operation::head_object::HeadObjectOutput,
    types::{RequestPayer, ServerSideEncryption, StorageClass},
};

use super::{
    fail::fail,
    keys::{UNFIT, UNFIT_SECRET, fits, may_be_secret},
};
use crate::{ErrorKind, Result, S3Config};

/// S3's limits for parts: <https://docs.aws.amazon.com/AmazonS3/latest/userguide/qfacts.html>.
pub(super) const SMALLEST_PART: u64 = 5 << 20;
pub(super) const LARGEST_PART: u64 = 5 << 30;
pub(super) const LARGEST_OBJECT: u64 = 5 << 40;
pub(super) const MOST_PARTS: u64 = 10_000;

/// Parts of a stream of unknown length double behind so many.
pub(super) const GROWS_BEHIND: u64 = 900;

/// Ten years, in place of what a clock could not add to its time.
const LONGEST: Duration = Duration::from_secs(10 * 365 * 86_400);

/// What every operation needs to know.
#[derive(Debug, Clone)]
pub(super) struct Settings {
    pub(super) encryption: Option<Encryption>,
    pub(super) storage_class: Option<StorageClass>,
    pub(super) payer: Option<RequestPayer>,
    /// Requests are not signed.
    pub(super) anonymous: bool,
    pub(super) part_size: u64,
    pub(super) parallel: usize,
    /// Whether conditions on CompleteMultipartUpload may be trusted; `None`: at Amazon only.
    pub(super) atomic_multipart: Option<bool>,
    /// `None`: all at Amazon, none elsewhere.
    pub(super) checksums: Option<Checksums>,
    pub(super) connect_timeout: Duration,
    pub(super) read_timeout: Duration,
    pub(super) attempt_timeout: Duration,
    /// `None`: as long as it takes.
    pub(super) total_timeout: Option<Duration>,
}

/// Which checksums requests carry.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Checksums {
    /// None.
    Required,
    /// Of every small object and part.
    Supported,
    /// Of large objects as a whole too.
    Whole,
}

/// Server-side encryption.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Encryption {
    /// Keys that S3 manages.
    S3,
    /// A key of the key management service, by this algorithm of it.
    Kms { algorithm: ServerSideEncryption, key: Option<String>, bucket_key: bool },
}

impl Encryption {
    /// What an object has.
    pub(super) fn of(head: &HeadObjectOutput) -> Option<Encryption> {
        match head.server_side_encryption()? {
            ServerSideEncryption::Aes256 => Some(Encryption::S3),
            algorithm @ (ServerSideEncryption::AwsKms | ServerSideEncryption::AwsKmsDsse) => {
                Some(Encryption::Kms {
                    algorithm: algorithm.clone(),
                    key: head.ssekms_key_id().map(str::to_string),
                    bucket_key: head.bucket_key_enabled() == Some(true),
                })
            }
            _ => None,
        }
    }

    pub(super) fn algorithm(&self) -> ServerSideEncryption {
        match self {
            Encryption::S3 => ServerSideEncryption::Aes256,
            Encryption::Kms { algorithm, .. } => algorithm.clone(),
        }
    }

    pub(super) fn key(&self) -> Option<String> {
        match self {
            Encryption::S3 => None,
            Encryption::Kms { key, .. } => key.clone(),
        }
    }

    pub(super) fn bucket_key(&self) -> Option<bool> {
        matches!(self, Encryption::Kms { bucket_key: true, .. }).then_some(true)
    }
}

impl Settings {
    /// Checks a configuration.
    ///
    /// # Errors
    /// `InvalidConfig` that names the setting and what it may be.
    pub(super) fn new(config: &S3Config) -> Result<Settings> {
        let bad = |message: &str| Err(fail(ErrorKind::InvalidConfig, message));
        if config.access_key_id.is_some() != config.secret_access_key.is_some() {
            return bad("access_key_id and secret_access_key go together: set both or neither");
        }
        if config.session_token.is_some() && config.access_key_id.is_none() {
            return bad("session_token needs access_key_id and secret_access_key");
        }
        for (name, key) in
            [("access_key_id", &config.access_key_id), ("session_token", &config.session_token)]
        {
            if key.as_ref().is_some_and(|key| !fits(key.expose())) {
                return bad(&format!("{name}: it {UNFIT}"));
            }
        }
        if config.secret_access_key.as_ref().is_some_and(|key| !may_be_secret(key.expose())) {
            return bad(&format!("secret_access_key: it {UNFIT_SECRET}"));
        }
        if config.anonymous && (config.access_key_id.is_some() || config.profile.is_some()) {
            return bad("anonymous contradicts explicit keys and a profile: remove one of them");
        }
        if let Some(url) = &config.endpoint_url {
            check_endpoint(url)?;
        }
        let encryption = match (config.encryption.as_deref(), &config.kms_key) {
            (None, None) if config.bucket_key => return bad("bucket_key needs encryption aws:kms"),
            (None, None) => None,
            (Some("AES256"), None) if config.bucket_key => return bad("bucket_key needs encryption aws:kms"),
            (Some("AES256"), None) => Some(Encryption::S3),
            (Some("AES256"), Some(_)) => return bad("kms_key contradicts encryption AES256: use aws:kms"),
            (None | Some("aws:kms"), key) => {
                let algorithm = ServerSideEncryption::AwsKms;
                Some(Encryption::Kms { algorithm, key: key.clone(), bucket_key: config.bucket_key })
            }
            (Some(_), _) => return bad("encryption: use AES256 or aws:kms"),
        };
        let checksums = match config.checksums.as_deref() {
            None => None,
            Some("when_required") => Some(Checksums::Required),
            Some("when_supported") => Some(Checksums::Supported),
            Some("full_object") => Some(Checksums::Whole),
            Some(_) => return bad("checksums: use when_required, when_supported or full_object"),
        };
        let part_size = config.part_size.unwrap_or(8 << 20);
        if !(SMALLEST_PART..=LARGEST_PART).contains(&part_size) {
            return bad("part_size: S3 takes parts of 5 MiB (5242880) to 5 GiB (5368709120)");
        }
        let parallel = config.parallel.unwrap_or(4);
        if !(1..=64).contains(&parallel) {
            return bad("parallel: use 1 to 64");
        }
        let timeout = |name, value: Option<Duration>, default| match value {
            Some(Duration::ZERO) => {
                Err(fail(ErrorKind::InvalidConfig, format!("{name}: must be longer than zero")))
            }
            value => Ok(value.unwrap_or(Duration::from_secs(default)).min(LONGEST)),
        };
        Ok(Settings {
            encryption,
            storage_class: config.storage_class.as_deref().map(StorageClass::from),
            anonymous: config.anonymous,
            payer: config.requester_pays.then_some(RequestPayer::Requester),
            part_size,
            parallel,
            atomic_multipart: config.atomic_multipart,
            checksums,
            connect_timeout: timeout("connect_timeout", config.connect_timeout, 3)?,
            read_timeout: timeout("read_timeout", config.read_timeout, 30)?,
            attempt_timeout: timeout("attempt_timeout", config.attempt_timeout, 60)?,
            total_timeout: config
                .total_timeout
                .map(|limit| timeout("total_timeout", Some(limit), 0))
                .transpose()?,
        })
    }

    /// The size of part `number`, counted from 1. Where the length is known it is the same for all. A stream
    /// of unknown length never runs out of parts, because they double every 900: 10,000 of them reach 5 TiB
    /// from any first size on.
    pub(super) fn part_size(&self, number: u64, len: Option<u64>) -> u64 {
        let size = match len {
            Some(len) => self.part_size.max(len.div_ceil(MOST_PARTS)),
            None => self.part_size.saturating_mul(1 << ((number - 1) / GROWS_BEHIND).min(20)),
        };
        size.min(LARGEST_PART)
    }

    /// How long one attempt that moves so many bytes may take: slow lines get their time, at 64 KiB a second
    /// for all that share one.
    pub(super) fn attempt_limit(&self, bytes: u64) -> Duration {
        self.attempt_timeout + Duration::from_secs(bytes * self.window(bytes) as u64 / (64 << 10))
    }

    /// How many parts of this size are under way at once: as many bytes as `parallel` first parts, so that
    /// memory does not grow with the parts, but always one.
    pub(super) fn window(&self, part_size: u64) -> usize {
        ((self.part_size * self.parallel as u64) / part_size.max(1)).max(1) as usize
    }
}

/// Refuses what is no address of a server. It shows in messages, and must hold no secret; nor do these repeat
/// it.
///
/// # Errors
/// `InvalidConfig`.
pub(super) fn check_endpoint(url: &str) -> Result<()> {
    let bad = |message: &str| Err(fail(ErrorKind::InvalidConfig, message));
    let Some(url) = url::Url::parse(url).ok().filter(|url| url.has_host()) else {
        return bad("endpoint_url: write it as http://host:port or https://host");
    };
    if !matches!(url.scheme(), "http" | "https") {
        return bad("endpoint_url: write it as http://host:port or https://host");
    }
    if !url.username().is_empty() || url.password().is_some() || url.query().is_some() {
        return bad(
            "endpoint_url: leave out user, password and query; keys go into access_key_id and secret_access_key",
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What so many parts hold together, and the most memory that parts take: those under way and the next.
    fn reach(settings: &Settings, len: Option<u64>, wanted: u64) -> (u64, u64) {
        let (mut sum, mut memory, mut number) = (0, 0, 1);
        while sum < wanted && number <= MOST_PARTS {
            let size = settings.part_size(number, len);
            assert!((SMALLEST_PART..=LARGEST_PART).contains(&size));
            sum += size;
            memory = memory.max((settings.window(size) as u64 + 1) * size);
            number += 1;
        }
        (sum, memory)
    }

    #[test]
    fn ten_thousand_parts_reach_the_largest_object() {
        for part_size in [SMALLEST_PART, 8 << 20, 100 << 20, LARGEST_PART] {
            let config = S3Config { part_size: Some(part_size), ..S3Config::default() };
            let settings = Settings::new(&config).unwrap();
            for len in [None, Some(LARGEST_OBJECT)] {
                let (sum, _) = reach(&settings, len, LARGEST_OBJECT);
                assert!(sum >= LARGEST_OBJECT, "{part_size}, {len:?}: {sum}");
            }
        }
    }

    /// A line of 64 KiB a second, which all parts under way share, carries each of them in time.
    #[test]
    fn slow_lines_get_their_time() {
        for part_size in [SMALLEST_PART, 8 << 20, 100 << 20] {
            for (parallel, bytes) in [(1, part_size), (4, part_size), (64, part_size), (4, 2 * part_size)] {
                let config =
                    S3Config { part_size: Some(part_size), parallel: Some(parallel), ..S3Config::default() };
                let settings = Settings::new(&config).unwrap();
                let all = bytes * settings.window(bytes) as u64;
                let needed = Duration::from_secs(all / (64 << 10));
                assert!(settings.attempt_limit(bytes) >= needed, "{parallel} of {bytes}");
            }
        }
    }

    /// The longest time that code can write stands for "no limit".
    #[test]
    fn no_time_is_too_long_for_a_clock() {
        let longest = Some(Duration::MAX);
        let config = S3Config {
            connect_timeout: longest,
            read_timeout: longest,
            attempt_timeout: longest,
            total_timeout: longest,
            ..S3Config::default()
        };
        let settings = Settings::new(&config).unwrap();
        let attempt = settings.attempt_limit(LARGEST_PART);
        let total = settings.total_timeout.unwrap();
        for time in [settings.connect_timeout, settings.read_timeout, attempt * 5, total] {
            let later = std::time::Instant::now().checked_add(time);
            assert!(later.is_some() && time >= LONGEST, "{time:?}");
        }
    }

    /// The table in `docs/s3.md`.
    #[test]
    fn memory_is_as_the_page_says() {
        let settings = Settings::new(&S3Config::default()).unwrap();
        let mib = |len: u64, known: bool| reach(&settings, known.then_some(len), len).1 >> 20;
        let page = include_str!("../../../docs/s3.md");
        for (size, len) in [
            ("7 GiB", 7u64 << 30),
            ("20 GiB", 20 << 30),
            ("48 GiB", 48 << 30),
            ("100 GiB", 100 << 30),
            ("400 GiB", 400 << 30),
            ("1.7 TiB", (17 << 40) / 10),
            ("5 TiB", 5 << 40),
        ] {
            let row = format!("| {size} | {} MiB | {} MiB |", mib(len, false), mib(len, true));
            assert!(page.contains(&row), "{row}");
        }
    }
}
