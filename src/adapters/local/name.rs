//! Keys as paths: as they are where that is safe, escaped reversibly where it is not. `docs/backends.md` has
//! the rules for users.

use crate::Key;

/// What files of the adapter's own begin with. Keys that look like it are escaped.
pub(super) const RESERVED: &str = ".persist-";

/// The longest name of a file or directory; file systems allow 255 bytes. Longer segments go on in a
/// directory below.
const LONGEST: usize = 250;

/// Where a key's object lies below the root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Location {
    /// The directories, from the root down, each with the length of the key up to it, for messages.
    pub(super) directories: Vec<(String, usize)>,
    /// The file.
    pub(super) file: String,
}

impl Location {
    pub(super) fn of(key: &Key) -> Self {
        let mut names = Vec::new();
        let mut end = 0;
        for segment in key.segments() {
            end += segment.len();
            names.extend(pieces(segment).into_iter().map(|piece| (piece, end)));
            end += 1;
        }
        // A key has at least one segment and a segment at least one piece.
        let file = names.pop().map(|(name, _)| name).unwrap_or_default();
        Location { directories: names, file }
    }

    /// The names of the directories.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.directories.iter().map(|(name, _)| name.as_str())
    }
}

/// What a name cannot contain on every system, and what begins an escape.
const ESCAPED: [char; 9] = ['%', '<', '>', ':', '"', '\\', '|', '?', '*'];

/// Whether a segment is its own name on disk, as nearly all are.
pub(crate) fn is_plain(segment: &str) -> bool {
    segment.len() <= LONGEST
        && !segment.starts_with(RESERVED)
        && !segment.ends_with(['.', ' '])
        && !segment.contains(ESCAPED)
}

/// Where the objects whose keys are below `prefix` lie, from the root down.
pub(crate) fn folder_of(prefix: &Key) -> String {
    prefix.segments().flat_map(pieces).collect::<Vec<_>>().join("/")
}

/// The names that `segment` has on disk: one, or for a very long one several, of which all but the last are
/// directories that end with a lone `%` ("goes on below").
pub(super) fn pieces(segment: &str) -> Vec<String> {
    if is_plain(segment) {
        return vec![segment.to_owned()];
    }
    let mut done = Vec::new();
    let mut piece = String::new();
    for (at, c) in segment.char_indices() {
        let rest = &segment[at..];
        let last = rest.len() == c.len_utf8();
        let unit = match c {
            c if ESCAPED.contains(&c) => format!("%{:02X}", c as u32),
            // Windows drops these at the end of a name.
            '.' | ' ' if last => format!("%{:02X}", c as u32),
            c => c.to_string(),
        };
        if piece.len() + unit.len() > LONGEST {
            piece.push('%');
            done.push(std::mem::take(&mut piece));
        }
        if piece.is_empty() && rest.starts_with(RESERVED) {
            piece.push_str("%2E")
        } else {
            piece.push_str(&unit)
        }
    }
    done.push(piece);
    done
}

/// The segment that lies in `file` below the directories `above`, which begin its name, if [`pieces`] would
/// put it there: what anybody else put into the directory under a name that no key has is not an object.
pub(super) fn segment_of(above: &[String], file: String) -> Option<String> {
    if above.is_empty() && is_plain(&file) {
        return Some(file);
    }
    let begun = above.iter().map(|piece| piece.strip_suffix('%').unwrap_or(piece));
    let name: String = begun.chain([file.as_str()]).collect();
    let mut bytes = Vec::with_capacity(name.len());
    let mut rest = name.as_bytes();
    while let Some((&byte, behind)) = rest.split_first() {
        rest = behind;
        bytes.push(match byte {
            b'%' => {
                let (digits, behind) = rest.split_at_checked(2)?;
                rest = behind;
                u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?
            }
            byte => byte,
        });
    }
    let segment = String::from_utf8(bytes).ok()?;
    let mut place = pieces(&segment);
    let last = place.pop()?;
    (place == above && last == file).then_some(segment)
}

#[cfg(test)]
#[path = "name_tests.rs"]
mod tests;
