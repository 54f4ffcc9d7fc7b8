//! The nearest right name for a wrong one.

/// `; did you mean ...?`, or nothing.
pub(super) fn hint<'a>(wrong: &str, right: impl IntoIterator<Item = &'a str>) -> String {
    nearest(wrong, right).map(|name| format!("; did you mean `{name}`?")).unwrap_or_default()
}

/// The name that differs least from `wrong`, if it differs little enough to be what was meant; else one that
/// has it as a part.
fn nearest<'a>(wrong: &str, right: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let length = wrong.chars().count();
    // No name is as long, and the distance takes quadratic time.
    if length > 80 {
        return None;
    }
    let wrong = wrong.to_lowercase();
    let right: Vec<&str> = right.into_iter().collect();
    let close = right.iter().map(|name| (distance(&wrong, &name.to_lowercase()), *name)).min();
    let within = |most: usize| close.filter(|(distance, _)| *distance <= most).map(|(_, name)| name);
    let part = |name: &&&str| {
        let name = name.to_lowercase();
        name.starts_with(&format!("{wrong}_")) || name.split(['.', '_']).any(|part| part == wrong)
    };
    within(2.min(length.saturating_sub(1)))
        .or_else(|| right.iter().find(|name| has_a_word_more(&wrong, &name.to_lowercase())).copied())
        .or_else(|| right.iter().find(part).copied())
        .or_else(|| right.iter().find(|name| has_a_word_more(&name.to_lowercase(), &wrong)).copied())
        .or_else(|| right.iter().find(|name| has_another_word(&wrong, &name.to_lowercase())).copied())
        .or_else(|| within(length / 3))
}

/// Whether `long` is `short` with one more word in it: `PERSIST_STORAGE_BUCKET`, by who knows
/// `STORAGE_BUCKET`.
fn has_a_word_more(long: &str, short: &str) -> bool {
    let (long, short): (Vec<_>, Vec<_>) = (long.split('_').collect(), short.split('_').collect());
    let same = long.iter().zip(&short).take_while(|(a, b)| a == b).count();
    long.len() == short.len() + 1 && long[same + 1..] == short[same..]
}

/// Of three words, whether the one in the middle is another one: `PERSIST_STORAGE_PATH` for
/// `PERSIST_LOCAL_PATH`.
fn has_another_word(wrong: &str, name: &str) -> bool {
    let (wrong, name): (Vec<_>, Vec<_>) = (wrong.split('_').collect(), name.split('_').collect());
    let differs = |(a, b): (&&str, &&str)| a != b;
    wrong.len() == 3
        && name.len() == 3
        && wrong.first() == name.first()
        && wrong.last() == name.last()
        && wrong.iter().zip(&name).filter(|pair| differs(*pair)).count() == 1
}

/// Levenshtein distance: insertions, removals and replacements of single characters.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, y) in b.iter().enumerate() {
            let change = diagonal + usize::from(x != *y);
            diagonal = row[j + 1];
            row[j + 1] = change.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_what_was_meant() {
        let names = ["PERSIST_BUCKET", "PERSIST_PREFIX", "PERSIST_LOCAL_PATH"];
        assert_eq!(nearest("PERSIST_BUKCET", names), Some("PERSIST_BUCKET"));
        assert_eq!(nearest("persist_prefx", names), Some("PERSIST_PREFIX"));
        assert_eq!(nearest("XYZ", names), None);
        assert_eq!(nearest("url", ["backend", "storage_url"]), Some("storage_url"));
        assert_eq!(nearest("region", ["s3.region"]), Some("s3.region"));
        let secrets = ["PERSIST_S3_BUCKET", "PERSIST_S3_SECRET_ACCESS_KEY"];
        assert_eq!(nearest("PERSIST_S3_SECRET", secrets), Some(secrets[1]));
        assert_eq!(nearest("x", ["s3", "gs"]), None);
        assert_eq!(nearest(&"PERSIST_BUCKET".repeat(1 << 16), names), None);
    }

    /// Never a setting that is shown where a secret is meant.
    #[test]
    fn a_word_too_many_too_few_or_another_one_is_found() {
        let variables: Vec<&str> =
            super::super::SETTINGS.iter().flat_map(|setting| setting.variables.iter().copied()).collect();
        for (wrong, right) in [
            ("PERSIST_STORAGE_BACKEND", "PERSIST_BACKEND"),
            ("PERSIST_STORAGE_BUCKET", "PERSIST_BUCKET"),
            ("PERSIST_STORAGE_PREFIX", "PERSIST_PREFIX"),
            ("PERSIST_STORAGE_PATH", "PERSIST_LOCAL_PATH"),
            ("PERSIST_STORAGE_UR", "PERSIST_STORAGE_URL"),
            ("PERSIST_URL", "PERSIST_STORAGE_URL"),
            ("PERSIST_PATH", "PERSIST_LOCAL_PATH"),
            ("PERSIST_S3_ACCESS_KEY", "PERSIST_S3_ACCESS_KEY_ID"),
            ("PERSIST_S3_SECRET_KEY", "PERSIST_S3_SECRET_ACCESS_KEY"),
            ("PERSIST_S3_TOKEN", "PERSIST_S3_SESSION_TOKEN"),
        ] {
            assert_eq!(nearest(wrong, variables.iter().copied()), Some(right), "{wrong}");
        }
    }

    #[test]
    fn counts_single_changes() {
        assert_eq!((distance("kitten", "sitting"), distance("", "ab"), distance("a", "a")), (3, 2, 0));
    }
}
