//! Uploads in parts: a bounded window of replayable parts under way, one visible object at the end, nothing left behind otherwise.

use std::{sync::Arc, time::Duration};

use aws_sdk_s3::{
    primitives::ByteStream,
    types::{ChecksumAlgorithm, ChecksumType, CompletedMultipartUpload, CompletedPart},
};
use bytes::Bytes;
use tokio::task::JoinSet;

use super::{
    bucket::{Bucket, etag, fail, version},
    checksum,
    errors::Failure,
    head,
    progress::Progress,
    put::{Answered, Attributes, Stored, confirm, with_attributes},
    settings::{LARGEST_OBJECT, MOST_PARTS},
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
    let upload = Upload::create(bucket, key, attributes).await?;
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

/// An upload that has begun. Dropped before its end, with the future that it belongs to, it removes itself in the background.
struct Upload {
    bucket: Arc<Bucket>,
    key: Key,
    id: String,
    /// Answers to its creation that were lost: as many uploads may exist that nobody knows by id.
    lost: u32,
    begun: std::time::SystemTime,
    /// Whether there may still be something to remove.
    open: bool,
}

/// What Complete has to name.
struct Sent {
    parts: Vec<CompletedPart>,
    size: u64,
    /// The CRC32 of all bytes, which the service compares with its own before the object is seen.
    checksum: Option<String>,
}

impl Upload {
    async fn create(bucket: &Arc<Bucket>, key: &Key, attributes: &Attributes) -> Result<Upload> {
        let (name, begun) = (bucket.key(key), std::time::SystemTime::now());
        let (output, lost) = bucket
            .retrying(|failed| {
                let request = bucket.client().create_multipart_upload().bucket(&bucket.name).key(&name);
                let mut request = with_attributes!(request, attributes, bucket.shared.settings);
                if bucket.shared.checksums {
                    // S3 refuses checksummed parts of an upload that was not announced as such.
                    let whole = bucket.shared.whole_checksums.then_some(ChecksumType::FullObject);
                    request = request.checksum_algorithm(ChecksumAlgorithm::Crc32).set_checksum_type(whole);
                }
                async move {
                    let output = bucket.send("put", bucket.shared.silence_limit(), request.send()).await?;
                    Ok((output, failed))
                }
            })
            .await?;
        let id = output.upload_id().filter(|id| !id.is_empty());
        let id =
            id.ok_or_else(|| fail(ErrorKind::Unavailable, "the service began an upload without an id"))?;
        let upload =
            Upload { bucket: bucket.clone(), key: key.clone(), id: id.into(), lost, begun, open: true };
        let told = Stored {
            version: version(None),
            size: 0,
            modified: begun,
            encryption: head::encryption(output.server_side_encryption(), output.ssekms_key_id()),
            bucket_key: output.bucket_key_enabled() == Some(true),
        };
        match confirm(attributes, &told) {
            Ok(()) => Ok(upload),
            Err(error) => {
                upload.abort().await;
                Err(error)
            }
        }
    }

    /// Sends all parts.
    async fn send_parts(&self, first: Bytes, mut parts: Parts, len: Option<u64>) -> Result<Sent> {
        let settings = &self.bucket.shared.settings;
        // Dropping the set ends the requests of all parts.
        let (mut sending, mut sent) = (JoinSet::new(), Vec::new());
        let (mut part, mut last, mut number, mut size) = (first, false, 1u64, 0u64);
        let mut whole = self.bucket.shared.whole_checksums.then(crc32fast::Hasher::new);
        loop {
            size += part.len() as u64;
            if number > MOST_PARTS || size > LARGEST_OBJECT {
                return Err(fail(ErrorKind::InvalidInput, "S3 objects have at most 5 TiB"));
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
            (part, last) = parts.next(settings.part_size(number, len) as usize).await?;
            while let Some(done) = sending.try_join_next() {
                sent.push(joined(Some(done))?);
            }
        }
        while !sending.is_empty() {
            sent.push(joined(sending.join_next().await)?);
        }
        sent.sort_by_key(|part| part.part_number());
        Ok(Sent { parts: sent, size, checksum: whole.map(checksum::text) })
    }

    async fn complete(
        &self,
        Sent { parts, size, checksum }: Sent,
        mode: &PutMode,
        attributes: &Attributes,
    ) -> Result<Stored> {
        let bucket = &self.bucket;
        let name = bucket.key(&self.key);
        let (if_none_match, if_match) = match mode {
            PutMode::Overwrite => (None, None),
            PutMode::Create => (Some("*".to_string()), None),
            PutMode::Replace(version) => (None, Some(etag(version)?)),
        };
        let parts = CompletedMultipartUpload::builder().set_parts(Some(parts)).build();
        bucket
            .retrying(|failed| {
                let answered = Answered::default();
                let request = bucket
                    .client()
                    .complete_multipart_upload()
                    .bucket(&bucket.name)
                    .key(&name)
                    .upload_id(&self.id)
                    .multipart_upload(parts.clone())
                    .set_checksum_type(checksum.as_ref().map(|_| ChecksumType::FullObject))
                    .set_checksum_crc32(checksum.clone())
                    .set_if_none_match(if_none_match.clone())
                    .set_if_match(if_match.clone())
                    .set_request_payer(bucket.shared.settings.payer.clone());
                let request = request.customize().interceptor(answered.clone()).send();
                async move {
                    // S3 puts large objects together for minutes, but begins its answer at once.
                    let silence = bucket.shared.settings.attempt_timeout;
                    let outcome = tokio::select! {
                        biased;
                        outcome = bucket.send("put", silence * 5, request) => outcome,
                        () = answered.none_for(silence) => Err(Failure::timeout("put", silence, &bucket.shared)),
                    };
                    let failure = match outcome {
                        Ok(output) => {
                            return Ok(Stored {
                                version: version(output.e_tag()),
                                size,
                                modified: answered.time(),
                                encryption: head::encryption(
                                    output.server_side_encryption(),
                                    output.ssekms_key_id(),
                                ),
                                bucket_key: output.bucket_key_enabled() == Some(true),
                            });
                        }
                        Err(failure) => failure,
                    };
                    let gone = failure.not_found();
                    if failure.precondition()
                        || (gone && failure.code != "NoSuchUpload" && *mode != PutMode::Overwrite)
                    {
                        return bucket.refused(&self.key, mode, attributes, failed).await;
                    }
                    // An upload that is gone after a lost answer was probably completed by it.
                    if gone
                        && failed > 0
                        && let Some(own) = bucket.own_earlier(&self.key, attributes).await?
                    {
                        return Ok(own);
                    }
                    if gone {
                        let message =
                            "the upload was removed before it was complete, by a clean-up or another writer";
                        return Err(fail(ErrorKind::Conflict, message).with_source(failure.error));
                    }
                    Err(failure.into())
                }
            })
            .await
    }

    /// Nothing to remove any more, but for what lost answers left.
    async fn finished(mut self) {
        self.open = false;
        self.sweep().await;
    }

    /// Removes the upload and its parts. Best effort: the error that is on its way says more.
    async fn abort(mut self) {
        self.open = false;
        self.bucket.abort_logged(&self.key, &self.id).await;
        self.sweep().await;
    }

    /// Removes the uploads whose creation was answered into the void: under the same key, begun while ours was, without a part to
    /// this moment. Another writer's upload gets its first part right after it was created.
    async fn sweep(&self) {
        if self.lost == 0 {
            return;
        }
        let uploads = match self.bucket.uploads_of(&self.key).await {
            Ok(uploads) => uploads,
            Err(error) => {
                tracing::warn!(kind = %error.kind(), "an upload may be left over; `persist doctor --clean-uploads` removes it");
                return;
            }
        };
        // The service's clock may differ from ours, and its times have whole seconds.
        let since =
            self.begun.checked_sub(Duration::from_secs(60)).unwrap_or(std::time::SystemTime::UNIX_EPOCH);
        let others = uploads.into_iter().filter(|upload| upload.id != self.id && upload.begun >= since);
        for upload in others.take(self.lost as usize) {
            if matches!(self.bucket.has_parts(&self.key, &upload.id).await, Ok(false)) {
                self.bucket.abort_logged(&self.key, &upload.id).await;
            }
        }
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        if !self.open {
            return;
        }
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        let (bucket, key, id) = (self.bucket.clone(), self.key.clone(), self.id.clone());
        runtime.spawn(async move {
            let abort = bucket.abort_logged(&key, &id);
            let _ = tokio::time::timeout(Duration::from_secs(60), abort).await;
        });
    }
}

async fn send_part(
    bucket: Arc<Bucket>,
    key: Key,
    upload: String,
    number: i32,
    bytes: Bytes,
) -> Result<CompletedPart> {
    let name = bucket.key(&key);
    let output = bucket
        .retrying(|_| async {
            let progress = Progress::of(bytes.clone());
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
            let request = request.customize().interceptor(progress.clone()).send();
            Ok(bucket.send_data("put", bytes.len() as u64, &progress, request).await?)
        })
        .await?;
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
