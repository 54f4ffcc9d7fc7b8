//! Any key works, and comes back as it was.

use std::collections::BTreeSet;

use futures_util::{StreamExt, TryStreamExt, stream};

use crate::{
    Key, ListOptions,
    testing::{Failure, Outcome, Suite, check::fails},
};

/// Names that some file system, URL or service takes for something else.
const ODD: [&str; 49] = [
    "user@example.com",
    "outer:1|inner:2",
    "with space",
    " leading",
    "trailing ",
    "trailing.",
    "...",
    ".hidden",
    "a.b",
    "A.B",
    "emoji 🦀💾",
    "\u{e9} composed",
    "e\u{301} decomposed",
    "日本語",
    "\u{ff5e}",
    "\u{1f4be}",
    "\u{200b}",
    "%41",
    "%",
    "%%25",
    "%2F",
    "back\\slash",
    "a+b",
    "a b",
    "what?",
    "hash#tag",
    "a&b=c",
    "semi;colon,comma",
    "quo\"te'd`",
    "<angle>",
    "[square]{curly}",
    "star*",
    "dollar$(x)!",
    "^caret~tilde",
    "-rf",
    "--",
    "CON",
    "nul.txt",
    "COM1",
    "Case",
    "case",
    "index.html",
    "deep/er/and/deeper/still",
    "deep/..dots..",
    "deep/. ",
    "deep/trailing ./x",
    "deep/%2e%2e/x",
    "deep/~/x",
    "deep/.persist-tmp-x/.persist-meta",
];

pub(crate) async fn keys_of_any_kind_come_back_unchanged(suite: &Suite) -> Outcome {
    all_work(suite, ODD.iter().map(|name| (*name).to_owned())).await
}

pub(crate) async fn keys_of_full_length_work(suite: &Suite) -> Outcome {
    let segment = Key::MAX_SEGMENT_BYTES;
    // The last letter keeps these apart from the folders below.
    let mut names: Vec<String> = ["x", "%", ":", "é", "🦀", "\\", " "]
        .iter()
        .map(|unit| {
            let stored = if suite.wide_backslash && *unit == "\\" { 2 } else { unit.len() };
            unit.repeat((segment - 1) / stored) + "z"
        })
        .collect();
    // As long as a key may be, in segments as long as they may be, plain and of what must be escaped.
    let room = suite.longest_key.checked_sub(suite.prefix.len() + 1);
    let room = room.filter(|room| *room > 2).ok_or_else(|| Failure::new("the longest key is too short"))?;
    for unit in ["l", "%", "*"] {
        let mut name = String::new();
        while name.len() < room {
            if !name.is_empty() {
                name.push('/');
            }
            let len = segment.min(room - name.len());
            // A `/` must not come last.
            let len = if room - name.len() == len + 1 { len - 1 } else { len };
            name.push_str(&unit.repeat(len));
        }
        check_eq!(name.len(), room, "length of the longest name");
        names.push(name);
    }
    all_work(suite, names).await
}

/// Writes a different state under each name, then reads, lists and deletes all of them.
async fn all_work(suite: &Suite, names: impl IntoIterator<Item = String>) -> Outcome {
    let names: BTreeSet<String> = names.into_iter().collect();
    stream::iter(names.clone())
        .map(|name| async move {
            let key = suite.key(&name)?;
            let meta = suite.put(&key, name).await?;
            check_eq!(meta.key, key, "key of the answer");
            Ok(())
        })
        .buffer_unordered(4)
        .try_collect::<()>()
        .await?;
    let listed = suite.names(ListOptions::new()).await?;
    check_eq!(listed, names.iter().cloned().collect::<Vec<_>>(), "listing");
    for name in &names {
        let key = suite.key(name)?;
        check_eq!(suite.adapter.head(&key).await?.key, key, "key from head");
        check_eq!(suite.read(&key).await?, *name, "content of {name:?}");
        let own = suite.names(ListOptions::new().prefix(name)).await?;
        check!(own.contains(name), "the listing of the prefix {name:?} misses it");
    }
    for name in &names {
        let key = suite.key(name)?;
        suite.adapter.delete(&key, Default::default()).await?;
        fails(suite.adapter.head(&key).await, crate::ErrorKind::NotFound, name)?;
    }
    check!(suite.names(ListOptions::new()).await?.is_empty(), "the listing is not empty after all");
    Ok(())
}
