//! Names on servers that do not keep them as they are.
//!
//! SeaweedFS takes `\` for `/`, so that two different keys would be one object. There (and only there: the
//! probe finds it out) `\` is stored as `[` and U+007F, a control character, which no [`Key`](crate::Key) can
//! have.

/// What a server makes of `\`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Backslash {
    Kept,
    /// It is taken for `/`.
    Folded,
    /// Nobody could find out. Names with it are refused: they may be those of other objects.
    Unknown,
}

const STAND_IN: &str = "[\u{7f}";

/// The server's name for a key, or for a prefix of one. What starts with a prefix starts with the server's
/// name for it; the reverse holds but for a prefix that ends with `[`.
pub(super) fn to_server(name: &str, backslash: Backslash) -> String {
    if backslash == Backslash::Folded { name.replace('\\', STAND_IN) } else { name.into() }
}

/// The key, or the prefix of one, behind a server's name.
pub(super) fn from_server(name: &str, backslash: Backslash) -> String {
    if backslash == Backslash::Kept { name.into() } else { name.replace(STAND_IN, "\\") }
}

/// A text that no key sorts before whose server's name is `name` or sorts behind it.
pub(super) fn lower_bound(name: &str, backslash: Backslash) -> String {
    match name.find(STAND_IN).filter(|_| backslash != Backslash::Kept) {
        // `[é` is still to come behind the stand-in of `\`, which sorts behind it.
        Some(at) => name[..=at].into(),
        None => name.into(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{
        Backslash::{Folded, Kept, Unknown},
        from_server, lower_bound, to_server,
    };

    proptest! {
        #[test]
        fn names_come_back_and_bounds_hold(a in r"[\[\]\\aZ/é🦀]{0,6}", b in r"[\[\]\\aZ/é🦀]{0,6}") {
            let (x, y) = (to_server(&a, Folded), to_server(&b, Folded));
            prop_assert!(!x.contains('\\'));
            prop_assert_eq!(&from_server(&x, Folded), &a);
            prop_assert!(x.starts_with(&y) || !a.starts_with(&b));
            prop_assert!(x < y || a >= lower_bound(&y, Folded), "{:?} {:?}", a, b);
        }
    }

    #[test]
    fn other_servers_get_names_as_they_are() {
        assert_eq!(to_server("a\\b", Kept), "a\\b");
        assert_eq!(from_server("a[\u{7f}b", Kept), "a[\u{7f}b");
        // What others wrote there can be told, and is.
        assert_eq!(from_server("a[\u{7f}b", Unknown), "a\\b");
    }
}
