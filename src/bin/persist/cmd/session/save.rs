//! `persist session save`

use anyhow::Result;
use persist::sessions::{CommitOptions, Session};

use super::args::Save;
use crate::{cmd::save::source, output::Output, progress::Progress};

pub(super) async fn run(session: Session, args: Save, output: &Output) -> Result<()> {
    let mut options = CommitOptions::new();
    for (name, value) in args.metadata {
        options = options.pair(name, value);
    }
    if let Some(label) = args.label {
        options = options.label(label);
    }
    if let Some(step) = args.step {
        options = options.step(step);
    }
    if let Some(expect) = args.expect {
        options = options.expect(expect);
    }
    let (body, total) = source(args.file.as_deref(), output)?;
    let progress = Progress::new(output);
    progress.expect(total);
    let commit = session.save_body(progress.watch(body), options).await?;
    drop(progress);
    if output.json {
        return output.row(|| super::row(&commit), String::new);
    }
    output.note(|| super::told(&session, &commit));
    Ok(())
}
