//! What `get` and `head` give.

use std::ops::Range;

use crate::{
    ByteRange, DeleteOptions, ErrorKind, GetOptions, Object, PutOptions, Version,
    testing::{
        Outcome, Suite,
        check::fails,
        suite::{SAME_TIME, pattern},
    },
};

pub(crate) async fn get_of_a_missing_key_is_not_found(suite: &Suite) -> Outcome {
    suite.put(&suite.key("folder/state")?, "state").await?;
    // A folder is no object, and an object no folder.
    for name in ["missing", "folder", "folder/stat", "folder/state2", "missing/state"] {
        let result = suite.adapter.get(&suite.key(name)?, GetOptions::new()).await;
        let error = fails(result, ErrorKind::NotFound, name)?;
        check_eq!(error.key(), Some(&suite.key(name)?), "key of the error");
    }
    let range = GetOptions::new().range(ByteRange::From(10));
    fails(suite.adapter.get(&suite.key("missing")?, range).await, ErrorKind::NotFound, "with a range")?;
    let other = GetOptions::new().if_not_version(Version::new("made-up"));
    fails(
        suite.adapter.get(&suite.key("missing")?, other).await,
        ErrorKind::NotFound,
        "with another version",
    )?;
    let version = GetOptions::new().if_version(Version::new("made-up"));
    let result = suite.adapter.get(&suite.key("missing")?, version).await;
    match result {
        // Which of the two a service checks first differs; both are true.
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::Conflict) => Ok(()),
        result => fails(result, ErrorKind::NotFound, "with a version").map(drop),
    }
}

pub(crate) async fn get_body_is_of_one_version(suite: &Suite) -> Outcome {
    let key = suite.key("state")?;
    let (old, new) = (pattern(suite.large, 1), pattern(suite.large, 2));
    suite.put(&key, old.clone()).await?;
    let mut object = suite.adapter.get(&key, GetOptions::new()).await?;
    let first = object.body.chunk().await?.unwrap_or_default();
    check!(!first.is_empty() && old.starts_with(&first), "the first chunk is not that of the object");
    suite.put(&key, new.clone()).await?;
    is_the_rest_or_conflict(object, &old[first.len()..]).await?;
    check!(suite.read(&key).await? == new, "the new content is not what was put");
    // The same in parts: a reader that starts in the middle must not mix versions either.
    let range = ByteRange::From(suite.large as u64 / 3);
    let object = suite.adapter.get(&key, GetOptions::new().range(range)).await?;
    suite.put(&key, old).await?;
    is_the_rest_or_conflict(object, &new[suite.large / 3..]).await
}

pub(crate) async fn get_body_is_of_one_version_when_deleted(suite: &Suite) -> Outcome {
    let key = suite.key("state")?;
    let old = pattern(suite.large, 1);
    suite.put(&key, old.clone()).await?;
    let mut object = suite.adapter.get(&key, GetOptions::new()).await?;
    let first = object.body.chunk().await?.unwrap_or_default();
    suite.adapter.delete(&key, DeleteOptions::new()).await?;
    is_the_rest_or_conflict(object, &old[first.len()..]).await
}

async fn is_the_rest_or_conflict(object: Object, rest: &[u8]) -> Outcome {
    match object.body.collect(u64::MAX).await {
        Ok(bytes) => {
            check!(bytes == rest, "the body of a replaced object is not whole, and did not fail");
            Ok(())
        }
        conflict => fails(conflict, ErrorKind::Conflict, "the body of a replaced object").map(drop),
    }
}

pub(crate) async fn get_gives_ranges(suite: &Suite) -> Outcome {
    for size in [10usize, suite.large] {
        let (key, bytes) = (suite.key("state")?, pattern(size, 9));
        let version = suite.put(&key, bytes.clone()).await?.version;
        let end = size as u64;
        let bounded = |start, length| ByteRange::Bounded { start, length };
        let ranges: [(ByteRange, Range<u64>); 11] = [
            (bounded(0, 1), 0..1),
            (bounded(3, 4), 3..7),
            (bounded(end - 1, 1), end - 1..end),
            (bounded(end - 1, 100), end - 1..end),
            (bounded(0, end), 0..end),
            (bounded(2, u64::MAX), 2..end),
            (ByteRange::From(0), 0..end),
            (ByteRange::From(end / 2 + 1), end / 2 + 1..end),
            (ByteRange::Last(3), end - 3..end),
            (ByteRange::Last(end), 0..end),
            (ByteRange::Last(u64::MAX), 0..end),
        ];
        for (range, expected) in ranges {
            let object = suite.adapter.get(&key, GetOptions::new().range(range)).await?;
            check_eq!(object.range, expected, "bytes given for {range:?} of {size}");
            check_eq!(object.meta.size, end, "size of the object, asked for {range:?}");
            check_eq!(object.meta.version, version, "version, asked for {range:?}");
            let got = object.body.collect(u64::MAX).await?;
            let expected = &bytes[expected.start as usize..expected.end as usize];
            check!(got == expected, "{range:?} of {size} bytes gave other bytes, {} of them", got.len());
        }
    }
    Ok(())
}

pub(crate) async fn get_refuses_ranges_that_hold_nothing(suite: &Suite) -> Outcome {
    let (key, empty) = (suite.key("state")?, suite.key("empty")?);
    suite.put(&key, "0123456789").await?;
    suite.put(&empty, "").await?;
    let bounded = |start, length| ByteRange::Bounded { start, length };
    for (key, range) in [
        (&key, bounded(10, 1)),
        (&key, bounded(u64::MAX, 1)),
        (&key, bounded(3, 0)),
        (&key, ByteRange::From(10)),
        (&key, ByteRange::From(u64::MAX)),
        (&key, ByteRange::Last(0)),
        (&empty, bounded(0, 1)),
        (&empty, ByteRange::From(0)),
        (&empty, ByteRange::Last(1)),
    ] {
        let result = suite.adapter.get(key, GetOptions::new().range(range)).await;
        fails(result, ErrorKind::InvalidInput, &format!("{range:?}"))?;
    }
    Ok(())
}

pub(crate) async fn get_checks_versions(suite: &Suite) -> Outcome {
    let key = suite.key("state")?;
    let old = suite.put(&key, "old").await?.version;
    let current = suite.put(&key, "current").await?.version;
    let get = |options: GetOptions| suite.adapter.get(&key, options);
    let new = GetOptions::new;
    for version in [&old, &Version::new("made-up")] {
        let result = get(new().if_version(version.clone())).await;
        fails(result, ErrorKind::Conflict, "if_version that is not current")?;
        let object = get(new().if_not_version(version.clone())).await?;
        check_eq!(object.body.collect(10).await?, "current", "content with another if_not_version");
    }
    let object = get(new().if_version(current.clone())).await?;
    check_eq!(object.body.collect(10).await?, "current", "content with if_version");
    let part = new().if_version(current.clone()).range(ByteRange::From(3));
    check_eq!(get(part).await?.body.collect(10).await?, "rent", "a range with if_version");
    let range = ByteRange::From(3);
    for version in [&old, &Version::new("made-up")] {
        let part = get(new().if_not_version(version.clone()).range(range)).await?;
        check_eq!(part.body.collect(10).await?, "rent", "a range with another if_not_version");
    }
    let part = new().if_not_version(current.clone()).range(range);
    fails(get(part).await, ErrorKind::NotModified, "a range with if_not_version")?;
    fails(get(new().if_not_version(current)).await, ErrorKind::NotModified, "if_not_version")?;
    Ok(())
}

pub(crate) async fn get_gives_bodies_that_do_not_disturb_each_other(suite: &Suite) -> Outcome {
    let (key, bytes) = (suite.key("state")?, pattern(suite.large, 3));
    suite.put(&key, bytes.clone()).await?;
    let from = suite.large / 2;
    let whole = suite.adapter.get(&key, GetOptions::new()).await?;
    let half = suite.adapter.get(&key, GetOptions::new().range(ByteRange::From(from as u64))).await?;
    // Chunk by chunk, in turns.
    let mut open = [(whole.body, &bytes[..]), (half.body, &bytes[from..])];
    while open.iter().any(|(_, rest)| !rest.is_empty()) {
        for (body, rest) in &mut open {
            let chunk = body.chunk().await?.unwrap_or_default();
            check!(rest.starts_with(&chunk), "a body that is read beside another gives other bytes");
            check!(rest.is_empty() || !chunk.is_empty(), "a body that is read beside another ends early");
            *rest = &rest[chunk.len()..];
        }
    }
    Ok(())
}

pub(crate) async fn head_of_a_missing_key_is_not_found(suite: &Suite) -> Outcome {
    suite.put(&suite.key("folder/state")?, "state").await?;
    for name in ["missing", "folder", "folder/stat", "missing/state"] {
        let error = fails(suite.adapter.head(&suite.key(name)?).await, ErrorKind::NotFound, name)?;
        check_eq!(error.key(), Some(&suite.key(name)?), "key of the error");
    }
    Ok(())
}

pub(crate) async fn head_agrees_with_put_and_get(suite: &Suite) -> Outcome {
    let key = suite.key("state")?;
    let mut options = PutOptions::new().content_type("application/json").metadata("a", "1");
    if suite.capabilities().tags {
        options = options.tag("team", "a");
    }
    let began = std::time::Instant::now();
    let put = suite.put_with(&key, "state", options).await?;
    let took = began.elapsed();
    let head = suite.adapter.head(&key).await?;
    let got = suite.adapter.get(&key, GetOptions::new()).await?.meta;
    check_eq!(head, got, "what head gives, against get");
    check_eq!(put.key, head.key, "key");
    check_eq!(put.size, head.size, "size");
    check_eq!(put.version, head.version, "version");
    check_eq!(put.metadata, head.metadata, "metadata");
    check_eq!(put.content_type, head.content_type, "content type");
    check_eq!(put.tags, head.tags, "tags");
    check_eq!(put.tier, head.tier, "tier");
    let (early, late) = (put.modified.min(head.modified), put.modified.max(head.modified));
    check!(early + SAME_TIME + took >= late, "put says {:?}, head says {:?}", put.modified, head.modified);
    Ok(())
}
