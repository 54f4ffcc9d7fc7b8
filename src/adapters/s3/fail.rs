//! Errors of this adapter.

use crate::{Error, ErrorKind, Key, PutMode};

/// An error of this adapter.
pub(super) fn fail(kind: ErrorKind, message: impl Into<String>) -> Error {
    Error::new(kind, message).with_backend("s3")
}

/// Names the operation and the key in an error of this adapter. One that came with the caller's body stays as it is.
pub(super) fn about(error: Error, operation: &'static str, key: &Key) -> Error {
    let ours = error.backend() == Some("s3") && error.operation().is_none_or(|name| name == operation);
    if ours { error.with_operation(operation).with_key(key) } else { error }
}

/// Another writer was faster.
pub(super) fn lost_race(mode: &PutMode) -> Error {
    match mode {
        PutMode::Create => fail(ErrorKind::AlreadyExists, "a snapshot is already there"),
        _ => fail(
            ErrorKind::Conflict,
            "another writer replaced or removed the snapshot; load it and try again",
        ),
    }
}
