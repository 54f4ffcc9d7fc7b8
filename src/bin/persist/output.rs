//! What commands print: data on standard output as text or JSON, the rest on standard error.

use std::{
    io::{self, IsTerminal, Write},
    process::ExitCode,
    time::SystemTime,
};

use jiff::{Timestamp, Unit};
use persist::{ErrorKind, ObjectMeta};
use serde_json::{Value, json};

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
        let mut out = io::stdout().lock();
        if self.json {
            writeln!(out, "{}", json())?
        } else {
            writeln!(out, "{}", text())?
        }
        Ok(())
    }

    /// What a person at a terminal wants to know and a script does not.
    pub(crate) fn note(&self, text: impl FnOnce() -> String) {
        if self.terminal && !self.json {
            eprintln!("{}", text());
        }
    }

    /// Whether a bar may be drawn.
    pub(crate) fn interactive(&self) -> bool {
        self.terminal && !self.json
    }

    /// Prints an error with its causes and gives the exit code.
    pub(crate) fn failure(&self, error: &anyhow::Error) -> ExitCode {
        let ours = error.chain().find_map(|cause| cause.downcast_ref::<persist::Error>());
        let pipe = error.chain().filter_map(|cause| cause.downcast_ref::<io::Error>());
        if pipe.into_iter().any(|error| error.kind() == io::ErrorKind::BrokenPipe) {
            return ExitCode::from(141); // as if by SIGPIPE: who closed the pipe knows
        }
        let causes: Vec<String> = chain(error);
        if self.json {
            let kind = ours.map_or("io", |error| error.kind().as_str());
            let key = ours.and_then(|error| error.key()).map(|key| key.as_str());
            let retryable = ours.is_some_and(persist::Error::retryable);
            let (message, causes) = (causes.first(), causes.get(1..).unwrap_or_default());
            eprintln!(
                "{}",
                json!({"error": {"kind": kind, "message": message, "causes": causes, "key": key, "retryable": retryable}})
            );
        } else {
            eprintln!("persist: {}", causes.first().map_or("failed", String::as_str));
            for cause in causes.iter().skip(1) {
                eprintln!("  because: {cause}");
            }
        }
        ExitCode::from(ours.map_or(1, |error| exit_code(error.kind())))
    }
}

/// The messages of an error and its causes, without those that only repeat the one before.
fn chain(error: &anyhow::Error) -> Vec<String> {
    let mut messages: Vec<String> = Vec::new();
    for message in error.chain().map(ToString::to_string) {
        if !messages.last().is_some_and(|last| last.contains(&message)) {
            messages.push(message);
        }
    }
    messages
}

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
    time.round(Unit::Millisecond).unwrap_or(time).to_string()
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
