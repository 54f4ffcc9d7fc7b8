//! States as JSON, and errors of it that say nothing of what a state holds.

use serde::{Serialize, de::DeserializeOwned};
use serde_json::error::Category;

use crate::{Error, ErrorKind, Result};

/// A value as JSON.
///
/// # Errors
/// `InvalidInput` for what JSON cannot say.
pub(crate) fn to_json<T: Serialize>(value: &T) -> Result<Vec<u8>> {
    serde_json::to_vec(value).map_err(|error| {
        Error::new(ErrorKind::InvalidInput, "the value cannot be written as JSON").with_source(error)
    })
}

/// A value from JSON.
///
/// # Errors
/// What was wrong and where, as a cause for an [`Error`].
pub(crate) fn from_json<T: DeserializeOwned>(state: &[u8]) -> Result<T, String> {
    serde_json::from_slice(state).map_err(|error| without_values(&error))
}

/// What was found, in serde's words.
const FOUND: [&str; 18] = [
    "null",
    "boolean",
    "integer",
    "number",
    "floating point",
    "character",
    "string",
    "byte array",
    "unit value",
    "Option value",
    "newtype struct",
    "sequence",
    "map",
    "enum",
    "unit variant",
    "newtype variant",
    "tuple variant",
    "struct variant",
];

/// What serde says, without the values of the state that it cites: they may be secrets. What it says of the
/// caller's own type stays.
fn without_values(error: &serde_json::Error) -> String {
    let text = error.to_string();
    if error.classify() != Category::Data {
        return text; // the parser's own texts, which cite nothing
    }
    let at = match error.line() {
        0 => String::new(),
        line => format!(" at line {line} column {}", error.column()),
    };
    let said = text.strip_suffix(&at).unwrap_or(&text);
    let kept = of_a_value(said).or_else(|| of_a_name(said));
    kept.unwrap_or_else(|| "a value is not one that its type takes".into()) + &at
}

/// Of a value of the wrong kind, size or length.
fn of_a_value(said: &str) -> Option<String> {
    // A value may hold these words as well: serde's own are the last.
    let (cited, expected) = said.rsplit_once(", expected ")?;
    for problem in ["invalid type: ", "invalid value: "] {
        if let Some(cited) = cited.strip_prefix(problem) {
            let found = FOUND.iter().find(|found| cited.starts_with(**found))?;
            return Some(format!("{problem}{found}, expected {expected}"));
        }
    }
    let length = cited.strip_prefix("invalid length ")?;
    length.bytes().all(|byte| byte.is_ascii_digit()).then(|| said.to_owned())
}

/// Of a name that the type does not have, which is the state's, or that the state does not have.
fn of_a_name(said: &str) -> Option<String> {
    let of_the_type = ["missing field `", "duplicate field `"].iter().any(|start| said.starts_with(start));
    if of_the_type && said.ends_with('`') && said.matches('`').count() == 2 {
        return Some(said.to_owned());
    }
    let what =
        ["variant", "field"].into_iter().find(|what| said.starts_with(&format!("unknown {what} `")))?;
    if said.ends_with(", there are no variants") || said.ends_with(", there are no fields") {
        return Some(format!("unknown {what}"));
    }
    let (_, expected) = said.rsplit_once("`, expected ")?;
    Some(format!("unknown {what}, expected {expected}"))
}

#[cfg(test)]
#[path = "json_tests.rs"]
mod tests;
