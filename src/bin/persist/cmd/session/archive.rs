//! `persist session export` and `import`

use std::{
    io::{self, IsTerminal},
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use persist::{
    Error, ErrorKind, FileTarget,
    sessions::{At, Moved, Session, Sessions},
};
use serde_json::json;
use tokio::{fs::File, io::AsyncRead};

use super::args::{Export, Import};
use crate::{
    cmd::save::{announce, opened},
    output::{self, Output, complain, count, human},
};

pub(super) async fn export(session: Session, args: Export, output: &Output) -> Result<()> {
    let moved = match path(&args.file) {
        Some(path) => to_file(&session, path).await?,
        None => {
            if io::stdout().is_terminal() {
                let message =
                    "an archive is nothing for a terminal; name a file, or redirect standard output";
                return Err(Error::new(ErrorKind::InvalidInput, message).into());
            }
            let mut out = File::from_std(output::bulk().context("standard output cannot be used")?);
            return session.export(&mut out).await.map(|_| ()).map_err(output::unwritten);
        }
    };
    tell(output, "exported", moved)
}

pub(super) async fn to_file(session: &Session, path: &Path) -> persist::Result<Moved> {
    let target = FileTarget::new(path.to_owned()).await?;
    let moved = session.export(&mut File::from_std(target.open()?)).await;
    let moved = moved.map_err(|error| unwritten(error, path))?;
    target.finish().await?;
    Ok(moved)
}

/// A session's error names the object at fault; without one it was the file.
fn unwritten(error: Error, path: &Path) -> Error {
    if error.kind() != ErrorKind::Io || error.key().is_some() || error.backend().is_some() {
        return error;
    }
    let message = format!("the file {} cannot be written", path.display());
    Error::new(ErrorKind::Io, message).with_source(error)
}

pub(super) async fn import(
    sessions: &Sessions,
    session: Session,
    args: Import,
    output: &Output,
) -> Result<()> {
    let moved = match path(&args.file) {
        Some(path) => {
            let (file, meta) = opened(path, "name an archive that `session export` wrote")?;
            // A pipe gives everything once. Beside Linux, so does what is open already: /dev opens it no second
            // time.
            let is_open = cfg!(not(target_os = "linux"))
                && ["/dev/stdin", "/dev/fd"].iter().any(|open| path.starts_with(open));
            let is_file = meta.is_file() && !is_open;
            if args.dry_run {
                if !is_file {
                    return Err(nothing_to_check().into());
                }
                let found = sessions.check_archive(&session, path).await?;
                return output.row(|| json!(found), || format!("good: {}", summary(&found)));
            }
            if is_file {
                check(sessions, &session, path).await?;
            }
            read(&session, &mut File::from_std(file)).await?
        }
        None if args.dry_run => return Err(nothing_to_check().into()),
        None => {
            announce(output);
            read(&session, &mut tokio::io::stdin()).await?
        }
    };
    tell(output, "imported", moved)
}

/// What an import finds behind its claim costs the session its name. One that is there, or half there, has
/// it already. Whether it is there.
pub(super) async fn check(sessions: &Sessions, session: &Session, path: &Path) -> persist::Result<bool> {
    let shown = session.show(At::Latest).await;
    let there = shown.is_ok();
    if shown.is_err_and(|error| error.kind() == ErrorKind::NotFound || error.retryable()) {
        sessions.check_archive(session, path).await?;
    }
    Ok(there)
}

fn nothing_to_check() -> Error {
    Error::new(ErrorKind::InvalidInput, "--dry-run reads an archive that is a file; name one")
}

/// The import itself.
pub(super) async fn read<R>(session: &Session, archive: &mut R) -> persist::Result<Moved>
where
    R: AsyncRead + Unpin + Send,
{
    let mut begun = Begun(Some(format!("{}/{}", session.agent(), session.name())));
    let moved = session.import(archive).await;
    begun.0 = None;
    moved
}

/// Says what an import that is interrupted leaves, which nobody may undo: another one of the same archive may
/// be at work. Of which session; `None` when it has ended by itself.
struct Begun(Option<String>);

impl Drop for Begun {
    fn drop(&mut self) {
        if let Some(name) = &self.0 {
            complain(&format!(
                "persist: stopped; if the import of {name} had begun, that session is kept for the same archive: import it again"
            ));
        }
    }
}

fn path(file: &Option<PathBuf>) -> Option<&Path> {
    file.as_deref().filter(|path| *path != Path::new("-"))
}

fn tell(output: &Output, verb: &str, moved: Moved) -> Result<()> {
    output.note(|| format!("{verb} {}", summary(&moved)));
    if output.json { output.row(|| json!(moved), String::new) } else { Ok(()) }
}

pub(super) fn summary(moved: &Moved) -> String {
    let (commits, tags) = (count(moved.commits, "commit"), count(moved.tags, "tag"));
    format!("{commits} and {tags}, {}", human(moved.bytes))
}
