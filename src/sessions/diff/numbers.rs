//! Numbers that a JSON value would round: they are compared by their digits, as texts.

use std::borrow::Cow;

/// So many digits are never rounded.
const EXACT: usize = 15;

/// `json` with every number that 64 bits do not hold in quotation marks. What is no JSON stays none.
pub(super) fn quoted(json: &[u8]) -> Cow<'_, [u8]> {
    let (mut out, mut copied, mut at) = (Vec::new(), 0, 0);
    while let Some(byte) = json.get(at) {
        match byte {
            b'"' => at = string_end(json, at),
            b'-' | b'0'..=b'9' => {
                let of_number = |byte: &&u8| matches!(byte, b'+' | b'-' | b'.' | b'e' | b'E' | b'0'..=b'9');
                let end = at + json[at..].iter().take_while(of_number).count();
                if is_rounded(&json[at..end]) {
                    for piece in [&json[copied..at], b"\"", &json[at..end], b"\""] {
                        out.extend_from_slice(piece);
                    }
                    copied = end;
                }
                at = end;
            }
            _ => at += 1,
        }
    }
    if copied == 0 {
        return Cow::Borrowed(json);
    }
    out.extend_from_slice(&json[copied..]);
    Cow::Owned(out)
}

/// Behind the string that begins here.
fn string_end(json: &[u8], start: usize) -> usize {
    let mut at = start + 1;
    while let Some(byte) = json.get(at) {
        match byte {
            b'"' => return at + 1,
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
    json.len()
}

fn is_rounded(number: &[u8]) -> bool {
    if number.iter().filter(|byte| byte.is_ascii_digit()).count() <= EXACT {
        return false;
    }
    // What is no number is for the parser to refuse.
    let Ok(text) = std::str::from_utf8(number) else { return false };
    let Ok(serde_json::Value::Number(parsed)) = serde_json::from_str(text) else { return false };
    let short = parsed.to_string();
    short != text && (!parsed.is_f64() || significant(&short) != significant(text))
}

/// The digits that count: without sign, point, exponent, and the zeros on both sides. The same number has the
/// same, however it is written.
fn significant(number: &str) -> String {
    let mantissa = number.split(['e', 'E']).next().unwrap_or_default();
    let digits: String = mantissa.chars().filter(char::is_ascii_digit).collect();
    digits.trim_matches('0').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(json: &str) -> String {
        String::from_utf8(quoted(json.as_bytes()).into_owned()).unwrap()
    }

    #[test]
    fn only_what_would_be_rounded_is_quoted() {
        let max = format!("[{}, {}, 0.1, -1.5e300, 12345]", u64::MAX, i64::MIN);
        for same in [&max[..], "", "{}", r#"{"a": "18446744073709551616"}"#, r#"["\"18446744073709551616"]"#]
        {
            assert_eq!(of(same), same);
        }
        for (json, exact) in [
            ("18446744073709551616", r#""18446744073709551616""#),
            (r#"{"a":-9223372036854775809,"b":[1]}"#, r#"{"a":"-9223372036854775809","b":[1]}"#),
            ("[0.12345678901234567890, 2]", r#"["0.12345678901234567890", 2]"#),
            // The nearest number that 64 bits hold is written otherwise.
            ("0.10000000000000001", r#""0.10000000000000001""#),
            ("48285227899070761.5", r#""48285227899070761.5""#),
            ("-1.234567890123456789e-400", r#""-1.234567890123456789e-400""#),
        ] {
            assert_eq!(of(json), exact);
        }
    }

    #[test]
    fn a_number_that_64_bits_hold_is_none_to_quote_however_it_is_written() {
        for same in [
            "2.2345678901234567e-05",
            "2.2345678901234567E-5",
            "0.000022345678901234567",
            "-4.828522789907076e+16",
            "48285227899070760.0",
            "1.50000000000000000",
            "0.00000000000000000",
            "1.7976931348623157e308",
            "[0.7234567890123457,0.3745401188473625,0.9507143064099162]",
        ] {
            assert_eq!(of(same), same);
        }
    }

    #[test]
    fn what_is_no_json_becomes_none() {
        for bad in [
            "\"",
            "\"\\",
            "1234567890123456789-1234567890",
            "99999999999999999999e",
            "{\"a\": 0099999999999999999999}",
        ] {
            assert!(serde_json::from_str::<serde_json::Value>(&of(bad)).is_err(), "{bad}");
        }
    }
}
