//! What commands print: data on standard output as text or JSON, the rest on standard error.

use std::{
    fs::File,
    io::{self, IsTerminal, Write},
    path::Path,
    process::ExitCode,
    time::SystemTime,
};

use anyhow::Context;
use jiff::{Timestamp, Unit};
use persist::{ErrorKind, Key, ObjectMeta};
use serde_json::{Value, json};

use crate::progress::beside;

pub(crate) struct Output {
    pub(crate) json: bool,
    terminal: bool,
}

impl Output {
    pub(crate) fn new(json: bool) -> Self {
        Output { json, terminal: io::stderr().is_terminal() }
    }

    /// A row of data: `json` with `--json`, else the text.
    pub(crate) fn row(
        &self,
        json: impl FnOnce() -> Value,
        text: impl FnOnce() -> String,
    ) -> anyhow::Result<()> {
        let line = if self.json { json_line(&json()) } else { shown(&text()) };
        written(beside(|| writeln!(io::stdout(), "{line}")))
    }

    /// What a person at a terminal wants to know and a script does not.
    pub(crate) fn note(&self, text: impl FnOnce() -> String) {
        if self.interactive() {
            complain(&text());
        }
    }

    /// Whether somebody watches.
    pub(crate) fn interactive(&self) -> bool {
        self.terminal && !self.json
    }

    /// Prints an error with its causes and gives the exit code. Damage is found by who reads what is stored,
    /// without knowing where: that is `backend`.
    pub(crate) fn failure(&self, error: &anyhow::Error, backend: Option<&'static str>) -> ExitCode {
        if is_closed_pipe(error) {
            return ExitCode::from(141); // as if by SIGPIPE: who closed the pipe knows
        }
        let ours = error.chain().find_map(|cause| cause.downcast_ref::<persist::Error>());
        let code = ours.map_or(1, |error| exit_code(error.kind()));
        let messages = chain(error.chain());
        let (message, causes) = messages.split_first().map_or(("failed", &[][..]), |(m, c)| (m.as_str(), c));
        if self.json {
            let row = json!({
                "kind": ours.map_or(ErrorKind::Io, persist::Error::kind).as_str(),
                "message": message,
                "causes": causes,
                "backend": ours.and_then(|error| {
                    error.backend().or(backend.filter(|_| error.kind() == ErrorKind::Corrupt))
                }),
                "operation": ours.and_then(persist::Error::operation),
                "key": ours.and_then(persist::Error::key),
                "request_id": ours.and_then(persist::Error::request_id),
                "retryable": ours.is_some_and(persist::Error::retryable),
                "exit_code": code,
            });
            complain_as_json(&json!({ "error": row }));
        } else {
            complain(&format!("persist: {message}"));
            causes.iter().for_each(|cause| complain(&format!("  because: {cause}")));
        }
        ExitCode::from(code)
    }
}

/// Help, the version, or what is wrong with the command's arguments.
pub(crate) fn usage(error: &clap::Error) -> ExitCode {
    let json = std::env::args_os().any(|argument| argument == "--json");
    if json && error.use_stderr() {
        let text = error.render().to_string();
        // All before the usage and the hint at the help, in one line.
        let of_help = |line: &str| line.starts_with("Usage:") || line.starts_with("For more information");
        let lines = text.lines().take_while(|line| !of_help(line)).map(str::trim);
        let message = lines.filter(|line| !line.is_empty()).collect::<Vec<_>>().join(" ");
        let message = match error.kind() {
            // All that it says is the help.
            clap::error::ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => "a subcommand is missing",
            _ => message.trim_start_matches("error: "),
        };
        complain_as_json(&json!({"error": {"kind": "usage", "message": message, "exit_code": 2}}));
        return ExitCode::from(2);
    }
    let printed = error.print();
    if error.use_stderr() {
        // Nobody is left to tell if this fails.
        return ExitCode::from(2);
    }
    match written(printed) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => Output::new(json).failure(&error, None),
    }
}

/// A line of JSON. It escapes what terminals obey, but for DEL and the controls behind ASCII.
fn json_line(value: &Value) -> String {
    let obeyed = |c: char| ('\u{7f}'..='\u{9f}').contains(&c);
    let text = value.to_string();
    if text.contains(obeyed) {
        let escaped = |c: char| if obeyed(c) { format!("\\u{:04x}", u32::from(c)) } else { c.into() };
        text.chars().map(escaped).collect()
    } else {
        text
    }
}

/// Text that may come from agents and storages, so that a terminal does not obey it.
fn shown(text: &str) -> String {
    let obeyed = |c: char| c.is_control() && !matches!(c, '\n' | '\t');
    if text.contains(obeyed) {
        text.chars().map(|c| if obeyed(c) { c.escape_default().to_string() } else { c.into() }).collect()
    } else {
        text.into()
    }
}

/// The same for what must stay in its column of its line.
pub(crate) fn cell(text: &str) -> String {
    shown(&text.replace('\n', "\\n").replace('\t', "\\t"))
}

/// A line on standard error; where that is closed, nobody wants to know.
pub(crate) fn complain(line: &str) {
    let _ = beside(|| writeln!(io::stderr(), "{}", cell(line)));
}

fn complain_as_json(value: &Value) {
    let _ = beside(|| writeln!(io::stderr(), "{}", json_line(value)));
}

/// Whether who reads the output wants no more of it. Other pipes break as well, but a storage says that it
/// was one of its own.
fn is_closed_pipe(error: &anyhow::Error) -> bool {
    let is_broken = |cause: &io::Error| cause.kind() == io::ErrorKind::BrokenPipe;
    let of_output = |error: &persist::Error| error.kind() == ErrorKind::Io && !is_of_storage(error);
    error.chain().filter_map(|cause| cause.downcast_ref()).any(is_broken)
        && error.chain().filter_map(|cause| cause.downcast_ref()).all(of_output)
}

fn is_of_storage(error: &persist::Error) -> bool {
    error.key().is_some() || error.backend().is_some()
}

/// A failure of what writes to standard output by itself.
pub(crate) fn unwritten(error: persist::Error) -> anyhow::Error {
    // Else a disk that is full would be taken for the storage's.
    let of_output = error.kind() == ErrorKind::Io && !is_of_storage(&error);
    let error = anyhow::Error::new(error);
    if of_output { error.context(UNWRITTEN) } else { error }
}

/// What came of writing to standard output.
pub(crate) fn written(result: io::Result<()>) -> anyhow::Result<()> {
    result.context(UNWRITTEN)
}

const UNWRITTEN: &str = "the output cannot be written";

/// Whether bulk data is printed where a bar would stand, and be erased with it.
pub(crate) fn is_on_screen(file: Option<&Path>) -> bool {
    file.is_none_or(|path| path.as_os_str() == "-") && io::stdout().is_terminal()
}

/// Standard output for bulk data: the descriptor itself, because `Stdout` looks for line ends.
pub(crate) fn bulk() -> io::Result<File> {
    #[cfg(unix)]
    let handle = std::os::fd::AsFd::as_fd(&io::stdout()).try_clone_to_owned()?;
    #[cfg(windows)]
    let handle = std::os::windows::io::AsHandle::as_handle(&io::stdout()).try_clone_to_owned()?;
    Ok(File::from(handle))
}

/// What failed in one of several rows, as JSON.
pub(crate) fn fault(error: &persist::Error) -> Value {
    let mut messages = chain(causes(error));
    let causes = messages.split_off(1);
    let kind = error.kind().as_str();
    json!({"kind": kind, "message": messages.pop(), "key": error.key(), "causes": causes})
}

/// The same for people, in one line; `own` is the key that the row itself names.
pub(crate) fn reason(error: &persist::Error, own: Option<&Key>) -> String {
    let mut reasons: Vec<String> =
        error.key().filter(|key| Some(*key) != own).map(Key::to_string).into_iter().collect();
    reasons.push(in_our_words(error.message()));
    for cause in chain(causes(error)).into_iter().skip(1) {
        if !reasons.iter().any(|reason| reason.contains(&cause)) {
            reasons.push(cause);
        }
    }
    reasons.join(": ")
}

fn causes(error: &persist::Error) -> impl Iterator<Item = &(dyn std::error::Error + 'static)> {
    std::iter::successors(Some(error as &(dyn std::error::Error + 'static)), |error| error.source())
}

/// The messages of an error and its causes, without those that only repeat the one before.
fn chain<'a>(causes: impl Iterator<Item = &'a (dyn std::error::Error + 'static)>) -> Vec<String> {
    let mut messages: Vec<String> = Vec::new();
    for message in causes.map(|cause| in_our_words(&cause.to_string())) {
        if !messages.last().is_some_and(|last| last.contains(&message)) {
            messages.push(message);
        }
    }
    messages
}

/// What the library advises by the names of its functions.
const WORDS: &[(&str, &str)] = &[
    ("; rebase or fork to go on", "; load the newest, then save with --expect and its number, or fork"),
    ("; rebase to begin it anew", "; save again to begin it anew"),
    ("; rebase to go on", "; load the newest, then save with --expect and its number"),
    ("move it with `move_tag` (--force)", "move it with --force"),
    ("; load with fallback, or restore", "; load or save with --fallback, or restore"),
];

/// A message of the library in words of the command line.
pub(crate) fn in_our_words(message: &str) -> String {
    WORDS.iter().fold(message.to_owned(), |message, (theirs, ours)| message.replace(theirs, ours))
}

/// Damage is the worst that can be said; else the first failure tells what is wrong.
pub(crate) fn worse(one: Option<ErrorKind>, other: Option<ErrorKind>) -> Option<ErrorKind> {
    if other == Some(ErrorKind::Corrupt) { other } else { one.or(other) }
}

/// The exit codes are part of the interface (docs/errors.md).
fn exit_code(kind: ErrorKind) -> u8 {
    match kind {
        ErrorKind::InvalidInput => 2,
        ErrorKind::NotFound => 3,
        ErrorKind::AlreadyExists | ErrorKind::Conflict | ErrorKind::NotModified => 4,
        ErrorKind::Corrupt => 5,
        ErrorKind::Unavailable | ErrorKind::Timeout | ErrorKind::RateLimited => 6,
        ErrorKind::Unauthenticated | ErrorKind::AccessDenied => 7,
        ErrorKind::InvalidConfig | ErrorKind::Unsupported => 8,
        _ => 1,
    }
}

/// An object as JSON: the names are part of the interface (docs/cli.md).
pub(crate) fn object(meta: &ObjectMeta) -> Value {
    json!({
        "key": meta.key.as_str(),
        "stored_size": meta.size,
        "version": meta.version.as_str(),
        "modified": time(meta.modified),
        "content_type": meta.content_type,
        "metadata": meta.metadata,
        "tags": meta.tags,
        "tier": meta.tier.map(|tier| tier.to_string()),
        "encryption": meta.encryption,
    })
}

/// RFC 3339, UTC, to the millisecond.
pub(crate) fn time(time: SystemTime) -> String {
    let time = Timestamp::try_from(time).unwrap_or_default();
    // Always three digits, so that columns line up.
    format!("{:.3}", time.round(Unit::Millisecond).unwrap_or(time))
}

/// So many of them: 1 commit, 2 commits.
pub(crate) fn count(number: u64, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}

/// Bytes for people: 999 B, 1.5 kB, 12.0 MB. 1 kB is 1,000 bytes.
pub(crate) fn human(bytes: u64) -> String {
    let (mut value, mut unit) = (bytes as f64, 0);
    while value >= 999.95 && unit < 5 {
        value /= 1000.0;
        unit += 1;
    }
    match unit {
        0 => format!("{bytes} B"),
        _ => format!("{value:.1} {}", ["B", "kB", "MB", "GB", "TB", "PB"][unit]),
    }
}

#[cfg(test)]
#[path = "output_tests.rs"]
mod tests;
