//! The names of the adapter's own files, which no key has: temporary files, and sidecars.

use sha2::{Digest, Sha256};
use ulid::Ulid;

use super::name::RESERVED;

/// What the names of temporary files go on with, before an id.
const TEMPORARY: &str = "tmp-";

/// Whether only the adapter gives such names.
pub(super) fn is_own(name: &str) -> bool {
    is_temporary(name) || is_sidecar(name)
}

/// That of a new temporary file.
pub(super) fn temporary() -> String {
    format!("{RESERVED}{TEMPORARY}{}", Ulid::generate())
}

/// Whether [`temporary`] gives such names.
pub(super) fn is_temporary(name: &str) -> bool {
    let id = name.strip_prefix(RESERVED).and_then(|rest| rest.strip_prefix(TEMPORARY));
    id.is_some_and(|id| Ulid::from_string(id).is_ok_and(|parsed| parsed.to_string() == id))
}

/// The sidecar's of the version of `file` with this time: of the same length for every key, and found without
/// a search.
pub(super) fn sidecar(file: &str, mtime: i64) -> String {
    format!("{}{mtime:x}", names_of(file))
}

/// What the names of all sidecars of `file` begin with.
pub(super) fn names_of(file: &str) -> String {
    let digest = Sha256::digest(file);
    let short: String = digest[..12].iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{RESERVED}meta-{short}-")
}

/// The time in a sidecar's name.
pub(super) fn time_of(name: &str) -> Option<i64> {
    i64::from_str_radix(name.rsplit_once('-')?.1, 16).ok()
}

/// Whether [`sidecar`] gives such names.
pub(super) fn is_sidecar(name: &str) -> bool {
    let hex = |text: &str| text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    let rest = name.strip_prefix(RESERVED).and_then(|rest| rest.strip_prefix("meta-"));
    rest.and_then(|rest| rest.split_once('-')).is_some_and(|(file, mtime)| {
        file.len() == 24 && hex(file) && (1..=16).contains(&mtime.len()) && hex(mtime)
    })
}
