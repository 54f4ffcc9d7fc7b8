//! Files that commands write: whole or not at all.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use persist::{Error, ErrorKind, Result};
use tempfile::NamedTempFile;

/// A file that is made beside its place and takes its name at the end.
pub(crate) struct Written {
    path: PathBuf,
    pub(crate) temporary: NamedTempFile,
}

impl Written {
    /// # Errors
    /// As [`check`], and `Io` where it cannot be made.
    pub(crate) fn begin(path: &Path) -> Result<Self> {
        check(path)?;
        let temporary = NamedTempFile::new_in(folder(path)).map_err(|error| failed(path, error))?;
        Ok(Written { path: path.to_owned(), temporary })
    }

    /// Durable, and under its name.
    pub(crate) fn finish(self) -> Result<()> {
        let Written { path, temporary } = self;
        temporary.as_file().sync_all().map_err(|error| failed(&path, error))?;
        temporary.persist(&path).map_err(|error| failed(&path, error.error))?;
        Ok(())
    }
}

/// Before anything is read for it.
///
/// # Errors
/// `InvalidInput` where there can be no file at `path`.
pub(crate) fn check(path: &Path) -> Result<()> {
    let bad = |message| Err(Error::new(ErrorKind::InvalidInput, message));
    let above = folder(path);
    match (fs::metadata(path), fs::metadata(above)) {
        (Ok(there), _) if there.is_dir() => bad(format!("{} is a folder; name a file", path.display())),
        (_, Ok(above_it)) if !above_it.is_dir() => {
            bad(format!("{} is no folder; name another file", above.display()))
        }
        (_, Err(error)) if error.kind() == io::ErrorKind::NotFound => {
            bad(format!("the folder {} is not there; make it, or name another file", above.display()))
        }
        _ => Ok(()),
    }
}

/// The error for a file of the user's own: no service refused it, and no credentials are missing.
pub(crate) fn failed(path: &Path, error: io::Error) -> Error {
    // tempfile adds the name that only it knows.
    let text = error.to_string();
    let plain = match text.split_once(" at path ") {
        Some((text, _)) => io::Error::new(error.kind(), text),
        None => error,
    };
    Error::new(ErrorKind::Io, format!("the file {} cannot be written", path.display())).with_source(plain)
}

fn folder(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}
