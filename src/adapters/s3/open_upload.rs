//! An upload that has begun, and its end: where it is not completed nothing of it stays, at whatever point
//! its save fails or is dropped.

use std::{
    ops::RangeInclusive,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, SystemTime},
};

use aws_sdk_s3::types::{ChecksumAlgorithm, ChecksumType, CompletedPart};
use tokio::{
    runtime::Handle,
    sync::oneshot,
    task::{JoinHandle, JoinSet},
};

use super::{
    attributes::{Attributes, Stored, confirm, encryption_of, with_attributes},
    bucket::{Bucket, version},
    fail::fail,
    under_way::{self, UnderWay},
};
use crate::{ErrorKind, Key, Result, began::Began, cleanup, lock::lock};

/// How long a save that failed waits for its clean-up. The rest goes on behind it: its error must not wait
/// for a service that is away.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long that may go on.
const CLEAN_UP: Duration = Duration::from_secs(60);

/// An upload that has begun. Dropped before its end, with the future that it belongs to, it removes itself in
/// the background.
#[derive(Debug)]
pub(super) struct OpenUpload {
    pub(super) bucket: Arc<Bucket>,
    pub(super) key: Key,
    pub(super) id: String,
    /// Parts that are under way.
    pub(super) sending: JoinSet<Result<CompletedPart>>,
    /// Whether there may still be something to remove.
    open: bool,
    /// Attempts to create it whose answers were lost: as many uploads may exist that nobody knows by id.
    lost: Vec<Lost>,
    /// Kept from others of this process that clean up.
    under_way: Option<UnderWay>,
    /// Where to clean up: it may be dropped on a thread that belongs to no runtime.
    runtime: Handle,
}

/// From the start to the end of an attempt.
type Lost = (Began, Began);

impl OpenUpload {
    pub(super) async fn create(
        bucket: &Arc<Bucket>,
        key: &Key,
        attributes: &Attributes,
    ) -> Result<OpenUpload> {
        let (bucket, key, attributes) = (bucket.clone(), key.clone(), attributes.clone());
        let (give, taken) = oneshot::channel();
        // In a task of its own: a request that is under way may begin an upload, also where its caller has
        // gone away.
        cleanup::spawn(&Handle::current(), async move {
            let opened = OpenUpload::begin(bucket, key, &attributes, &give).await;
            // What nobody takes any more is dropped here, and so removed.
            drop(give.send(opened));
        });
        taken.await.map_err(|error| {
            fail(ErrorKind::Internal, "the task that begins an upload ended early").with_source(error)
        })?
    }

    async fn begin(
        bucket: Arc<Bucket>,
        key: Key,
        attributes: &Attributes,
        caller: &oneshot::Sender<Result<OpenUpload>>,
    ) -> Result<OpenUpload> {
        let (name, runtime) = (bucket.key(&key), Handle::current());
        let lost = Mutex::new(Vec::new());
        let under_way = UnderWay::new(bucket.shared.endpoint.as_deref(), &bucket.name, &name);
        let created = bucket
            .retrying_unseen(|_| {
                let request = bucket.client().create_multipart_upload().bucket(&bucket.name).key(&name);
                let mut request = with_attributes!(request, attributes, bucket.shared.settings);
                if bucket.shared.checksums {
                    // S3 refuses checksummed parts of an upload that was not announced as such.
                    let whole = bucket.shared.whole_checksums.then_some(ChecksumType::FullObject);
                    request = request.checksum_algorithm(ChecksumAlgorithm::Crc32).set_checksum_type(whole);
                }
                let (bucket, lost) = (&bucket, &lost);
                async move {
                    if caller.is_closed() {
                        return Err(fail(ErrorKind::Io, "the save was dropped"));
                    }
                    let start = Began::now();
                    let sent = bucket.send("put", bucket.shared.silence_limit(), request.send()).await;
                    sent.map_err(|failure| {
                        // What did not arrive, and what was refused, has begun nothing.
                        if failure.unanswered {
                            let mut lost = lock(lost);
                            lost.push((start, Began::now()));
                        }
                        failure.into()
                    })
                }
            })
            .await;
        let lost = lost.into_inner().unwrap_or_else(PoisonError::into_inner);
        let mut upload = OpenUpload {
            bucket,
            key,
            id: String::new(),
            sending: JoinSet::new(),
            open: false,
            lost,
            under_way: Some(under_way),
            runtime,
        };
        let output = match created {
            Ok(output) => output,
            Err(error) => {
                upload.abort().await;
                return Err(error);
            }
        };
        upload.id = output.upload_id().unwrap_or_default().into();
        if upload.id.is_empty() {
            return Err(fail(ErrorKind::Unavailable, "the service began an upload without an id"));
        }
        upload.open = true;
        upload.under_way.iter().for_each(|under_way| under_way.begun(&upload.id));
        let told = Stored {
            version: version(None),
            size: 0,
            modified: SystemTime::now(),
            encryption: encryption_of(output.server_side_encryption(), output.ssekms_key_id()),
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

    /// Nothing to remove any more, but for what lost answers left.
    pub(super) async fn finished(mut self) {
        self.open = false;
        waited(self.clean_up()).await;
    }

    /// Removes the upload and its parts. Best effort: the error that is on its way says more.
    pub(super) async fn abort(mut self) {
        waited(self.clean_up()).await;
    }

    /// Removes in the background what there may be.
    fn clean_up(&mut self) -> Option<JoinHandle<()>> {
        let (open, lost) = (std::mem::take(&mut self.open), std::mem::take(&mut self.lost));
        // Its own clean-up knows it by its id.
        self.under_way = None;
        if !open && lost.is_empty() {
            return None;
        }
        let mut sending = std::mem::take(&mut self.sending);
        let parts_under_way = !sending.is_empty();
        sending.abort_all();
        let (bucket, key, id) = (self.bucket.cleaning_up(), self.key.clone(), self.id.clone());
        Some(cleanup::spawn(&self.runtime, async move {
            // A part that arrives behind the removal would stay.
            sending.shutdown().await;
            let work = async {
                if open {
                    bucket.abort_logged(&key, &id).await;
                    if parts_under_way {
                        bucket.abort_late_parts(&key, &id).await;
                    }
                }
                if !lost.is_empty() {
                    sweep(&bucket, &key, &id, &lost).await;
                }
            };
            if tokio::time::timeout(CLEAN_UP, work).await.is_err() {
                tracing::warn!("an upload may be left over; `persist doctor --clean-uploads` removes it");
            }
        }))
    }
}

impl Drop for OpenUpload {
    fn drop(&mut self) {
        drop(self.clean_up());
    }
}

async fn waited(work: Option<JoinHandle<()>>) {
    if let Some(work) = work {
        let _ = tokio::time::timeout(PATIENCE, work).await;
    }
}

/// Removes the uploads whose creation was answered into the void: under the same key, begun during an attempt
/// that got no answer, none that this process is at, and without a part to this moment: another writer's
/// upload gets its first part right after it was created.
async fn sweep(bucket: &Bucket, key: &Key, id: &str, lost: &[Lost]) {
    let (uploads, now) = match bucket.uploads_of(key).await {
        Ok(found) => found,
        Err(error) => {
            tracing::warn!(kind = %error.kind(), "an upload may be left over; `persist doctor --clean-uploads` removes it");
            return;
        }
    };
    let windows: Vec<_> = lost.iter().map(|attempt| window(now, attempt)).collect();
    // Read after the listing: every upload of this process that is in the listing is known by now.
    let under_way = under_way::ids(bucket.shared.endpoint.as_deref(), &bucket.name, &bucket.key(key));
    let mut found = Vec::new();
    for upload in uploads {
        let begun =
            upload.begun.is_some_and(|begun| windows.iter().any(|(window, _)| window.contains(&begun)));
        let ours = upload.id == id || under_way.iter().flatten().any(|known| *known == upload.id);
        if begun && !ours && matches!(bucket.has_parts(key, &upload.id).await, Ok(false)) {
            found.push(upload);
        }
    }
    // At least one may be another writer's, and nobody can tell which: leave them all.
    let certain = found.len() <= lost.len() && under_way.is_some() && windows.iter().all(|(_, known)| *known);
    if !found.is_empty() && !certain {
        tracing::warn!(
            key = key.logged(),
            "an upload may be left over beside another writer's; `persist doctor --clean-uploads` removes it"
        );
        return;
    }
    for upload in found {
        bucket.abort_logged(key, &upload.id).await;
    }
}

/// When an attempt was under way, by the service's clock, on which it is `now`; and whether that is certain:
/// where the machine slept since, or its clock was set, it may have been at any time in between.
fn window(now: SystemTime, (start, end): &Lost) -> (RangeInclusive<SystemTime>, bool) {
    // The service's times have whole seconds.
    let slack = Duration::from_secs(2);
    let then = |ago| now.checked_sub(ago).unwrap_or(SystemTime::UNIX_EPOCH);
    let certain = |at: &Began| at.ago().saturating_sub(at.ago_at_least()) <= slack;
    (then(start.ago() + slack)..=then(end.ago_at_least()) + slack, certain(start) && certain(end))
}

#[cfg(test)]
#[path = "open_upload_tests.rs"]
mod tests;
