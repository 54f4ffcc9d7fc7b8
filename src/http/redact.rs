//! Cuts from messages what may be a secret.

/// The most characters of a service's message that an error repeats.
const MOST: usize = 300;

/// What is said before a secret.
const NAMES: [&str; 10] = [
    "bearer",
    "upload_id",
    "uploadid",
    "access_token",
    "refresh_token",
    "client_secret",
    "assertion",
    "subject_token",
    "actor_token",
    "id_token",
];

/// A service's message as one line that can be shown: markup and line breaks become spaces, the query of
/// every URL or path (upload sessions, signatures), access tokens and what follows `Bearer` become `…`, and a
/// long message is cut.
pub(crate) fn redact(text: &str) -> String {
    let plain = strip_markup(text);
    let (mut out, mut secret) = (String::new(), false);
    for word in plain.split_whitespace() {
        if !out.is_empty() {
            out.push(' ');
        }
        let shown = if secret { 0 } else { begin(word) };
        out.push_str(&word[..shown]);
        if shown < word.len() {
            out.push('…');
        }
        let name = word.trim_end_matches(|c: char| !c.is_ascii_alphanumeric()).to_ascii_lowercase();
        secret = NAMES.iter().any(|end| name.ends_with(end));
    }
    match out.char_indices().nth(MOST) {
        Some((end, _)) => format!("{}…", &out[..end]),
        None => out,
    }
}

/// Where in a word a secret may begin: behind it all is cut.
fn begin(word: &str) -> usize {
    let lower = word.to_ascii_lowercase();
    let is_query = |at: &usize| word[..*at].contains("://") || word[*at..].contains('=');
    let query = word.find('?').filter(is_query).map(|at| at + 1);
    let named = ["upload_id", "uploadid", "ya29.", "bearer%20", "bearer+"];
    let named = named.iter().filter_map(|mark| lower.find(mark));
    // A form or JSON, as who refuses it may quote it.
    let set = NAMES.iter().filter_map(|name| {
        let end = lower.find(name)? + name.len();
        let gap = lower[end..].find(|c: char| c.is_ascii_alphanumeric())?;
        (gap > 0).then_some(end + gap)
    });
    named.chain(set).chain(query).min().unwrap_or(word.len())
}

/// The text between tags, and nothing of scripts and styles, if it is a page at all.
fn strip_markup(text: &str) -> String {
    let start = text.trim_start();
    if !start.starts_with('<') {
        return text.into();
    }
    let (mut out, mut rest) = (String::new(), start);
    while let Some(open) = rest.find('<') {
        out.push_str(&rest[..open]);
        out.push(' ');
        let tag = &rest[open..];
        let skip = ["<style", "<script"].iter().find(|name| tag.starts_with(**name));
        let end = match skip {
            Some(name) => {
                let close = tag.find(&format!("</{}", &name[1..]));
                close.and_then(|close| Some(close + tag[close..].find('>')? + 1))
            }
            None => tag.find('>').map(|close| close + 1),
        };
        match end {
            Some(end) => rest = &tag[end..],
            None => return out,
        }
    }
    out.push_str(rest);
    out
}
