//! Errors of this adapter.

use crate::{
    Error, ErrorKind, Key, PutMode,
    options::{LOST, TAKEN},
};

/// An error of this adapter.
pub(super) fn fail(kind: ErrorKind, message: impl Into<String>) -> Error {
    Error::new(kind, message).with_backend("s3")
}

/// More than the service has.
pub(super) fn too_large_for_s3() -> Error {
    fail(ErrorKind::InvalidInput, "S3 objects have at most 5 TiB")
}

/// What the probe found the server not to do.
pub(super) fn lacks(what: &str) -> Error {
    let message = format!("this server was found not to support {what}, or these credentials may not try it");
    fail(ErrorKind::Unsupported, message)
}

/// Names the operation and the key in an error of this adapter. One that came with the caller's body stays as
/// it is.
pub(super) fn about(error: Error, operation: &'static str, key: &Key) -> Error {
    let ours = error.backend() == Some("s3") && error.operation().is_none_or(|name| name == operation);
    if ours { error.with_operation(operation).with_key(key) } else { error }
}

/// The same error once more, of another operation.
pub(super) fn retold(error: &Error, operation: &'static str) -> Error {
    let mut told = fail(error.kind(), error.message()).with_operation(operation);
    if let Some(id) = error.request_id() {
        told = told.with_request_id(id);
    }
    if let Some(delay) = error.retry_after() {
        told = told.with_retry_after(delay);
    }
    if let Some(source) = std::error::Error::source(error) {
        told = told.with_source(source.to_string());
    }
    told.with_retryable(error.retryable()).of_bucket(error.is_of_bucket())
}

/// Another writer was faster.
pub(super) fn lost_race(mode: &PutMode) -> Error {
    match mode {
        PutMode::Create => fail(ErrorKind::AlreadyExists, TAKEN),
        _ => fail(ErrorKind::Conflict, LOST),
    }
}
