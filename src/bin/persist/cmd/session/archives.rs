//! `persist session export --all` and `import --all`: a file for each session.

use std::{
    collections::HashMap,
    fs, io,
    path::{Path, PathBuf},
};

use anyhow::Result;
use futures_util::{FutureExt, StreamExt, TryStreamExt, stream};
use persist::{
    Error, ErrorKind, SnapshotAdapter,
    sessions::{Moved, Session, SessionName, Sessions},
};
use serde_json::json;
use tokio::fs::File;

use super::{
    all::{Named, Rows, no_session},
    archive,
};
use crate::{cmd::PARALLEL, files, output::Output};

/// What the names of archives end with.
const END: &str = "tar";

pub(super) async fn export(
    store: &dyn SnapshotAdapter,
    sessions: &Sessions,
    dir: &Path,
    agent: Option<&str>,
    output: &Output,
) -> Result<()> {
    files::make_folder(dir)?;
    let mut rows = Rows::quiet(output);
    let mut exported = sessions.each(agent, |name, session| {
        let path = path(dir, name);
        let name = name.clone();
        async move { export_one(&name, &session, &path).await }.boxed()
    });
    while let Some((name, exported)) = exported.try_next().await? {
        let named = Named::of(&name).file(&path(dir, &name));
        match exported {
            Ok(moved) => rows.good(named, json!(moved), &format!("exported {}", archive::summary(&moved)))?,
            Err(error) if error.kind() == ErrorKind::NotFound => rows.pass_over(named, &error)?,
            Err(error) => rows.bad(named, &error)?,
        }
    }
    rows.end("exported", "session", || no_session(store, agent))
}

/// Two sessions have two files: what the storage keeps apart, folders and files keep apart.
fn path(dir: &Path, name: &SessionName) -> PathBuf {
    let [agent, session] = name.segments();
    dir.join(agent).join(format!("{session}.{END}"))
}

async fn export_one(name: &SessionName, session: &Session, path: &Path) -> persist::Result<Moved> {
    files::make_folder(path.parent().unwrap_or(path))?;
    // Where upper and lower case are one.
    if let Ok(of) = whose(path).await
        && (&of.agent, &of.session) != (&name.agent, &name.session)
    {
        let message = format!(
            "{} is the archive of the session {}/{}; move it away, or export to another folder",
            path.display(),
            of.agent,
            of.session
        );
        return Err(Error::new(ErrorKind::Conflict, message));
    }
    archive::to_file(session, path).await
}

pub(super) async fn import(
    sessions: &Sessions,
    dir: &Path,
    agent: Option<&str>,
    dry_run: bool,
    output: &Output,
) -> Result<()> {
    let mut rows = Rows::quiet(output);
    // All heads first: which of two archives of one session is imported must not be chance.
    let heads = stream::iter(archives(dir)?).map(|path| async {
        let name = whose(&path).await;
        (path, name)
    });
    let mut heads: Vec<_> = heads.buffered(PARALLEL).collect().await;
    if let Some(agent) = agent {
        // Whose it is nobody can tell where the head is damaged.
        heads.retain(|(_, name)| name.as_ref().map_or(true, |name| name.agent == agent));
    }
    let mut archives: HashMap<(String, String), Vec<PathBuf>> = HashMap::new();
    for (path, name) in &heads {
        if let Ok(SessionName { agent, session, .. }) = name {
            archives.entry((agent.clone(), session.clone())).or_default().push(path.clone());
        }
    }
    let archives = &archives;
    let imported = stream::iter(heads).map(|(path, name)| async {
        let name = match name {
            Ok(name) => name,
            Err(error) => return (path, None, Err(error)),
        };
        let imported = match archives.get(&(name.agent.clone(), name.session.clone())) {
            Some(several) if several.len() > 1 => Err(one_of(several, &path)),
            _ if dry_run => {
                let found = sessions.check_archive(&sessions.named(&name), &path).await;
                found.map(|found| (found, false))
            }
            _ => import_one(sessions, &name, &path).await,
        };
        (path, Some(name), imported)
    });
    let mut imported = Box::pin(imported.buffered(PARALLEL));
    while let Some((path, name, imported)) = imported.next().await {
        let named = name.as_ref().map_or_else(Named::nobody, Named::of).file(&path);
        match imported {
            Ok((found, _)) if dry_run => {
                rows.good(named, json!(found), &format!("is good: {}", archive::summary(&found)))?
            }
            Ok((moved, there)) => {
                let mut more = json!(moved);
                more["there"] = json!(there);
                if there {
                    rows.there(named, more, &format!("is there already, with {}", archive::summary(&moved)))?
                } else {
                    rows.good(named, more, &format!("imported {}", archive::summary(&moved)))?
                }
            }
            Err(error) => rows.bad(named, &error)?,
        }
    }
    rows.end(if dry_run { "checked" } else { "imported" }, "archive", || {
        let of = agent.map_or(String::new(), |agent| format!(" of {agent:?}"));
        format!("there is no archive *.{END}{of} in {}, nor in its folders", dir.display())
    })
}

/// Nobody knows which of `several` archives of one session is wanted.
fn one_of(several: &[PathBuf], path: &Path) -> Error {
    let others = several.iter().filter(|other| *other != path).map(|other| other.display().to_string());
    let message = format!(
        "{} is an archive of this session, and so is {}; import the one that you want by its name",
        path.display(),
        others.collect::<Vec<_>>().join(", and ")
    );
    Error::new(ErrorKind::Conflict, message)
}

/// Whether the session was there before: an import of what is not the same fails.
async fn import_one(sessions: &Sessions, name: &SessionName, path: &Path) -> persist::Result<(Moved, bool)> {
    let mut file = File::open(path).await.map_err(|error| unreadable(path, error))?;
    let session = sessions.named(name);
    let there = archive::check(sessions, &session, path).await?;
    Ok((archive::read(&session, &mut file).await?, there))
}

/// The session that an archive was written from.
async fn whose(path: &Path) -> persist::Result<SessionName> {
    // A pipe would be waited for.
    if !path.is_file() {
        return Err(unreadable(path, io::ErrorKind::NotFound.into()));
    }
    let mut file = File::open(path).await.map_err(|error| unreadable(path, error))?;
    SessionName::of_archive(&mut file).await
}

/// Those in a folder, and in the folders in it.
fn archives(dir: &Path) -> persist::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for path in entries(dir)? {
        if path.is_dir() {
            found.extend(entries(&path)?);
        } else {
            found.push(path);
        }
    }
    found.retain(|path| path.extension().is_some_and(|end| end == END) && path.is_file());
    found.sort();
    Ok(found)
}

fn entries(folder: &Path) -> persist::Result<Vec<PathBuf>> {
    let read = || fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect::<io::Result<_>>();
    read().map_err(|error| unreadable(folder, error))
}

fn unreadable(path: &Path, error: io::Error) -> Error {
    let message = format!("{} cannot be read", path.display());
    Error::new(ErrorKind::InvalidInput, message).with_source(error)
}
