//! `persist verify`

use anyhow::Result;
use futures_util::TryStreamExt;
use persist::{
    Error, ErrorKind, Key, ListOptions, LoadOptions, SnapshotAdapter, SnapshotAdapterExt,
    sessions::{SessionName, Sessions},
};
use serde_json::json;

use crate::{
    args::Verify,
    cmd::session::history::{damage, verified_row},
    output::{Output, cell, count, human},
    progress::Progress,
    storage::{Storage, is_of_session},
};

pub(crate) async fn run(args: Verify, storage: &Storage, output: &Output) -> Result<()> {
    let progress = Progress::new(output);
    if let Some(text) = args.key {
        let (store, key) = storage.locate(&text).await?;
        return match read_all(progress.over(store).as_ref(), &key).await {
            Ok(size) => good(&key, size, output),
            Err(error) => {
                // Else the error says all.
                if output.json {
                    bad(&key, &error, output)?;
                }
                Err(error.into())
            }
        };
    }
    let store = progress.over(storage.open().await?);
    let sessions = Sessions::new(store.clone())?;
    let mut rows = store.list(ListOptions::new());
    let (mut sound, mut failed, mut worst) = (0_u64, 0_u64, None);
    while let Some(entry) = rows.try_next().await? {
        let Some(meta) = entry.into_object() else { continue };
        if is_of_session(&meta.key) {
            continue;
        }
        match read_all(store.as_ref(), &meta.key).await {
            Ok(size) => {
                good(&meta.key, size, output)?;
                sound += 1;
            }
            // Removed since it was listed: nothing to verify.
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => {
                bad(&meta.key, &error, output)?;
                failed += 1;
                worst = worse(worst, error.kind());
            }
        }
    }
    let found = all_sessions(&sessions, output).await?;
    drop(progress);
    let (snapshots, all) = (sound + failed, found.whole + found.damaged + found.unknown);
    if snapshots + all == 0 {
        let message = format!("there is nothing to verify in {store}; is it the right storage?");
        return Err(Error::new(ErrorKind::NotFound, message).into());
    }
    if output.json {
        let ok = failed == 0 && found.whole == all;
        output.row(|| json!({"ok": ok, "snapshots": snapshots, "sessions": all}), String::new)?;
    }
    let mut bad = Vec::new();
    if failed > 0 {
        bad.push(format!(
            "{failed} of {snapshots} snapshots cannot be loaded; restore those objects from a copy or an older version, or save them again"
        ));
    }
    if found.damaged > 0 {
        let (damaged, are) = (found.damaged, if found.damaged == 1 { "is" } else { "are" });
        let all = count(all, "session");
        bad.push(format!("{damaged} of {all} {are} damaged; see `persist session verify`"));
        worst = Some(ErrorKind::Corrupt);
    }
    if let Some(kind) = found.why {
        bad.push(format!("{} of {all} sessions cannot be verified; their rows say why", found.unknown));
        worst = worse(worst, kind);
    }
    if let Some(kind) = worst {
        return Err(Error::new(kind, bad.join("; ")).into());
    }
    if output.json {
        return Ok(());
    }
    let sum = || format!("all well: {}, {}", count(sound, "snapshot"), count(all, "session"));
    output.row(|| json!({}), sum)
}

/// Damage is the worst that can be said; else the first failure tells what is wrong.
fn worse(worst: Option<ErrorKind>, kind: ErrorKind) -> Option<ErrorKind> {
    if kind == ErrorKind::Corrupt { Some(kind) } else { worst.or(Some(kind)) }
}

/// How many sessions are what.
#[derive(Default)]
struct Found {
    whole: u64,
    damaged: u64,
    /// Nobody can say, and why of the first.
    unknown: u64,
    why: Option<ErrorKind>,
}

async fn all_sessions(sessions: &Sessions, output: &Output) -> Result<Found> {
    let mut all = Found::default();
    let mut names = sessions.list(None);
    while let Some(SessionName { agent, session, .. }) = names.try_next().await? {
        let found = match sessions.session(&agent, &session)?.verify().await {
            // Of a removed one, or one that is only begun, there is nothing to verify.
            Err(error) if error.kind() == ErrorKind::NotFound => continue,
            // Half an import, or a limit: that one alone.
            Err(error) if matches!(error.kind(), ErrorKind::Conflict | ErrorKind::InvalidInput) => {
                all.unknown += 1;
                all.why = worse(all.why, error.kind());
                let (kind, message) = (error.kind().as_str(), error.message());
                output.row(
                    || json!({"agent": agent, "session": session, "ok": false, "kind": kind, "message": error.to_string()}),
                    || cell(&format!("{kind:<8} session {agent}/{session}: {message}")),
                )?;
                continue;
            }
            found => found?,
        };
        if found.is_good() {
            all.whole += 1;
            output.note(|| format!("ok       session {agent}/{session} ({})", count(found.good, "commit")));
        } else {
            all.damaged += 1;
        }
        if output.json {
            output.row(|| verified_row(&agent, &session, &found), String::new)?;
        } else {
            for fault in damage(&found) {
                let line = || cell(&format!("corrupt  session {agent}/{session}: {fault}"));
                output.row(|| json!({}), line)?;
            }
        }
    }
    Ok(all)
}

/// Reads a snapshot to its verified end; its size.
async fn read_all(store: &dyn SnapshotAdapter, key: &Key) -> persist::Result<u64> {
    let options = LoadOptions::new().verify_digest();
    let (mut reader, mut size) = (store.load_stream_with(key, options).await?, 0);
    while let Some(chunk) = reader.chunk().await? {
        size += chunk.len() as u64;
    }
    Ok(size)
}

fn good(key: &Key, size: u64, output: &Output) -> Result<()> {
    if output.json {
        return output.row(|| json!({"key": key.as_str(), "ok": true, "size": size}), String::new);
    }
    output.note(|| format!("ok       {key} ({})", human(size)));
    Ok(())
}

fn bad(key: &Key, error: &Error, output: &Output) -> Result<()> {
    let kind = error.kind().as_str();
    output.row(
        || json!({"key": key.as_str(), "ok": false, "kind": kind, "message": error.to_string()}),
        || cell(&format!("{kind:<8} {key}: {}", error.message())),
    )
}
