//! `persist cp`

mod fate;
mod guard;
mod order;
mod sessions;

use std::collections::BTreeMap;

use anyhow::Result;
use futures_util::{StreamExt, TryStreamExt, future::ready, stream, stream::BoxStream};
use persist::{
    Error, ErrorKind, GetOptions, Key, ListOptions, Object, ObjectMeta, PutMode, PutOptions, SnapshotAdapter,
    sessions::PartKind,
};
use serde_json::json;

use crate::{
    args::Cp,
    cmd::PARALLEL,
    output::{self, Output, count, human},
    place::Place,
    progress::Progress,
    storage::{Folder, Storage, session_name},
};

use self::{
    fate::{Fate, fate},
    order::{Row, groups},
    sessions::Standing,
};

/// How often a snapshot is opened again because it was replaced meanwhile.
const REPLACED: u32 = 4;

pub(crate) async fn run(args: Cp, storage: &Storage, output: &Output) -> Result<()> {
    if args.recursive {
        return folder(args, storage, output).await;
    }
    let mode = if args.if_absent { PutMode::Create } else { PutMode::Overwrite };
    let (from, source) = storage.describe(&args.source)?;
    let (to, destination) = storage.describe(&args.destination)?;
    let root = Place::of(&to, "")?;
    if let Some(part) = root.part_of(&destination).filter(|part| part.kind == PartKind::Commit) {
        let (here, _) = storage.locate(&args.source).await?;
        let (there, _) = storage.locate(&args.destination).await?;
        guard::not_over_another(here.as_ref(), &source, there.as_ref(), &destination, &part.name).await?;
        guard::not_of_another(&Place::of(&from, "")?, &source, &root, &destination)?;
    }
    if let Some(copied) = from.copy_inside(&source, &to, &destination, mode.clone()).await? {
        let (to, _) = storage.locate(&args.destination).await?;
        return report(&copied, to.as_ref(), output);
    }
    let (from, source) = storage.locate(&args.source).await?;
    let (to, destination) = storage.locate(&args.destination).await?;
    let progress = Progress::new(output.interactive());
    let object = open(from.as_ref(), &source).await?;
    let copied = copy(object, to.as_ref(), &destination, mode, &progress).await?;
    drop(progress);
    report(&copied, to.as_ref(), output)
}

/// Bytes and metadata of one version.
async fn open(from: &dyn SnapshotAdapter, key: &Key) -> persist::Result<Object> {
    for _ in 0..REPLACED {
        let mut object = from.get(key, GetOptions::new()).await?;
        if !from.capabilities().tags {
            return Ok(object);
        }
        // Tags are not part of every service's answer to a read.
        let meta = from.head(key).await?;
        if meta.version == object.meta.version {
            object.meta = meta;
            return Ok(object);
        }
    }
    let message = "the snapshot is replaced faster than it can be opened; copy it again";
    Err(Error::new(ErrorKind::Conflict, message).with_key(key))
}

/// The bytes as they are stored: what was compressed is not compressed again, and its checksums go along.
async fn copy(
    object: Object,
    to: &dyn SnapshotAdapter,
    destination: &Key,
    mode: PutMode,
    progress: &Progress,
) -> persist::Result<ObjectMeta> {
    let Object { meta, body, .. } = object;
    let mut put = PutOptions::new().mode(mode);
    (put.content_type, put.metadata, put.tags) = (meta.content_type, meta.metadata, meta.tags);
    let body = match body.len() {
        Some(_) => body,
        None => body.with_len(meta.size),
    };
    progress.expect(Some(meta.size));
    to.put(destination, progress.watch(body), put).await
}

fn report(copied: &ObjectMeta, to: &dyn SnapshotAdapter, output: &Output) -> Result<()> {
    if output.json {
        return output.row(|| output::object(copied), String::new);
    }
    output.note(|| format!("copied {} to {to}, {}", human(copied.size), copied.key));
    Ok(())
}

/// All below one folder to the same names below another.
async fn folder(args: Cp, storage: &Storage, output: &Output) -> Result<()> {
    let (from, to) = (storage.folder(&args.source).await?, storage.folder(&args.destination).await?);
    apart(&from, &to).await?;
    let standings = sessions::compared(&from, &to, args.removals).await?;
    let (mut left_out, can) = (BTreeMap::new(), to.store.capabilities());
    let progress = Progress::new(output.interactive());
    let rows = from.store.list(ListOptions::new().prefix(&from.prefix));
    let objects = rows.try_filter_map(|entry| ready(Ok(entry.into_object())));
    let rows = objects.map(|meta| {
        let meta = meta?;
        let name = renamed(&meta.key, &from, &to)?;
        let part = sessions::part(&meta.key, &name, &from, &to);
        let standing = part.as_ref().and_then(|part| standings.get(&part.folder)).copied();
        if let Some(standing @ (Standing::Other | Standing::Removed | Standing::Ended)) = standing {
            let session = to.root.session_of(&name).or_else(|| from.root.session_of(&meta.key));
            // Namespaces may have sessions of the same ids.
            let folder = part.as_ref().map_or("", |part| part.folder.trim_end_matches('/'));
            let root = folder.rsplitn(4, '/').nth(3).map_or(String::new(), |root| format!("{root}/"));
            left_out.extend(session.map(|ids| (format!("{root}{}", session_name(ids)), standing)));
        }
        let fate = fate(standing, part.as_ref(), args.if_absent, &can);
        Ok(Row { meta, name, part, fate })
    });
    let mut sum = Sum::default();
    let copies = groups(rows).map_ok(|group| one_by_one(group, &from, &to, args.dry_run, &progress));
    let mut copies = Box::pin(copies.try_flatten_unordered(PARALLEL));
    while let Some(copy) = copies.next().await {
        match copy {
            Ok(None) => sum.skipped += 1,
            Ok(Some(meta)) => {
                sum.add(&meta);
                if output.json {
                    let row = || {
                        if args.dry_run { json!({"key": meta.key.as_str()}) } else { output::object(&meta) }
                    };
                    output.row(row, String::new)?;
                }
            }
            Err(error) if args.dry_run => return Err(error.into()),
            Err(error) => {
                let copied = count(sum.copied, "snapshot");
                let message =
                    format!("this failed after {copied} had been copied; with --if-absent those are skipped");
                return Err(anyhow::Error::new(error).context(message));
            }
        }
    }
    drop(copies);
    drop(progress);
    if sum.copied + sum.skipped == 0 {
        return Err(nothing(&from).await?.into());
    }
    sum.report(&to, &left_out, args.dry_run, output)?;
    if left_out.is_empty() { Ok(()) } else { Err(why(&left_out).into()) }
}

/// Copies what is missing of a group, each object when the one in front of it is there. What is there already
/// is looked for before, some at once.
fn one_by_one<'a>(
    group: Vec<Row>,
    from: &'a Folder,
    to: &'a Folder,
    dry_run: bool,
    progress: &'a Progress,
) -> BoxStream<'a, persist::Result<Option<ObjectMeta>>> {
    let looked = stream::iter(group)
        .map(move |row| async move { Ok::<_, Error>((mode(row.fate, &row.name, to).await?, row)) })
        .buffered(PARALLEL)
        .try_collect::<Vec<_>>();
    let copies = stream::once(looked).map_ok(move |rows| {
        let copy = move |(mode, row)| one(mode, row, from, to, dry_run, progress);
        stream::iter(rows).then(copy)
    });
    copies.try_flatten().boxed()
}

/// How an object is saved, if it is copied.
async fn mode(fate: Fate, name: &Key, to: &Folder) -> persist::Result<Option<PutMode>> {
    Ok(match fate {
        Fate::Skip => None,
        // Before its bytes are read.
        Fate::IfAbsent { .. } if there(to.store.as_ref(), name).await? => None,
        Fate::IfAbsent { create: true } => Some(PutMode::Create),
        Fate::IfAbsent { create: false } | Fate::Over => Some(PutMode::Overwrite),
    })
}

/// Copies one object, unless there is no `mode` for it. Gives the copy, or with `dry_run` what would be copied,
/// under the copy's name.
async fn one(
    mode: Option<PutMode>,
    row: Row,
    from: &Folder,
    to: &Folder,
    dry_run: bool,
    progress: &Progress,
) -> persist::Result<Option<ObjectMeta>> {
    let Row { meta, name, .. } = row;
    let Some(mode) = mode else { return Ok(None) };
    if dry_run {
        let mut meta = meta;
        meta.key = name;
        return Ok(Some(meta));
    }
    let object = match open(from.store.as_ref(), &meta.key).await {
        // Removed since it was listed.
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        object => object?,
    };
    match copy(object, to.store.as_ref(), &name, mode, progress).await {
        // Somebody else was faster.
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(None),
        copied => copied.map(Some),
    }
}

/// How many objects have met which fate.
#[derive(Default)]
struct Sum {
    copied: u64,
    bytes: u64,
    skipped: u64,
}

impl Sum {
    fn add(&mut self, meta: &ObjectMeta) {
        self.copied += 1;
        self.bytes += meta.size;
    }

    fn report(
        &self,
        to: &Folder,
        left_out: &BTreeMap<String, Standing>,
        dry_run: bool,
        output: &Output,
    ) -> Result<()> {
        let Sum { copied, bytes, skipped } = *self;
        let text = || {
            let verb = if dry_run { "would copy" } else { "copied" };
            let rest = if skipped == 0 { String::new() } else { format!("; {skipped} skipped") };
            let (copied, store) = (count(copied, "snapshot"), to.store.to_string());
            let (store, prefix) = (store.trim_end_matches('/'), &to.prefix);
            format!("{verb} {copied}, {}, to {store}/{prefix}{rest}", human(bytes))
        };
        let names: Vec<&String> = left_out.keys().collect();
        let row = || json!({"copied": copied, "bytes": bytes, "skipped": skipped, "left_out": names, "dry_run": dry_run});
        output.row(row, text)
    }
}

/// Why nothing was copied.
async fn nothing(from: &Folder) -> persist::Result<Error> {
    let Folder { store, prefix, .. } = from;
    let name = prefix.trim_end_matches('/');
    if !name.is_empty() && there(store.as_ref(), &Key::new(name)?).await? {
        let message = format!("{name:?} is no folder but a snapshot; copy it without --recursive");
        return Ok(Error::new(ErrorKind::InvalidInput, message));
    }
    let message = format!("there is no snapshot below {prefix:?} in {store}; see `persist ls --folders`");
    Ok(Error::new(ErrorKind::NotFound, message))
}

/// Which sessions were left out, and why.
fn why(left_out: &BTreeMap<String, Standing>) -> Error {
    let reasons = [
        (
            Standing::Removed,
            "removed from the source, and left as it is at the destination; if the removal was meant, copy again with --removals: what is there, which nobody has compared, can be loaded no more then",
        ),
        (
            Standing::Ended,
            "removed at the destination, and nothing brings it back there under its name; if that was a mistake, `persist session export` it from the source, and import it under another name",
        ),
        (
            Standing::Other,
            "nobody can tell that here and there is one history: one side began anew, a prune or a removal left no commit that both have, or one is damaged or cannot be read (`persist session verify`); copy to another folder, and keep both until you know which is right; if the source was removed and begun anew, and what is there is not wanted any more, `persist session rm` it there and copy again",
        ),
    ];
    let told = reasons.iter().filter_map(|(standing, why)| {
        let names = left_out.iter().filter(|(_, left)| *left == standing).map(|(name, _)| name.as_str());
        let names = names.collect::<Vec<_>>().join(", ");
        (!names.is_empty()).then(|| format!("left out {names}: {why}"))
    });
    Error::new(ErrorKind::Conflict, told.collect::<Vec<_>>().join("; "))
}

/// What the copy of `key` is called.
fn renamed(key: &Key, from: &Folder, to: &Folder) -> persist::Result<Key> {
    let name = key.as_str().strip_prefix(&from.prefix).unwrap_or(key.as_str());
    Key::new(format!("{}{name}", to.prefix))
}

/// Refuses a copy that would find what it has made, or write over what it has still to read.
async fn apart(from: &Folder, to: &Folder) -> Result<()> {
    let more = if to.place.may_be_elsewhere(&from.place) {
        "; if they are two servers, give endpoint_url for both"
    } else {
        ""
    };
    let refuse = |message: String| Err(Error::new(ErrorKind::InvalidInput, message + more).into());
    if to.place.inside(&from.place).is_some() {
        return refuse("the destination lies in the source; choose another folder".into());
    }
    let Some(names) = from.place.inside(&to.place) else { return Ok(()) };
    // Whatever is there would be copied into the source.
    let prefix = format!("{}{}/", from.prefix, names.join("/"));
    let first = from.store.list(ListOptions::new().prefix(prefix).limit(1)).try_next().await?;
    match first {
        Some(entry) => refuse(format!(
            "the copy of {:?} would lie in the source, perhaps over what is still to be copied; copy to another folder, and from there",
            entry.name()
        )),
        None => Ok(()),
    }
}

async fn there(to: &dyn SnapshotAdapter, key: &Key) -> persist::Result<bool> {
    match to.head(key).await {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use futures_util::FutureExt;
    use persist::{
        SnapshotAdapterExt, StorageConfig,
        adapters::memory::MemoryAdapter,
        layers::{Fault, Injection, Operation},
    };
    use tokio::sync::Notify;

    use super::*;

    /// The metadata of a state without compression have its size and digest: those of another version would
    /// make the copy a damaged one.
    #[tokio::test]
    async fn bytes_and_metadata_are_of_one_version() -> Result<()> {
        let fault = Fault::new(Arc::new(MemoryAdapter::new()));
        let key = Key::new("key")?;
        fault.save("old", &key).await?;
        let go_on = Arc::new(Notify::new());
        fault.inject(Operation::Head, Injection::Hold(go_on.clone()));
        let mut opened = Box::pin(open(&fault, &key));
        assert!((&mut opened).now_or_never().is_none(), "between the two requests");
        let new = fault.save("newer", &key).await?;
        go_on.notify_one();
        let object = opened.await?;
        assert_eq!((&object.meta.version, object.meta.size), (&new.meta.version, new.meta.size));
        Ok(())
    }

    /// A bucket's server that no URL names may be any.
    #[tokio::test]
    async fn servers_of_which_one_is_named_may_be_two() -> Result<()> {
        let folder = |url: &str, prefix: &str| -> Result<Folder> {
            let config = StorageConfig::from_url(url)?;
            let (place, root) = (Place::of(&config, prefix)?, Place::of(&config, "")?);
            Ok(Folder { store: Arc::new(MemoryAdapter::new()), prefix: prefix.into(), place, root })
        };
        let (named, unnamed) = ("s3://states?endpoint_url=http://127.0.0.1:1", "s3://states");
        for (from, to, two) in [(unnamed, named, true), (named, unnamed, true), (named, named, false)] {
            let (from, to) = (folder(from, "agents/")?, folder(to, "agents/")?);
            let error = apart(&from, &to).await.unwrap_err().to_string();
            assert!(error.contains("the destination lies in the source; choose another folder"), "{error}");
            assert_eq!(error.contains("give endpoint_url for both"), two, "{error}");
        }
        Ok(())
    }
}
