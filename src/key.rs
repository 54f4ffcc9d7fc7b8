//! Names of snapshots: the one place where they are validated.

use std::{borrow::Borrow, fmt, str::FromStr, sync::Arc};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::{Error, ErrorKind, Result};

/// The name of a snapshot: segments of Unicode text separated by `/`, such as
/// `agents/run-7/state.json.gz`.
///
/// The same rules hold on every backend, so that a key that works on one works on all:
/// - 1 to 768 bytes of UTF-8 in all, 1 to 240 bytes a segment (S3 and GCS allow 1,024 bytes for prefix and
///   key together, file systems 255 a name);
/// - any characters except control characters (`U+0000`–`U+001F`, `U+007F`–`U+009F`): spaces, `:`, `|`, `@`,
///   emoji and `\` are themselves;
/// - no empty segment, hence no `/` at either end and no `//`;
/// - no segment `.` or `..`.
///
/// Keys compare byte by byte, which is the order in which adapters list them.
///
/// ```
/// use persist::Key;
/// let key = Key::new("agents/outer:1|inner:2/state.json.gz")?;
/// assert_eq!(key.segments().count(), 3);
/// assert!(Key::new("../etc/passwd").is_err());
/// # Ok::<(), persist::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Key(Arc<str>);

impl Key {
    /// The longest key, in bytes.
    pub const MAX_BYTES: usize = 768;
    /// The longest segment of a key, in bytes.
    pub const MAX_SEGMENT_BYTES: usize = 240;

    /// Checks a name.
    ///
    /// # Errors
    /// `InvalidInput` that names the rule which the name breaks.
    pub fn new(name: impl AsRef<str>) -> Result<Self> {
        let name = name.as_ref();
        let failed = |rule| Error::new(ErrorKind::InvalidInput, format!("key {}: {rule}", shown(name)));
        Key::parse(name).map_err(failed)
    }

    /// As [`new`](Self::new). The error is the broken rule alone, for messages that name the text in their
    /// own way.
    pub(crate) fn parse(name: &str) -> std::result::Result<Self, String> {
        match broken_rule(name) {
            None => Ok(Key(name.into())),
            Some(rule) => Err(rule),
        }
    }

    /// The key as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Its segments, in order.
    pub fn segments(&self) -> impl DoubleEndedIterator<Item = &str> {
        self.0.split('/')
    }

    /// The key `self/rest`.
    ///
    /// # Errors
    /// `InvalidInput` if the whole is not a key.
    pub fn join(&self, rest: impl AsRef<str>) -> Result<Self> {
        Key::new(format!("{}/{}", self.0, rest.as_ref()))
    }

    /// Any text as one segment of a key, reversibly: letters and digits of any script and `-_.~@` stay, all
    /// else becomes `%XX` for each byte of its UTF-8. What comes out is safe on every file system and
    /// service.
    ///
    /// ```
    /// use persist::Key;
    /// assert_eq!(Key::encode_segment("outer:1|a/b"), "outer%3A1%7Ca%2Fb");
    /// assert_eq!(Key::encode_segment(".."), "%2E%2E");
    /// ```
    pub fn encode_segment(text: &str) -> String {
        let dots = text == "." || text == "..";
        let mut out = String::with_capacity(text.len());
        for c in text.chars() {
            if c.is_alphanumeric() || "-_~@".contains(c) || (c == '.' && !dots) {
                out.push(c);
            } else {
                let mut utf8 = [0; 4];
                for byte in c.encode_utf8(&mut utf8).bytes() {
                    out.push_str(&format!("%{byte:02X}"));
                }
            }
        }
        out
    }

    /// The text that [`encode_segment`](Key::encode_segment) encoded.
    ///
    /// # Errors
    /// `InvalidInput` for a `%` that two hexadecimal digits do not follow, and for bytes that are not UTF-8.
    pub fn decode_segment(segment: &str) -> Result<String> {
        let bad = |what| Error::new(ErrorKind::InvalidInput, format!("segment {}: {what}", shown(segment)));
        let (mut bytes, mut out) = (segment.bytes(), Vec::with_capacity(segment.len()));
        while let Some(byte) = bytes.next() {
            if byte != b'%' {
                out.push(byte);
                continue;
            }
            let mut digit = || bytes.next().and_then(|b| (b as char).to_digit(16));
            match (digit(), digit()) {
                (Some(high), Some(low)) => out.push((high * 16 + low) as u8),
                _ => return Err(bad("`%` must be followed by two hexadecimal digits")),
            }
        }
        String::from_utf8(out).map_err(|_| bad("the escaped bytes are not UTF-8"))
    }

    /// A stable stand-in for logs: ids of users do not belong there. The first 12 hexadecimal digits of the
    /// key's SHA-256.
    pub fn pseudonym(&self) -> String {
        let digest = Sha256::digest(self.0.as_bytes());
        digest[..6].iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// The key as it appears in logs: as it is where `DEBUG` is enabled for the target `persist::keys`, else
    /// its pseudonym.
    pub(crate) fn logged(&self) -> String {
        if tracing::enabled!(target: "persist::keys", tracing::Level::DEBUG) {
            self.to_string()
        } else {
            self.pseudonym()
        }
    }
}

/// The first rule that `name` breaks, as the rest of a sentence.
fn broken_rule(name: &str) -> Option<String> {
    if name.is_empty() {
        return Some("it is empty; name the snapshot, for example `agents/42/state.json.gz`".into());
    }
    if name.len() > Key::MAX_BYTES {
        return Some(format!("it has {} bytes, the limit is {}", name.len(), Key::MAX_BYTES));
    }
    if let Some(c) = name.chars().find(|c| c.is_control()) {
        return Some(format!("it has the control character U+{:04X}; remove it", c as u32));
    }
    if name.starts_with('/') {
        return Some("it starts with `/`; keys are relative to the storage, remove the `/`".into());
    }
    if name.ends_with('/') {
        return Some("it ends with `/`; name a snapshot, not a folder".into());
    }
    for segment in name.split('/') {
        match segment {
            "" => return Some("it has an empty segment (`//`); remove one `/`".into()),
            "." | ".." => {
                return Some(format!("the segment `{segment}` is not allowed; write the key without it"));
            }
            _ if segment.len() > Key::MAX_SEGMENT_BYTES => {
                let (len, max) = (segment.len(), Key::MAX_SEGMENT_BYTES);
                return Some(format!("a segment has {len} bytes, the limit between two `/` is {max}"));
            }
            _ => {}
        }
    }
    None
}

/// A name in an error message: quoted, escaped, and cut where it would fill the screen.
fn shown(name: &str) -> String {
    match name.char_indices().nth(60) {
        Some((end, _)) => format!("{:?}…", &name[..end]),
        None => format!("{name:?}"),
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl AsRef<str> for Key {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl Borrow<str> for Key {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl FromStr for Key {
    type Err = Error;
    fn from_str(name: &str) -> Result<Self> {
        Key::new(name)
    }
}

impl TryFrom<&str> for Key {
    type Error = Error;
    fn try_from(name: &str) -> Result<Self> {
        Key::new(name)
    }
}

impl TryFrom<String> for Key {
    type Error = Error;
    fn try_from(name: String) -> Result<Self> {
        Key::new(name)
    }
}

impl TryFrom<&String> for Key {
    type Error = Error;
    fn try_from(name: &String) -> Result<Self> {
        Key::new(name)
    }
}

impl From<&Key> for Key {
    fn from(key: &Key) -> Self {
        key.clone()
    }
}

impl From<Key> for String {
    fn from(key: Key) -> Self {
        key.0.as_ref().into()
    }
}

#[cfg(test)]
#[path = "key_tests.rs"]
mod tests;
