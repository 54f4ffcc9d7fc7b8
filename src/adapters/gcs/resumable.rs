//! Uploads of any length in bounded memory: one chunk under way, one being made, and no byte sent twice that
//! the service has.

use std::pin::pin;

use bytes::Bytes;
use futures_util::future::{Either, join, select};
use reqwest::header::{CONTENT_TYPE, HeaderName, HeaderValue};

use super::{
    Bucket,
    doubt::{Doubt, Next},
    errors::Failure,
    model::Resource,
    named,
    put::Expected,
    session::{Progress, UploadSession},
    settings::QUANTUM,
    sum,
};
use crate::{
    Error, ErrorKind, Key, PutMode, PutOptions, Result,
    began::Began,
    http::Payload,
    options::{LOST, TAKEN},
    retry::retry,
    transfer::Pieces,
};

/// So many times an upload whose session was lost begins anew, where it can.
const RESTARTS: u32 = 3;

/// How an upload that is under way can end early.
enum Ended {
    /// The service has made an object of what it had.
    Early(Box<Resource>),
    /// The service does not know the session any more.
    Lost(Error),
    /// The service has ended the session for a reason that passes: a limit, a failure of its own.
    Busy(Error),
    /// The bytes that arrived are not those that were sent.
    Spoilt(Error),
    /// For good.
    Failed(Error),
    /// A condition may not hold.
    Refused(Failure),
    /// The source failed: its error goes to the caller as it is.
    Source(Error),
}

impl Ended {
    /// Whether the service has ended the session itself, so that there is none to cancel.
    fn is_of_service(&self) -> bool {
        match self {
            Ended::Early(_) | Ended::Lost(_) | Ended::Busy(_) => true,
            Ended::Refused(failure) => failure.is_clear(),
            Ended::Spoilt(_) | Ended::Failed(_) | Ended::Source(_) => false,
        }
    }
}

/// What is being uploaded: the chunk in hand, and where it lies.
struct Chunk {
    start: u64,
    data: Payload,
    last: bool,
    /// The checksum of everything up to the chunk's end.
    crc32c: u32,
}

impl Chunk {
    fn end(&self) -> u64 {
        self.start + self.data.len()
    }

    /// The object's size and checksum, if this is its end.
    fn total(&self) -> Option<(u64, u32)> {
        self.last.then_some((self.end(), self.crc32c))
    }
}

/// An upload under way: the chunk in hand, and what comes behind it.
struct Sending {
    chunk: Chunk,
    rest: Pieces,
    ahead: Option<Chunk>,
}

impl Bucket {
    /// An object through an upload session, which begins anew if it is lost while the first chunk is still at
    /// hand.
    pub(super) async fn put_in_chunks(
        &self,
        key: &Key,
        data: Payload,
        last: bool,
        rest: Pieces,
        options: &PutOptions,
        doubt: &Doubt,
    ) -> Result<Resource> {
        let named = |error| named("put", key, error);
        let (early, crc32c) = join(self.check_early(key, options), sum::append(0, &data)).await;
        early.map_err(named)?;
        let chunk = Chunk { start: 0, crc32c: crc32c?, data, last };
        let mut upload = Sending { chunk, rest, ahead: None };
        let stored = match self.put_in_sessions(key, &mut upload, options, doubt).await {
            Ok(stored) => stored,
            // Also an error of the source, which comes back as it is.
            Err(error) if !doubt.is_open() => return Err(error),
            Err(error) => doubt.give_up(self, key, error).await.map_err(named)?,
        };
        let expected = Expected { size: upload.chunk.end(), crc32c: upload.chunk.crc32c };
        self.verified(*stored, expected, doubt).await.map_err(named)
    }

    /// As many sessions as it takes.
    async fn put_in_sessions(
        &self,
        key: &Key,
        upload: &mut Sending,
        options: &PutOptions,
        doubt: &Doubt,
    ) -> Result<Box<Resource>> {
        let named = |error| named("put", key, error);
        let (began, mut restarts, mut retries) = (Began::now(), 0, self.retry.start());
        loop {
            let session = match self.start(key, options, doubt).await.map_err(named)? {
                Next::Go(session) => session,
                Next::Done(stored) => return Ok(stored),
            };
            let ended = match self.run(session, upload, doubt).await {
                Ok(stored) => return Ok(stored),
                Err(ended) => ended,
            };
            let busy = matches!(ended, Ended::Busy(_));
            let again = match ended {
                Ended::Early(stored) => {
                    let error = self.discard(&stored, cut_short(&upload.chunk), doubt).await;
                    return Err(named(error));
                }
                Ended::Source(error) => return Err(error),
                Ended::Failed(error) => return Err(named(error)),
                Ended::Refused(failure) => {
                    let looked =
                        retry(&self.retry, &self.client.budget, |_| doubt.refused(self, key, &failure));
                    return looked.await.map_err(named)?.ok_or_else(|| named(failure.error));
                }
                Ended::Lost(error) | Ended::Busy(error) => {
                    // The answer to the last chunk may be what was lost, and the session with it.
                    if upload.chunk.last {
                        let looked = retry(&self.retry, &self.client.budget, |_| doubt.lost(self, key));
                        if let Some(stored) = looked.await.map_err(named)? {
                            return Ok(stored);
                        }
                    }
                    match upload.chunk.start {
                        0 => error,
                        sent => unrepeatable(sent, error),
                    }
                }
                Ended::Spoilt(error) => error,
            };
            restarts += 1;
            // Another session is another write, and what has no condition would undo what others saved while
            // the machine slept.
            let late = options.mode == PutMode::Overwrite && began.overslept(self.retry.deadline);
            match upload.chunk.start {
                0 if late => return Err(named(overslept(again))),
                0 if restarts <= RESTARTS && busy => retries.wait(named(again), &self.client.budget).await?,
                0 if restarts <= RESTARTS => {}
                0 => return Err(named(again)),
                _ if doubt.is_open() => return Err(named(again)),
                // Whoever has the source once more begins at once.
                _ if busy && !retries.pause(&again, &self.client.budget).await => return Err(named(again)),
                _ => return Err(named(again).with_source_past()),
            }
        }
    }

    /// Spares the upload of gigabytes for nothing: the service checks conditions only at the end.
    async fn check_early(&self, key: &Key, options: &PutOptions) -> Result<()> {
        use PutMode::{Create, Overwrite, Replace};
        if options.mode == Overwrite {
            return Ok(());
        }
        let seen = match retry(&self.retry, &self.client.budget, |_| self.look(key)).await {
            Ok(seen) => seen.resource,
            // Who may write need not be allowed to read: the end will tell.
            Err(error) if error.kind() == ErrorKind::AccessDenied => return Ok(()),
            Err(error) => return Err(error),
        };
        let version = seen.map(|resource| resource.generation.to_string());
        match (&options.mode, version) {
            (Create, Some(_)) => Err(Error::new(ErrorKind::AlreadyExists, TAKEN)),
            (Replace(expected), version) if version.as_deref() != Some(expected.as_str()) => {
                Err(Error::new(ErrorKind::Conflict, LOST))
            }
            _ => Ok(()),
        }
    }

    /// Begins a session, unless an earlier one has already stored the object. A session that nobody uses does
    /// no harm, so this is always safe to repeat.
    async fn start(&self, key: &Key, options: &PutOptions, doubt: &Doubt) -> Result<Next<UploadSession>> {
        let mut resource = Vec::new();
        self.new_resource(&mut resource, key, options, doubt, None)?;
        let resource = Bytes::from(resource);
        let content_type = options.media_type();
        retry(&self.retry, &self.client.budget, |_| async {
            let condition = match doubt.next(self, key).await? {
                Next::Go(condition) => condition,
                Next::Done(stored) => return Ok(Next::Done(stored)),
            };
            let mut call = condition
                .apply(self.upload("resumable").query("name", key))
                .header(CONTENT_TYPE, HeaderValue::from_static("application/json; charset=UTF-8"))
                .payload(resource.clone());
            if let Ok(value) = HeaderValue::from_str(content_type) {
                call = call.header(HeaderName::from_static("x-upload-content-type"), value);
            }
            match UploadSession::start(self.client.clone(), call).await {
                Ok(session) => Ok(Next::Go(session)),
                Err(failure) if failure.refused => match doubt.refused(self, key, &failure).await? {
                    Some(stored) => Ok(Next::Done(stored)),
                    None => Err(named("put", key, failure.error)),
                },
                Err(failure) => Err(named("put", key, failure.error)),
            }
        })
        .await
    }

    /// Uploads everything through one session. While a chunk is on its way, the next one is made.
    async fn run(
        &self,
        mut session: UploadSession,
        upload: &mut Sending,
        doubt: &Doubt,
    ) -> Result<Box<Resource>, Ended> {
        loop {
            let step = if upload.chunk.last {
                match self.deliver(&session, &upload.chunk, doubt).await {
                    Ok(Some(stored)) => {
                        session.ended();
                        return Ok(stored);
                    }
                    Ok(None) => Err(Ended::Failed(strayed(upload.chunk.end(), &upload.chunk))),
                    Err(ended) => Err(ended),
                }
            } else {
                self.deliver_and_read(&session, upload, doubt).await
            };
            match step {
                Ok(next) => upload.chunk = next,
                Err(ended) => {
                    if ended.is_of_service() {
                        session.ended();
                    } else {
                        session.cancel().await;
                    }
                    return Err(ended);
                }
            }
        }
    }

    /// Sends a chunk that is not the last and makes the next one meanwhile. What cannot be mended ends both
    /// at once: a failure behind the first chunk, or an object that the service has made of what it had.
    async fn deliver_and_read(
        &self,
        session: &UploadSession,
        upload: &mut Sending,
        doubt: &Doubt,
    ) -> Result<Chunk, Ended> {
        let Sending { chunk, rest, ahead } = upload;
        let ready = ahead.take();
        let (first, start, crc32c) = (chunk.start == 0, chunk.end(), chunk.crc32c);
        let size = self.client.settings.chunk as usize;
        let deliver = pin!(self.deliver(session, chunk, doubt));
        let read = pin!(async {
            match ready {
                Some(made) => Ok(made),
                None => {
                    let data = Payload::new(rest.take(size).await?);
                    let last = rest.at_end().await?;
                    let crc32c = sum::append(crc32c, &data).await?;
                    Ok(Chunk { start, data, last, crc32c })
                }
            }
        });
        let (delivered, made) = match select(deliver, read).await {
            Either::Left((Ok(Some(stored)), _)) => return Err(Ended::Early(stored)),
            Either::Left((Err(ended), _))
                if !first || matches!(ended, Ended::Failed(_) | Ended::Refused(_)) =>
            {
                return Err(ended);
            }
            Either::Left((delivered, read)) => (delivered, read.await.map_err(Ended::Source)?),
            Either::Right((Err(error), _)) => return Err(Ended::Source(error)),
            Either::Right((Ok(made), deliver)) => (deliver.await, made),
        };
        match delivered {
            Ok(Some(stored)) => Err(Ended::Early(stored)),
            Ok(None) => Ok(made),
            Err(ended) => {
                // An upload that begins anew needs this part once more.
                *ahead = Some(made);
                Err(ended)
            }
        }
    }

    /// Sends one chunk until the service has all of it. After every failure it asks how much that is, also
    /// after the last one that there may be. Attempts count from the last progress: a long upload over a bad
    /// line is limited by progress, not by length.
    async fn deliver(
        &self,
        session: &UploadSession,
        chunk: &Chunk,
        doubt: &Doubt,
    ) -> Result<Option<Box<Resource>>, Ended> {
        let mut retries = self.retry.start();
        let (mut from, mut best, mut ask) = (chunk.start, chunk.start, false);
        // Set once attempts are used up: the next answer is the last one, unless it shows progress.
        let mut last = None;
        loop {
            let (began, data) = (Began::now(), !ask);
            let outcome = if ask {
                session.probe().await
            } else {
                session.send(from, chunk.data.skip(from - chunk.start), chunk.total()).await
            };
            let (error, gone) = match outcome {
                Ok(Progress::Done(stored)) => {
                    retries.progress(&self.client.budget);
                    return Ok(Some(stored));
                }
                Ok(Progress::Stored(stored)) if stored < chunk.start || stored > chunk.end() => {
                    return Err(Ended::Failed(strayed(stored, chunk)));
                }
                Ok(Progress::Stored(stored)) if stored == chunk.end() && !chunk.last => {
                    retries.progress(&self.client.budget);
                    return Ok(None);
                }
                Ok(Progress::Stored(stored)) => {
                    // Whole quanta from the chunk's start: a request of another length would end the upload.
                    let whole = if chunk.last && stored == chunk.end() {
                        stored
                    } else {
                        chunk.start + (stored - chunk.start) / QUANTUM * QUANTUM
                    };
                    from = whole;
                    if whole > best {
                        (best, ask, last) = (whole, false, None);
                        retries.progress(&self.client.budget);
                        continue;
                    }
                    if std::mem::take(&mut ask) {
                        match last {
                            Some(error) => return Err(Ended::Failed(error)),
                            None => continue,
                        }
                    }
                    let message = "the service takes the upload's data and stores none of it";
                    (Error::new(ErrorKind::Unavailable, message), false)
                }
                Err(failure) if failure.is(410) && failure.error.retryable() => {
                    return Err(Ended::Busy(failure.error));
                }
                Err(failure) if failure.not_found() || failure.is(410) => {
                    return Err(Ended::Lost(failure.error));
                }
                Err(failure) if failure.refused => return Err(Ended::Refused(failure)),
                Err(failure) if failure.error.kind() == ErrorKind::Corrupt => {
                    return Err(Ended::Spoilt(failure.error));
                }
                Err(failure) => {
                    if chunk.last {
                        doubt.failed(&failure, began);
                    }
                    ask = true;
                    let gone = failure.is(404);
                    (failure.error, gone)
                }
            };
            let error = error.with_backend("gcs").with_operation("put");
            let budget = &self.client.budget;
            if retries.pause(&error, budget).await {
                continue;
            }
            // The first failure may be long ago, and most of a large body have arrived since.
            if !(data && ask && retries.ask(began, &error, budget).await) {
                // A 404 that was taken for a proxy's may have been the service's: nothing is lost where the
                // upload can begin anew.
                return Err(if gone && chunk.start == 0 { Ended::Lost(error) } else { Ended::Failed(error) });
            }
            last = Some(error);
        }
    }
}

fn cut_short(chunk: &Chunk) -> Error {
    let message = format!(
        "the service ended the upload at or before byte {}, in its middle; something between changes requests, save again",
        chunk.end()
    );
    Error::new(ErrorKind::Corrupt, message)
}

fn strayed(stored: u64, chunk: &Chunk) -> Error {
    let (start, end) = (chunk.start, chunk.end());
    let message = format!(
        "the service says it has {stored} bytes of the upload, where {start} to {end} were possible; something between changes \
         requests, save again"
    );
    Error::new(ErrorKind::Corrupt, message)
}

fn overslept(error: Error) -> Error {
    let message = "the service lost the upload while the machine slept; see what is there, and save again";
    Error::new(ErrorKind::Unavailable, message).with_retryable(false).with_source(error)
}

fn unrepeatable(sent: u64, error: Error) -> Error {
    let message = format!(
        "the service lost the upload after {sent} bytes, and a stream cannot be read twice; save again"
    );
    // A limit stays one, and what it asks for.
    let kind = if error.kind() == ErrorKind::RateLimited { error.kind() } else { ErrorKind::Unavailable };
    let lost = Error::new(kind, message);
    error.retry_after().into_iter().fold(lost, Error::with_retry_after).with_source(error)
}
