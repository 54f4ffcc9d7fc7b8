//! What `persist session` can be asked.

use std::{path::PathBuf, time::Duration};

use clap::{Args as Group, Subcommand};
use persist::sessions::At;

use crate::{
    output::is_on_screen,
    values::{file, kept, kept_age, number, pair},
};

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Save FILE, or standard input, as the next commit
    ///
    /// Fails with exit code 4 if another writer was faster, and says who. Without
    /// --expect the commit follows whatever is newest: to change a state safely,
    /// give --expect the `seq` that `load -o FILE --json` printed.
    ///
    /// With --value, several files become one commit: they are there together or
    /// not at all.
    ///
    /// Only what changed is stored, but a state over 64 MiB whole, each time.
    ///
    /// An empty pipe (or /dev/null) is an error, unless --allow-empty: mostly the
    /// program in front of it has failed. One that fails later is seen by the shell
    /// alone: with `set -o pipefail` the exit code tells.
    ///
    /// Examples:
    ///   persist session save bot run-1 state.json --label "after tool call"
    ///   seq=$(persist session load bot run-1 -o state.json --json | jq .seq)
    ///   persist session save bot run-1 state.json --expect $seq
    ///   set -o pipefail; agent dump | persist session save bot run-1
    ///   persist session save bot run-1 --value state=s.json --value image=i.png
    #[command(verbatim_doc_comment)]
    Save(Save),
    /// Load a commit to standard output, or to a file
    ///
    /// Of a commit with several values, --value says which.
    ///
    /// Examples:
    ///   persist session load bot run-1 | jq .step
    ///   persist session load bot run-1 --at 41 -o state.json
    #[command(verbatim_doc_comment)]
    Load(Load),
    /// List commits, newest first
    ///
    /// Examples:
    ///   persist session log bot run-1 --limit 10
    ///   persist session log bot run-1 --limit 10 --before 41
    #[command(verbatim_doc_comment)]
    Log(Log),
    /// Show everything that is known about a commit
    ///
    /// Examples:
    ///   persist session show bot run-1
    ///   persist session show bot run-1 --at 41
    #[command(verbatim_doc_comment)]
    Show(Pick),
    /// Start another session from a commit, without a copy
    ///
    /// Example: persist session fork bot run-1 what-if --at 41
    #[command(verbatim_doc_comment)]
    Fork(Fork),
    /// List the sessions that were forked from this one and need its commits
    ///
    /// Example: persist session forks bot run-1
    #[command(verbatim_doc_comment)]
    Forks(Name),
    /// Give a commit a name that keeps it; without TAG list the names
    ///
    /// Examples:
    ///   persist session tag bot run-1
    ///   persist session tag bot run-1 good --at 41
    ///   persist session tag bot run-1 good --delete
    #[command(verbatim_doc_comment)]
    Tag(Tag),
    /// Make the session its next owner's: who has it open by now can no longer write
    ///
    /// Commits the newest state again, in a new epoch. Every save of a program that opened the session before
    /// is a conflict from then on, also of the one that is to go on: start that one afterwards. A program
    /// that is started again opens the session anew, too; stop the one that should not.
    TakeOver(Name),
    /// Show what changed between two commits, in JSON terms
    ///
    /// Examples:
    ///   persist session diff bot run-1 40 41
    ///   persist session diff bot run-1 latest latest --with what-if
    #[command(verbatim_doc_comment)]
    Diff(Diff),
    /// Remove commits that no rule keeps
    ///
    /// Always kept: the newest, tagged and forked ones, those of the last hour
    /// (PERSIST_FENCE_WINDOW), and what any of these is made of.
    ///
    /// With --all each session is a line, one that fails too; the exit code is that
    /// of the worst.
    ///
    /// Examples:
    ///   persist session prune bot run-1 --keep-last 100 --dry-run
    ///   persist session prune --all --keep-last 100 --keep-daily 30
    #[command(
        verbatim_doc_comment,
        override_usage = "persist session prune [OPTIONS] <AGENT SESSION | --all>"
    )]
    Prune(Prune),
    /// Remove a session: all its states and tags
    ///
    /// Refused while other sessions are forks of it: remove those first. Commits younger than an hour
    /// (PERSIST_FENCE_WINDOW) stay, unseen, and go with a later `session prune`. A marker without a state stays
    /// behind, so that a writer that has not noticed gets a conflict. A later save begins the session anew; no
    /// import and no fork can take its name again.
    #[command(visible_alias = "delete")]
    Rm {
        #[command(flatten)]
        name: Name,
        /// Only say what would be removed, or what stands in the way
        #[arg(long)]
        dry_run: bool,
    },
    /// Restore every commit, read every object, and say whether all is well
    ///
    /// Example: persist session verify bot run-1
    #[command(verbatim_doc_comment)]
    Verify(Name),
    /// Write the session as one tar archive to FILE, or to standard output
    ///
    /// With --all each session becomes DIR/AGENT/SESSION.tar, with the ids as they
    /// are in keys. A file of that name is replaced when the new one is whole,
    /// unless it is the archive of another session; nothing is removed. A session
    /// that fails is a line, and the next ones are written.
    ///
    /// Examples:
    ///   persist session export bot run-1 session.tar
    ///   persist session export --all archives/$(date +%F)
    ///   set -o pipefail
    ///   persist session export a s | persist --storage URL session import a s
    #[command(
        verbatim_doc_comment,
        override_usage = "persist session export [OPTIONS] <AGENT SESSION [FILE] | --all DIR>"
    )]
    Export(Export),
    /// Read an archive from FILE, or standard input, into a session that does not exist
    ///
    /// With --all every .tar file in DIR, and in the folders in it, becomes the
    /// session that it was written from. One that is there already with the same
    /// commits stays as it is, another one of that name is a conflict, and so are
    /// two archives of one session. What fails is a line, and the next ones are
    /// read.
    ///
    /// Examples:
    ///   persist session import bot restored session.tar
    ///   persist session import --all archives/2026-05-14
    #[command(
        verbatim_doc_comment,
        override_usage = "persist session import [OPTIONS] <AGENT SESSION [FILE] | --all DIR>"
    )]
    Import(Import),
    /// List sessions, all or those of one agent
    ///
    /// Example: persist session ls bot --long
    #[command(verbatim_doc_comment, visible_alias = "list")]
    Ls {
        /// Only this agent's
        agent: Option<String>,
        /// Also number, time and size of the newest commit, and which were removed: two requests for each
        /// session
        #[arg(short, long)]
        long: bool,
    },
}

impl Command {
    /// Whether it may leave something half-written behind when it is stopped by force.
    pub(crate) fn writes(&self) -> bool {
        match self {
            Command::Load(args) => args.output.as_ref().is_some_and(|path| path.as_os_str() != "-"),
            Command::Log(_)
            | Command::Show(_)
            | Command::Diff(_)
            | Command::Forks(_)
            | Command::Verify(_)
            | Command::Ls { .. } => false,
            Command::Save(_)
            | Command::Fork(_)
            | Command::Tag(_)
            | Command::TakeOver(_)
            | Command::Prune(_)
            | Command::Rm { .. }
            | Command::Export(_)
            | Command::Import(_) => true,
        }
    }

    /// Whether it shows by itself how far it is, or cannot show it.
    pub(crate) fn has_bar(&self) -> bool {
        match self {
            Command::Save(args) => args.value.is_empty(),
            Command::Load(args) => args.streams() || is_on_screen(args.output.as_deref()),
            _ => false,
        }
    }
}

#[derive(Debug, Group)]
pub(crate) struct Name {
    /// Whose session, any text
    pub(crate) agent: String,
    /// Which session, any text
    pub(crate) session: String,
}

/// One session, where it is not all.
#[derive(Debug, Group)]
pub(crate) struct One {
    /// Whose session, any text
    #[arg(required_unless_present = "all", conflicts_with = "all")]
    agent: Option<String>,
    /// Which session, any text
    #[arg(required_unless_present = "all", conflicts_with = "all")]
    session: Option<String>,
}

impl One {
    pub(crate) fn name(&self) -> Option<Name> {
        let (agent, session) = self.agent.clone().zip(self.session.clone())?;
        Some(Name { agent, session })
    }
}

#[derive(Debug, Group)]
pub(crate) struct Pick {
    #[command(flatten)]
    pub(crate) name: Name,
    /// latest, a number, an id, a tag (or tag:NAME), or a time with Z or an offset, such as
    /// 2026-05-14T09:30:00Z (the newest commit until then)
    #[arg(long, value_name = "COMMIT", default_value = "latest", allow_negative_numbers = true)]
    pub(crate) at: At,
}

#[derive(Debug, Group)]
pub(crate) struct Save {
    #[command(flatten)]
    pub(crate) name: Name,
    /// The file to save [default: standard input]
    pub(crate) file: Option<PathBuf>,
    /// A named value from FILE (`-`: standard input), held in memory; may be repeated
    #[arg(long, value_name = "NAME=FILE", value_parser = file, conflicts_with = "file")]
    pub(crate) value: Vec<(String, String)>,
    /// A word on the commit
    #[arg(long)]
    pub(crate) label: Option<String>,
    /// The runtime's own count of steps
    #[arg(long, value_name = "N", value_parser = number::<u64>, allow_negative_numbers = true)]
    pub(crate) step: Option<u64>,
    /// A key-value pair to keep with the commit; may be repeated
    #[arg(long, value_name = "K=V", value_parser = pair)]
    pub(crate) metadata: Vec<(String, String)>,
    /// Only if the newest commit has this number (0: only if there is none)
    #[arg(long, value_name = "SEQ", value_parser = number::<u64>, allow_negative_numbers = true)]
    pub(crate) expect: Option<u64>,
    /// Store the whole state, so that a prune can remove all before it
    #[arg(long)]
    pub(crate) whole: bool,
    /// Where the newest commit is damaged, go on behind it
    #[arg(long)]
    pub(crate) fallback: bool,
    /// Accept empty input from a pipe
    #[arg(long)]
    pub(crate) allow_empty: bool,
}

#[derive(Debug, Group)]
pub(crate) struct Load {
    #[command(flatten)]
    pub(crate) pick: Pick,
    /// Where the commit is damaged, load the newest good one before it, and say so
    #[arg(long)]
    pub(crate) fallback: bool,
    /// The value of this name; needed for a commit that has several
    #[arg(long, value_name = "NAME")]
    pub(crate) value: Option<String>,
    /// Write to FILE (`-`: standard output)
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
}

impl Load {
    /// Whether the state passes through, unless it is damaged, and is not loaded whole first.
    pub(crate) fn streams(&self) -> bool {
        self.value.is_none()
    }
}

#[derive(Debug, Group)]
pub(crate) struct Log {
    #[command(flatten)]
    pub(crate) name: Name,
    /// At most so many
    #[arg(short = 'n', long, value_name = "N", value_parser = number::<usize>, allow_negative_numbers = true)]
    pub(crate) limit: Option<usize>,
    /// Only those older than this one: a number, an id, a tag (or tag:NAME) or a time
    #[arg(long, value_name = "COMMIT", allow_negative_numbers = true)]
    pub(crate) before: Option<At>,
}

#[derive(Debug, Group)]
pub(crate) struct Fork {
    #[command(flatten)]
    pub(crate) name: Name,
    /// The new session, of the same agent
    pub(crate) fork: String,
    /// Where it starts: latest, a number, an id, a tag (or tag:NAME) or a time
    #[arg(long, value_name = "COMMIT", default_value = "latest", allow_negative_numbers = true)]
    pub(crate) at: At,
}

#[derive(Debug, Group)]
pub(crate) struct Tag {
    #[command(flatten)]
    pub(crate) name: Name,
    /// The name; if another commit has it, that is an error without --force
    pub(crate) tag: Option<String>,
    /// Which commit: latest, a number, an id, a tag (or tag:NAME) or a time [default: latest]
    #[arg(long, value_name = "COMMIT", requires = "tag", allow_negative_numbers = true)]
    pub(crate) at: Option<At>,
    /// Move the name, if another commit has it
    #[arg(long, requires = "tag", conflicts_with = "delete")]
    pub(crate) force: bool,
    /// Remove the name instead
    #[arg(long, requires = "tag", conflicts_with = "at")]
    pub(crate) delete: bool,
    /// With --delete: fail with exit code 3 if there is no such name
    #[arg(long, requires = "delete")]
    pub(crate) must_exist: bool,
}

#[derive(Debug, Group)]
pub(crate) struct Diff {
    #[command(flatten)]
    pub(crate) name: Name,
    /// The older commit: a number, an id, a tag (or tag:NAME) or a time
    pub(crate) from: At,
    /// The newer one
    #[arg(default_value = "latest")]
    pub(crate) to: At,
    /// TO is a commit of this session of the same agent, such as a fork
    #[arg(long, value_name = "SESSION")]
    pub(crate) with: Option<String>,
}

#[derive(Debug, Group)]
pub(crate) struct Prune {
    #[command(flatten)]
    pub(crate) one: One,
    /// Every session of the storage, as `session ls` lists them
    #[arg(long)]
    pub(crate) all: bool,
    /// Of all, only this agent's
    #[arg(long = "agent", value_name = "AGENT", requires = "all", conflicts_with = "session")]
    pub(crate) of_agent: Option<String>,
    /// Keep the newest N
    #[arg(long, value_name = "N", value_parser = kept, allow_negative_numbers = true)]
    pub(crate) keep_last: Option<u64>,
    /// Keep all that are not older, such as 36h, 7d, 2w
    #[arg(long, value_name = "AGE", value_parser = kept_age)]
    pub(crate) keep_within: Option<Duration>,
    /// Keep the newest of each hour (UTC), for N hours in which there are commits
    #[arg(long, value_name = "N", value_parser = kept, allow_negative_numbers = true)]
    pub(crate) keep_hourly: Option<u64>,
    /// Keep the newest of each day (UTC), for N days in which there are commits
    #[arg(long, value_name = "N", value_parser = kept, allow_negative_numbers = true)]
    pub(crate) keep_daily: Option<u64>,
    /// Keep the newest of each week (from Monday on, UTC), for N weeks in which there are commits
    #[arg(long, value_name = "N", value_parser = kept, allow_negative_numbers = true)]
    pub(crate) keep_weekly: Option<u64>,
    /// Only say what would be removed
    #[arg(long)]
    pub(crate) dry_run: bool,
}

#[derive(Debug, Group)]
pub(crate) struct Export {
    #[command(flatten)]
    pub(crate) one: One,
    /// The archive to write [default: standard output]
    #[arg(conflicts_with = "all")]
    pub(crate) file: Option<PathBuf>,
    /// All sessions, as `session ls` lists them, to files in DIR, which is made where it is missing
    #[arg(long, value_name = "DIR")]
    pub(crate) all: Option<PathBuf>,
    /// Of all, only this agent's
    #[arg(long = "agent", value_name = "AGENT", requires = "all", conflicts_with = "session")]
    pub(crate) of_agent: Option<String>,
}

#[derive(Debug, Group)]
pub(crate) struct Import {
    #[command(flatten)]
    pub(crate) one: One,
    /// The archive to read [default: standard input]
    #[arg(conflicts_with = "all")]
    pub(crate) file: Option<PathBuf>,
    /// All archives in DIR
    #[arg(long, value_name = "DIR")]
    pub(crate) all: Option<PathBuf>,
    /// Of all, only this agent's
    #[arg(long = "agent", value_name = "AGENT", requires = "all", conflicts_with = "session")]
    pub(crate) of_agent: Option<String>,
    /// Only read each archive, a file, to its end, and say whether it is whole
    #[arg(long)]
    pub(crate) dry_run: bool,
}
