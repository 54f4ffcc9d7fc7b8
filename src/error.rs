//! One error type for the whole crate: a coarse [`ErrorKind`] to act on, and one line that says what to do.

use std::{fmt, io, time::Duration};

use crate::Key;

/// `Result` with persist's [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What went wrong, as far as a caller would act differently.
///
/// ```
/// use persist::{Error, ErrorKind};
///
/// fn what_to_do(error: &Error) -> &'static str {
///     match error.kind() {
///         ErrorKind::NotFound => "begin anew",
///         ErrorKind::Conflict => "rebase (a session) or load what is there, and decide again",
///         ErrorKind::AlreadyExists => "load what is there, and decide again",
///         ErrorKind::Corrupt => "load an older state",
///         _ if error.retryable() => "try again later",
///         _ => "tell a person: the message names the fix",
///     }
/// }
/// assert_eq!(what_to_do(&Error::new(ErrorKind::Timeout, "no answer")), "try again later");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// There is no snapshot under this key (or no such bucket). Never a file of the caller's own: that is
    /// `Io`, or `InvalidInput` where an argument names it.
    NotFound,
    /// `PutMode::Create` found a snapshot under the key.
    AlreadyExists,
    /// Somebody else was faster: the version that was expected is no longer the current one. A handle of a
    /// session goes on with a `rebase`, which also loads; another `load` changes nothing.
    Conflict,
    /// A conditional read found the version that the caller already has.
    NotModified,
    /// No valid credentials.
    Unauthenticated,
    /// Valid credentials without the permission.
    AccessDenied,
    /// A setting is missing, unknown or contradicts another one.
    InvalidConfig,
    /// An argument cannot be used: a key, a range, a value.
    InvalidInput,
    /// The backend, or this build of the crate, cannot do it.
    Unsupported,
    /// The service asks for fewer requests.
    RateLimited,
    /// The service cannot be reached or failed.
    Unavailable,
    /// No answer within the configured time.
    Timeout,
    /// Stored bytes are not what was saved.
    Corrupt,
    /// The operating system refused: disk full, permissions, a closed pipe, a file that is not there.
    Io,
    /// A bug in persist: please report it.
    Internal,
}

impl ErrorKind {
    /// The kind's name in lower-case with underscores, as the CLI prints it in JSON and metrics label it.
    pub fn as_str(self) -> &'static str {
        match self {
            ErrorKind::NotFound => "not_found",
            ErrorKind::AlreadyExists => "already_exists",
            ErrorKind::Conflict => "conflict",
            ErrorKind::NotModified => "not_modified",
            ErrorKind::Unauthenticated => "unauthenticated",
            ErrorKind::AccessDenied => "access_denied",
            ErrorKind::InvalidConfig => "invalid_config",
            ErrorKind::InvalidInput => "invalid_input",
            ErrorKind::Unsupported => "unsupported",
            ErrorKind::RateLimited => "rate_limited",
            ErrorKind::Unavailable => "unavailable",
            ErrorKind::Timeout => "timeout",
            ErrorKind::Corrupt => "corrupt",
            ErrorKind::Io => "io",
            ErrorKind::Internal => "internal",
        }
    }

    /// Whether errors of this kind pass by themselves, unless the error says otherwise.
    fn passes(self) -> bool {
        matches!(self, ErrorKind::RateLimited | ErrorKind::Unavailable | ErrorKind::Timeout)
    }
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// An error of persist.
///
/// Its `Display` is one line in lower case that names what was wrong and, where there is one, the fix;
/// the cause stays in [`source`](std::error::Error::source). No error ever contains a secret. Its `Debug` is
/// one line as well, with the kind in front and the causes behind.
#[derive(thiserror::Error)]
#[error("{repr}")]
pub struct Error {
    repr: Box<Repr>,
    #[source]
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

struct Repr {
    kind: ErrorKind,
    message: String,
    /// How much of the message says what was wrong; what comes behind it says what to do.
    what: usize,
    retryable: bool,
    operation: Option<&'static str>,
    backend: Option<&'static str>,
    key: Option<Key>,
    request_id: Option<String>,
    retry_after: Option<Duration>,
    /// Of an upload that could go on if its source were read once more, as `save` and `upload` do (GCS).
    source_past: bool,
    /// Of a `NotFound` of the bucket and no object in it: no reason to begin anew.
    of_bucket: bool,
}

/// What a `main` that returns it, `unwrap` and tests print.
impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.kind())?;
        // Texts of causes are others': one line stays one.
        self.chain().chars().try_for_each(|c| match c {
            c if c.is_control() => write!(f, "{}", c.escape_default()),
            c => write!(f, "{c}"),
        })
    }
}

impl fmt::Display for Repr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(backend) = self.backend {
            write!(f, "{backend}: ")?;
        }
        match (self.operation, &self.key) {
            (Some(operation), Some(key)) => write!(f, "{operation} {key:?}: ")?,
            (Some(operation), None) => write!(f, "{operation}: ")?,
            (None, Some(key)) => write!(f, "{key:?}: ")?,
            (None, None) => {}
        }
        f.write_str(&self.message)?;
        match &self.request_id {
            Some(id) => write!(f, " (request id {id})"),
            None => Ok(()),
        }
    }
}

impl Error {
    /// An error of `kind`; `message` is a lower-case sentence without a full stop that says what to do.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        let message = message.into();
        let repr = Repr {
            kind,
            what: message.len(),
            message,
            retryable: kind.passes(),
            operation: None,
            backend: None,
            key: None,
            request_id: None,
            retry_after: None,
            source_past: false,
            of_bucket: false,
        };
        Error { repr: Box::new(repr), source: None }
    }

    /// What to do about it, behind the message and `; `, in place of an earlier advice.
    pub(crate) fn with_advice(mut self, advice: &str) -> Self {
        self.repr.message.truncate(self.repr.what);
        self.repr.message.extend(["; ", advice]);
        self
    }

    /// The cause, which `Display` leaves out.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// The operation that failed; the innermost one that was named stays.
    #[must_use]
    pub fn with_operation(mut self, operation: &'static str) -> Self {
        self.repr.operation.get_or_insert(operation);
        self
    }

    /// The backend that failed; the innermost one that was named stays.
    #[must_use]
    pub fn with_backend(mut self, backend: &'static str) -> Self {
        self.repr.backend.get_or_insert(backend);
        self
    }

    /// The key, as the caller named it: an outer layer's name for it replaces an inner one.
    #[must_use]
    pub fn with_key(mut self, key: &Key) -> Self {
        self.repr.key = Some(key.clone());
        self
    }

    /// The service's name for the request, for its support.
    #[must_use]
    pub fn with_request_id(mut self, id: impl Into<String>) -> Self {
        self.repr.request_id = Some(id.into());
        self
    }

    /// How long the service asked to wait (HTTP `Retry-After`, RFC 9110 section 10.2.3).
    #[must_use]
    pub fn with_retry_after(mut self, delay: Duration) -> Self {
        self.repr.retry_after = Some(delay);
        self
    }

    /// Overrides whether a later attempt may succeed.
    #[must_use]
    pub fn with_retryable(mut self, retryable: bool) -> Self {
        self.repr.retryable = retryable;
        self
    }

    /// Notes that the operation would be tried again if its source could be read once more.
    #[cfg(feature = "gcs")]
    pub(crate) fn with_source_past(mut self) -> Self {
        self.repr.source_past = true;
        self
    }

    /// Whether the operation may work with its source read once more.
    pub(crate) fn source_past(&self) -> bool {
        self.repr.source_past
    }

    /// Notes that it is the bucket that is not there, and no object in it.
    #[cfg(any(feature = "gcs", feature = "s3"))]
    pub(crate) fn of_bucket(mut self, it_is: bool) -> Self {
        self.repr.of_bucket = it_is;
        self
    }

    /// Whether the service has said that it is the bucket which is not there.
    pub(crate) fn is_of_bucket(&self) -> bool {
        self.repr.of_bucket
    }

    /// What went wrong, to match on.
    pub fn kind(&self) -> ErrorKind {
        self.repr.kind
    }

    /// Whether the same call may succeed later. persist has already retried when this reaches a caller.
    pub fn retryable(&self) -> bool {
        self.repr.retryable
    }

    /// The operation that failed, by the names that logs and metrics have for it. Of adapters: `open`, `put`,
    /// `get`, `head`, `delete`, `list`, `set_tier`, `copy`, `tags`, `token`, `list_uploads`, `list_parts`,
    /// `abort_upload`. Of what stands on them: `save`, `load`, `describe`, `rebase`, `take_over`, `fork`,
    /// `tag`, `untag`, `prune`, `remove`, `diff`, `verify`, `export`, `import`. More may follow.
    pub fn operation(&self) -> Option<&'static str> {
        self.repr.operation
    }

    /// The backend that failed: `local`, `s3`, `gcs` and so on.
    pub fn backend(&self) -> Option<&'static str> {
        self.repr.backend
    }

    /// The key in question.
    pub fn key(&self) -> Option<&Key> {
        self.repr.key.as_ref()
    }

    /// The service's name for the request.
    pub fn request_id(&self) -> Option<&str> {
        self.repr.request_id.as_deref()
    }

    /// How long the service asked to wait before the next attempt.
    pub fn retry_after(&self) -> Option<Duration> {
        self.repr.retry_after
    }

    /// The message alone, without backend, operation, key and request id.
    pub fn message(&self) -> &str {
        &self.repr.message
    }

    /// The message and all causes behind it, in one line: for texts that have no `source` to keep them in. A
    /// cause that only repeats what stands in front of it is left out.
    pub(crate) fn chain(&self) -> String {
        let mut last = self.to_string();
        let mut text = last.clone();
        let mut source = std::error::Error::source(self);
        while let Some(cause) = source {
            let said = cause.to_string();
            if !last.contains(&said) {
                text.extend([": ", &said]);
                last = said;
            }
            source = cause.source();
        }
        text
    }

    /// The message without the advice behind it: for whoever gives another one. Not every error knows its
    /// advice.
    #[doc(hidden)]
    pub fn what(&self) -> &str {
        self.repr.message.get(..self.repr.what).unwrap_or(&self.repr.message)
    }
}

/// The bridge from `std`: an [`Error`] that travelled inside an [`io::Error`] comes out as it was, and every
/// other one is [`Io`](ErrorKind::Io). A file of the caller's own that is missing is no missing snapshot:
/// whoever answers `NotFound` with a new beginning would save it over a good state.
impl From<io::Error> for Error {
    fn from(error: io::Error) -> Self {
        match error.downcast::<Error>() {
            Ok(inner) => inner,
            Err(error) => Error::new(ErrorKind::Io, error.to_string()).with_source(error),
        }
    }
}

/// The bridge to `std`, for `AsyncRead` and friends; [`From<io::Error>`] takes the [`Error`] out again.
impl From<Error> for io::Error {
    fn from(error: Error) -> Self {
        use io::ErrorKind::{BrokenPipe, ConnectionReset, QuotaExceeded, StorageFull};
        let cause = std::error::Error::source(&error).and_then(|cause| cause.downcast_ref::<io::Error>());
        let kind = match error.kind() {
            ErrorKind::NotFound => io::ErrorKind::NotFound,
            ErrorKind::AlreadyExists => io::ErrorKind::AlreadyExists,
            ErrorKind::AccessDenied | ErrorKind::Unauthenticated => io::ErrorKind::PermissionDenied,
            ErrorKind::InvalidInput | ErrorKind::InvalidConfig => io::ErrorKind::InvalidInput,
            ErrorKind::Unsupported => io::ErrorKind::Unsupported,
            ErrorKind::Timeout => io::ErrorKind::TimedOut,
            ErrorKind::Corrupt => io::ErrorKind::InvalidData,
            // What callers act on. Others would mislead them: `NotFound` says that a snapshot is missing,
            // `UnexpectedEof` ends a stream, `Interrupted` asks for the same call once more.
            ErrorKind::Io => match cause.map(io::Error::kind) {
                Some(kind @ (BrokenPipe | ConnectionReset | QuotaExceeded | StorageFull)) => kind,
                _ => io::ErrorKind::Other,
            },
            _ => io::ErrorKind::Other,
        };
        io::Error::new(kind, error)
    }
}

/// So that functions can take `impl TryInto<Key>`, a [`Key`] itself included.
impl From<std::convert::Infallible> for Error {
    fn from(never: std::convert::Infallible) -> Self {
        match never {}
    }
}

#[cfg(test)]
#[path = "error_tests.rs"]
mod tests;
