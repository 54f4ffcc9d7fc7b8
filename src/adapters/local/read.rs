//! Reading: one version, from an open file that no writer changes.

use std::{fs::File, ops::Range, os::unix::fs::FileExt, sync::Arc};

use bytes::Bytes;
use futures_util::stream::try_unfold;
use rustix::{
    fs::{Mode, OFlags},
    io::Errno,
};

use super::{
    dir::Root,
    entries::stat,
    fail::{foreign, io_error},
    hop::hop,
    media,
    name::Location,
    sidecar,
    stamp::Stamp,
    strange,
};
use crate::{Body, Error, ErrorKind, GetOptions, Key, Object, ObjectMeta, Result, options::NONE};

/// What is read at once. A body up to this size needs no second hop to a blocking thread.
const CHUNK: u64 = 512 * 1024;

/// How often a reader starts anew because a writer was faster.
const PATIENCE: usize = 100;

/// An open file with all that is known about it.
struct Opened {
    file: File,
    stamp: Stamp,
    meta: ObjectMeta,
}

pub(super) fn missing() -> Error {
    Error::new(ErrorKind::NotFound, NONE)
}

fn open(root: &Root, key: &Key, place: &Location) -> Result<Opened> {
    match find(root, key, place) {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            strange::check_file(root, key)?;
            Err(error)
        }
        found => found,
    }
}

fn find(root: &Root, key: &Key, place: &Location) -> Result<Opened> {
    let failed = |error: std::io::Error| io_error("reading", error);
    for _ in 0..PATIENCE {
        let directory = root.find(place.names())?.ok_or_else(missing)?;
        // Without NONBLOCK, a pipe under that name would wait for a writer.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = match rustix::fs::openat(&directory, place.file.as_str(), flags, Mode::empty()) {
            Ok(file) => File::from(file),
            Err(Errno::NOENT) => return Err(missing()),
            Err(Errno::LOOP | Errno::NXIO) => return Err(foreign(&format!("{:?}", key.as_str()))),
            Err(error) => {
                let path = root.below(place.names()).join(&place.file);
                return Err(io_error(&format!("opening {}", path.display()), error));
            }
        };
        let found = file.metadata().map_err(failed)?;
        if found.is_dir() {
            return Err(missing());
        }
        if !found.is_file() {
            return Err(foreign(&format!("{:?}", key.as_str())));
        }
        let stamp = Stamp::from(&found);
        let sidecar = root.seen.sidecar(&directory, &place.file, stamp);
        if !matches!(sidecar, Ok(Some(_))) {
            // None, or removed or replaced together with the version that was opened?
            let now = stat(&directory, &place.file)?;
            if now.is_none_or(|now| Stamp::from(&now) != stamp) {
                continue;
            }
        }
        let sidecar = sidecar?;
        let mut magic = [0; 4];
        let len = file.read_at(&mut magic, 0).map_err(failed)?;
        let mut meta = ObjectMeta::new(key.clone(), stamp.size, stamp.version(), stamp.modified());
        let shown = media::of(&file, &place.file, stamp.mtime, &magic[..len]);
        sidecar::describe(&mut meta, sidecar, shown);
        return Ok(Opened { file, stamp, meta });
    }
    Err(Error::new(ErrorKind::Io, "writers keep replacing the snapshot while it is opened; try again"))
}

pub(super) fn head(root: &Root, key: &Key, place: &Location) -> Result<ObjectMeta> {
    Ok(open(root, key, place)?.meta)
}

pub(super) fn get(root: &Root, key: &Key, place: &Location, options: &GetOptions) -> Result<Object> {
    let Opened { file, stamp, meta } = open(root, key, place)?;
    let range = options.resolve(&meta)?;
    let len = range.end - range.start;
    let source = Arc::new(Source { file, stamp });
    let body = if len <= CHUNK {
        Body::from(source.read(range.clone())?)
    } else {
        source.body(key.clone(), range.clone()).with_len(len)
    };
    Ok(Object { meta, range, body })
}

/// An open file to be read in pieces.
struct Source {
    file: File,
    stamp: Stamp,
}

impl Source {
    fn body(self: Arc<Self>, key: Key, range: Range<u64>) -> Body {
        Body::from_stream(try_unfold((self, range), move |(source, range)| {
            let key = key.clone();
            async move {
                if range.is_empty() {
                    return Ok(None);
                }
                let piece = range.start..(range.start + CHUNK).min(range.end);
                let (reader, end) = (source.clone(), piece.end);
                let bytes = hop("get", Some(&key), move |_| reader.read(piece)).await?;
                Ok(Some((bytes, (source, end..range.end))))
            }
        }))
    }

    fn read(&self, piece: Range<u64>) -> Result<Bytes> {
        let mut bytes = vec![0; (piece.end - piece.start) as usize];
        let changed = || {
            let message = "another program wrote into the snapshot's file while it was read; read it again";
            Error::new(ErrorKind::Conflict, message)
        };
        match self.file.read_exact_at(&mut bytes, piece.start) {
            Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => return Err(changed()),
            done => done.map_err(|error| io_error("reading", error))?,
        }
        // Adapters replace files and never write into one; others may.
        let now = self.file.metadata().map_err(|error| io_error("reading", error))?;
        if Stamp::from(&now) != self.stamp {
            return Err(changed());
        }
        Ok(bytes.into())
    }
}
