//! Snapshots from and to files, read and written on blocking threads.

use std::{
    fs::{self, File, Permissions},
    path::{Path, PathBuf},
};

use super::SnapshotReader;
use crate::{Body, Error, ErrorKind, ObjectMeta, Result, threads};

/// The file at `path` as a body.
pub(super) async fn open(path: PathBuf) -> Result<Body> {
    threads::run(move || {
        let file = File::open(&path).map_err(|error| failed("open", &path, error))?;
        let meta = file.metadata().map_err(|error| failed("open", &path, error))?;
        if meta.is_dir() {
            let message = format!("{} is a directory; name a file", path.display());
            return Err(Error::new(ErrorKind::InvalidInput, message));
        }
        // No length: the file may grow while it is read, and the codec does not need one.
        Ok(Body::from_blocking(file))
    })
    .await
}

/// Writes the state to `path`: to a temporary file beside it that takes its name at the end. What is no regular file, such as `/dev/stdout`, is
/// written as it is.
pub(super) async fn store(reader: SnapshotReader, path: PathBuf) -> Result<ObjectMeta> {
    let meta = reader.meta().clone();
    let target = Target::new(path).await?;
    match target {
        Target::Device(file) => drop(reader.copy_to(file).await?),
        Target::File { path, permissions, temporary } => {
            let (temporary, _) = reader.copy_to(temporary).await?;
            threads::run(move || finish(temporary, &path, permissions)).await?;
        }
    }
    Ok(meta)
}

/// Where to write.
enum Target {
    Device(File),
    File { path: PathBuf, permissions: Option<Permissions>, temporary: tempfile::NamedTempFile },
}

impl Target {
    async fn new(path: PathBuf) -> Result<Self> {
        threads::run(move || {
            let failed = |error| failed("write", &path, error);
            // Through symbolic links: they stay, and what they point to is replaced.
            let path = fs::canonicalize(&path).unwrap_or_else(|_| path.clone());
            let old = match fs::metadata(&path) {
                Ok(old) if old.is_dir() => {
                    let message = format!("{} is a directory; name a file", path.display());
                    return Err(Error::new(ErrorKind::InvalidInput, message));
                }
                Ok(old) if !old.is_file() => {
                    let device = File::options().write(true).open(&path).map_err(failed)?;
                    return Ok(Target::Device(device));
                }
                Ok(old) => Some(old.permissions()),
                Err(_) => None,
            };
            let mut builder = tempfile::Builder::new();
            builder.prefix(".persist-").suffix(".tmp");
            #[cfg(unix)]
            builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
            let temporary = builder.tempfile_in(folder(&path)).map_err(failed)?;
            Ok(Target::File { path, permissions: old, temporary })
        })
        .await
    }
}

fn finish(temporary: tempfile::NamedTempFile, path: &Path, permissions: Option<Permissions>) -> Result<()> {
    let failed = |error| failed("write", path, error);
    if let Some(permissions) = permissions {
        temporary.as_file().set_permissions(permissions).map_err(failed)?;
    }
    temporary.as_file().sync_all().map_err(failed)?;
    temporary.persist(path).map_err(|error| failed(error.error))?;
    // The new name itself must survive a crash. Not every file system lets a directory be opened for that.
    if let Ok(folder) = File::open(folder(path)) {
        let _ = folder.sync_all();
    }
    Ok(())
}

fn folder(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn failed(what: &str, path: &Path, error: std::io::Error) -> Error {
    let message = format!("cannot {what} {}: {error}", path.display());
    let kind = match error.kind() {
        // What is not found is the caller's file or folder; NotFound is for snapshots.
        std::io::ErrorKind::NotFound => ErrorKind::InvalidInput,
        other => Error::from(std::io::Error::from(other)).kind(),
    };
    Error::new(kind, message).with_source(error)
}
