//! `persist save`

use std::{
    fs::{File, Metadata},
    io::{self, IsTerminal, Read, stdin},
    path::Path,
};

use anyhow::Result;
use bytes::BytesMut;
use futures_util::{StreamExt, stream};
use persist::{Body, Codec, Error, ErrorKind, PutMode, PutOptions, SaveOptions, SnapshotAdapterExt, Version};
use serde_json::json;

use crate::{
    args::Save,
    output::{self, Output, human},
    progress::Progress,
    storage::{Storage, not_into_session},
    values::once,
};

/// Names of metadata that begin so are the format's own.
const RESERVED: &str = "persist-";
/// A part, which a storage would hold in memory anyway.
const SMALL: usize = 8 << 20;

pub(crate) async fn run(args: Save, storage: &Storage, output: &Output) -> Result<()> {
    // Opened before the storage, so that a wrong name of a file makes nothing.
    let (body, length) = source(args.file.as_deref(), args.allow_empty, output)
        .map_err(|error| turned_round(&args.key, args.file.as_deref(), error))?;
    once("metadata", &args.metadata)?;
    once("tag", &args.tag)?;
    if let Some((name, _)) = args.metadata.iter().find(|(name, _)| name.starts_with(RESERVED)) {
        let message =
            format!("metadata name {name:?} is reserved; use one that does not begin with {RESERVED}");
        return Err(Error::new(ErrorKind::InvalidInput, message).into());
    }
    let (store, key) = storage.locate(&args.key).await?;
    let instead = "`persist session save` adds a commit, `persist cp` puts a copy back";
    not_into_session(&storage.root(&args.key)?, &key, instead)?;
    let mut put = PutOptions::new().mode(mode(&args));
    put.metadata.extend(args.metadata);
    put.tags.extend(args.tag);
    let mut codec = args.codec.unwrap_or_else(|| store.capabilities().settings.codec);
    if let Some(level) = args.level {
        codec = codec.with_level(level)?;
    }
    let progress = Progress::new(output.interactive());
    progress.expect(length);
    let options = SaveOptions::from(put).codec(codec);
    let mut body = progress.watch(body);
    if codec == Codec::None {
        body = in_memory_if_small(body).await?;
    }
    let saved = store.save_body_with(body, key, options).await?;
    drop(progress);
    if output.json {
        let mut row = output::object(&saved.meta);
        row["size"] = json!(saved.size);
        row["digest"] = json!(saved.digest);
        row["codec"] = json!(saved.codec.to_string());
        return output.row(|| row, String::new);
    }
    output.note(|| format!("saved {} as {} ({})", human(saved.size), human(saved.meta.size), saved.meta.key));
    Ok(())
}

/// What is saved as it is can be checked only by metadata, and these are sent before the bytes: so a state
/// that fits into one part is read first.
async fn in_memory_if_small(mut body: Body) -> persist::Result<Body> {
    let mut first = BytesMut::new();
    while let Some(chunk) = body.chunk().await? {
        first.extend_from_slice(&chunk);
        if first.len() > SMALL {
            let first = stream::iter([Ok(first.freeze())]);
            return Ok(Body::from_stream(first.chain(body)));
        }
    }
    Ok(Body::from(first.freeze()))
}

fn mode(args: &Save) -> PutMode {
    match (&args.if_match, args.if_absent) {
        (Some(version), _) => PutMode::Replace(Version::new(version)),
        (None, true) => PutMode::Create,
        (None, false) => PutMode::Overwrite,
    }
}

/// Who writes the file in front of the key is told so.
fn turned_round(key: &str, file: Option<&Path>, error: Error) -> Error {
    match file {
        Some(file) if !file.exists() && Path::new(key).is_file() => {
            let file = file.display();
            let message = format!(
                "there is no file {file}, but {key} is one; KEY comes first: persist save {file} {key}"
            );
            Error::new(error.kind(), message).with_source(error)
        }
        _ => error,
    }
}

/// The bytes to save and, of a file, how many. That is for the bar alone: a file that grows is saved as far
/// as it goes.
pub(super) fn source(
    file: Option<&Path>,
    allow_empty: bool,
    output: &Output,
) -> persist::Result<(Body, Option<u64>)> {
    let Some(path) = file.filter(|path| *path != Path::new("-")) else {
        announce(output);
        let may_be_empty = allow_empty || is_file();
        let input = Input { from: stdin(), name: "standard input".into(), may_be_empty };
        return Ok((Body::from_blocking(input), None));
    };
    let (file, meta) = opened(path, "name a file, or pipe an archive of it")?;
    if meta.is_file() {
        return Ok((Body::from_blocking(file), Some(meta.len())));
    }
    let input = Input { from: file, name: path.display().to_string(), may_be_empty: allow_empty };
    Ok((Body::from_blocking(input), None))
}

/// A file to read. Where it is a folder, `instead` is what to do.
pub(super) fn opened(path: &Path, instead: &str) -> persist::Result<(File, Metadata)> {
    let unreadable = |error: io::Error| {
        let message = format!("the file {} cannot be read", path.display());
        Error::new(ErrorKind::InvalidInput, message).with_source(error)
    };
    let file = File::open(path).map_err(unreadable)?;
    let meta = file.metadata().map_err(unreadable)?;
    if meta.is_dir() {
        let message = format!("{} is a folder; {instead}", path.display());
        return Err(Error::new(ErrorKind::InvalidInput, message));
    }
    Ok((file, meta))
}

/// Somebody who has forgotten the file would wait for ever.
pub(super) fn announce(output: &Output) {
    if stdin().is_terminal() {
        output.note(|| "reading standard input; end with Ctrl-D".into());
    }
}

/// What is no file. Where it gives nothing, its producer has failed or was forgotten, far more often than
/// that the state is empty.
struct Input<R> {
    from: R,
    name: String,
    may_be_empty: bool,
}

impl<R: Read> Read for Input<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.from.read(buffer)?;
        if read == 0 && !self.may_be_empty && !buffer.is_empty() {
            let name = &self.name;
            let message = format!("{name} was empty, nothing is saved; --allow-empty if that is the state");
            return Err(Error::new(ErrorKind::InvalidInput, message).into());
        }
        self.may_be_empty = true;
        Ok(read)
    }
}

/// Whether standard input is a file, which is as long as it is. Where there is no terminal and no pipe, it is
/// most often `/dev/null`.
#[cfg(unix)]
fn is_file() -> bool {
    use std::os::fd::AsFd;
    let Ok(input) = stdin().as_fd().try_clone_to_owned() else { return false };
    File::from(input).metadata().is_ok_and(|meta| meta.is_file())
}

#[cfg(not(unix))]
fn is_file() -> bool {
    true
}
