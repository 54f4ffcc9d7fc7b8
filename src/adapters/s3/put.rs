//! Saves: one PutObject where the body fits, multipart where it does not.

use std::{collections::HashMap, sync::Arc};

use aws_sdk_s3::{primitives::ByteStream, types::ChecksumAlgorithm};
use bytes::Bytes;

use super::{
    answered::Answered,
    attributes::{Attributes, PUT_ID, Stored, confirm, stored, with_attributes},
    bucket::{Bucket, etag},
    doubt::Doubt,
    fail::{fail, lacks, too_large_for_s3},
    genuine::has_etag,
    multipart,
    progress::Progress,
    settings::{LARGEST_OBJECT, LARGEST_PART},
    tier,
};
use crate::{
    Body, DeleteOptions, Error, ErrorKind, Key, ObjectMeta, PutMode, PutOptions, Result, Version,
    meta::is_page, transfer::Parts,
};

impl Bucket {
    /// The attributes of a new object.
    pub(super) fn attributes(&self, options: &PutOptions, put_id: Option<&str>) -> Attributes {
        let mut metadata: HashMap<_, _> = options.metadata.clone().into_iter().collect();
        if let Some(id) = put_id {
            metadata.insert(PUT_ID.into(), id.into());
        }
        Attributes {
            content_type: options.content_type.clone(),
            metadata: Some(metadata).filter(|metadata| !metadata.is_empty()),
            tagging: Some(tagging(options)).filter(|text| !text.is_empty()),
            storage_class: options
                .tier
                .map(tier::class)
                .or_else(|| self.shared.settings.storage_class.clone()),
            encryption: self.shared.settings.encryption.clone(),
        }
    }

    pub(super) async fn put(
        self: &Arc<Self>,
        key: &Key,
        body: Body,
        options: PutOptions,
    ) -> Result<ObjectMeta> {
        self.check(&options)?;
        let settings = &self.shared.settings;
        let len = body.len();
        if len.is_some_and(|len| len > LARGEST_OBJECT) {
            return Err(too_large_for_s3());
        }
        let conditional = options.mode != PutMode::Overwrite;
        let whole_only = conditional && !self.server.capabilities.create_large;
        let most = if whole_only {
            // Where a condition cannot be trusted on multipart uploads, as much as they would hold in memory
            // goes in one request, of which S3 takes as much as in a part.
            (settings.part_size * settings.parallel as u64).min(LARGEST_PART)
        } else {
            settings.part_size(1, len)
        };
        // What is in memory and little more than a part is not worth three requests: a commit of 8 MiB has
        // its manifest beside that.
        let at_once = body.in_memory().map(|whole| whole.len() as u64).filter(|len| *len <= 9 << 20);
        let most = at_once.unwrap_or(0).max(most);
        let mut parts = Parts::new(body);
        let (first, last) = parts.next(most as usize).await?;
        // An overwrite of one request is repeated without harm, and needs no mark; but a page does, which
        // would not be told from those of proxies where the server gives no ids of requests.
        let page = options.content_type.as_deref().is_some_and(is_page) && !self.server.names_requests;
        let put_id = (conditional || !last || page).then(|| ulid::Ulid::generate().to_string());
        let attributes = self.attributes(&options, put_id.as_deref());
        let stored = match (last, whole_only) {
            (true, _) => self.put_whole(key, first, &options.mode, &attributes).await?,
            (false, true) => return Err(too_large(most)),
            (false, false) => {
                multipart::upload(self, key, first, parts, len, &options.mode, &attributes).await?
            }
        };
        Ok(stored.into_meta(key, &attributes, options))
    }

    /// Refuses what this server cannot do.
    fn check(&self, options: &PutOptions) -> Result<()> {
        if options.metadata.contains_key(PUT_ID) {
            return Err(fail(
                ErrorKind::InvalidInput,
                format!("metadata {PUT_ID:?} is persist's own; use another name"),
            ));
        }
        let can = &self.server.capabilities;
        match options.lacking(can) {
            Some((what, _)) => Err(lacks(what)),
            None => options.check(can).map_err(|error| error.with_backend("s3")),
        }
    }

    async fn put_whole(
        &self,
        key: &Key,
        bytes: Bytes,
        mode: &PutMode,
        attributes: &Attributes,
    ) -> Result<Stored> {
        let doubt = Doubt::default();
        let attempt = |_| self.put_attempt(key, bytes.clone(), mode, attributes, &doubt);
        let stored = match self.retrying(attempt).await {
            Ok(stored) => stored,
            Err(error) => self.last_look(key, attributes, &doubt, error).await?,
        };
        match confirm(attributes, &stored) {
            Ok(()) => Ok(stored),
            Err(error) => Err(self.taken_back(key, stored.version, error).await),
        }
    }

    /// One PutObject. The body is in memory: the SDK sends such a body with its length and its hash, and
    /// never as a chunked stream, which many servers refuse.
    pub(super) async fn put_attempt(
        &self,
        key: &Key,
        bytes: Bytes,
        mode: &PutMode,
        attributes: &Attributes,
        doubt: &Doubt,
    ) -> Result<Stored> {
        let (size, answered) = (bytes.len() as u64, Answered::default());
        let progress = Progress::of(bytes.clone(), 1);
        let request =
            self.client().put_object().bucket(&self.name).key(self.key(key)).body(ByteStream::from(bytes));
        let mut request = with_attributes!(request, attributes, self.shared.settings);
        match mode {
            PutMode::Overwrite => {}
            PutMode::Create => request = request.if_none_match("*"),
            PutMode::Replace(version) => request = request.if_match(etag(version)?),
        }
        if self.shared.checksums {
            request = request.checksum_algorithm(ChecksumAlgorithm::Crc32);
        }
        let request = request.customize().interceptor(answered.clone()).interceptor(progress.clone()).send();
        let sent = self.send_data("put", size, &progress, request).await;
        let told = sent.and_then(|output| {
            answered.is_done("put", &self.shared)?;
            has_etag("put", output.e_tag(), &self.shared).map(|()| output)
        });
        match told {
            Ok(output) => Ok(stored!(output, size, answered.time())),
            Err(refused)
                if refused.precondition() || (refused.not_found() && matches!(mode, PutMode::Replace(_))) =>
            {
                self.refused(key, mode, attributes, doubt).await
            }
            Err(failure) => {
                doubt.note(&failure);
                Err(failure.into())
            }
        }
    }

    /// Removes what was stored in another way than asked for; the error says whether it could. Another
    /// writer's object is left.
    async fn taken_back(&self, key: &Key, version: Version, error: Error) -> Error {
        let done = self.server.capabilities.conditional_delete
            && self.delete(key, DeleteOptions::new().if_version(version)).await.is_ok();
        let end = if done { "the object was removed" } else { "the object is there: remove it" };
        fail(error.kind(), format!("{}; {end}", error.message()))
    }
}

impl Stored {
    fn into_meta(self, key: &Key, attributes: &Attributes, options: PutOptions) -> ObjectMeta {
        ObjectMeta {
            content_type: options.content_type,
            metadata: options.metadata,
            tags: options.tags,
            tier: Some(tier::of(attributes.storage_class.as_ref())),
            encryption: self.encryption,
            ..ObjectMeta::new(key.clone(), self.size, self.version, self.modified)
        }
    }
}

fn too_large(most: u64) -> Error {
    fail(
        ErrorKind::Unsupported,
        format!(
            "a conditional save of more than {most} bytes needs a server whose multipart uploads honour conditions; raise \
             part_size, or set atomic_multipart if the server does"
        ),
    )
}

/// Tags as `x-amz-tagging` takes them.
fn tagging(options: &PutOptions) -> String {
    let mut query = url::form_urlencoded::Serializer::new(String::new());
    query.extend_pairs(&options.tags);
    // Form encoding writes a space as `+`, and a plus sign as %2B.
    query.finish().replace('+', "%20")
}
