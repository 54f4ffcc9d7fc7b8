//! Which bytes an answer holds.

use std::ops::Range;

/// The bytes and the size that a `Content-Range` names: `bytes 0-9/100` (RFC 9110 section 14.4). `None` for
/// what makes no sense.
pub(crate) fn content_range(header: &str) -> Option<(Range<u64>, u64)> {
    let (range, size) = header.trim().strip_prefix("bytes ")?.split_once('/')?;
    let (first, last) = range.split_once('-')?;
    let (first, last, size): (u64, u64, u64) = (first.parse().ok()?, last.parse().ok()?, size.parse().ok()?);
    (first <= last && last < size).then(|| (first..last + 1, size))
}

#[cfg(test)]
mod tests {
    use super::content_range;

    #[test]
    fn content_ranges() {
        assert_eq!(content_range("bytes 5-9/100"), Some((5..10, 100)));
        for bad in [
            "",
            "bytes */100",
            "bytes 9-5/100",
            "bytes 5-100/100",
            "bytes 5-9/*",
            "octets 5-9/100",
            "bytes 0-18446744073709551615/0",
        ] {
            assert_eq!(content_range(bad), None, "{bad}");
        }
    }
}
