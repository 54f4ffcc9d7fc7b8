//! What the values of options may be.

use std::{collections::HashSet, str::FromStr, time::Duration};

use persist::ErrorKind;

/// A number alone could be meant as anything: it is refused.
pub(crate) fn age(text: &str) -> Result<Duration, String> {
    let has_unit = text.ends_with(char::is_alphabetic);
    let age = persist::config::parse_duration(text).filter(|_| has_unit);
    age.ok_or_else(|| "write a number and s, m, h, d or w, such as 36h".into())
}

pub(crate) fn pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.into(), value.into())),
        _ => Err("write NAME=VALUE".into()),
    }
}

/// A number of something.
pub(crate) fn number<T: FromStr>(text: &str) -> Result<T, String> {
    text.parse().map_err(|_| "write a whole number".into())
}

/// How old what a rule keeps may be.
pub(crate) fn kept_age(text: &str) -> Result<Duration, String> {
    let age = age(text)?;
    if age.is_zero() { Err("0 keeps nothing; write 1s or more".into()) } else { Ok(age) }
}

/// How many a rule keeps.
pub(crate) fn kept(text: &str) -> Result<u64, String> {
    match number(text)? {
        0 => Err("0 keeps nothing; write 1 or more".into()),
        kept => Ok(kept),
    }
}

/// What a script gets where `persist stat` has failed is no version.
pub(crate) fn version(text: &str) -> Result<String, String> {
    match text {
        "" => Err("it is empty; `persist stat KEY` shows the version".into()),
        version => Ok(version.into()),
    }
}

/// Refuses a name that is there twice among the pairs of one option.
pub(crate) fn once(option: &str, pairs: &[(String, String)]) -> persist::Result<()> {
    let mut seen = HashSet::new();
    match pairs.iter().find(|(name, _)| !seen.insert(name)) {
        None => Ok(()),
        Some((name, _)) => {
            let message = format!("--{option} {name} is given twice; give it one value");
            Err(persist::Error::new(ErrorKind::InvalidInput, message))
        }
    }
}

/// The name of a value, and the file that it is in.
pub(crate) fn file(text: &str) -> Result<(String, String), String> {
    pair(text).map_err(|_| "write NAME=FILE".into())
}
