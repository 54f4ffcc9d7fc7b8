//! `persist session log`, `show`, `forks`, `tag`, `diff`, `rm` and `verify`.

use anyhow::Result;
use futures_util::StreamExt;
use persist::{
    Error, ErrorKind,
    sessions::{At, Change, Damaged, Session, SessionName, Verified},
};
use serde_json::{Value, json};

use super::args::{Diff, Log, Pick, Tag};
use crate::output::{Output, cell, complain, count, human, in_our_words, time};

pub(super) async fn log(session: Session, args: Log, output: &Output) -> Result<()> {
    let rows = match &args.before {
        Some(at) => session.log_before(at),
        None => session.log(),
    };
    let mut rows = rows.take(args.limit.unwrap_or(usize::MAX));
    let (mut first, mut damaged) = (true, false);
    while let Some(row) = rows.next().await {
        match row {
            Ok(commit) => output.row(|| json!(commit), || super::line(&commit))?,
            // In its place: the others are of use, and the exit code still tells.
            Err(error) if error.kind() == ErrorKind::Corrupt => {
                let row = || json!({"key": error.key(), "reason": in_our_words(error.message())});
                output.row(row, || cell(&in_our_words(&format!("damaged: {error}"))))?;
                damaged = true;
            }
            Err(error) => return Err(error.into()),
        }
        first = false;
    }
    if first && args.before.is_none() {
        session.show(At::Latest).await?; // says that there is no commit
    }
    if damaged { Err(has_damage()) } else { Ok(()) }
}

/// The end of a command that has told what is damaged.
fn has_damage() -> anyhow::Error {
    let message = "the session has damage; restore the objects that are named from a copy, or load with --fallback; `persist rm` removes what is no commit";
    Error::new(ErrorKind::Corrupt, message).into()
}

pub(super) async fn show(session: Session, args: Pick, output: &Output) -> Result<()> {
    let commit = session.show(args.at).await?;
    let origin = match session.origin().await {
        // The commit is of use without (its first one may be archived); `log` and `verify` tell the damage.
        Err(error) if matches!(error.kind(), ErrorKind::Corrupt | ErrorKind::Unsupported) => None,
        origin => origin?,
    };
    let bytes = |size: u64| format!("{} ({size} bytes)", human(size));
    let text = || {
        let mut lines = Vec::new();
        let mut add = |name: &str, value: Option<String>| {
            lines.extend(value.map(|value| format!("{name:<13} {}", cell(&value))));
        };
        add("commit", Some(format!("{} of {}/{}", commit.seq, commit.agent, commit.session)));
        let forked = |(source, seq): &(SessionName, u64)| {
            let (agent, name) = (session.agent(), session.name());
            format!("{agent}/{name}, forked from commit {seq} of {}/{}", source.agent, source.session)
        };
        add("session", origin.as_ref().map(forked));
        add("id", Some(commit.id.to_string()));
        add("parent", commit.parent.map(|id| id.to_string()));
        add("time", Some(time(commit.time)));
        add("writer", commit.writer.clone());
        add("epoch", (commit.epoch > 0).then(|| commit.epoch.to_string()));
        add("label", commit.label.clone());
        add("step", commit.step.map(|step| step.to_string()));
        commit.metadata.iter().for_each(|(name, value)| add("metadata", Some(format!("{name}={value}"))));
        add("size", Some(bytes(commit.size)));
        commit
            .values
            .iter()
            .for_each(|value| add("value", Some(format!("{}  {}", value.name, bytes(value.size)))));
        add("stored size", Some(bytes(commit.stored_size)));
        let stored_as =
            if commit.keyframe { "the whole state, in a file that gunzip reads" } else { "a delta" };
        add("stored as", Some(stored_as.into()));
        add("digest", Some(format!("sha256:{}", commit.digest)));
        lines.join("\n")
    };
    let row = || {
        let mut row = json!(commit);
        if let Some((source, seq)) = &origin {
            row["forked_from"] = json!({"agent": source.agent, "session": source.session, "seq": seq});
        }
        row
    };
    output.row(row, text)
}

pub(super) async fn forks(session: Session, output: &Output) -> Result<()> {
    let forks = session.forks().await?;
    if forks.is_empty() {
        session.show(At::Latest).await?; // says where there is no such session
        output.note(|| format!("nothing is forked from {}/{}", session.agent(), session.name()));
    }
    for fork in forks {
        output.row(|| json!(fork), || format!("{}\t{}", cell(&fork.agent), cell(&fork.session)))?;
    }
    Ok(())
}

pub(super) async fn tag(session: Session, args: Tag, output: &Output) -> Result<()> {
    let Some(name) = args.tag else {
        let tags = session.tags().await?;
        if tags.is_empty() {
            session.show(At::Latest).await?; // says where there is no such session
        }
        for tag in tags {
            output.row(|| json!(tag), || format!("{:>8}  {}  {}", tag.seq, tag.id, cell(&tag.name)))?;
        }
        return Ok(());
    };
    if args.delete {
        if !session.untag(&name).await? {
            let (agent, of) = (session.agent(), session.name());
            let message = format!("there is no tag {name:?} in {agent}/{of}; `session tag` lists the tags");
            if args.must_exist {
                return Err(Error::new(ErrorKind::NotFound, message).into());
            }
            complain(&format!("persist: {message}"));
        }
        return if output.json { output.row(|| json!({"name": name}), String::new) } else { Ok(()) };
    }
    let at = args.at.unwrap_or(At::Latest);
    let tag = if args.force { session.move_tag(&name, at).await? } else { session.tag(&name, at).await? };
    output.note(|| format!("commit {} is {name}", tag.seq));
    if output.json { output.row(|| json!(tag), String::new) } else { Ok(()) }
}

pub(super) async fn diff(session: Session, with: Option<Session>, args: Diff, output: &Output) -> Result<()> {
    for change in session.diff_to(args.from, with.as_ref().unwrap_or(&session), args.to).await? {
        let text = || match &change {
            Change::Add { path, value } => format!("+ {path}\t{value}"),
            Change::Remove { path, old } => format!("- {path}\t{old}"),
            Change::Replace { path, old, value } => format!("~ {path}\t{old} -> {value}"),
            other => json!(other).to_string(),
        };
        output.row(|| json!(change), || text().replace('\n', "\\n"))?;
    }
    Ok(())
}

pub(super) async fn remove(session: Session, dry_run: bool, output: &Output) -> Result<()> {
    let removed = if dry_run { session.remove_dry_run().await? } else { session.remove().await? };
    let text = || {
        let (gone, bytes) = (count(removed.removed.len() as u64, "commit"), human(removed.bytes));
        let left = match removed.kept.saturating_sub(1) {
            0 => String::new(),
            1 => "; 1 is younger than the fence window: any later `session prune` removes it".into(),
            left => {
                format!("; {left} are younger than the fence window: any later `session prune` removes them")
            }
        };
        let verb = if removed.dry_run { "would remove" } else { "removed" };
        format!("{verb} {gone}, {bytes}{left}")
    };
    output.row(|| json!(removed), text)
}

pub(super) async fn verify(session: Session, output: &Output) -> Result<()> {
    let verified = session.verify().await?;
    let text = || {
        let mut lines: Vec<String> =
            damage(&verified).iter().map(|fault| cell(&format!("damaged: {fault}"))).collect();
        let (good, bytes, damaged) = (count(verified.good, "commit"), human(verified.bytes), lines.len());
        lines.push(format!("good: {good}, {bytes} of states; damaged: {damaged}"));
        lines.join("\n")
    };
    output.row(|| verified_row(session.agent(), session.name(), &verified), text)?;
    if verified.is_good() { Ok(()) } else { Err(has_damage()) }
}

/// What was found in a session, in `verify --all` as well.
pub(crate) fn verified_row(agent: &str, session: &str, verified: &Verified) -> Value {
    json!({
        "agent": agent, "session": session, "ok": verified.is_good(), "good": verified.good,
        "bytes": verified.bytes, "damaged": verified.damaged, "garbage": verified.garbage,
    })
}

/// A line for each object that is at fault, with the commits that cannot be loaded for it.
pub(crate) fn damage(verified: &Verified) -> Vec<String> {
    let mut faults: Vec<(&Damaged, Vec<u64>)> = Vec::new();
    for damaged in &verified.damaged {
        let same = |fault: &&mut (&Damaged, _)| fault.0.key.is_some() && fault.0.key == damaged.key;
        match faults.iter_mut().find(same) {
            Some(fault) => {
                // What is said last is about the object itself.
                fault.0 = damaged;
                fault.1.extend(damaged.seq);
            }
            None => faults.push((damaged, damaged.seq.into_iter().collect())),
        }
    }
    let line = |(damaged, mut seqs): (&Damaged, Vec<u64>)| {
        seqs.sort_unstable();
        // A tag and a fork may name one lost commit.
        seqs.dedup();
        let shown: Vec<String> = seqs.iter().take(10).map(u64::to_string).collect();
        let more = if seqs.len() > 10 { format!(" and {} more", seqs.len() - 10) } else { String::new() };
        let lost = if shown.is_empty() {
            String::new()
        } else {
            format!(" (commits that cannot be loaded: {}{more})", shown.join(", "))
        };
        let place = damaged.key.as_ref().map(|key| format!("{key}: ")).unwrap_or_default();
        format!("{place}{}{lost}", damaged.reason)
    };
    faults.into_iter().map(line).collect()
}
