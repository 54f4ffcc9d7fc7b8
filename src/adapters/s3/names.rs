//! Names on servers that do not keep them as they are.
//!
//! SeaweedFS takes `\` for `/`, so that two different keys would be one object. There (and only there: the probe finds it out)
//! `\` is stored as `[` and U+10FFFF, a character that no text uses. This pair keeps the promises of listings: it sorts where
//! `\` sorts, behind everything that starts with `[` and before `]`, and a prefix of a name stays one.

use super::bucket::fail;
use crate::{ErrorKind, Result};

const STAND_IN: &str = "[\u{10FFFF}";

/// The server's name for a key, or for a prefix of one.
pub(super) fn to_server(name: &str, folds_backslash: bool) -> Result<String> {
    if !folds_backslash {
        return Ok(name.to_string());
    }
    if name.contains(STAND_IN) {
        return Err(fail(
            ErrorKind::Unsupported,
            "this server cannot store a key with `[` and U+10FFFF together; use another name",
        ));
    }
    Ok(name.replace('\\', STAND_IN))
}

/// The key, or the prefix of one, behind a server's name.
pub(super) fn from_server(name: String, folds_backslash: bool) -> String {
    if folds_backslash { name.replace(STAND_IN, "\\") } else { name }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{from_server, to_server};

    proptest! {
        #[test]
        fn the_stand_in_keeps_order_and_prefixes(a in r"[\[\\\]aZ/\u{10FFFE}é]{0,6}", b in r"[\[\\\]aZ/\u{10FFFE}é]{0,6}") {
            let (x, y) = (to_server(&a, true).unwrap(), to_server(&b, true).unwrap());
            prop_assert_eq!(a.cmp(&b), x.cmp(&y));
            prop_assert!(x.starts_with(&y) || !a.starts_with(&b));
            prop_assert!(!x.contains('\\'));
            prop_assert_eq!(from_server(x, true), a);
        }
    }

    #[test]
    fn other_servers_get_names_as_they_are() {
        assert_eq!(to_server("a\\[\u{10FFFF}", false).unwrap(), "a\\[\u{10FFFF}");
        assert_eq!(to_server("a[\u{10FFFF}", true).unwrap_err().kind(), crate::ErrorKind::Unsupported);
    }
}
