//! The one grammar of durations, in settings and on the command line.

use std::time::Duration;

/// Seconds, or a number with `ms`, `s`, `m`, `h`, `d` or `w`. To the millisecond, up to 30,000 years; `None`
/// for anything else.
pub fn parse_duration(text: &str) -> Option<Duration> {
    let digits = text.find(|c: char| c.is_alphabetic()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let unit = match unit {
        "ms" => 1.0,
        "" | "s" => 1e3,
        "m" => 60e3,
        "h" => 3600e3,
        "d" => 86_400e3,
        "w" => 7.0 * 86_400e3,
        _ => return None,
    };
    let milliseconds = (number.trim().parse::<f64>().ok()? * unit).round();
    (0.0..=1e15).contains(&milliseconds).then(|| Duration::from_millis(milliseconds as u64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_unit_and_nothing_else() {
        let read = |text| parse_duration(text).map(|time| time.as_millis());
        for (text, milliseconds) in [
            ("30", 30_000),
            ("500ms", 500),
            ("1.5s", 1500),
            ("2m", 120_000),
            ("1h", 3_600_000),
            ("7d", 604_800_000),
            ("2w", 1_209_600_000),
            ("0s", 0),
        ] {
            assert_eq!(read(text), Some(milliseconds), "{text}");
        }
        for text in ["", "s", "5y", "é", "-1s", "1e3", "inf", "nan", "1h30m", "99999999999999999w"] {
            assert_eq!(read(text), None, "{text}");
        }
    }
}
