//! Saving: what fits one chunk goes in one request, everything else through an upload session.

use bytes::Bytes;
use reqwest::{
    Method,
    header::{CONTENT_TYPE, HeaderValue},
};

use super::{
    Bucket,
    doubt::{Condition, Doubt, Next},
    errors::Failure,
    model::{self, Resource, checksum_text},
    named, names, sum,
};
use crate::{
    Body, Capabilities, DeleteOptions, Error, ErrorKind, Key, ObjectMeta, PutOptions, Result, Version,
    began::Began, http::Payload, retry::retry, transfer::Pieces,
};

/// What an upload must look like when it is stored.
#[derive(Debug, Clone, Copy)]
pub(super) struct Expected {
    pub(super) size: u64,
    pub(super) crc32c: u32,
}

/// What Cloud Storage does.
pub(super) fn can() -> Capabilities {
    Capabilities::default().with_tags().with_tiers()
}

impl Bucket {
    pub(super) async fn put(&self, key: &Key, body: Body, options: PutOptions) -> Result<ObjectMeta> {
        let named = |error| named("put", key, error);
        options
            .check(&can())
            .and_then(|()| model::fits(&options))
            .and_then(|()| names::check_key(key))
            .map_err(named)?;
        let _turn = self.writes.turn(key).await;
        let doubt = Doubt::new(Condition::new(&options.mode).map_err(named)?, self.known.generation(key));
        let chunk = self.client.settings.chunk as usize;
        let stored = match body.in_memory() {
            // What is in memory and little more than a chunk is not worth a session: a commit of 8 MiB has
            // its manifest beside that.
            Some(whole) if whole.len() <= chunk + chunk / 8 => {
                let data = whole.clone().into();
                self.put_at_once(key, data, &options, &doubt).await.map_err(named)?
            }
            // Boxed, as all that is rare: its future would be part of every put's, which is allocated and
            // moved as a whole.
            _ => Box::pin(self.put_in_pieces(key, body, &options, &doubt)).await?,
        };
        self.known.saw(key, &stored);
        Ok(stored.meta(key.clone()))
    }

    /// What is large, or of a length that only its end tells.
    async fn put_in_pieces(
        &self,
        key: &Key,
        body: Body,
        options: &PutOptions,
        doubt: &Doubt,
    ) -> Result<Resource> {
        let chunk = self.client.settings.chunk as usize;
        // What is in memory anyway goes in one request, of which only what did not arrive is sent again.
        let most = body.in_memory().map_or(chunk, Bytes::len);
        // An error of the body itself comes back as it is.
        let mut rest = Pieces::new(Bytes::new(), body);
        let data = Payload::new(rest.take(most).await?);
        let last = rest.at_end().await?;
        if last && most == chunk {
            let stored = self.put_at_once(key, data, options, doubt).await;
            return stored.map_err(|error| named("put", key, error));
        }
        self.put_in_chunks(key, data, last, rest, options, doubt).await
    }

    /// One request: the object's resource and its bytes (`uploadType=multipart`).
    async fn put_at_once(
        &self,
        key: &Key,
        data: Payload,
        options: &PutOptions,
        doubt: &Doubt,
    ) -> Result<Resource> {
        let expected = Expected { size: data.len(), crc32c: sum::append(0, &data).await? };
        let related = ["multipart/related; boundary=persist-", doubt.id()].concat();
        let related = HeaderValue::try_from(related)
            .map_err(|error| Error::new(ErrorKind::Internal, "a boundary is no header").with_source(error))?;
        let content_type = options.media_type();
        // What goes before and behind the data, in one piece of memory. Not by `format!`, which takes several
        // times as long.
        let mut frame = Vec::with_capacity(640);
        write(
            &mut frame,
            &["--persist-", doubt.id(), "\r\nContent-Type: application/json; charset=UTF-8\r\n\r\n"],
        );
        self.new_resource(&mut frame, key, options, doubt, Some(expected.crc32c))?;
        write(&mut frame, &["\r\n--persist-", doubt.id(), "\r\nContent-Type: ", content_type, "\r\n\r\n"]);
        let head = frame.len();
        write(&mut frame, &["\r\n--persist-", doubt.id(), "--\r\n"]);
        let mut frame = Bytes::from(frame);
        let payload = data.framed(frame.split_to(head), frame);
        let attempts = retry(&self.retry, &self.client.budget, |_| async {
            let condition = match doubt.next(self, key).await? {
                Next::Go(condition) => condition,
                Next::Done(stored) => return Ok(stored),
            };
            let call = condition.apply(self.upload("multipart")).header(CONTENT_TYPE, related.clone());
            let began = Began::now();
            match self.client.json::<Resource>(call.payload(payload.clone())).await {
                Ok((stored, _)) => Ok(Box::new(stored)),
                Err(failure) if failure.refused => Box::pin(doubt.refused(self, key, &failure))
                    .await?
                    .ok_or_else(|| named("put", key, failure.error)),
                Err(failure) => {
                    doubt.failed(&failure, began);
                    Err(named("put", key, failure.error))
                }
            }
        });
        let stored = match attempts.await {
            Ok(stored) => stored,
            Err(error) => Box::pin(doubt.give_up(self, key, error)).await?,
        };
        self.verified(*stored, expected, doubt).await
    }

    /// The start of an upload request, with the parameters that every kind of it takes. The object's name is
    /// in its resource: on its way a URL is parsed three times, so a short one is worth something to small
    /// saves.
    pub(super) fn upload(&self, kind: &str) -> super::client::Call {
        let settings = &self.client.settings;
        self.client
            .request(Method::POST, names::path(&["/upload/storage/v1/b/", &self.name, "/o"]))
            .query("uploadType", kind)
            .maybe("kmsKeyName", settings.encryption.kms_key())
            .headers(settings.encryption.headers())
    }

    pub(super) fn new_resource(
        &self,
        out: &mut Vec<u8>,
        key: &Key,
        options: &PutOptions,
        doubt: &Doubt,
        crc32c: Option<u32>,
    ) -> Result<()> {
        let class = self.client.settings.storage_class.as_deref();
        model::new_resource(out, key, options, doubt.id(), class, crc32c)
    }

    /// The stored object, if it is what was sent and is encrypted as was asked; else that generation is
    /// removed.
    pub(super) async fn verified(
        &self,
        stored: Resource,
        expected: Expected,
        doubt: &Doubt,
    ) -> Result<Resource> {
        let intact =
            stored.size == expected.size && stored.checksum().is_none_or(|sum| sum == expected.crc32c);
        if !intact {
            let message = format!(
                "the service stored {} bytes with crc32c {}, sent were {} with {}; save again",
                stored.size,
                stored.crc32c.map_or("unknown".into(), checksum_text),
                expected.size,
                checksum_text(expected.crc32c)
            );
            let error = Error::new(ErrorKind::Corrupt, message);
            return Err(Box::pin(self.discard(&stored, error, doubt)).await);
        }
        match self.client.settings.encryption.verify(&stored) {
            Ok(()) => Ok(stored),
            Err(error) => Err(Box::pin(self.discard(&stored, error, doubt)).await),
        }
    }

    /// Removes a generation that must not stay, for the reason that `error` gives; the error then says what
    /// became of it.
    pub(super) async fn discard(&self, stored: &Resource, error: Error, doubt: &Doubt) -> Error {
        let only = DeleteOptions::new().if_version(Version::new(stored.generation.to_string()));
        let removed = match Key::new(&stored.name) {
            Ok(key) => {
                self.writes.wrote(&key);
                self.delete(&key, only).await
            }
            Err(error) => Err(error),
        };
        let told = |fate: &str| Error::new(error.kind(), [error.message(), fate].concat());
        match removed {
            Ok(()) if doubt.creates() => told("; what was stored is removed again"),
            Ok(()) => told(
                "; what was stored is removed again; a snapshot that it replaced is gone, unless the bucket has versioning or soft delete",
            ),
            Err(why) if why.kind() == ErrorKind::Conflict && !why.retryable() => {
                told("; another writer has replaced what was stored").with_source(why)
            }
            Err(why) => {
                let fate = format!(
                    "; what was stored could not be removed: remove generation {}",
                    stored.generation
                );
                told(&fate).with_source(why)
            }
        }
    }

    /// The object as it is now, and what the service's clock shows at least. One attempt, without a
    /// customer's key: what is there may have another one, or none. Of an object that has one this shows no
    /// checksum.
    pub(super) async fn look(&self, key: &Key) -> Result<Seen> {
        match self.client.json::<Resource>(self.metadata(key)).await {
            Ok((resource, headers)) => {
                let margin = self.client.settings.clock_margin();
                let now = crate::http::server_time(&headers).and_then(|now| now.checked_sub(margin));
                Ok(Seen { resource: Some(resource), now })
            }
            Err(failure) if failure.no_object() => Ok(Seen { resource: None, now: None }),
            Err(Failure { error, .. }) => Err(named("head", key, error)),
        }
    }
}

fn write(out: &mut Vec<u8>, texts: &[&str]) {
    texts.iter().for_each(|text| out.extend_from_slice(text.as_bytes()));
}

/// What [`Bucket::look`] saw.
#[derive(Debug)]
pub(super) struct Seen {
    pub(super) resource: Option<Resource>,
    /// `None` where the answer does not tell: no clock of ours will do.
    pub(super) now: Option<std::time::SystemTime>,
}

#[cfg(test)]
#[path = "put_tests.rs"]
mod tests;
