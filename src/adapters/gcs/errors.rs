//! What the service's answers mean: one table.

use reqwest::{StatusCode, header::HeaderMap};

use super::{said::Said, write_rate::GAP};
use crate::{
    Error, ErrorKind,
    http::{Lost, retry_after},
    options::NONE,
};

/// The header that each answer of Google's has.
pub(super) const MARK: &str = "x-guploader-uploadid";

/// What a request was, as far as its answer hangs on that.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asked {
    /// It had a condition.
    pub(super) conditional: bool,
    /// It went to an upload session.
    pub(super) of_session: bool,
    /// It was for a listing, and for no single object.
    pub(super) of_listing: bool,
    /// There are no credentials.
    pub(super) anonymous: bool,
    /// The endpoint is plain http and wants no credentials: an emulator.
    pub(super) emulator: bool,
    /// The server has marked an answer as Google does, so each of its own has a mark.
    pub(super) server_marks: bool,
}

/// A request that failed.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) error: Error,
    /// The status, if there was an answer.
    pub(super) status: Option<u16>,
    /// Whether the service may have acted on it all the same: a lost answer, a timeout, a failure behind the
    /// front.
    pub(super) doubtful: bool,
    /// Whether a condition that was sent may not hold (412).
    pub(super) refused: bool,
}

impl Failure {
    /// A failure before anything was sent.
    pub(super) fn unsent(error: Error) -> Self {
        Failure { error, status: None, doubtful: false, refused: false }
    }

    /// An answer that cannot be used, or not whole: the service has acted on the request.
    pub(super) fn unread(error: Error) -> Self {
        Failure { doubtful: true, ..Failure::unsent(error) }
    }

    /// Whether the service says in so many words that a condition does not hold. Policies that forbid a write
    /// are answered 412 as well.
    pub(super) fn is_clear(&self) -> bool {
        self.refused && self.error.kind() == ErrorKind::Conflict
    }

    pub(super) fn is(&self, status: u16) -> bool {
        self.status == Some(status)
    }

    /// Whether the service says that there is no such thing: object, upload session or bucket. A 404 of
    /// others is none of these.
    pub(super) fn not_found(&self) -> bool {
        self.error.kind() == ErrorKind::NotFound
    }

    /// Whether the service says that there is no such object. The status does not tell it from a missing
    /// bucket.
    pub(super) fn no_object(&self) -> bool {
        self.not_found() && !self.error.is_of_bucket()
    }
}

impl From<Lost> for Failure {
    fn from(lost: Lost) -> Self {
        Failure { doubtful: lost.sent, ..Failure::unsent(lost.error) }
    }
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        failure.error
    }
}

/// What an answer that is no success means. `body` may be JSON, a page of a proxy, or empty.
pub(super) fn failure(status: StatusCode, headers: &HeaderMap, body: &[u8], asked: Asked) -> Failure {
    let said = Said::new(body);
    let foreign = status == StatusCode::NOT_FOUND && is_foreign_404(headers, body, asked);
    let (kind, fix) = if foreign {
        // A proxy whose service is away says that there is none, and not that an object is gone.
        (
            ErrorKind::Unavailable,
            "the answer is not the service's; check PERSIST_GCS_ENDPOINT_URL and what stands in between",
        )
    } else {
        meaning(status.as_u16(), &said, asked)
    };
    let mut error = Error::new(kind, format!("{fix} (http {}{said})", status.as_u16()));
    error = error.of_bucket(kind == ErrorKind::NotFound && is_of_bucket(&said, asked));
    // 410 ends a session, not the service, unless it says why. 409: two requests met on one object, and this
    // one was not carried out.
    let passes = foreign
        || matches!(kind, ErrorKind::RateLimited | ErrorKind::Corrupt)
        || status == StatusCode::GONE && said.failed();
    error = error.with_retryable(matches!(status.as_u16(), 408 | 409 | 429 | 500..=599) || passes);
    // What the limit of writes asks for, where nothing else does.
    let gap = (kind == ErrorKind::RateLimited && said.of_writes()).then_some(GAP);
    if let Some(delay) = retry_after(headers).or(gap) {
        error = error.with_retry_after(delay);
    }
    // A proxy may put its page in place of an answer that it did not like.
    let doubtful = foreign || status.is_server_error() || status == StatusCode::REQUEST_TIMEOUT;
    let policy = said.opens(&["request violates constraint"]) || said.is("orgPolicyConstraintFailed");
    let refused = asked.conditional && status == StatusCode::PRECONDITION_FAILED && !policy;
    Failure { error, status: Some(status.as_u16()), doubtful, refused }
}

/// A success that is somebody else's: of a login page, a scanner of downloads, a proxy in maintenance.
pub(super) fn not_the_services() -> Error {
    let message = "the answer is not the service's; see what is between (a proxy, a login page)";
    Error::new(ErrorKind::Unavailable, message)
}

/// The table.
fn meaning(status: u16, said: &Said, asked: Asked) -> (ErrorKind, &'static str) {
    match status {
        429 | 403 | 410 if status == 429 || said.rate_limit() => {
            let fix = if said.of_writes() {
                "the service asks for fewer requests (one write a second to the same object)"
            } else {
                "the service asks for fewer requests"
            };
            (ErrorKind::RateLimited, fix)
        }
        304 => (ErrorKind::NotModified, "the snapshot is unchanged"),
        301 | 302 | 303 | 307 | 308 => (
            ErrorKind::InvalidConfig,
            "the server sends requests elsewhere, which is not followed; set PERSIST_GCS_ENDPOINT_URL to where the service answers",
        ),
        400 if said.is("resourceNotEncryptedWithCustomerEncryptionKey") => (
            ErrorKind::InvalidConfig,
            "the object was written without a customer-supplied key: remove PERSIST_GCS_ENCRYPTION_KEY to read it",
        ),
        400 if said.needs_key() => {
            (ErrorKind::InvalidConfig, "the object needs the encryption key that it was written with")
        }
        400 if said.kms() => (
            ErrorKind::InvalidConfig,
            "check the KMS key's name, that it is enabled and not destroyed, and that key and bucket are in the same location",
        ),
        400 if said.opens(&["bucket is a requester pays", "requester pays bucket", "user project "]) => (
            ErrorKind::InvalidConfig,
            "the bucket bills its readers: set PERSIST_GCS_PROJECT to the project that pays",
        ),
        400 if said.opens(&["provided crc32c", "provided md5", "checksum "]) => (
            ErrorKind::Corrupt,
            "the bytes were changed on their way and nothing was stored; save again, and check the network path if it stays",
        ),
        400 => (ErrorKind::InvalidInput, "the service does not accept the request"),
        401 if asked.anonymous => (
            ErrorKind::Unauthenticated,
            "no credentials were sent, and what is not public needs some: set PERSIST_GCS_CREDENTIALS_PATH",
        ),
        401 => (
            ErrorKind::Unauthenticated,
            "the credentials are not accepted; check which ones are in use and whether they are revoked",
        ),
        403 if said.kms() || said.opens(&["permission denied on cloud kms"]) => (
            ErrorKind::AccessDenied,
            "give the bucket's service agent the role Cloud KMS CryptoKey Encrypter/Decrypter on the key",
        ),
        403 if said.kept() => (
            ErrorKind::AccessDenied,
            "a retention policy or a hold keeps the object; save under another key, or release it",
        ),
        403 if said.narrow() => (
            ErrorKind::AccessDenied,
            "the token's scopes are too narrow; give the machine the access scope devstorage.read_write or cloud-platform",
        ),
        403 if said.billing() => (ErrorKind::AccessDenied, "the project's billing is not active"),
        403 if said.payer => (
            ErrorKind::AccessDenied,
            "give the account the role Service Usage Consumer on the project that is billed, or remove PERSIST_GCS_PROJECT, \
             GOOGLE_CLOUD_QUOTA_PROJECT or the file's `quota_project_id`, whichever names it",
        ),
        403 if said.opens(&["request is prohibited by organization's policy"]) => {
            (ErrorKind::AccessDenied, "a perimeter of VPC Service Controls forbids this")
        }
        403 if said.is("accessNotConfigured") => {
            (ErrorKind::AccessDenied, "enable the Cloud Storage JSON API in the project")
        }
        403 if said.opens(&["there is an ip filtering condition"]) => {
            (ErrorKind::AccessDenied, "the bucket's IP filter does not admit this machine's address")
        }
        403 if said.is("countryBlocked") => {
            (ErrorKind::AccessDenied, "the service refuses requests from this country")
        }
        403 if said.is("quotaExceeded") => {
            (ErrorKind::AccessDenied, "a quota of the project is used up; have it raised")
        }
        403 if said.unlisted && !asked.of_listing => (
            ErrorKind::AccessDenied,
            "there may be no such snapshot: without storage.objects.list the service does not tell; give the account the role \
             Storage Object Admin on the bucket",
        ),
        403 => (
            ErrorKind::AccessDenied,
            "give the account the role Storage Object Admin on the bucket (replacing needs storage.objects.delete as well)",
        ),
        404 if is_of_bucket(said, asked) => {
            (ErrorKind::NotFound, "there is no such bucket; check its name, or create it")
        }
        404 => (ErrorKind::NotFound, NONE),
        407 => (
            ErrorKind::InvalidConfig,
            "the proxy wants a name and a password; set them in HTTPS_PROXY or HTTP_PROXY (http://name:password@host:port)",
        ),
        408 => (ErrorKind::Timeout, "the service did not get the request in time"),
        409 => (ErrorKind::Conflict, "another request on the same object is in the way"),
        410 if asked.of_session => (ErrorKind::Unavailable, "the upload session has ended"),
        410 => (
            ErrorKind::Unavailable,
            "what was begun before has ended (a copy, a change of tier); begin it anew",
        ),
        411 => (ErrorKind::Internal, "the service does not accept the request's length"),
        413 if said.is("uploadTooLarge") => {
            (ErrorKind::InvalidInput, "Cloud Storage objects have at most 5 TiB")
        }
        413 => (
            ErrorKind::InvalidConfig,
            "a request is too large for what stands in between: raise its limit (nginx: client_max_body_size), or lower \
             PERSIST_GCS_CHUNK_SIZE",
        ),
        412 if said.opens(&["at least one of the pre-conditions", "precondition failed"]) => {
            (ErrorKind::Conflict, "a condition of the request does not hold")
        }
        412 => (
            ErrorKind::AccessDenied,
            "a policy of the bucket or its organization forbids this; where it demands a key of your own, set PERSIST_GCS_KMS_KEY",
        ),
        416 => (ErrorKind::InvalidInput, "the range starts behind the end of the object"),
        500..=599 => (ErrorKind::Unavailable, "the service failed"),
        _ => (ErrorKind::Unavailable, "the service answered something unexpected"),
    }
}

/// Whether a 404 is the bucket's. Some emulators do not say so, and a listing asks for nothing else.
fn is_of_bucket(said: &Said, asked: Asked) -> bool {
    said.no_bucket() || asked.of_listing
}

/// Whether a 404 is somebody else's: of a proxy, a gateway or an ingress whose service is away. The JSON API
/// says 404 in JSON, downloads in the text "No such object", and upload sessions in other ways, too. So do
/// emulators.
fn is_foreign_404(headers: &HeaderMap, body: &[u8], asked: Asked) -> bool {
    // Google's own, whatever it says.
    if headers.contains_key(MARK) {
        return false;
    }
    let text = String::from_utf8_lossy(body);
    let text = text.trim();
    let plainly = !asked.server_marks && (asked.of_session || asked.emulator);
    if text.is_empty() {
        return !plainly;
    }
    // Gateways answer in JSON as well; theirs has no such object in it.
    let json = || {
        // Older emulators have no object in theirs.
        let own =
            |said: serde_json::Value| said["error"].is_object() || asked.emulator && said["code"] == 404;
        serde_json::from_str(text).is_ok_and(own)
    };
    // What Google's front says for a session that it does not know any more.
    let page = || asked.of_session && text.contains("Error 404 (Not Found)!!1");
    let own =
        ["No such object:", "The specified bucket does not exist"].iter().any(|said| text.starts_with(said));
    // Ingresses and gateways say this of a route that they do not have.
    let plain = plainly && text.starts_with("Not Found");
    !(own || plain || json() || page())
}

#[cfg(test)]
#[path = "errors_tests.rs"]
mod tests;
