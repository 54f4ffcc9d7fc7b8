//! Uploads in parts: a bounded window of replayable parts under way, one visible object at the end, nothing
//! left behind otherwise.

use std::{pin::pin, sync::Arc};

use aws_sdk_s3::{
    operation::complete_multipart_upload::builders::CompleteMultipartUploadFluentBuilder,
    primitives::ByteStream,
    types::{ChecksumAlgorithm, ChecksumType, CompletedMultipartUpload, CompletedPart},
};
use bytes::Bytes;

use super::{
    answered::Answered,
    attributes::{Attributes, Stored, stored},
    bucket::{Bucket, etag, version},
    checksum,
    doubt::{Doubt, still_open, unseen},
    errors::Failure,
    fail::{fail, lost_race, too_large_for_s3},
    genuine::has_etag,
    open_upload::OpenUpload,
    progress::Progress,
    settings::{GROWS_BEHIND, LARGEST_OBJECT, MOST_PARTS},
};
use crate::{Error, ErrorKind, Key, PutMode, Result, transfer::Parts};

/// Uploads `first` and what follows it.
pub(super) async fn upload(
    bucket: &Arc<Bucket>,
    key: &Key,
    first: Bytes,
    parts: Parts,
    len: Option<u64>,
    mode: &PutMode,
    attributes: &Attributes,
) -> Result<Stored> {
    let mut upload = OpenUpload::create(bucket, key, attributes).await?;
    let outcome = async {
        let sent = upload.send_parts(first, parts, len).await?;
        upload.complete(sent, mode, attributes).await
    }
    .await;
    match &outcome {
        Ok(_) => upload.finished().await,
        Err(_) => upload.abort().await,
    }
    outcome
}

/// What Complete has to name.
struct Sent {
    parts: Vec<CompletedPart>,
    size: u64,
    /// The CRC32 of all bytes, which the service compares with its own before the object is seen.
    checksum: Option<String>,
}

/// What the end of an upload is asked for.
struct Completion<'a> {
    size: u64,
    has_checksum: bool,
    mode: &'a PutMode,
    attributes: &'a Attributes,
    doubt: Doubt,
}

/// What came of an attempt. The outer error may be tried again; the inner one is the last word, also where
/// the whole save may be tried again.
type Settled<T> = Result<Result<T>>;

impl OpenUpload {
    /// Sends all parts.
    async fn send_parts(&mut self, first: Bytes, mut parts: Parts, len: Option<u64>) -> Result<Sent> {
        let settings = &self.bucket.shared.settings;
        let (sending, mut sent) = (&mut self.sending, Vec::new());
        let (mut part, mut last, mut number, mut size) = (first, false, 1u64, 0u64);
        let mut whole = self.bucket.shared.whole_checksums.then(crc32fast::Hasher::new);
        loop {
            size += part.len() as u64;
            if number > MOST_PARTS || size > LARGEST_OBJECT {
                return Err(too_large_for_s3());
            }
            if let Some(whole) = &mut whole {
                whole.update(&part);
            }
            let window = settings.window(part.len() as u64);
            while sending.len() >= window {
                sent.push(joined(sending.join_next().await)?);
            }
            sending.spawn(send_part(
                self.bucket.clone(),
                self.key.clone(),
                self.id.clone(),
                number as i32,
                part,
            ));
            if last {
                break;
            }
            number += 1;
            let mut next = pin!(parts.next(settings.part_size(number, len) as usize));
            (part, last) = loop {
                tokio::select! {
                    biased;
                    // Watch the parts while waiting for the source: a failed part ends the save at once.
                    Some(done) = sending.join_next() => sent.push(joined(Some(done))?),
                    next = &mut next => break next?,
                }
            };
        }
        while !sending.is_empty() {
            sent.push(joined(sending.join_next().await)?);
        }
        sent.sort_by_key(|part| part.part_number());
        Ok(Sent { parts: sent, size, checksum: whole.map(checksum::text) })
    }

    async fn complete(&self, sent: Sent, mode: &PutMode, attributes: &Attributes) -> Result<Stored> {
        let (bucket, Sent { parts, size, checksum }) = (&self.bucket, sent);
        let (if_none_match, if_match) = match mode {
            PutMode::Overwrite => (None, None),
            PutMode::Create => (Some("*".to_string()), None),
            PutMode::Replace(version) => (None, Some(etag(version)?)),
        };
        let asked =
            Completion { size, has_checksum: checksum.is_some(), mode, attributes, doubt: Doubt::default() };
        let request = bucket
            .client()
            .complete_multipart_upload()
            .bucket(&bucket.name)
            .key(bucket.key(&self.key))
            .upload_id(&self.id)
            .multipart_upload(CompletedMultipartUpload::builder().set_parts(Some(parts)).build())
            .set_checksum_type(checksum.as_ref().map(|_| ChecksumType::FullObject))
            .set_checksum_crc32(checksum)
            .set_if_none_match(if_none_match)
            .set_if_match(if_match)
            .set_request_payer(bucket.shared.settings.payer.clone());
        match bucket.retrying(|_| self.try_complete(request.clone(), &asked)).await {
            Ok(settled) => settled,
            Err(error) => bucket.last_look(&self.key, attributes, &asked.doubt, error).await,
        }
    }

    /// One attempt.
    async fn try_complete(
        &self,
        request: CompleteMultipartUploadFluentBuilder,
        asked: &Completion<'_>,
    ) -> Settled<Stored> {
        let (bucket, answered) = (&self.bucket, Answered::default());
        let request = request.customize().interceptor(answered.clone()).send();
        // S3 puts large objects together for minutes, but begins its answer at once.
        let silence = bucket.shared.settings.attempt_timeout;
        let outcome = tokio::select! {
            biased;
            outcome = bucket.send("put", silence * 5, request) => outcome,
            () = answered.none_for(silence) => Err(Failure::timeout("put", silence, &bucket.shared)),
        };
        let failure = match outcome {
            Ok(output) => return Ok(Ok(stored!(output, asked.size, answered.time()))),
            Err(failure) => failure,
        };
        asked.doubt.note(&failure);
        let gone = failure.not_found();
        if failure.precondition()
            || (gone && failure.code != "NoSuchUpload" && matches!(asked.mode, PutMode::Replace(_)))
        {
            return bucket.refused(&self.key, asked.mode, asked.attributes, &asked.doubt).await.map(Ok);
        }
        if gone {
            return self.gone(asked, failure).await;
        }
        if failure.code == "InvalidPart" && !asked.doubt.is_open() {
            return Ok(Err(if is_uneven(&failure) { uneven(failure) } else { mixed_up(failure) }));
        }
        if asked.has_checksum && failure.code == "BadDigest" {
            // Of the parts as they arrived: the same request again would say the same.
            return Ok(Err(failure.into()));
        }
        Err(failure.into())
    }

    /// The upload is no more: an answer that was lost has completed it, or somebody has removed it.
    async fn gone(&self, asked: &Completion<'_>, failure: Failure) -> Settled<Stored> {
        let Completion { mode, attributes, doubt, .. } = asked;
        let there = match self.bucket.head_once(&self.key).await {
            Ok(head) => Some(head),
            // `Replace` needs the right to look, as the page says; there it is a missing object.
            Err(denied) if denied.is_denied() && doubt.is_open() && !matches!(mode, PutMode::Replace(_)) => {
                return Err(unseen(denied));
            }
            Err(failure) if failure.none_to_see() => None,
            Err(failure) => return Err(failure.into()),
        };
        if let Some(own) = there.as_ref().and_then(|head| attributes.own(head)) {
            return Ok(Ok(own));
        }
        let unchanged = match mode {
            PutMode::Overwrite => true,
            PutMode::Create => there.is_none(),
            PutMode::Replace(expected) => there.is_some_and(|head| version(head.e_tag()) == *expected),
        };
        Ok(Err(if !unchanged {
            lost_race(mode)
        } else if doubt.is_open() {
            // It may have been overwritten since, or may still come.
            still_open(removed(failure))
        } else {
            removed(failure)
        }))
    }
}

/// The upload ended under a save, which may be made again as a whole.
fn removed(failure: Failure) -> Error {
    fail(
        ErrorKind::Conflict,
        "the upload was removed before it was complete, by a clean-up or in a race with another writer; save again",
    )
    .with_retryable(true)
    .with_source(failure.error)
}

/// An attempt at a part that was given up arrived behind the one that was answered: the service has another
/// ETag than was named.
fn mixed_up(failure: Failure) -> Error {
    fail(ErrorKind::Conflict, "the service has other parts than it said; save again")
        .with_retryable(true)
        .with_source(failure.error)
}

/// Whether the server is one that takes parts of one size only, which Cloudflare's R2 tells at the end.
fn is_uneven(failure: &Failure) -> bool {
    ["same length", "same size"].iter().any(|words| failure.error.message().contains(words))
}

/// The same parts again would be refused again.
fn uneven(failure: Failure) -> Error {
    let message = format!(
        "this server takes parts of one size only, and those of a stream of unknown length grow behind the {GROWS_BEHIND}th: raise \
         part_size to the {GROWS_BEHIND}th part of the length or more ({})",
        failure.error.message()
    );
    fail(ErrorKind::Unsupported, message).with_source(failure.error)
}

async fn send_part(
    bucket: Arc<Bucket>,
    key: Key,
    upload: String,
    number: i32,
    bytes: Bytes,
) -> Result<CompletedPart> {
    let name = bucket.key(&key);
    let attempt = |_| async {
        let progress = Progress::of(bytes.clone(), bucket.shared.settings.parallel);
        let mut request = bucket
            .client()
            .upload_part()
            .bucket(&bucket.name)
            .key(&name)
            .upload_id(&upload)
            .part_number(number)
            .body(ByteStream::from(bytes.clone()))
            .set_request_payer(bucket.shared.settings.payer.clone());
        if bucket.shared.checksums {
            request = request.checksum_algorithm(ChecksumAlgorithm::Crc32);
        }
        let answered = Answered::default();
        let request = request.customize().interceptor(answered.clone()).interceptor(progress.clone()).send();
        let sent = bucket.send_data("put", bytes.len() as u64, &progress, request).await;
        let told = sent.and_then(|output| {
            answered.is_done("put", &bucket.shared)?;
            has_etag("put", output.e_tag(), &bucket.shared).map(|()| output)
        });
        match told {
            Ok(output) => Ok(Ok(output)),
            // No attempt at this part can mend that.
            Err(failure) if failure.not_found() => Ok(Err(removed(failure))),
            Err(failure) => Err(failure.into()),
        }
    };
    // A part shows to nobody: a long save goes on behind a sleep.
    let output = bucket.retrying_unseen(attempt).await??;
    Ok(CompletedPart::builder()
        .part_number(number)
        .set_e_tag(output.e_tag().map(str::to_string))
        .set_checksum_crc32(output.checksum_crc32().map(str::to_string))
        .build())
}

fn joined(
    task: Option<std::result::Result<Result<CompletedPart>, tokio::task::JoinError>>,
) -> Result<CompletedPart> {
    match task {
        Some(Ok(result)) => result,
        Some(Err(error)) => {
            Err(fail(ErrorKind::Internal, "the task of a part ended early").with_source(error))
        }
        None => Err(Error::new(ErrorKind::Internal, "no part is under way").with_backend("s3")),
    }
}
