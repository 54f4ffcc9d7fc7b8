//! Copying inside the service: no byte comes here, whatever the size (`objects.rewrite`).

use std::sync::Arc;

use bytes::Bytes;
use reqwest::{
    Method,
    header::{CONTENT_TYPE, HeaderValue},
};
use serde_json::{Map, Value};

use super::{
    Bucket, GcsAdapter,
    client::Call,
    doubt::{Condition, Doubt, Next},
    errors::Failure,
    model::{CACHE, PUT_ID, Reached, Resource, Rewrite},
    named, names,
    put::Expected,
};
use crate::{Error, ErrorKind, Key, ObjectMeta, PutMode, Result, began::Began};

/// What a step of a copy came to.
enum CopyStep {
    Done(Box<Resource>),
    /// There is more to do.
    More(Reached),
}

impl GcsAdapter {
    /// Copies a snapshot, with its metadata and tags, to `target` in the bucket of `to`, inside the service:
    /// the bytes, as they are stored, do not come here. The copy is in the storage class, and encrypted with
    /// the key, that the settings name for new snapshots.
    ///
    /// `mode` and a lost answer mean for the target what they mean in [`put`](crate::SnapshotAdapter::put).
    /// The source is read in the version that it has when the copy begins.
    ///
    /// # Errors
    /// `Unsupported` where `to` has other settings than this adapter: then load and save. `NotFound` without
    /// a source; `Conflict` if it is replaced meanwhile, or as `mode` says; `Unavailable` if it is replaced
    /// behind a lost answer, which may still take effect.
    pub async fn copy(
        &self,
        source: &Key,
        to: &GcsAdapter,
        target: &Key,
        mode: PutMode,
    ) -> Result<ObjectMeta> {
        if !Arc::ptr_eq(&self.0.client, &to.0.client) {
            let message =
                "a copy inside the service needs the same settings on both sides; load and save instead";
            return Err(Error::new(ErrorKind::Unsupported, message)
                .with_backend("gcs")
                .with_operation("copy"));
        }
        self.0.copy(source, &to.0, target, mode).await
    }

    /// Whether [`copy`](Self::copy) to `to` is possible.
    pub fn can_copy_to(&self, to: &GcsAdapter) -> bool {
        Arc::ptr_eq(&self.0.client, &to.0.client)
    }
}

impl Bucket {
    async fn copy(&self, source: &Key, to: &Bucket, target: &Key, mode: PutMode) -> Result<ObjectMeta> {
        let named = |error: Error| named("copy", target, error);
        names::check_key(target).map_err(named)?;
        let _turn = to.writes.turn(target).await;
        let doubt = Doubt::new(Condition::new(&mode).map_err(named)?, to.known.generation(target));
        let began = Began::now();
        let (old, kept) = self.kept("copy", source).await?;
        let body = Bytes::from(self.new_copy(kept, doubt.id()).to_string());
        let call = self.copy_call(source, &old, to, target).payload(body);
        let stored = match self.copy_steps(call, began, &doubt, to, target).await {
            Ok(stored) => stored,
            Err(error) => doubt.give_up(to, target, error).await.map_err(named)?,
        };
        let crc32c = old.checksum().or(stored.checksum()).unwrap_or_default();
        let stored =
            to.verified(*stored, Expected { size: old.size, crc32c }, &doubt).await.map_err(named)?;
        to.known.saw(target, &stored);
        Ok(stored.meta(target.clone()))
    }

    /// All steps. What fails is repeated where it was, with the same token, and attempts count from the last
    /// step that was done. A token is good for the condition that it began with: an unconditional copy that
    /// gets one, after a lost answer, begins anew.
    ///
    /// Where the machine slept since the copy `began`, others may have saved: what has no condition takes no
    /// further step then.
    async fn copy_steps(
        &self,
        call: Call,
        began: Began,
        doubt: &Doubt,
        to: &Bucket,
        target: &Key,
    ) -> Result<Box<Resource>> {
        let budget = &self.client.budget;
        let mut retries = self.retry.start();
        let (mut condition, mut reached) = (Condition::Always, None::<Reached>);
        loop {
            let step = async {
                match doubt.next(to, target).await? {
                    Next::Done(stored) => return Ok(CopyStep::Done(stored)),
                    Next::Go(now) if now != condition => (condition, reached) = (now, None),
                    Next::Go(_) => {}
                }
                let token = reached.as_ref().map(|reached| &reached.token);
                let call = condition.apply(call.clone()).maybe("rewriteToken", token);
                match self.copy_step(call, doubt, to, target).await? {
                    CopyStep::More(next) if reached.as_ref() == Some(&next) => {
                        Err(named("copy", target, Reached::no_further()))
                    }
                    step => Ok(step),
                }
            };
            let outcome = step.await;
            let late = condition == Condition::Always && began.overslept(self.retry.deadline);
            match outcome {
                Ok(CopyStep::Done(stored)) => {
                    retries.progress(budget);
                    return Ok(stored);
                }
                Ok(CopyStep::More(_)) if late => {
                    let message = "the machine slept while the snapshot was copied; see what is there, and copy it again";
                    let error = Error::new(ErrorKind::Timeout, message).with_retryable(false);
                    return Err(named("copy", target, error));
                }
                Ok(CopyStep::More(next)) => {
                    reached = Some(next);
                    retries.progress(budget);
                }
                Err(error) if late => return Err(error),
                Err(error) => retries.wait(error, budget).await?,
            }
        }
    }

    /// One attempt at one step.
    async fn copy_step(&self, call: Call, doubt: &Doubt, to: &Bucket, target: &Key) -> Result<CopyStep> {
        let named = |error: Error| named("copy", target, error);
        let began = Began::now();
        match self.client.json::<Rewrite>(call).await {
            Ok((Rewrite { done: true, resource: Some(stored), .. }, _)) => {
                Ok(CopyStep::Done(Box::new(stored)))
            }
            Ok((Rewrite { done: false, reached: Some(reached), .. }, _)) => Ok(CopyStep::More(reached)),
            Ok(_) => {
                let message = "the service stopped in the middle of a copy";
                let failure = Failure::unread(Error::new(ErrorKind::Unavailable, message));
                doubt.failed(&failure, began);
                Err(named(failure.error))
            }
            Err(failure) if failure.refused => match doubt.refused(to, target, &failure).await {
                Ok(Some(stored)) => Ok(CopyStep::Done(stored)),
                Ok(None) => Err(named(failure.error)),
                Err(error) => Err(named(error)),
            },
            // The copy may have been made before the source went.
            Err(failure) if failure.no_object() => {
                match doubt.landed(to, target).await? {
                    Some(stored) => Ok(CopyStep::Done(stored)),
                    None => {
                        let gone = "the snapshot was replaced or removed while it was copied";
                        // A conflict would say that nothing was written.
                        let (kind, fix) = if doubt.is_open() {
                            (
                                ErrorKind::Unavailable,
                                "an attempt may still take effect; see what is there before you copy it again",
                            )
                        } else {
                            (ErrorKind::Conflict, "copy it again")
                        };
                        let error = Error::new(kind, format!("{gone}; {fix}")).with_retryable(false);
                        Err(named(error))
                    }
                }
            }
            Err(failure) => {
                doubt.failed(&failure, began);
                Err(named(failure.error))
            }
        }
    }

    /// The resource of the copy: a body of its own replaces all of the source's, so what is kept is repeated.
    fn new_copy(&self, mut resource: Map<String, Value>, put_id: &str) -> Value {
        let metadata = resource.entry("metadata").or_insert_with(|| Value::Object(Map::new()));
        metadata[PUT_ID] = put_id.into();
        // Other tools may leave it out.
        resource.entry("cacheControl").or_insert_with(|| CACHE.into());
        if let Some(class) = &self.client.settings.storage_class {
            resource.insert("storageClass".into(), class.as_str().into());
        }
        Value::Object(resource)
    }

    fn copy_call(&self, source: &Key, old: &Resource, to: &Bucket, target: &Key) -> Call {
        let [from_bucket, from, to_bucket, to] =
            [&self.name, source.as_str(), &to.name, target.as_str()].map(names::encode);
        let encryption = &self.client.settings.encryption;
        self.client
            .request(
                Method::POST,
                format!("/storage/v1/b/{from_bucket}/o/{from}/rewriteTo/b/{to_bucket}/o/{to}"),
            )
            .query("sourceGeneration", old.generation.to_string())
            .maybe("destinationKmsKeyName", encryption.kms_key())
            .headers(encryption.headers())
            .headers(encryption.source_headers())
            .header(CONTENT_TYPE, HeaderValue::from_static("application/json; charset=UTF-8"))
            .patient()
    }
}
