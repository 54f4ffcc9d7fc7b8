//! Keys of the deployment's own: Cloud KMS, and keys that the customer supplies with each request.

use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use sha2::{Digest, Sha256};

use super::model::Resource;
use crate::{Error, ErrorKind, GcsConfig, Result};

/// How new objects are encrypted.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Encryption {
    /// By the service, or as the bucket says.
    Default,
    /// With this Cloud KMS key: a query parameter of the requests that write, never a field of the object's
    /// JSON, which is refused.
    Kms(String),
    /// With a key of the customer's own: headers of every request that touches content or hashes.
    Supplied(Supplied),
}

/// A customer-supplied key, as the headers want it.
#[derive(Clone, PartialEq)]
pub(super) struct Supplied {
    key: HeaderValue,
    sha256: String,
}

impl std::fmt::Debug for Supplied {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Supplied(sha256 {})", self.sha256)
    }
}

impl Encryption {
    /// Checks what the configuration says.
    pub(super) fn new(config: &GcsConfig) -> Result<Self> {
        let bad = |message: &str| Err(Error::new(ErrorKind::InvalidConfig, message).with_backend("gcs"));
        match (&config.kms_key, &config.encryption_key) {
            (None, None) => Ok(Encryption::Default),
            (Some(_), Some(_)) => bad("a KMS key and a customer-supplied key exclude each other; remove one"),
            (Some(name), None) if is_kms_name(name) => Ok(Encryption::Kms(name.clone())),
            (Some(_), None) => {
                bad("the KMS key must be projects/P/locations/L/keyRings/R/cryptoKeys/K, without a version")
            }
            (None, Some(key)) => match BASE64.decode(key.expose().trim()) {
                Ok(raw) if raw.len() == 32 => {
                    let mut header = HeaderValue::from_str(&BASE64.encode(&raw)).map_err(|_| {
                        Error::new(ErrorKind::Internal, "base64 is not a header value").with_backend("gcs")
                    })?;
                    header.set_sensitive(true);
                    Ok(Encryption::Supplied(Supplied {
                        key: header,
                        sha256: BASE64.encode(Sha256::digest(&raw)),
                    }))
                }
                _ => bad(
                    "the encryption key must be 32 bytes in base64, for example from `openssl rand -base64 32`",
                ),
            },
        }
    }

    /// The query parameter of writes.
    pub(super) fn kms_key(&self) -> Option<&str> {
        match self {
            Encryption::Kms(name) => Some(name),
            _ => None,
        }
    }

    /// The KMS key that a rewrite of `old` must name: without one the service takes the bucket's.
    pub(super) fn kms_key_of<'a>(&'a self, old: &'a Resource) -> Option<&'a str> {
        let kept = || old.kms_key_name.as_deref()?.split("/cryptoKeyVersions/").next();
        match self {
            Encryption::Default => kept(),
            _ => self.kms_key(),
        }
    }

    /// The headers of every request on the object itself.
    pub(super) fn headers(&self) -> HeaderMap {
        self.prefixed([
            "x-goog-encryption-algorithm",
            "x-goog-encryption-key",
            "x-goog-encryption-key-sha256",
        ])
    }

    /// The headers for the object that is copied from.
    pub(super) fn source_headers(&self) -> HeaderMap {
        self.prefixed([
            "x-goog-copy-source-encryption-algorithm",
            "x-goog-copy-source-encryption-key",
            "x-goog-copy-source-encryption-key-sha256",
        ])
    }

    fn prefixed(&self, [algorithm, key, sha256]: [&'static str; 3]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        if let Encryption::Supplied(supplied) = self {
            headers.insert(HeaderName::from_static(algorithm), HeaderValue::from_static("AES256"));
            headers.insert(HeaderName::from_static(key), supplied.key.clone());
            if let Ok(digest) = HeaderValue::from_str(&supplied.sha256) {
                headers.insert(HeaderName::from_static(sha256), digest);
            }
        }
        headers
    }

    /// Whether the service did what was asked for. Some servers drop the wish without a word.
    pub(super) fn verify(&self, stored: &Resource) -> Result<()> {
        let done = match self {
            Encryption::Default => true,
            Encryption::Kms(name) => is_under(name, stored),
            Encryption::Supplied(supplied) => {
                stored.customer_encryption.as_ref().is_some_and(|used| used.key_sha256 == supplied.sha256)
            }
        };
        if done {
            return Ok(());
        }
        let message = "the service stored the object without the encryption key that was asked for; check that this server \
                       supports encryption keys";
        Err(Error::new(ErrorKind::Unsupported, message))
    }
}

/// Whether an object is encrypted with this KMS key, in any version.
pub(super) fn is_under(name: &str, stored: &Resource) -> bool {
    let version = stored.kms_key_name.as_deref().and_then(|used| used.strip_prefix(name));
    version.is_some_and(|version| version.is_empty() || version.starts_with("/cryptoKeyVersions/"))
}

fn is_kms_name(name: &str) -> bool {
    let parts: Vec<_> = name.split('/').collect();
    matches!(parts[..], ["projects", p, "locations", l, "keyRings", r, "cryptoKeys", k]
        if [p, l, r, k].iter().all(|part| !part.is_empty() && part.bytes().all(|b| b.is_ascii_graphic())))
}
