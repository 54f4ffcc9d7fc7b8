//! `persist session export` and `import`

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use persist::{
    Error, ErrorKind,
    sessions::{Moved, Session},
};
use serde_json::json;
use tokio::fs::File;

use super::args::{Export, Import};
use crate::output::{Output, human};

pub(super) async fn export(session: Session, args: Export, output: &Output) -> Result<()> {
    let moved = match path(&args.file) {
        Some(path) => {
            let cannot = || format!("the file {} cannot be written", path.display());
            // Beside its place first: an archive is there whole or not at all.
            let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
            let temporary =
                tempfile::NamedTempFile::new_in(folder.unwrap_or(Path::new("."))).with_context(cannot)?;
            let mut file = File::from_std(temporary.reopen().with_context(cannot)?);
            let moved = session.export(&mut file).await?;
            file.sync_all().await.with_context(cannot)?;
            temporary.persist(path).with_context(cannot)?;
            moved
        }
        None => return session.export(&mut tokio::io::stdout()).await.map(|_| ()).map_err(Into::into),
    };
    tell(output, "exported", moved)
}

pub(super) async fn import(session: Session, args: Import, output: &Output) -> Result<()> {
    let moved = match path(&args.file) {
        Some(path) => {
            let cannot = |error| {
                let message = format!("the file {} cannot be read", path.display());
                Error::new(ErrorKind::InvalidInput, message).with_source(error)
            };
            session.import(&mut File::open(path).await.map_err(cannot)?).await?
        }
        None => session.import(&mut tokio::io::stdin()).await?,
    };
    tell(output, "imported", moved)
}

fn path(file: &Option<PathBuf>) -> Option<&Path> {
    file.as_deref().filter(|path| *path != Path::new("-"))
}

fn tell(output: &Output, verb: &str, moved: Moved) -> Result<()> {
    output.note(|| {
        let (commits, tags, bytes) = (moved.commits, moved.tags, human(moved.bytes));
        format!("{verb} {commits} commits and {tags} tags, {bytes}")
    });
    if output.json { output.row(|| json!(moved), String::new) } else { Ok(()) }
}
