//! How values are read. Errors are the end of the sentence `variable PERSIST_X ("value"): …`.

use std::{net::Ipv6Addr, path::PathBuf, time::Duration};

use super::{Parsed, StorageConfig, parse_duration};
use crate::{Error, Key, Secret, sessions::WINDOWS};

/// What an error says, as the end of a sentence.
pub(super) trait Reason {
    fn reason(self) -> String;
}

impl Reason for String {
    fn reason(self) -> String {
        self
    }
}

impl Reason for Error {
    fn reason(self) -> String {
        self.message().into()
    }
}

pub(super) fn set<T>(place: &mut T, value: Result<T, impl Reason>) -> Parsed<()> {
    *place = value.map_err(Reason::reason)?;
    Ok(())
}

pub(super) fn some<T>(place: &mut Option<T>, value: Result<T, impl Reason>) -> Parsed<()> {
    *place = Some(value.map_err(Reason::reason)?);
    Ok(())
}

/// A line of text.
fn line(value: &str) -> Parsed<String> {
    match value {
        "" => Err("it is empty; give a value or leave it out".into()),
        _ if value.chars().any(char::is_control) => {
            Err("it contains a control character, perhaps a line break".into())
        }
        _ => Ok(value.into()),
    }
}

/// A name of something. A URL names more than it, and may have a password in it, which the service would
/// repeat.
pub(super) fn text(value: &str) -> Parsed<String> {
    if value.contains("://") {
        Err("this is a name, and that looks like a URL; the storage's own goes into PERSIST_STORAGE_URL"
            .into())
    } else {
        line(value)
    }
}

/// What is wrong with a path that is the key itself, as it comes about where a pipeline's secret is a text
/// and no file. It does not repeat it.
pub(crate) const CONTENT: &str = "it looks like the content of a credentials file, not like a path; put that into PERSIST_GCS_CREDENTIALS_JSON";

/// Whether this is the content of a file with a key rather than its path.
pub(crate) fn is_content(text: &str) -> bool {
    is_credentials(text) || text.contains(['\n', '\r'])
}

/// The same of a text that is perhaps no path.
pub(super) fn is_credentials(text: &str) -> bool {
    is_json(text) || text.contains("PRIVATE KEY")
}

/// Whether it begins as JSON. Files of variables and editors leave quotation marks, blanks and a byte order
/// mark before it.
pub(super) fn is_json(text: &str) -> bool {
    let before = |c: char| c.is_whitespace() || matches!(c, '"' | '\'' | '\u{feff}');
    text.trim_start_matches(before).starts_with('{')
}

/// Whether this address without a scheme is Google's own, as its pages write private endpoints: no emulator,
/// and nothing for clear text.
pub(crate) fn is_googles(address: &str) -> bool {
    let host = address.split(['/', ':']).next().unwrap_or_default();
    host.to_ascii_lowercase().ends_with(".googleapis.com")
}

/// A path as it is: only a shell knows what `~` means.
pub(super) fn path(value: &str) -> Parsed<PathBuf> {
    if is_content(value) {
        return Err(CONTENT.into());
    }
    match line(value)? {
        path if path.starts_with(['~', '$']) => {
            Err("only a shell knows what `~` and `$` are; write the whole path".into())
        }
        path if path.starts_with(['"', '\'']) || path.ends_with(['"', '\'']) => {
            Err("a quotation mark is a part of it, since no shell removed it; write the path alone".into())
        }
        path if path.trim() != path => Err("a blank is before or behind it; write the path alone".into()),
        path if path.contains("://") => {
            Err("this is a path, and that looks like a URL; put URLs into PERSIST_STORAGE_URL".into())
        }
        path => Ok(path.into()),
    }
}

/// A prefix, by the rules of keys.
pub(super) fn below(value: &str) -> Parsed<String> {
    let path = value.strip_suffix('/').unwrap_or(value);
    Key::parse(path).map(String::from)
}

/// The rule of [`text`] without its value in the message; line breaks are allowed, since JSON has them.
pub(super) fn hidden(value: &str) -> Parsed<Secret> {
    if value.trim().is_empty() {
        Err("it is empty; give a value or leave it out".into())
    } else {
        Ok(value.into())
    }
}

pub(super) fn boolean(value: &str) -> Parsed<bool> {
    match value.to_ascii_lowercase().as_str() {
        "true" | "1" | "yes" | "on" => Ok(true),
        "false" | "0" | "no" | "off" => Ok(false),
        _ => Err("use `true` or `false`".into()),
    }
}

pub(super) fn number<T: TryFrom<u64>>(value: &str, least: u64, most: u64) -> Parsed<T> {
    let bad = || format!("use a whole number from {least} to {most}");
    let number = value.parse().ok().filter(|number| (least..=most).contains(number)).ok_or_else(bad)?;
    T::try_from(number).map_err(|_| bad())
}

/// More than nothing, at most a day.
pub(super) fn duration(value: &str) -> Parsed<Duration> {
    let short = parse_duration(value).filter(|time| !time.is_zero() && *time <= Duration::from_secs(86_400));
    short.ok_or_else(|| {
        "use seconds such as `30`, or `500ms`, `2m`, `1h`; more than 0, at most 24h".to_string()
    })
}

/// What is wrong with another fence window.
pub(super) const BAD_WINDOW: &str =
    "use 60 seconds to 30 days, such as `90s`, `2h`, `7d`; the clocks of storages are no better";

/// A fence window.
pub(super) fn window(value: &str) -> Parsed<Duration> {
    parse_duration(value).filter(|window| WINDOWS.contains(window)).ok_or_else(|| BAD_WINDOW.into())
}

/// Bytes, or a number with `KiB`, `MiB`, `GiB`.
pub(super) fn size(value: &str, least: u64, most: u64) -> Parsed<u64> {
    let bad = || format!("use bytes, or `8MiB`; {} to {}", in_units(least), in_units(most));
    let digits = value.find(|c: char| !c.is_ascii_digit()).unwrap_or(value.len());
    let (number, unit) = value.split_at(digits);
    let shift = match unit {
        "" => 0,
        "KiB" => 10,
        "MiB" => 20,
        "GiB" => 30,
        _ => return Err(bad()),
    };
    let number: u64 = number.parse().map_err(|_| bad())?;
    number.checked_mul(1 << shift).filter(|bytes| (least..=most).contains(bytes)).ok_or_else(bad)
}

/// A size in the largest unit of which it is a multiple.
fn in_units(bytes: u64) -> String {
    let units = [(30, "GiB"), (20, "MiB"), (10, "KiB")];
    let unit = units.into_iter().find(|(shift, _)| bytes.trailing_zeros() >= *shift);
    unit.map_or(bytes.to_string(), |(shift, name)| format!("{}{name}", bytes >> shift))
}

pub(super) fn chunk(value: &str) -> Parsed<u64> {
    let bytes = size(value, 256 << 10, 1 << 30)?;
    if bytes % (256 << 10) == 0 { Ok(bytes) } else { Err("use a multiple of 256KiB".into()) }
}

/// The URL of a server.
pub(super) fn http(value: &str) -> Parsed<String> {
    let scheme = value.split_once("://").map(|(scheme, _)| scheme.to_ascii_lowercase());
    match scheme.as_deref() {
        Some("http" | "https") => server(value),
        _ if value.contains('@') => server(value),
        _ => Err("use a URL such as `https://s3.example.com`".into()),
    }
}

/// A server, with or without `http://`. Addresses are shown in messages, so that nothing secret may be in
/// one.
pub(super) fn server(value: &str) -> Parsed<String> {
    let address = value.split_once("://").map_or(value, |(_, address)| address);
    match value {
        // Anywhere: parsers differ in where a host ends, `http:///user:password@host` is one to some of them.
        _ if value.contains('@') => {
            Err("leave user name and password out of the address; credentials have settings of their own"
                .into())
        }
        _ if line(value).is_ok() && !has_host(address) => {
            Err("its host or port cannot be; write for example `https://s3.example.com` or `http://127.0.0.1:9000`".into())
        }
        _ => line(value),
    }
}

/// Whether an address begins with a host and perhaps a port. Whoever opens it looks closer; a build without
/// servers needs no crate for that.
fn has_host(address: &str) -> bool {
    let place = address.split(['/', '\\', '?', '#']).next().unwrap_or_default();
    let (right, port) = match place.strip_prefix('[').map(|place| place.split_once(']')) {
        Some(Some((host, port))) => (host.parse::<Ipv6Addr>().is_ok(), port),
        Some(None) => return false,
        None => {
            let (host, port) = place.split_at(place.find(':').unwrap_or(place.len()));
            let odd = |c: char| c.is_whitespace() || "<>[]{}^|\"`".contains(c);
            (!host.is_empty() && !host.contains(odd), port)
        }
    };
    // `http://host:` is one, too.
    let port =
        port.strip_prefix(':').map_or(port.is_empty(), |port| port.is_empty() || port.parse::<u16>().is_ok());
    right && port
}

pub(super) fn one_of(value: &str, right: &[&str]) -> Parsed<String> {
    match right.iter().find(|name| **name == value) {
        Some(name) => Ok((*name).into()),
        None => Err(format!("use `{}`", right.join("` or `"))),
    }
}

/// Another level for the codec that is set so far.
pub(super) fn level(config: &mut StorageConfig, value: &str) -> Parsed<()> {
    let level =
        value.parse().map_err(|_| "use a whole number, 1 to 9 for gzip, 1 to 19 for zstd".to_string())?;
    let codec = config.codec.unwrap_or_default();
    some(&mut config.codec, codec.with_level(level))
}
