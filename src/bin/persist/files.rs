//! Files that commands write: whole or not at all.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
};

use persist::{Error, ErrorKind, FileTarget, Result};

/// A file that changes at the end; a device, a pipe, or what stands for an open file is written as it is.
pub(crate) struct Written {
    path: PathBuf,
    target: FileTarget,
}

impl Written {
    /// # Errors
    /// As [`check`], and `Io` where it cannot be made.
    pub(crate) async fn begin(path: &Path) -> Result<Self> {
        check(path)?;
        Ok(Written { path: path.to_owned(), target: FileTarget::new(path.to_owned()).await? })
    }

    /// What to write to.
    pub(crate) fn file(&self) -> Result<File> {
        self.target.open().map_err(|error| failed(&self.path, error))
    }

    /// Durable, and under its name.
    pub(crate) async fn finish(self) -> Result<()> {
        self.target.finish().await
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

/// Makes a folder, and those that it is in, where they are missing: durably, as what is written to it.
///
/// # Errors
/// `InvalidInput` where something else has its name, and as the operating system refuses.
pub(crate) fn make_folder(path: &Path) -> Result<()> {
    let missing = |path: &&Path| !path.as_os_str().is_empty() && !path.exists();
    let made: Vec<&Path> = path.ancestors().take_while(missing).collect();
    fs::create_dir_all(path).map_err(|error| {
        let kind = match error.kind() {
            io::ErrorKind::AlreadyExists | io::ErrorKind::NotADirectory | io::ErrorKind::NotFound => {
                ErrorKind::InvalidInput
            }
            _ => ErrorKind::Io,
        };
        Error::new(kind, format!("the folder {} cannot be made", path.display())).with_source(error)
    })?;
    for made in made {
        // Not every file system lets a directory be opened for that.
        if let Ok(above) = File::open(folder(made)) {
            let _ = above.sync_all();
        }
    }
    Ok(())
}

/// The error for a file of the user's own: no service refused it, and no credentials are missing.
fn failed(path: &Path, error: io::Error) -> Error {
    Error::new(ErrorKind::Io, format!("the file {} cannot be written", path.display())).with_source(error)
}

pub(crate) fn folder(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}
