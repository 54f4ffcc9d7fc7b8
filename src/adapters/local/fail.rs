//! What the operating system refuses, with what to do about it.

use std::io;

use rustix::io::Errno;

use crate::{Error, ErrorKind};

/// An error of the operating system while `doing` something.
pub(super) fn io_error(doing: &str, error: impl Into<io::Error>) -> Error {
    let error = error.into();
    let (kind, fix) = match error.kind() {
        io::ErrorKind::StorageFull => (
            ErrorKind::Io,
            "the disk is full, or has no room for more files (`df -i`); free some space and try again",
        ),
        io::ErrorKind::QuotaExceeded => {
            (ErrorKind::Io, "the disk quota is used up; free some space or have it raised")
        }
        io::ErrorKind::FileTooLarge => {
            (ErrorKind::Io, "the file system or a limit (ulimit -f) allows no file of that size")
        }
        io::ErrorKind::ReadOnlyFilesystem => (
            ErrorKind::AccessDenied,
            "the file system is read-only; mount it writable or use another directory",
        ),
        io::ErrorKind::PermissionDenied => (
            ErrorKind::AccessDenied,
            "no permission; the directory and all in it must belong to the user who runs this",
        ),
        io::ErrorKind::NotFound => (ErrorKind::Io, "the directory was removed meanwhile; try again"),
        io::ErrorKind::InvalidFilename => {
            (ErrorKind::InvalidInput, "the name is too long for this file system; use a shorter key")
        }
        _ => match Some(Errno::from_io_error(&error)) {
            Some(Some(Errno::MFILE | Errno::NFILE)) => {
                (ErrorKind::Io, "too many open files; raise the limit (ulimit -n)")
            }
            // NOTSUP and OPNOTSUPP are one number on Linux, and two on macOS.
            Some(Some(errno))
                if [Errno::NOLCK, Errno::BADF, Errno::OPNOTSUPP, Errno::NOTSUP].contains(&errno) =>
            {
                (
                    ErrorKind::Unsupported,
                    "the file system cannot do that; network file systems need locks (flock), or use a local disk",
                )
            }
            _ => (ErrorKind::Io, "the operating system refused; see the cause"),
        },
    };
    Error::new(kind, format!("{fix} (while {doing})")).with_source(error)
}

/// Something that is neither a directory nor a regular file lies on the way.
pub(super) fn foreign(what: &str) -> Error {
    let message = format!(
        "{what} is a symbolic link or a special file; persist follows none below its root, so that no key leads out of it: move it away"
    );
    Error::new(ErrorKind::InvalidInput, message)
}
