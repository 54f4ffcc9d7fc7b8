//! Conditional writes and deletes, one writer at a time.

use crate::{
    DeleteOptions, ErrorKind, GetOptions, ListOptions, PutOptions, Tier, Version,
    testing::{
        Outcome, Suite,
        check::fails,
        suite::{pattern, streamed},
    },
};

pub(crate) async fn create_on_a_taken_key_is_already_exists(suite: &Suite) -> Outcome {
    let key = suite.key("state")?;
    let result = suite.put_with(&key, "first", PutOptions::new().create()).await;
    if !suite.capabilities().create {
        fails(result, ErrorKind::Unsupported, "create")?;
        fails(suite.adapter.head(&key).await, ErrorKind::NotFound, "head after a refused create")?;
        return Ok(());
    }
    let first = result?;
    let second = suite.put_with(&key, "second", PutOptions::new().create().metadata("a", "1")).await;
    fails(second, ErrorKind::AlreadyExists, "create on a taken key")?;
    check_eq!(suite.read(&key).await?, "first", "content");
    let head = suite.adapter.head(&key).await?;
    check_eq!(head.version, first.version, "version");
    check!(head.metadata.is_empty(), "the metadata is that of the writer who lost");
    Ok(())
}

pub(crate) async fn create_of_equal_bytes_is_no_own_attempt(suite: &Suite) -> Outcome {
    if !suite.capabilities().create {
        let result = suite.put_with(&suite.key("state")?, "state", PutOptions::new().create()).await;
        return fails(result, ErrorKind::Unsupported, "create").map(drop);
    }
    for content in ["", "the same bytes"] {
        let key = suite.key(&format!("state {}", content.len()))?;
        suite.put_with(&key, content, PutOptions::new().create()).await?;
        let rival = suite.put_with(&key, content, PutOptions::new().create()).await;
        fails(rival, ErrorKind::AlreadyExists, "a rival's create of equal bytes")?;
    }
    Ok(())
}

pub(crate) async fn create_works_again_after_delete(suite: &Suite) -> Outcome {
    let key = suite.key("state")?;
    if !suite.capabilities().create {
        let result = suite.put_with(&key, "first", PutOptions::new().create()).await;
        return fails(result, ErrorKind::Unsupported, "create").map(drop);
    }
    for round in 0..3 {
        suite.put_with(&key, format!("state {round}"), PutOptions::new().create()).await?;
        suite.adapter.delete(&key, DeleteOptions::new()).await?;
    }
    check!(suite.names(ListOptions::new()).await?.is_empty(), "the listing is not empty");
    Ok(())
}

pub(crate) async fn replace_with_the_current_version_works(suite: &Suite) -> Outcome {
    let key = suite.key("state")?;
    let mut version = suite.put(&key, "state").await?.version;
    for round in 0..3 {
        let content = format!("state {round}");
        let result = suite.put_with(&key, content.clone(), PutOptions::new().replace(version)).await;
        if !suite.capabilities().replace {
            fails(result, ErrorKind::Unsupported, "replace")?;
            check_eq!(suite.read(&key).await?, "state", "content after a refused replace");
            return Ok(());
        }
        version = result?.version;
        check_eq!(suite.read(&key).await?, content, "content");
        check_eq!(suite.adapter.head(&key).await?.version, version, "version");
    }
    Ok(())
}

pub(crate) async fn replace_with_another_version_is_conflict(suite: &Suite) -> Outcome {
    let (key, other) = (suite.key("state")?, suite.key("other")?);
    let old = suite.put(&key, "old").await?.version;
    let current = suite.put(&key, "current").await?.version;
    let foreign = suite.put(&other, "a different state").await?.version;
    let kind = if suite.capabilities().replace { ErrorKind::Conflict } else { ErrorKind::Unsupported };
    for version in [old, foreign, Version::new("0"), Version::new(""), Version::new("made-up \"version\"")] {
        let result = suite.put_with(&key, "new", PutOptions::new().replace(version.clone())).await;
        fails(result, kind, &format!("replace of {current:?} with {version:?}"))?;
    }
    check_eq!(suite.read(&key).await?, "current", "content");
    check_eq!(suite.adapter.head(&key).await?.version, current, "version");
    Ok(())
}

pub(crate) async fn replace_of_a_missing_key_is_conflict(suite: &Suite) -> Outcome {
    let key = suite.key("state")?;
    let version = suite.put(&key, "state").await?.version;
    suite.adapter.delete(&key, DeleteOptions::new()).await?;
    let kind = if suite.capabilities().replace { ErrorKind::Conflict } else { ErrorKind::Unsupported };
    for version in [version, Version::new("made-up")] {
        let result = suite.put_with(&key, "new", PutOptions::new().replace(version)).await;
        fails(result, kind, "replace of a missing key")?;
    }
    check!(suite.names(ListOptions::new()).await?.is_empty(), "a replace stored a missing key");
    Ok(())
}

pub(crate) async fn replace_never_takes_a_recreated_object_for_the_old_one(suite: &Suite) -> Outcome {
    let key = suite.key("state")?;
    let kind = if suite.capabilities().replace { ErrorKind::Conflict } else { ErrorKind::Unsupported };
    for round in 0..5 {
        let before = suite.put(&key, format!("state {round}")).await?.version;
        suite.adapter.delete(&key, DeleteOptions::new()).await?;
        let content =
            if suite.content_versions { format!("again {round}") } else { format!("state {round}") };
        suite.put(&key, content.clone()).await?;
        let result = suite.put_with(&key, "late", PutOptions::new().replace(before)).await;
        fails(result, kind, "replace of an object that was deleted and written again")?;
        check_eq!(suite.read(&key).await?, content, "content");
    }
    Ok(())
}

pub(crate) async fn delete_of_a_missing_key_is_ok(suite: &Suite) -> Outcome {
    for name in ["never", "never/there", "never/there/at all"] {
        suite.adapter.delete(&suite.key(name)?, DeleteOptions::new()).await?;
    }
    Ok(())
}

pub(crate) async fn delete_is_seen_at_once(suite: &Suite) -> Outcome {
    let key = suite.key("folder/state")?;
    suite.put_with(&key, "state", PutOptions::new().metadata("a", "1")).await?;
    suite.adapter.delete(&key, DeleteOptions::new()).await?;
    fails(suite.read(&key).await, ErrorKind::NotFound, "get after delete")?;
    fails(suite.adapter.head(&key).await, ErrorKind::NotFound, "head after delete")?;
    check!(suite.names(ListOptions::new()).await?.is_empty(), "the listing still has a deleted object");
    check!(suite.names(ListOptions::new().delimiter()).await?.is_empty(), "its folder is still listed");
    suite.adapter.delete(&key, DeleteOptions::new()).await?;
    // What was a folder can be an object now.
    let key = suite.key("folder")?;
    suite.put(&key, "state").await?;
    check_eq!(suite.read(&key).await?, "state", "content");
    Ok(())
}

pub(crate) async fn delete_leaves_neighbours_alone(suite: &Suite) -> Outcome {
    let names = ["a/b/one", "a/b/two", "a/c", "a0", "b"];
    for name in names {
        suite.put(&suite.key(name)?, name).await?;
    }
    // A folder is no object.
    suite.adapter.delete(&suite.key("a")?, DeleteOptions::new()).await?;
    suite.adapter.delete(&suite.key("a/b")?, DeleteOptions::new()).await?;
    check_eq!(suite.names(ListOptions::new()).await?, names, "listing");
    suite.adapter.delete(&suite.key("a/b/one")?, DeleteOptions::new()).await?;
    check_eq!(suite.names(ListOptions::new()).await?, names[1..], "listing after a delete");
    check_eq!(suite.read(&suite.key("a/b/two")?).await?, "a/b/two", "content of a neighbour");
    Ok(())
}

pub(crate) async fn delete_checks_the_version(suite: &Suite) -> Outcome {
    let key = suite.key("state")?;
    let old = suite.put(&key, "old").await?.version;
    let current = suite.put(&key, "current").await?.version;
    let delete = |version: &Version| {
        let options = DeleteOptions::new().if_version(version.clone());
        let key = key.clone();
        async move { suite.adapter.delete(&key, options).await }
    };
    if !suite.capabilities().conditional_delete {
        fails(delete(&current).await, ErrorKind::Unsupported, "conditional delete")?;
        check_eq!(suite.read(&key).await?, "current", "content after a refused delete");
        return Ok(());
    }
    for version in [&old, &Version::new("made-up")] {
        fails(delete(version).await, ErrorKind::Conflict, "delete of another version")?;
    }
    check_eq!(suite.read(&key).await?, "current", "content");
    delete(&current).await?;
    fails(suite.adapter.head(&key).await, ErrorKind::NotFound, "head after delete")?;
    delete(&current).await?;
    Ok(())
}

pub(crate) async fn delete_never_takes_a_recreated_object_for_the_old_one(suite: &Suite) -> Outcome {
    let key = suite.key("state")?;
    let kind =
        if suite.capabilities().conditional_delete { ErrorKind::Conflict } else { ErrorKind::Unsupported };
    for round in 0..5 {
        let before = suite.put(&key, format!("state {round}")).await?.version;
        suite.adapter.delete(&key, DeleteOptions::new()).await?;
        let content =
            if suite.content_versions { format!("again {round}") } else { format!("state {round}") };
        suite.put(&key, content.clone()).await?;
        let result = suite.adapter.delete(&key, DeleteOptions::new().if_version(before)).await;
        fails(result, kind, "delete of an object that was deleted and written again")?;
        check_eq!(suite.read(&key).await?, content, "content");
    }
    Ok(())
}

pub(crate) async fn set_tier_keeps_the_content_or_is_unsupported(suite: &Suite) -> Outcome {
    let key = suite.key("state")?;
    let options = PutOptions::new().metadata("a", "1").content_type("text/plain");
    suite.put_with(&key, "state", options).await?;
    let result = suite.adapter.set_tier(&key, Tier::Cool).await;
    if !suite.capabilities().tiers {
        fails(result, ErrorKind::Unsupported, "set_tier")?;
        return Ok(());
    }
    result?;
    let head = suite.adapter.head(&key).await?;
    check_eq!(head.tier, Some(Tier::Cool), "tier");
    check_eq!(head.metadata.get("a").map(String::as_str), Some("1"), "metadata");
    check_eq!(head.content_type.as_deref(), Some("text/plain"), "content type");
    check_eq!(suite.read(&key).await?, "state", "content");
    let missing = suite.adapter.set_tier(&suite.key("missing")?, Tier::Cool).await;
    fails(missing, ErrorKind::NotFound, "set_tier of a missing key")?;
    Ok(())
}

pub(crate) async fn set_tier_keeps_everything_else(suite: &Suite) -> Outcome {
    let (key, bytes) = (suite.key("state")?, pattern(suite.large, 4));
    let mut options = PutOptions::new().metadata("a", "1").content_type("text/plain");
    if suite.capabilities().tags {
        options = options.tag("team", "a/b c");
    }
    let before = suite.adapter.put(&key, streamed(&bytes), options.clone()).await?.version;
    let result = suite.adapter.set_tier(&key, Tier::Cool).await;
    if !suite.capabilities().tiers {
        fails(result, ErrorKind::Unsupported, "set_tier")?;
        return Ok(());
    }
    result?;
    let head = suite.adapter.head(&key).await?;
    check_eq!(head.size, suite.large as u64, "size");
    check_eq!(head.tags, options.tags, "tags");
    check_eq!(head.metadata, options.metadata, "metadata");
    check_eq!(head.content_type.as_deref(), Some("text/plain"), "content type");
    check_eq!(suite.names(ListOptions::new()).await?, ["state"], "listing");
    let current = suite.adapter.get(&key, GetOptions::new().if_version(head.version.clone())).await?;
    check!(current.body.collect(u64::MAX).await? == bytes, "the content is not what was put");
    if !suite.capabilities().replace {
        return Ok(());
    }
    // Whoever saw it before the move either wins or is told.
    match suite.put_with(&key, "new", PutOptions::new().replace(before.clone())).await {
        Ok(_) => {
            check_eq!(before, head.version, "the version, of which the one before the move was replaced")
        }
        Err(error) if error.kind() == ErrorKind::Conflict => {
            check!(before != head.version, "replace of the current version is a conflict");
            suite.put_with(&key, "new", PutOptions::new().replace(head.version)).await?;
        }
        Err(error) => return Err(error.into()),
    }
    check_eq!(suite.read(&key).await?, "new", "content");
    Ok(())
}
