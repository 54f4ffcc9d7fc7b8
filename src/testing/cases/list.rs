//! What `list` gives, checked against a model in ten lines.

use std::collections::BTreeSet;

use futures_util::{StreamExt, TryStreamExt, stream};

use crate::{
    DeleteOptions, ListEntry, ListOptions,
    testing::{Outcome, Suite},
};

/// Names around `/` in byte order: `!` to `.` come before it, `0` and above behind it. In UTF-16 the last two
/// would change places.
const NAMES: [&str; 25] = [
    "Z",
    "a!",
    "a b",
    "a+b",
    "a,b",
    "a-b",
    "a-b/c",
    "a.b",
    "a.b.c",
    "a/b",
    "a/b-c",
    "a/c!",
    "a/c/d",
    "a/c/e",
    "a/c0",
    "a0",
    "a1/b",
    "a:b",
    "aa",
    "ab/c/d",
    "a|b",
    "z",
    "\u{e9}",
    "\u{ff5e}",
    "\u{1f4be}",
];

async fn put_all(suite: &Suite, names: impl IntoIterator<Item = String>) -> Outcome {
    stream::iter(names)
        .map(|name| async move { Ok(suite.put(&suite.key(&name)?, name).await.map(drop)?) })
        .buffer_unordered(16)
        .try_collect()
        .await
}

pub(crate) async fn list_is_in_byte_order(suite: &Suite) -> Outcome {
    put_all(suite, usable(NAMES.iter().rev())).await?;
    let mut sorted: Vec<_> = usable(&NAMES).collect();
    sorted.sort();
    check_eq!(suite.names(ListOptions::new()).await?, sorted, "listing");
    Ok(())
}

/// `a-b` cannot be an object and a folder on a file system.
fn usable<'a>(names: impl IntoIterator<Item = &'a &'a str>) -> impl Iterator<Item = String> {
    names.into_iter().filter(|name| **name != "a-b").map(|name| (*name).to_owned())
}

/// What the contract says that a listing of `names` (sorted) is.
fn model(names: &[String], options: &ListOptions) -> Vec<String> {
    let rolled = names.iter().filter(|name| name.starts_with(&options.prefix)).map(|name| {
        let behind = &name[options.prefix.len()..];
        match behind.find('/') {
            Some(end) if options.delimiter => name[..options.prefix.len() + end + 1].to_owned(),
            _ => name.clone(),
        }
    });
    let rows: BTreeSet<String> =
        rolled.filter(|row| options.start_after.as_ref().is_none_or(|after| row > after)).collect();
    rows.into_iter().take(options.limit.unwrap_or(usize::MAX)).collect()
}

pub(crate) async fn list_agrees_with_the_model(suite: &Suite) -> Outcome {
    let mut names: Vec<_> = usable(&NAMES).collect();
    put_all(suite, names.clone()).await?;
    names.sort();
    let prefixes =
        ["", "a", "a/", "a/c", "a/c/", "a-b", "a-b/", "a.", "ab/c/", "z", "\u{e9}", "nothing", "a/b/"];
    let starts =
        ["", "a", "a!", "a-b", "a-b/", "a/", "a/b", "a/c", "a/c/", "a/c/d", "a/zz", "a0", "b", "\u{10ffff}"];
    let mut listings = Vec::new();
    for prefix in prefixes {
        for start in std::iter::once(None).chain(starts.into_iter().map(Some)) {
            for (limit, delimiter) in [(None, false), (None, true), (Some(2), false), (Some(2), true)] {
                let mut options = ListOptions::new().prefix(prefix);
                options.start_after = start.map(str::to_owned);
                (options.limit, options.delimiter) = (limit, delimiter);
                listings.push(options);
            }
        }
    }
    stream::iter(listings)
        .map(|options| {
            let expected = model(&names, &options);
            async move {
                check_eq!(suite.names(options.clone()).await?, expected, "{options:?}");
                Ok(())
            }
        })
        .buffer_unordered(8)
        .try_collect()
        .await
}

pub(crate) async fn list_gives_pages_of_any_length(suite: &Suite) -> Outcome {
    let names: Vec<String> = (0..suite.objects).map(|n| format!("n/{n:06}")).collect();
    put_all(suite, names.clone()).await?;
    put_all(suite, ["m".to_owned(), "o".to_owned()]).await?;
    let all = suite.names(ListOptions::new().prefix("n/")).await?;
    check_eq!(all.len(), names.len(), "number of objects listed");
    check!(all == names, "the long listing is not in order");
    for limit in [0, 1, 7, names.len() - 1, names.len(), names.len() + 1] {
        let got = suite.names(ListOptions::new().prefix("n/").limit(limit)).await?;
        check!(got == names[..limit.min(names.len())], "a limit of {limit} gave {} rows", got.len());
    }
    let half = names.len() / 2;
    let rest = suite.names(ListOptions::new().prefix("n/").start_after(&names[half])).await?;
    check!(rest == names[half + 1..], "the listing behind the middle gave {} rows", rest.len());
    let folders = suite.names(ListOptions::new().delimiter()).await?;
    check_eq!(folders, ["m", "n/", "o"], "the folder view");
    // A reader may stop at any row.
    let some: Vec<ListEntry> =
        suite.adapter.list(suite.within(ListOptions::new().prefix("n/"))).take(3).try_collect().await?;
    check_eq!(some.len(), 3, "rows of a listing that was dropped");
    Ok(())
}

pub(crate) async fn list_gives_pages_of_folders(suite: &Suite) -> Outcome {
    // More folders than a page has rows, of which some hold more, and one that holds more than a page.
    let folders = (0..suite.objects).map(|n| format!("f/{n:06}/a"));
    let more = (0..suite.objects).step_by(50).map(|n| format!("f/{n:06}/b"));
    let large = (0..suite.objects).map(|n| format!("g/x/{n:06}"));
    let mut names: Vec<String> = folders.chain(more).chain(large).chain(["g/y".to_owned()]).collect();
    put_all(suite, names.clone()).await?;
    names.sort();
    let (count, half) = (suite.objects, suite.objects / 2);
    let starts =
        [format!("f/{half:06}"), format!("f/{half:06}/"), format!("f/{half:06}/a"), format!("f/{half:06}/z")];
    let view = |prefix: &str| ListOptions::new().prefix(prefix).delimiter();
    let mut listings =
        vec![view(""), view("f/"), view("g/"), view("g/").start_after(format!("g/x/{half:06}"))];
    listings.extend([1, 7, count - 1].map(|limit| view("f/").limit(limit)));
    listings.extend(starts.map(|start| view("f/").start_after(start)));
    for options in listings {
        let (got, expected) = (suite.names(options.clone()).await?, model(&names, &options));
        check_eq!(got.len(), expected.len(), "rows of {options:?}");
        check!(got == expected, "{options:?} gives other rows, or in another order");
    }
    Ok(())
}

pub(crate) async fn list_gives_size_and_version(suite: &Suite) -> Outcome {
    for (name, content) in [("a", ""), ("b/c", "some"), ("b/d", "something")] {
        let put = suite.put(&suite.key(name)?, content).await?;
        let options = suite.within(ListOptions::new().prefix(name));
        let rows: Vec<ListEntry> = suite.adapter.list(options).try_collect().await?;
        let [ListEntry::Object(listed)] = rows.as_slice() else {
            return Err(crate::testing::Failure::new(format!("the listing of one object is {rows:?}")));
        };
        let head = suite.adapter.head(&put.key).await?;
        check_eq!(listed.key, put.key, "key");
        check_eq!(listed.size, content.len() as u64, "size");
        check_eq!(listed.version, put.version, "version");
        check_eq!(listed.modified, head.modified, "time");
    }
    Ok(())
}

pub(crate) async fn list_of_nothing_is_empty(suite: &Suite) -> Outcome {
    check!(suite.names(ListOptions::new()).await?.is_empty(), "an empty store lists something");
    suite.put(&suite.key("state")?, "state").await?;
    for prefix in ["missing", "missing/", "state/", "state2", "stat/", "Z", "%", "a b/é", "-"] {
        let names = suite.names(ListOptions::new().prefix(prefix)).await?;
        check!(names.is_empty(), "the prefix {prefix:?} lists {names:?}");
        let names = suite.names(ListOptions::new().prefix(prefix).delimiter()).await?;
        check!(names.is_empty(), "the prefix {prefix:?} with a delimiter lists {names:?}");
    }
    Ok(())
}

pub(crate) async fn list_gives_every_lasting_object_once_while_others_change(suite: &Suite) -> Outcome {
    let lasting: Vec<String> = (0..120).map(|n| format!("{n:03}/lasting")).collect();
    put_all(suite, lasting.clone()).await?;
    put_all(suite, (0..120).map(|n| format!("{n:03}/doomed"))).await?;
    let mut rows = suite.adapter.list(suite.within(ListOptions::new()));
    let mut names = Vec::new();
    for n in 0..120 {
        let doomed = suite.key(&format!("{n:03}/doomed"))?;
        suite.adapter.delete(&doomed, DeleteOptions::new()).await?;
        suite.put(&suite.key(&format!("{:03}/new", 119 - n))?, "new").await?;
        for _ in 0..2 {
            if let Some(row) = rows.try_next().await? {
                names.push(suite.own(row.name())?.to_owned());
            }
        }
    }
    while let Some(row) = rows.try_next().await? {
        names.push(suite.own(row.name())?.to_owned());
    }
    check!(names.is_sorted_by(|a, b| a < b), "the listing is not in order, or gave a name twice: {names:?}");
    let seen: Vec<_> = names.into_iter().filter(|name| name.ends_with("/lasting")).collect();
    check_eq!(seen, lasting, "lasting objects");
    Ok(())
}
