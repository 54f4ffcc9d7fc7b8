//! Snapshots from and to files, read and written on blocking threads.

use std::{
    error::Error as _,
    fs::{self, File, Permissions},
    io::{self, Write},
    path::{Path, PathBuf},
    sync::Arc,
};

use super::SnapshotReader;
use crate::{
    Body, Error, ErrorKind, ObjectMeta, Result,
    cleanup::{Job, Waiter, check},
    threads,
};

/// The file at `path` as a body.
pub(super) async fn open(path: PathBuf) -> Result<Body> {
    threads::run(move || {
        let file = File::open(&path).map_err(|error| failed("read", &path, error))?;
        let meta = file.metadata().map_err(|error| failed("read", &path, error))?;
        if meta.is_dir() {
            return Err(is_folder(&path));
        }
        // No length: the file may grow while it is read, and the codec does not need one.
        Ok(Body::from_blocking(file))
    })
    .await
}

/// Writes the state to a temporary file beside `path`, which takes its name at the end. A device, a pipe or
/// an open file (`/dev/stdout`) is written directly; then a failure is the inner error, which is never
/// retried, because a part has been written.
pub(super) async fn store(reader: SnapshotReader, path: PathBuf) -> Result<Result<ObjectMeta>> {
    let meta = reader.meta().clone();
    let FileTarget { path: given, target, waiter: _waiter } = FileTarget::new(path).await?;
    // What the storage fails with names the key.
    let named = |error: Error| match error.source().and_then(|cause| cause.downcast_ref::<io::Error>()) {
        Some(cause)
            if error.kind() == ErrorKind::Io && error.key().is_none() && error.backend().is_none() =>
        {
            failed("written", &given, io::Error::new(cause.kind(), cause.to_string())).with_retryable(false)
        }
        _ => error,
    };
    match target {
        Target::Device(file) => return Ok(reader.copy_to(file).await.map(|_| meta).map_err(named)),
        Target::File { path, permissions, temporary } => {
            let (temporary, _) = reader.copy_to(temporary).await.map_err(named)?;
            threads::run(move || finish(temporary, &path, permissions)).await?;
        }
    }
    Ok(Ok(meta))
}

/// Where to write. The command line writes the states of sessions and archives to one, too.
#[derive(Debug)]
pub struct FileTarget {
    /// As it was given, for errors.
    path: PathBuf,
    target: Target,
    /// Behind the target: what is left of that then is on a thread.
    waiter: Waiter,
}

#[derive(Debug)]
enum Target {
    /// Written as it is.
    Device(File),
    /// Replaced at the end.
    File {
        path: PathBuf,
        /// Those of the file that is replaced.
        permissions: Option<Permissions>,
        /// What takes the name.
        temporary: Temporary,
    },
}

/// A temporary file. It goes away with this, and then the job does.
#[derive(Debug)]
struct Temporary {
    file: tempfile::NamedTempFile,
    job: Arc<Job>,
}

impl Write for Temporary {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl FileTarget {
    /// Looks whether there can be a file at `path`, before anything is read for it.
    ///
    /// # Errors
    /// `InvalidInput` for a folder, and where the folder that it lies in is none.
    pub fn check(path: &Path) -> Result<()> {
        let above = folder(path);
        let bad = |message| Err(Error::new(ErrorKind::InvalidInput, message));
        match (fs::metadata(path), fs::metadata(above)) {
            (Ok(there), _) if there.is_dir() => Err(is_folder(path)),
            (_, Ok(above_it)) if !above_it.is_dir() => {
                bad(format!("{} is no folder; name another file", above.display()))
            }
            (_, Err(error)) if error.kind() == io::ErrorKind::NotFound => {
                bad(format!("the folder {} is not there; make it, or name another file", above.display()))
            }
            _ => Ok(()),
        }
    }

    /// Where `path` leads.
    ///
    /// # Errors
    /// As [`check`](FileTarget::check), and as the operating system refuses.
    pub async fn new(path: PathBuf) -> Result<Self> {
        let waiter = Waiter::new(true);
        let (job, given) = (waiter.job(), path.clone());
        let target = threads::run(move || {
            Self::check(&path)?;
            let failed = |error| failed("written", &path, error);
            let path = match lead(&path) {
                Lead::File(path) => path,
                Lead::Open(path) => return Ok(Target::Device(once_more(&path).map_err(failed)?)),
            };
            let old = match fs::metadata(&path) {
                Ok(old) if !old.is_file() => {
                    let device = File::options().write(true).open(&path).map_err(failed)?;
                    return Ok(Target::Device(device));
                }
                Ok(old) => Some(old.permissions()),
                Err(error) if error.kind() == io::ErrorKind::NotFound => None,
                Err(error) => return Err(failed(error)),
            };
            let mut builder = tempfile::Builder::new();
            builder.prefix(".persist-").suffix(".tmp");
            #[cfg(unix)]
            {
                // Who may not read the old file may not read the new one while it is written.
                let mode = if old.is_some() { 0o600 } else { 0o666 };
                builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(mode));
            }
            let file = builder.tempfile_in(folder(&path)).map_err(failed)?;
            Ok(Target::File { path, permissions: old, temporary: Temporary { file, job } })
        });
        Ok(FileTarget { path: given, target: target.await?, waiter })
    }

    /// What to write to.
    ///
    /// # Errors
    /// As the operating system refuses.
    pub fn open(&self) -> Result<File> {
        let file = match &self.target {
            Target::Device(file) => file.try_clone(),
            Target::File { temporary, .. } => temporary.file.as_file().try_clone(),
        };
        file.map_err(|error| failed("written", &self.path, error))
    }

    /// Gives the file its name, durably. Without this it stays as it was.
    ///
    /// # Errors
    /// As the operating system refuses; the file has its name already where that is said.
    pub async fn finish(self) -> Result<()> {
        let FileTarget { target, waiter: _waiter, .. } = self;
        match target {
            Target::Device(_) => Ok(()),
            Target::File { path, permissions, temporary } => {
                threads::run(move || finish(temporary, &path, permissions)).await
            }
        }
    }
}

/// Where a path leads.
enum Lead {
    File(PathBuf),
    /// To something that is open already, as `/dev/stdout` does. Replacing the file behind it would take it
    /// from whoever else writes to it.
    Open(PathBuf),
}

/// Follows symbolic links, one by one: they stay, and what they point to is written, also where that is not
/// there yet.
fn lead(path: &Path) -> Lead {
    let mut path = path.to_path_buf();
    // As many as Linux follows.
    for _ in 0..40 {
        let (Ok(above), Some(name)) = (fs::canonicalize(folder(&path)), path.file_name()) else { break };
        let whole = above.join(name);
        if above == Path::new("/dev/fd") || above.starts_with("/proc") {
            return Lead::Open(whole);
        }
        path = match fs::read_link(&whole) {
            Ok(target) => above.join(target),
            Err(_) => return Lead::File(whole),
        };
    }
    Lead::File(path)
}

/// What is open already, to be written from where it is; a file that only another process has open, or that
/// is neither standard output nor error, from its end.
fn once_more(path: &Path) -> io::Result<File> {
    #[cfg(unix)]
    {
        use std::os::fd::AsFd;
        let own = [Path::new("/dev/fd"), &Path::new("/proc").join(std::process::id().to_string()).join("fd")];
        let standard = match path.file_name().and_then(std::ffi::OsStr::to_str) {
            Some("1") => Some(io::stdout().as_fd().try_clone_to_owned()),
            Some("2") => Some(io::stderr().as_fd().try_clone_to_owned()),
            _ => None,
        };
        if let (Some(open), Some(above)) = (standard, path.parent())
            && own.contains(&above)
        {
            return open.map(File::from);
        }
    }
    let file = fs::metadata(path)?.is_file();
    File::options().write(true).append(file).open(path)
}

fn finish(temporary: Temporary, path: &Path, permissions: Option<Permissions>) -> Result<()> {
    let failed = |error| failed("written", path, error);
    if let Some(permissions) = permissions {
        temporary.file.as_file().set_permissions(permissions).map_err(failed)?;
    }
    temporary.file.as_file().sync_all().map_err(failed)?;
    // Who stopped it is told that nothing has changed.
    check(&temporary.job.given_up)?;
    temporary.file.persist(path).map_err(|error| failed(error.error))?;
    sync(folder(path)).map_err(|error| {
        let message = format!(
            "the file {} was written, but its folder could not be synced, so that a power cut may undo it; look for the cause and do it again",
            path.display()
        );
        Error::new(ErrorKind::Io, message).with_source(error)
    })
}

/// The new name itself must survive a crash. Not every file system lets a folder be opened and synced for
/// that.
fn sync(folder: &Path) -> io::Result<()> {
    use io::ErrorKind::{InvalidInput, PermissionDenied, ReadOnlyFilesystem, Unsupported};
    let Ok(folder) = File::open(folder) else { return Ok(()) };
    let synced = folder.sync_all();
    #[cfg(all(test, unix))]
    let synced = tests::answer(synced);
    match synced {
        Err(error)
            if matches!(error.kind(), InvalidInput | PermissionDenied | ReadOnlyFilesystem | Unsupported) =>
        {
            Ok(())
        }
        done => done,
    }
}

fn folder(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn is_folder(path: &Path) -> Error {
    Error::new(ErrorKind::InvalidInput, format!("{} is a folder; name a file", path.display()))
}

fn failed(what: &str, path: &Path, error: io::Error) -> Error {
    use io::ErrorKind::{InvalidInput, IsADirectory, NotADirectory, NotFound};
    // tempfile adds the name that only it knows.
    let text = error.to_string();
    let error = match text.split_once(" at path ") {
        Some((text, _)) => io::Error::new(error.kind(), text),
        None => error,
    };
    let kind = match error.kind() {
        // What is not found is the caller's file or folder; NotFound is for snapshots.
        NotFound | NotADirectory | IsADirectory | InvalidInput => ErrorKind::InvalidInput,
        // No service refused it: credentials do not help, nor does another attempt.
        _ => ErrorKind::Io,
    };
    Error::new(kind, format!("the file {} cannot be {what}", path.display())).with_source(error)
}

#[cfg(unix)]
#[cfg(test)]
#[path = "files_tests.rs"]
mod tests;
