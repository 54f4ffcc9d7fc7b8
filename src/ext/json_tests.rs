use std::{collections::BTreeMap, fmt::Debug, net::IpAddr};

use serde::{Deserialize, de::DeserializeOwned};

use super::from_json;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Step {
    #[serde(rename = "step")]
    _step: u64,
}

#[derive(Debug, Deserialize, PartialEq, Eq, PartialOrd, Ord)]
enum Phase {
    Plan,
    Act,
}

#[derive(Debug, Deserialize)]
enum Never {}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Either {
    Empty {},
    None,
}

fn why<T: DeserializeOwned + Debug>(state: &str) -> String {
    from_json::<T>(state.as_bytes()).unwrap_err()
}

#[test]
fn an_error_says_what_the_type_wants_and_where() {
    let rows = [
        (why::<Step>(r#"{"step":"SECRET"}"#), "invalid type: string, expected u64 at line 1 column 16"),
        (why::<Step>(r#"{"step":-7001}"#), "invalid value: integer, expected u64 at line 1 column 13"),
        (why::<Step>("7001.5"), "invalid type: floating point, expected struct Step at line 1 column 6"),
        (why::<Step>("null"), "invalid type: null, expected struct Step at line 1 column 4"),
        (why::<[u8; 2]>("[1]"), "invalid length 1, expected an array of length 2 at line 1 column 3"),
        (why::<Phase>(r#""SECRET""#), "unknown variant, expected `Plan` or `Act` at line 1 column 8"),
        (why::<Never>(r#""SECRET""#), "unknown variant at line 1 column 8"),
        (
            why::<BTreeMap<Phase, u8>>(r#"{"SECRET":1}"#),
            "unknown variant, expected `Plan` or `Act` at line 1 column 9",
        ),
        (why::<Step>(r#"{"SECRET":1}"#), "unknown field, expected `step` at line 1 column 9"),
        (why::<Step>("{}"), "missing field `step` at line 1 column 2"),
        (why::<Step>(r#"{"step":1,"step":2}"#), "duplicate field `step` at line 1 column 16"),
        (why::<Step>(r#"{"step":1"#), "EOF while parsing an object at line 1 column 9"),
        (why::<Step>("SECRET"), "expected value at line 1 column 1"),
        (why::<IpAddr>(r#""SECRET""#), "a value is not one that its type takes at line 1 column 8"),
        (why::<Either>(r#""SECRET""#), "a value is not one that its type takes"),
    ];
    for (said, expected) in rows {
        assert_eq!(said, expected);
    }
}

#[test]
fn a_value_that_sounds_like_serde_is_not_cited_either() {
    for value in ["a`, expected SECRET", "a, expected SECRET", "`SECRET`", "missing field `SECRET`"] {
        let text = serde_json::to_string(value).unwrap();
        let said = [why::<Step>(&text), why::<Phase>(&text), why::<Never>(&text), why::<IpAddr>(&text)];
        let field = why::<Step>(&format!("{{{text}:1}}"));
        for said in said.iter().chain([&field]) {
            assert!(!said.contains("SECRET"), "{said}");
        }
    }
}
