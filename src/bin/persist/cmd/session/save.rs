//! `persist session save`

use std::path::Path;

use anyhow::Result;
use persist::{
    Body, Error, ErrorKind,
    sessions::{At, Commit, CommitOptions, Session},
};
use serde_json::{Value, json};

use super::args::Save;
use crate::{
    cmd::save::source,
    output::{self, Output},
    progress::Progress,
    values::once,
};

pub(super) async fn run(
    open: impl Fn() -> persist::Result<Session>,
    args: &Save,
    output: &Output,
) -> Result<()> {
    once("metadata", &args.metadata)?;
    let mut options = CommitOptions::new();
    for (name, value) in &args.metadata {
        options = options.metadata(name, value);
    }
    if let Some(label) = &args.label {
        options = options.label(label);
    }
    if let Some(step) = args.step {
        options = options.step(step);
    }
    if args.whole {
        options = options.whole();
    }
    match args.expect {
        None => {}
        Some(0) => options = options.first(),
        Some(newest) => options = options.after(newest),
    }
    let (mut session, mut skipped) = (open()?, args.fallback.then(|| json!([])));
    if args.fallback {
        let damaged = is_damaged(&session).await?;
        // What that one has seen it would go on from, also where a long state has passed through it, which no
        // delta can start from.
        session = open()?;
        if damaged {
            skipped = Some(go_on_behind(&session).await?);
        }
    }
    let commit = match args.value.is_empty() {
        true => {
            let (body, total) = source(args.file.as_deref(), args.allow_empty, output)?;
            let progress = Progress::new(output.interactive());
            progress.expect(total);
            session.save_body_with(progress.watch(body), options).await?
        }
        false => values(&session, &args.value, args.allow_empty, options, output).await?,
    };
    if output.json {
        let mut row = json!(commit);
        if let Some(skipped) = skipped {
            row["skipped"] = skipped;
        }
        return output.row(|| row, String::new);
    }
    output.note(|| super::summary(&session, &commit));
    Ok(())
}

/// Whether the newest state is damaged. It is looked through and not held in memory, if it is a long one.
async fn is_damaged(session: &Session) -> persist::Result<bool> {
    let looked = async {
        let (_, body) = session.load_stream(At::Latest).await?;
        super::load::drain(body).await
    };
    match looked.await {
        Err(error) if error.kind() == ErrorKind::Corrupt => Ok(true),
        // The first of all.
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        looked => looked.map(|()| false),
    }
}

/// Saves of this handle go on behind the damage. Gives what is passed over.
async fn go_on_behind(session: &Session) -> persist::Result<Value> {
    match session.load_with_fallback(At::Latest).await {
        Ok(good) => {
            super::load::passed_over(&good);
            Ok(json!(good.skipped))
        }
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(json!([])),
        Err(error) if error.kind() == ErrorKind::Corrupt => {
            let (key, reason) = (error.key(), error.what());
            let place = key.map(|key| format!("{key}: ")).unwrap_or_default();
            output::complain(&format!(
                "persist: no commit is good, the newest is passed over: {place}{reason}"
            ));
            Ok(json!([{"seq": session.seen().await, "key": key, "reason": reason}]))
        }
        Err(error) => Err(error),
    }
}

async fn values(
    session: &Session,
    files: &[(String, String)],
    allow_empty: bool,
    options: CommitOptions,
    output: &Output,
) -> Result<Commit> {
    let mut inputs = files.iter().filter(|(_, file)| file == "-");
    if let (Some((one, _)), Some((other, _))) = (inputs.next(), inputs.next()) {
        let message = format!(
            "standard input can be only one value, not {one} and {other}; write one of them to a file"
        );
        return Err(Error::new(ErrorKind::InvalidInput, message).into());
    }
    let mut values = Vec::new();
    for (name, file) in files {
        let path = Path::new(file);
        let (body, _): (Body, _) = source(Some(path), allow_empty, output).map_err(|error| match path.exists() {
            true => error,
            // Perhaps the value itself stands there.
            false => {
                let message = format!("--value {name}={file}: there is no such file; write NAME=FILE, or NAME=- for standard input");
                Error::new(ErrorKind::InvalidInput, message).with_source(error)
            }
        })?;
        values.push((name.as_str(), body.collect(u64::MAX).await?));
    }
    Ok(session.save_values_with(&values, options).await?)
}
