//! What can be asked, and the help that teaches it.

use std::path::PathBuf;

use clap::{Args as Group, Parser, Subcommand};
use persist::Codec;

use crate::values::{age, number, pair, version};

/// Save and restore the state of agents.
#[derive(Debug, Parser)]
#[command(name = "persist", version, about, after_help = AFTER)]
pub(crate) struct Args {
    /// Where snapshots are: a path, file:///path, memory://, s3://bucket/prefix, gs://bucket/prefix
    #[arg(long, global = true, value_name = "URL", help_heading = "Options of every command")]
    pub(crate) storage: Option<String>,
    /// Configuration file [default: PERSIST_CONFIG, else ~/.config/persist/persist.toml]
    #[arg(long, global = true, value_name = "FILE", help_heading = "Options of every command")]
    pub(crate) config: Option<PathBuf>,
    /// Print data and errors as JSON, a line each
    #[arg(long, global = true, help_heading = "Options of every command")]
    pub(crate) json: bool,
    /// Say what is done (-v), with the keys (-vv)
    #[arg(short, long, global = true, action = clap::ArgAction::Count, help_heading = "Options of every command")]
    pub(crate) verbose: u8,
    #[command(subcommand)]
    pub(crate) command: Command,
}

const AFTER: &str = "\
Without any configuration snapshots are stored in the platform's data
directory. `persist env` lists every setting. A KEY may be a whole URL, such as
gs://bucket/agents/42/state.json.gz, which then names the storage too.

Exit codes:
  0  done
  1  failed for another reason
  2  wrong usage or input
  3  not found
  4  conflict, or already there
  5  damaged
  6  service unavailable, slow or rate limited
  7  no credentials or no permission
  8  configuration
  129, 130, 143  stopped by SIGHUP, SIGINT, SIGTERM
  141  the reader of the output closed it";

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Save FILE, or standard input, as the snapshot KEY
    ///
    /// The snapshot appears whole or not at all. It is an ordinary .gz file,
    /// unless --codec says otherwise.
    ///
    /// An empty pipe (or /dev/null) is an error, unless --allow-empty: mostly the
    /// program in front of it has failed. One that fails later is seen by the shell
    /// alone: with `set -o pipefail` the exit code tells.
    ///
    /// Examples:
    ///   persist save agents/42/state.json.gz state.json
    ///   set -o pipefail; agent dump | persist save agents/42.gz --if-absent
    #[command(verbatim_doc_comment)]
    Save(Save),
    /// Load the snapshot KEY to standard output, or to a file
    ///
    /// A file is replaced only after every byte was checked: a failed load leaves
    /// it as it was.
    ///
    /// Examples:
    ///   persist load agents/42/state.json.gz | jq .step
    ///   persist load agents/42/state.json.gz -o state.json
    #[command(verbatim_doc_comment)]
    Load(Load),
    /// List keys in byte order
    ///
    /// PREFIX is the beginning of a name and need not end at a `/`; a URL names the
    /// storage too.
    ///
    /// Examples:
    ///   persist ls agents/42/ --long
    ///   persist ls s3://bucket/agents/ --folders
    ///   persist ls --json | jq -r 'select(.stored_size > 1000000) | .key'
    #[command(verbatim_doc_comment, visible_alias = "list")]
    Ls(Ls),
    /// Show what is known about a snapshot: sizes, version, time, codec, digest
    ///
    /// Also its metadata and tags. Reads its first and last bytes only. The version
    /// is what `persist save --if-match` takes.
    ///
    /// Example: persist stat agents/42/state.json.gz
    #[command(verbatim_doc_comment)]
    Stat {
        /// The snapshot
        key: String,
    },
    /// Remove snapshots
    ///
    /// A snapshot that is not there is no error, unless --must-exist says so.
    ///
    /// With --recursive KEYS are folders, and all snapshots below them are removed;
    /// it says how many. Sessions are removed by `persist session rm`.
    ///
    /// Examples:
    ///   persist rm agents/42/state.json.gz
    ///   persist rm --recursive agents/42 --dry-run
    #[command(verbatim_doc_comment, visible_alias = "delete")]
    Rm(Rm),
    /// Copy a snapshot as it is, also between storages
    ///
    /// The stored bytes are copied, with their metadata; nothing is compressed
    /// anew.
    ///
    /// With --recursive SOURCE and DESTINATION are folders ("" is all of the
    /// storage), and all snapshots below one are copied to the same names below the
    /// other. Nothing is removed there. What broke off goes on with --if-absent
    /// (snapshots that changed since stay old). A session that has another history
    /// there, or was removed on one side, is left out.
    ///
    /// Examples:
    ///   persist cp agents/42/state.json.gz s3://bucket/agents/42/state.json.gz
    ///   persist cp --recursive s3://old/agents/ gs://new/agents/ --if-absent
    ///   persist cp --recursive "" s3://backup --dry-run
    #[command(verbatim_doc_comment)]
    Cp(Cp),
    /// Read every byte of a snapshot, or of all, and say whether all is well
    ///
    /// With --all each that cannot be loaded is a line on standard output, and the
    /// exit code is not 0. Where there is nothing to verify, it is 3: the storage
    /// may not be the right one.
    ///
    /// Examples:
    ///   persist verify agents/42/state.json.gz
    ///   persist verify --all
    #[command(verbatim_doc_comment, override_usage = "persist verify [OPTIONS] <KEY | --all>")]
    Verify(Verify),
    /// History of an agent's session: commits that cannot be lost or forked unnoticed
    #[command(subcommand)]
    Session(crate::cmd::session::args::Command),
    /// Check configuration, credentials, permissions, conditional writes and clock
    ///
    /// Writes and removes a small probe object. Says what to fix. On S3 it also
    /// shows uploads that crashed writers left.
    ///
    /// Example: persist doctor --clean-uploads --older-than 7d
    #[command(verbatim_doc_comment)]
    Doctor(Doctor),
    /// Show where states go, and every setting: variables, meaning, default and effective value; secrets are hidden
    Env,
    /// Print what a shell needs to complete commands and options
    ///
    /// Example, for bash:
    ///   persist completions bash > ~/.local/share/bash-completion/completions/persist
    #[command(verbatim_doc_comment)]
    Completions {
        /// Which shell
        shell: clap_complete::Shell,
    },
}

impl Command {
    /// Whether it may leave something half-written behind when it is stopped by force.
    pub(crate) fn writes(&self) -> bool {
        match self {
            Command::Load(args) => args.output.as_ref().is_some_and(|path| path.as_os_str() != "-"),
            Command::Ls(_)
            | Command::Stat { .. }
            | Command::Verify(_)
            | Command::Env
            | Command::Completions { .. } => false,
            Command::Session(command) => command.writes(),
            Command::Save(_) | Command::Rm(_) | Command::Cp(_) | Command::Doctor(_) => true,
        }
    }
}

impl Command {
    /// The keys, prefixes and folders that may be URLs.
    pub(crate) fn names(&self) -> Vec<&str> {
        match self {
            Command::Save(args) => vec![&args.key],
            Command::Load(args) => vec![&args.key],
            Command::Ls(args) => args.prefix.as_deref().into_iter().collect(),
            Command::Stat { key } => vec![key],
            Command::Rm(args) => args.keys.iter().map(String::as_str).collect(),
            Command::Cp(args) => vec![&args.source, &args.destination],
            Command::Verify(args) => args.key.as_deref().into_iter().collect(),
            Command::Session(_) | Command::Doctor(_) | Command::Env | Command::Completions { .. } => {
                Vec::new()
            }
        }
    }
}

#[derive(Debug, Group)]
pub(crate) struct Save {
    /// The snapshot
    pub(crate) key: String,
    /// The file to save [default: standard input]
    pub(crate) file: Option<PathBuf>,
    /// Only if there is no such snapshot yet
    #[arg(long, conflicts_with = "if_match")]
    pub(crate) if_absent: bool,
    /// Only if the snapshot still has this version (see `persist stat`)
    #[arg(long, value_name = "VERSION", value_parser = version)]
    pub(crate) if_match: Option<String>,
    /// gzip, zstd or none [default: the configured one, else gzip]
    #[arg(long, value_name = "CODEC")]
    pub(crate) codec: Option<Codec>,
    /// 1 (fast) to 9 (small); of zstd to 19
    #[arg(long, value_name = "N")]
    pub(crate) level: Option<u8>,
    /// Metadata to keep with the snapshot; may be repeated
    #[arg(long, value_name = "K=V", value_parser = pair)]
    pub(crate) metadata: Vec<(String, String)>,
    /// Tag of the object, for the service's own rules (S3); may be repeated
    #[arg(long, value_name = "K=V", value_parser = pair)]
    pub(crate) tag: Vec<(String, String)>,
    /// Accept empty input from a pipe
    #[arg(long)]
    pub(crate) allow_empty: bool,
}

#[derive(Debug, Group)]
pub(crate) struct Load {
    /// The snapshot
    pub(crate) key: String,
    /// Write to FILE (`-`: standard output)
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
}

#[derive(Debug, Group)]
pub(crate) struct Ls {
    /// Only keys that start with this text
    pub(crate) prefix: Option<String>,
    /// Sizes and times too
    #[arg(short, long)]
    pub(crate) long: bool,
    /// At most so many
    #[arg(short = 'n', long, value_name = "N", value_parser = number::<usize>, allow_negative_numbers = true)]
    pub(crate) limit: Option<usize>,
    /// Start after this key, which need not be there (to page: the last one of the page before)
    #[arg(long, value_name = "KEY")]
    pub(crate) after: Option<String>,
    /// One level only: what lies behind the next / comes as one line
    #[arg(long)]
    pub(crate) folders: bool,
}

#[derive(Debug, Group)]
pub(crate) struct Rm {
    /// The snapshots, or with --recursive folders
    #[arg(required = true)]
    pub(crate) keys: Vec<String>,
    /// Remove all snapshots below each folder
    #[arg(short, long)]
    pub(crate) recursive: bool,
    /// Only say how many would be removed
    #[arg(long, requires = "recursive")]
    pub(crate) dry_run: bool,
    /// A missing snapshot, or a folder without any, is an error; then nothing is removed
    #[arg(long)]
    pub(crate) must_exist: bool,
}

#[derive(Debug, Group)]
pub(crate) struct Cp {
    /// From: a key or a URL
    pub(crate) source: String,
    /// To: a key or a URL
    pub(crate) destination: String,
    /// Copy all snapshots below a folder; with --if-absent skip those that are there, but for the tags of
    /// sessions that go on
    #[arg(short, long)]
    pub(crate) recursive: bool,
    /// Only if there is no such snapshot yet
    #[arg(long)]
    pub(crate) if_absent: bool,
    /// Where a session was removed from the source, end it at the destination, too
    #[arg(long, requires = "recursive")]
    pub(crate) removals: bool,
    /// Only say how many would be copied, and what would be left out
    #[arg(long, requires = "recursive")]
    pub(crate) dry_run: bool,
}

#[derive(Debug, Group)]
pub(crate) struct Verify {
    /// The snapshot, if not --all
    #[arg(required_unless_present = "all", conflicts_with = "all", value_name = "KEY")]
    pub(crate) key: Option<String>,
    /// Every snapshot of the storage, and every session
    #[arg(long)]
    pub(crate) all: bool,
}

#[derive(Debug, Group)]
pub(crate) struct Doctor {
    /// Remove unfinished uploads below the prefix, which S3 bills and no listing shows
    #[arg(long)]
    pub(crate) clean_uploads: bool,
    /// How long ago an upload must have been begun to count as left behind, such as 36h, 7d, 2w
    #[arg(long, value_name = "AGE", default_value = "24h", value_parser = age)]
    pub(crate) older_than: std::time::Duration,
}
