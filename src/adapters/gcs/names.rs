//! Names on the wire.

use std::borrow::Cow;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use crate::{Error, ErrorKind, Key, Result};

/// All but RFC 3986's unreserved characters. `/` too: the service does not find a name with a raw one.
const UNSAFE: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// A bucket or object name as one segment of a path.
pub(super) fn encode(name: &str) -> Cow<'_, str> {
    utf8_percent_encode(name, UNSAFE).into()
}

/// A path of parts as they are and, each behind one of those, names. There is room for a query.
pub(super) fn path(parts: &[&str]) -> String {
    let mut path = String::with_capacity(parts.iter().map(|part| part.len()).sum::<usize>() * 2 + 160);
    for pair in parts.chunks(2) {
        path.push_str(pair[0]);
        path.extend(pair.get(1).into_iter().flat_map(|name| pieces(name)));
    }
    path
}

/// What [`encode`] makes of a name, without an allocation for it.
pub(super) fn pieces(name: &str) -> impl Iterator<Item = &str> {
    utf8_percent_encode(name, UNSAFE)
}

/// The text that [`encode`] encoded.
pub(super) fn decode(text: &str) -> String {
    percent_encoding::percent_decode_str(text).decode_utf8_lossy().into_owned()
}

/// Refuses the few keys that the service has reserved
/// (<https://cloud.google.com/storage/docs/objects#naming>).
pub(super) fn check_key(key: &Key) -> Result<()> {
    if key.as_str().starts_with(".well-known/acme-challenge/") {
        let message = "Cloud Storage reserves names under `.well-known/acme-challenge/`; use another key";
        return Err(Error::new(ErrorKind::InvalidInput, message).with_backend("gcs").with_key(key));
    }
    Ok(())
}

/// Checks a bucket's name as far as it can break a request; whether there is such a bucket, the service says.
pub(super) fn check_bucket(name: &str) -> Result<()> {
    let plain =
        |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'_' | b'.' | b':');
    let ends = |b: Option<&u8>| b.is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    let bytes = name.as_bytes();
    if (3..=222).contains(&bytes.len())
        && bytes.iter().all(|b| plain(*b))
        && ends(bytes.first())
        && ends(bytes.last())
    {
        return Ok(());
    }
    let message = format!(
        "bucket {name:?}: a name has 3 to 222 lower-case letters, digits, `-`, `_` and `.`, and a letter or digit at both ends"
    );
    Err(Error::new(ErrorKind::InvalidConfig, message).with_backend("gcs"))
}
