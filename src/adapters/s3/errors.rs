//! What S3's answers mean: one table from code and status to kind, retryability and advice.

use std::{error::Error as StdError, time::Duration};

use aws_credential_types::provider::error::CredentialsError;
use aws_sdk_s3::{
    config::http::HttpResponse,
    error::{ProvideErrorMetadata, SdkError},
    operation::RequestId,
};
use aws_smithy_types::{DateTime, date_time::Format};

use super::client::Shared;
use crate::{Error, ErrorKind, options::NONE, tls::untrusted};

/// The words for what the KMS refuses, which is no matter of rights to the bucket.
pub(super) const KEY_REFUSED: &str = "the KMS key cannot be used; check its id, state, region and policy";

/// A failed attempt: the error, and what S3 said, for those who know better what it means here.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) error: Error,
    pub(super) status: u16,
    pub(super) code: String,
    /// The service may have done what it was asked for: it did not say that it did not.
    pub(super) unanswered: bool,
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Error {
        failure.error
    }
}

impl Failure {
    /// The condition of the request does not hold. CopyObject and CompleteMultipartUpload may say so behind a
    /// 200.
    pub(super) fn precondition(&self) -> bool {
        self.status == 412 || self.code == "PreconditionFailed"
    }

    /// There is no such object (or no such upload, or, where a server does not tell, no such bucket).
    pub(super) fn not_found(&self) -> bool {
        self.error.kind() == ErrorKind::NotFound && !is_bucket(&self.code)
    }

    /// To a HEAD: there is no such object. Without s3:ListBucket S3 says so by a 403.
    pub(super) fn none_to_see(&self) -> bool {
        self.not_found() || self.is_denied()
    }

    pub(super) fn is_denied(&self) -> bool {
        self.error.kind() == ErrorKind::AccessDenied
    }

    /// To a write: it may have been carried out. The service did not answer, or says that it failed in the
    /// middle of it.
    pub(super) fn is_doubtful(&self) -> bool {
        let failed = matches!(self.error.kind(), ErrorKind::Unavailable | ErrorKind::Timeout);
        self.unanswered || (failed && self.status != 0)
    }

    /// An error from before a request was sent.
    pub(super) fn of(error: Error) -> Failure {
        Failure { error, status: 0, code: String::new(), unanswered: false }
    }

    /// An attempt that took longer than it may.
    pub(super) fn timeout(operation: &'static str, limit: Duration, shared: &Shared) -> Failure {
        let place = place(shared);
        let error = Error::new(
            ErrorKind::Timeout,
            format!(
                "{place} did not answer within {} s; check the network, or raise the timeouts",
                limit.as_secs_f32()
            ),
        );
        Failure { unanswered: true, ..Failure::of(error.with_backend("s3").with_operation(operation)) }
    }
}

/// Makes an error of ours from one of the SDK's.
pub(super) fn failure<E>(
    operation: &'static str,
    error: SdkError<E, HttpResponse>,
    shared: &Shared,
    names_requests: bool,
) -> Failure
where
    E: ProvideErrorMetadata + StdError + Send + Sync + 'static,
{
    let mut failure = match &error {
        SdkError::ServiceError(service) => {
            let code = service.err().code().unwrap_or_default().to_string();
            let message = service.err().message().unwrap_or_default();
            answer(operation, &code, message, service.raw(), shared, names_requests)
        }
        SdkError::ResponseError(response) => {
            let status = response.raw().status().as_u16();
            let what = format!("{} gave an answer that is not S3's (status {status})", place(shared));
            // Half an answer, or that of a proxy in between: an error status of its own says more.
            match status {
                400.. => answer(operation, "", "", response.raw(), shared, names_requests),
                _ => Failure { unanswered: true, ..plain(ErrorKind::Unavailable, what) },
            }
        }
        SdkError::TimeoutError(_) => Failure {
            unanswered: true,
            ..plain(ErrorKind::Timeout, format!("{} did not answer in time", place(shared)))
        },
        SdkError::ConstructionFailure(_) => plain(
            ErrorKind::InvalidConfig,
            "the request cannot be made; check region, endpoint_url and the bucket's name".into(),
        ),
        SdkError::DispatchFailure(_) => undelivered(&error, shared),
        _ => plain(ErrorKind::Unavailable, format!("{} failed", place(shared))),
    };
    let request_id = match &error {
        SdkError::ServiceError(service) => service.raw().request_id().map(str::to_string),
        _ => None,
    };
    failure.error = failure.error.with_backend("s3").with_operation(operation);
    if let Some(id) = request_id.filter(|id| !id.is_empty()) {
        failure.error = failure.error.with_request_id(id);
    }
    failure.error = failure.error.with_source(match &error {
        SdkError::ServiceError(service) => {
            let code = service.err().code().unwrap_or_default();
            let status = service.raw().status().as_u16();
            format!("status {status}: {}", said(code, service.err().message().unwrap_or_default(), status))
        }
        error => causes(error),
    });
    failure
}

/// What an error and its causes say of themselves. Their `Debug`, which the SDK's own text for logs has too,
/// holds the whole answer, and S3 repeats keys and session tokens in some.
pub(super) fn causes(error: &(dyn StdError + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        let more = inner.to_string();
        // Some repeat their cause.
        if !text.ends_with(&more) {
            text = format!("{text}: {more}");
        }
        cause = inner.source();
    }
    text
}

fn plain(kind: ErrorKind, message: String) -> Failure {
    Failure::of(Error::new(kind, message))
}

/// The server, in words.
pub(super) fn place(shared: &Shared) -> String {
    shared.endpoint.clone().unwrap_or_else(|| format!("S3 in {}", shared.region))
}

/// The request did not arrive, or its answer did not: no credentials, no connection, a connection that broke.
fn undelivered(error: &(dyn StdError + 'static), shared: &Shared) -> Failure {
    if let Some((kind, message)) = untrusted(error) {
        return plain(kind, message.into());
    }
    let (mut cause, mut connected) = (Some(error), true);
    while let Some(inner) = cause {
        if let Some(inner) = inner.downcast_ref::<hyper_util::client::legacy::Error>() {
            connected &= !inner.is_connect();
        }
        if let Some(credentials) = inner.downcast_ref::<CredentialsError>() {
            return match credentials {
                CredentialsError::ProviderTimedOut(_) | CredentialsError::ProviderError(_) => {
                    let message = "the AWS credentials could not be fetched; check the profile, the role and the network, or set \
                                   AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY";
                    // What a provider refuses it refuses again; the SDK has repeated what passes.
                    let passes = matches!(credentials, CredentialsError::ProviderTimedOut(_));
                    Failure::of(Error::new(ErrorKind::Unauthenticated, message).with_retryable(passes))
                }
                CredentialsError::InvalidConfiguration(_) => plain(
                    ErrorKind::Unauthenticated,
                    "the AWS credentials cannot be used as they are set; check the environment, the profile and the shared files"
                        .into(),
                ),
                _ => plain(
                    ErrorKind::Unauthenticated,
                    "no AWS credentials found; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, a profile or a role, or \
                     `anonymous` for a public bucket"
                        .into(),
                ),
            };
        }
        cause = inner.source();
    }
    let message =
        format!("cannot reach {} or the connection broke; check endpoint_url and the network", place(shared));
    Failure { unanswered: connected, ..plain(ErrorKind::Unavailable, message) }
}

/// Makes an error of what S3 answered.
fn answer(
    operation: &'static str,
    code: &str,
    message: &str,
    raw: &HttpResponse,
    shared: &Shared,
    names_requests: bool,
) -> Failure {
    use ErrorKind::*;
    let status = raw.status().as_u16();
    let region =
        raw.headers().get("x-amz-bucket-region").map(str::to_string).or_else(|| element(raw, "Region"));
    let elsewhere = region.filter(|region| !region.is_empty() && *region != shared.region);
    let (kind, advice) = if status == 404 && is_foreign(operation, raw, names_requests) {
        // A proxy whose service is away says that there is none, and not that an object is gone.
        (Unavailable, "the answer (status 404) is not S3's; check endpoint_url and what stands in between")
    } else {
        meaning(operation, code, raw, elsewhere.is_some())
    };
    let text = match &elsewhere {
        Some(right) if kind == InvalidConfig => {
            format!("the bucket is in region {right}, not {}; set region to {right}", shared.region)
        }
        _ if QUOTED.contains(&advice) => format!("{advice}: {}", said(code, message, status)),
        _ => advice.into(),
    };
    let passes = matches!(kind, RateLimited | Unavailable | Timeout | Corrupt)
        || matches!(code, "ConditionalRequestConflict" | "OperationAborted")
        // The SDK learns the service's clock from its answer, and signs the next attempt by that.
        || code == "RequestTimeTooSkewed";
    let passes = passes && status != 505;
    let mut error = Error::new(kind, text).with_retryable(passes).of_bucket(is_bucket(code));
    if let Some(delay) = retry_after(raw) {
        error = error.with_retry_after(delay);
    }
    // Without a code of the service's it comes from a proxy in between, which may have passed the request on,
    // or refuses it itself.
    let unanswered = code.is_empty() && matches!(status, 500..) && !matches!(status, 501 | 505);
    Failure { error, status, code: code.into(), unanswered }
}

/// Whether it is the bucket that is not there.
fn is_bucket(code: &str) -> bool {
    matches!(code, "NoSuchBucket" | "NoSuchAccessPoint")
}

const CLOCK: &str = "this machine's clock is wrong; set it";
const REFUSED: &str = "the service refuses it";
const KEY_OR_REGION_REFUSED: &str = "the service refuses the access key or the region";
const IMPOSSIBLE: &str = "the service cannot do it";
const FAILED: &str = "the service failed";
/// Advice that the service's own words follow.
const QUOTED: [&str; 4] = [REFUSED, KEY_OR_REGION_REFUSED, IMPOSSIBLE, FAILED];

/// The table. Codes: <https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html>. The status
/// decides where a server sends no code, as with every HEAD. `elsewhere`: it says that the bucket is in
/// another region.
fn meaning(
    operation: &'static str,
    code: &str,
    raw: &HttpResponse,
    elsewhere: bool,
) -> (ErrorKind, &'static str) {
    use ErrorKind::*;
    let status = raw.status().as_u16();
    match (code, status) {
        ("NoSuchKey", _) => (NotFound, NONE),
        (code, _) if is_bucket(code) => {
            (NotFound, "there is no such bucket; create it, or correct the name and the region")
        }
        ("NoSuchUpload", _) => (NotFound, "the upload is gone; a clean-up or a lifecycle rule removed it"),
        ("InvalidObjectState" | "ObjectNotInActiveTierError", _) => {
            (Unsupported, "the object is archived; restore it first (aws s3api restore-object)")
        }
        ("PreconditionFailed", _) | (_, 412) => (Conflict, "the condition does not hold"),
        ("NotModified", _) | (_, 304) => (NotModified, "the snapshot is unchanged"),
        ("ConditionalRequestConflict" | "OperationAborted", _) => {
            (Conflict, "another request for the same key is under way")
        }
        ("InvalidRange", _) | (_, 416) => (InvalidInput, "the range starts behind the end of the object"),
        ("AuthorizationHeaderMalformed", _) if !elsewhere => (Unauthenticated, KEY_OR_REGION_REFUSED),
        ("", 301 | 302 | 303 | 307 | 308) if !elsewhere && raw.request_id().is_none_or(str::is_empty) => (
            InvalidConfig,
            "the server sends requests elsewhere, which is not followed; set endpoint_url to where it answers, for example with https",
        ),
        ("PermanentRedirect" | "TemporaryRedirect" | "IllegalLocationConstraintException", _)
        | ("AuthorizationHeaderMalformed", _)
        | (_, 301 | 307 | 308) => (InvalidConfig, "the bucket is in another region; set its region"),
        ("ExpiredToken" | "ExpiredTokenException" | "TokenRefreshRequired", _) => {
            (Unauthenticated, "the session token has expired; get new credentials")
        }
        ("InvalidToken", _) => (Unauthenticated, "the session token does not belong to the access key"),
        ("InvalidAccessKeyId", _) => (Unauthenticated, "the access key id does not exist"),
        ("SignatureDoesNotMatch", _) => (Unauthenticated, "the secret access key is wrong"),
        ("RequestTimeTooSkewed", _) => (Unauthenticated, CLOCK),
        (
            "SlowDown"
            | "TooManyRequests"
            | "RequestLimitExceeded"
            | "ThrottlingException"
            | "Throttling"
            | "KMS.ThrottlingException"
            | "KMS.LimitExceededException",
            _,
        )
        | (_, 429) => (RateLimited, "the service asks for fewer requests"),
        ("RequestTimeout", _) | (_, 408) => (Timeout, "the service waited too long for the request"),
        ("BadDigest" | "XAmzContentSHA256Mismatch" | "XAmzContentChecksumMismatch" | "InvalidDigest", _) => {
            (Corrupt, "the bytes were damaged on their way to the service")
        }
        ("IncompleteBody", _) => (Unavailable, "the service got only a part of the request"),
        ("EntityTooLarge" | "EntityTooSmall" | "KeyTooLongError" | "MetadataTooLarge" | "InvalidTag", _) => {
            (InvalidInput, REFUSED)
        }
        ("", 413) => (
            InvalidConfig,
            "a request is too large for what stands in between: raise its limit (nginx: client_max_body_size), or lower part_size",
        ),
        ("", 407) => (
            InvalidConfig,
            "the proxy wants a name and a password; set them in HTTPS_PROXY or HTTP_PROXY (http://name:password@host:port)",
        ),
        ("InvalidStorageClass", _) => (InvalidConfig, "the service does not have this storage class"),
        ("NotImplemented" | "MethodNotAllowed", _) | (_, 405 | 501) => (Unsupported, IMPOSSIBLE),
        (
            "KMS.KMSInternalException" | "KMS.DependencyTimeoutException" | "KMS.KeyUnavailableException",
            _,
        ) => (Unavailable, FAILED),
        (code, _) if code.starts_with("KMS.") => (AccessDenied, KEY_REFUSED),
        // To a HEAD, which is answered without a code.
        ("", 403) if is_skewed(raw) => (Unauthenticated, CLOCK),
        ("AccessDenied" | "AllAccessDisabled" | "AccountProblem", _) | (_, 403) => (
            AccessDenied,
            "the credentials do not allow it (without s3:ListBucket a missing key looks the same)",
        ),
        (_, 401) => (Unauthenticated, "the service wants other credentials"),
        (_, 404) => (NotFound, NONE),
        // CopyObject and CompleteMultipartUpload say 200 at once, and that they failed in the body.
        (
            "InvalidPart" | "InvalidPartOrder" | "InvalidRequest" | "InvalidArgument" | "MalformedXML",
            200..=299,
        ) => (InvalidInput, REFUSED),
        ("InternalError" | "ServiceUnavailable", _) | (_, 200..=299 | 500..) => (Unavailable, FAILED),
        (_, 400) if elsewhere => (InvalidConfig, "the bucket is in another region; set its region"),
        // What else there is: a HEAD of what another program encrypted with a key of its own (SSE-C).
        ("", 400) if operation == "head" => (
            Unauthenticated,
            "the service refuses it without a reason (status 400); the session token may have expired: get new credentials (or the object is encrypted with a customer's key, SSE-C)",
        ),
        _ => (InvalidInput, REFUSED),
    }
}

/// S3 takes a difference of 15 minutes between its clock, which an answer shows, and that of a request.
fn is_skewed(raw: &HttpResponse) -> bool {
    let now = DateTime::from(std::time::SystemTime::now()).secs();
    server_time(raw).is_some_and(|date| date.secs().abs_diff(now) > 15 * 60)
}

/// The service's clock when it answered.
fn server_time(raw: &HttpResponse) -> Option<DateTime> {
    DateTime::from_str(raw.headers().get("date")?, Format::HttpDate).ok()
}

/// Whether a 404 is somebody else's. Its text is no error document, or it has none: then only the id of the
/// request tells, where the server gives one. Where it gives none, mirrors and the answers to a HEAD have
/// nothing to show, whatever their headers announce; what else S3 refuses has a document.
fn is_foreign(operation: &'static str, raw: &HttpResponse, names_requests: bool) -> bool {
    match raw.body().bytes() {
        Some(body) if !body.is_empty() => element(raw, "Code").is_none(),
        _ if raw.request_id().is_some_and(|id| !id.is_empty()) => false,
        _ => names_requests || !matches!(operation, "get" | "head"),
    }
}

/// The service's own words, on one line and not too many.
fn said(code: &str, message: &str, status: u16) -> String {
    let message: String = message.chars().map(|c| if c.is_control() { ' ' } else { c }).take(200).collect();
    match (code, message.as_str()) {
        ("", "") => format!("status {status}"),
        ("", message) => format!("status {status}, {message}"),
        (code, "") => code.to_string(),
        (code, message) => format!("{code}, {message}"),
    }
}

/// The text of an element of an error document that the SDK does not keep.
fn element(raw: &HttpResponse, name: &str) -> Option<String> {
    let body = std::str::from_utf8(raw.body().bytes()?).ok()?;
    let (_, rest) = body.split_once(&format!("<{name}>"))?;
    let (text, _) = rest.split_once('<')?;
    (text.len() < 64).then(|| text.trim().to_string())
}

/// `Retry-After` in seconds or as a date (RFC 9110 section 10.2.3), or Amazon's in milliseconds.
fn retry_after(raw: &HttpResponse) -> Option<Duration> {
    if let Some(ms) = raw.headers().get("x-amz-retry-after") {
        return ms.trim().parse().ok().map(Duration::from_millis);
    }
    let value = raw.headers().get("retry-after")?.trim();
    if let Ok(seconds) = value.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let at = DateTime::from_str(value, Format::HttpDate).ok()?.secs();
    let now = server_time(raw).unwrap_or_else(|| std::time::SystemTime::now().into()).secs();
    Some(Duration::from_secs(u64::try_from(at - now).unwrap_or(0)))
}
