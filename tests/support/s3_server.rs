//! A strict S3 server in the process of the tests, on the protocol layer of the crate `s3s`: signatures
//! verified, conditions atomic on PutObject and CompleteMultipartUpload, checksums and part sizes checked as
//! Amazon does, everything else refused.

use std::sync::{Arc, MutexGuard};

use bytes::{Bytes, BytesMut};
use futures_util::TryStreamExt;
use hyper::{
    header::HeaderValue,
    service::{Service, service_fn},
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use s3s::{
    Body, S3, S3ErrorCode, S3Request, S3Response, S3Result, auth::SimpleAuth, checksum::ChecksumHasher,
    dto::*, s3_error, service::S3ServiceBuilder,
};

use super::{
    s3::{Server, small},
    s3_store::{Object, Store, Upload, check, etag_of, now, page, shown, small_enough},
};

pub const BUCKET: &str = "strict";

/// The server; it ends when it is dropped.
#[derive(Debug)]
pub struct StrictServer {
    pub server: Server,
    backend: Backend,
    task: tokio::task::JoinHandle<()>,
}

#[derive(Debug, Clone, Default)]
pub struct Backend(Arc<std::sync::Mutex<Store>>);

impl StrictServer {
    pub async fn start() -> StrictServer {
        let backend = Backend::default();
        let mut builder = S3ServiceBuilder::new(backend.clone());
        builder.set_auth(SimpleAuth::from_single("strictkey", "strictsecret"));
        builder.set_access(backend.clone());
        let (service, store) = (builder.build(), backend.clone());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let task = tokio::spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            while let Ok((socket, _)) = listener.accept().await {
                let (service, store) = (service.clone(), store.clone());
                let named = service_fn(move |request| {
                    let (answer, store) = (Service::call(&service, request), store.clone());
                    async move {
                        let mut answer = answer.await?;
                        if !store.store().nameless {
                            answer
                                .headers_mut()
                                .insert("x-amz-request-id", HeaderValue::from_static("STRICT"));
                        }
                        Ok::<_, s3s::HttpError>(answer)
                    }
                });
                connections.spawn(async move {
                    let http = hyper_util::server::conn::auto::Builder::new(TokioExecutor::new());
                    let _ = http.serve_connection(TokioIo::new(socket), named).await;
                });
            }
        });
        let config = persist::S3Config {
            region: Some("us-east-1".into()),
            access_key_id: Some("strictkey".into()),
            secret_access_key: Some("strictsecret".into()),
            // What Amazon does, this server does.
            atomic_multipart: Some(true),
            checksums: Some("full_object".into()),
            ..small(&endpoint)
        };
        let server = Server { endpoint, config, bucket: BUCKET.into() };
        StrictServer { server, backend, task }
    }

    /// What is stored, for a test to look at or to change.
    pub fn store(&self) -> MutexGuard<'_, Store> {
        self.backend.store()
    }
}

impl Drop for StrictServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Backend {
    pub fn store(&self) -> MutexGuard<'_, Store> {
        self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

/// Refuses what many servers refuse.
fn strict<T>(request: &S3Request<T>) -> S3Result<()> {
    let signed = request.headers.get("x-amz-content-sha256").and_then(|value| value.to_str().ok());
    if signed.is_some_and(|value| value.starts_with("STREAMING")) {
        return Err(s3_error!(NotImplemented, "a chunked signature"));
    }
    if request.headers.contains_key("content-encoding") {
        return Err(s3_error!(InvalidRequest, "Content-Encoding makes clients decompress"));
    }
    Ok(())
}

/// The whole body, whose checksum must be right where the client gives one.
async fn read(body: Option<StreamingBlob>, crc32: Option<&String>) -> S3Result<Bytes> {
    let (mut all, mut hash) = (BytesMut::new(), ChecksumHasher::default());
    hash.crc32 = Some(Default::default());
    if let Some(mut body) = body {
        while let Some(chunk) = body.try_next().await.map_err(|_| s3_error!(IncompleteBody))? {
            hash.update(&chunk);
            all.extend_from_slice(&chunk);
        }
    }
    match (crc32, hash.finalize().checksum_crc32) {
        (Some(said), right) if Some(said) != right.as_ref() => Err(s3_error!(BadDigest)),
        _ => Ok(all.freeze()),
    }
}

fn crc32_of(bytes: &[u8]) -> String {
    let mut hash = ChecksumHasher { crc32: Some(Default::default()), ..Default::default() };
    hash.update(bytes);
    hash.finalize().checksum_crc32.unwrap_or_default()
}

fn body_of(bytes: Bytes) -> Option<StreamingBlob> {
    Some(StreamingBlob::from(Body::from(bytes)))
}

#[async_trait::async_trait]
impl S3 for Backend {
    async fn put_object(&self, req: S3Request<PutObjectInput>) -> S3Result<S3Response<PutObjectOutput>> {
        strict(&req)?;
        let input = req.input;
        small_enough(input.metadata.as_ref())?;
        let bytes = read(input.body, input.checksum_crc32.as_ref()).await?;
        let object = Object {
            etag: etag_of(&[&bytes]),
            bytes,
            checksum: input.checksum_crc32.clone(),
            content_type: input.content_type,
            metadata: input.metadata.unwrap_or_default(),
            tagging: input.tagging.unwrap_or_default(),
            storage_class: input.storage_class,
            encryption: input.server_side_encryption,
            kms_key: input.ssekms_key_id,
            bucket_key: input.bucket_key_enabled,
            ..Object::default()
        };
        let output = PutObjectOutput {
            checksum_crc32: input.checksum_crc32,
            server_side_encryption: object.encryption.clone(),
            ssekms_key_id: object.kms_key.clone(),
            bucket_key_enabled: object.bucket_key,
            ..Default::default()
        };
        let mut store = self.store();
        store.bucket(&input.bucket)?;
        store.conflict(input.if_match.is_some() || input.if_none_match.is_some())?;
        check(store.objects.get(&input.key), input.if_match.as_ref(), input.if_none_match.as_ref())?;
        let etag = store.shown(&object);
        store.has_class(object.storage_class.as_ref())?;
        store.objects.insert(input.key, object);
        Ok(store.dated(PutObjectOutput { e_tag: Some(etag), ..output }))
    }

    async fn create_multipart_upload(
        &self,
        req: S3Request<CreateMultipartUploadInput>,
    ) -> S3Result<S3Response<CreateMultipartUploadOutput>> {
        let input = req.input;
        small_enough(input.metadata.as_ref())?;
        let object = Object {
            content_type: input.content_type,
            metadata: input.metadata.unwrap_or_default(),
            tagging: input.tagging.unwrap_or_default(),
            storage_class: input.storage_class,
            encryption: input.server_side_encryption,
            kms_key: input.ssekms_key_id,
            bucket_key: input.bucket_key_enabled,
            ..Object::default()
        };
        let mut store = self.store();
        store.bucket(&input.bucket)?;
        let id = store.next_upload();
        let output = CreateMultipartUploadOutput {
            bucket: Some(input.bucket),
            key: Some(input.key.clone()),
            upload_id: Some(id.clone()),
            checksum_algorithm: input.checksum_algorithm.clone(),
            server_side_encryption: object.encryption.clone(),
            ssekms_key_id: object.kms_key.clone(),
            bucket_key_enabled: object.bucket_key,
            ..Default::default()
        };
        let upload = Upload {
            key: input.key,
            object,
            checksummed: input.checksum_algorithm.is_some(),
            whole: input.checksum_type.is_some_and(|of| of.as_str() == ChecksumType::FULL_OBJECT),
            begun: std::time::SystemTime::now() - store.behind,
            ..Upload::default()
        };
        store.uploads.insert(id, upload);
        Ok(store.dated(output))
    }

    async fn upload_part(&self, req: S3Request<UploadPartInput>) -> S3Result<S3Response<UploadPartOutput>> {
        strict(&req)?;
        let input = req.input;
        let bytes = read(input.body, input.checksum_crc32.as_ref()).await?;
        let etag = etag_of(&[&bytes]);
        let mut store = self.store();
        let upload = store.upload(&input.upload_id, &input.key)?;
        if upload.checksummed != input.checksum_crc32.is_some() {
            return Err(s3_error!(InvalidRequest, "Checksum Type mismatch occurred"));
        }
        upload.parts.insert(input.part_number, (bytes, etag.clone(), input.checksum_crc32.clone()));
        Ok(S3Response::new(UploadPartOutput {
            e_tag: Some(ETag::Strong(etag)),
            checksum_crc32: input.checksum_crc32,
            ..Default::default()
        }))
    }

    async fn complete_multipart_upload(
        &self,
        req: S3Request<CompleteMultipartUploadInput>,
    ) -> S3Result<S3Response<CompleteMultipartUploadOutput>> {
        let input = req.input;
        let mut store = self.store();
        let conditional = input.if_match.is_some() || input.if_none_match.is_some();
        store.conflict(conditional)?;
        let wanted = input.multipart_upload.and_then(|upload| upload.parts).unwrap_or_default();
        let spoilt = store.spoil_parts;
        let upload = store.upload(&input.upload_id, &input.key)?;
        let mut object = upload.assemble(&wanted)?;
        if spoilt {
            object.bytes = object.bytes.slice(1..);
        }
        let whole = input.checksum_type.is_some_and(|of| of.as_str() == ChecksumType::FULL_OBJECT);
        if whole != upload.whole {
            return Err(s3_error!(InvalidRequest, "Checksum Type mismatch occurred"));
        }
        if whole {
            if input.checksum_crc32.as_ref() != Some(&crc32_of(&object.bytes)) {
                return Err(s3_error!(BadDigest));
            }
            object.checksum = input.checksum_crc32;
        }
        check(store.objects.get(&input.key), input.if_match.as_ref(), input.if_none_match.as_ref())?;
        let output = CompleteMultipartUploadOutput {
            bucket: Some(input.bucket),
            key: Some(input.key.clone()),
            e_tag: Some(store.shown(&object)),
            server_side_encryption: object.encryption.clone(),
            ssekms_key_id: object.kms_key.clone(),
            bucket_key_enabled: object.bucket_key,
            ..Default::default()
        };
        store.uploads.remove(&input.upload_id);
        store.objects.insert(input.key, object);
        Ok(S3Response::new(output))
    }

    async fn abort_multipart_upload(
        &self,
        req: S3Request<AbortMultipartUploadInput>,
    ) -> S3Result<S3Response<AbortMultipartUploadOutput>> {
        let mut store = self.store();
        store.upload(&req.input.upload_id, &req.input.key)?;
        store.uploads.remove(&req.input.upload_id);
        Ok(S3Response::new(AbortMultipartUploadOutput::default()))
    }

    async fn list_multipart_uploads(
        &self,
        req: S3Request<ListMultipartUploadsInput>,
    ) -> S3Result<S3Response<ListMultipartUploadsOutput>> {
        let prefix = req.input.prefix.unwrap_or_default();
        let store = self.store();
        store.listed()?;
        let uploads = store
            .uploads
            .iter()
            .filter(|(_, upload)| upload.key.starts_with(&prefix))
            .map(|(id, upload)| MultipartUpload {
                key: Some(shown(&upload.key, req.input.encoding_type.as_ref())),
                upload_id: Some(id.clone()),
                initiated: (!store.undated).then(|| Timestamp::from(upload.begun)),
                ..Default::default()
            })
            .collect();
        let output = ListMultipartUploadsOutput {
            uploads: Some(uploads),
            is_truncated: Some(false),
            encoding_type: req.input.encoding_type,
            ..Default::default()
        };
        Ok(store.dated(output))
    }

    async fn list_parts(&self, req: S3Request<ListPartsInput>) -> S3Result<S3Response<ListPartsOutput>> {
        let mut store = self.store();
        let upload = store.upload(&req.input.upload_id, &req.input.key)?;
        let part = |number: &i32| Part { part_number: Some(*number), ..Default::default() };
        let parts = upload.parts.keys().map(part).collect();
        Ok(S3Response::new(ListPartsOutput {
            parts: Some(parts),
            is_truncated: Some(false),
            ..Default::default()
        }))
    }

    async fn get_object(&self, req: S3Request<GetObjectInput>) -> S3Result<S3Response<GetObjectOutput>> {
        let input = req.input;
        let (object, etag) = {
            let store = self.store();
            let object = store.get(&input.bucket, &input.key)?;
            (object.clone(), store.shown(object))
        };
        check(Some(&object), input.if_match.as_ref(), None)?;
        if let Some(ETagCondition::ETag(etag)) = &input.if_none_match
            && etag.value() == object.etag
        {
            return Err(s3_error!(NotModified));
        }
        if matches!(
            object.storage_class.as_ref().map(|class| class.as_str()),
            Some("GLACIER" | "DEEP_ARCHIVE")
        ) {
            return Err(s3_error!(
                InvalidObjectState,
                "The operation is not valid for the object's storage class"
            ));
        }
        let size = object.bytes.len() as u64;
        let range = match &input.range {
            None => 0..size,
            Some(range) => range.check(size)?,
        };
        if range.is_empty() && size == 0 && input.range.is_some() {
            return Err(s3_error!(InvalidRange));
        }
        let whole = range == (0..size);
        let (start, end) = (range.start as usize, range.end as usize);
        Ok(S3Response::new(GetObjectOutput {
            body: body_of(object.bytes.slice(start..end)),
            content_length: Some((end - start) as i64),
            content_range: input.range.map(|_| format!("bytes {start}-{}/{size}", end - 1)),
            checksum_crc32: object.checksum.clone().filter(|_| whole),
            e_tag: Some(etag),
            last_modified: Some(Timestamp::from(object.modified)),
            content_type: object.content_type.clone(),
            metadata: Some(object.metadata.clone()),
            storage_class: object.storage_class.clone(),
            server_side_encryption: object.encryption.clone(),
            ssekms_key_id: object.kms_key.clone(),
            tag_count: Some(object.tags().len() as i32),
            ..Default::default()
        }))
    }

    async fn head_object(&self, req: S3Request<HeadObjectInput>) -> S3Result<S3Response<HeadObjectOutput>> {
        let store = self.store();
        let object = store.get(&req.input.bucket, &req.input.key)?.clone();
        let mut response = S3Response::new(HeadObjectOutput {
            content_length: Some(object.bytes.len() as i64),
            e_tag: Some(store.shown(&object)),
            last_modified: Some(Timestamp::from(object.modified)),
            content_type: object.content_type.clone(),
            metadata: Some(object.metadata.clone()),
            storage_class: object.storage_class.clone(),
            server_side_encryption: object.encryption.clone(),
            ssekms_key_id: object.kms_key.clone(),
            bucket_key_enabled: object.bucket_key,
            ..Default::default()
        });
        response.headers.insert("x-amz-tagging-count", object.tags().len().into());
        Ok(response)
    }

    async fn get_object_tagging(
        &self,
        req: S3Request<GetObjectTaggingInput>,
    ) -> S3Result<S3Response<GetObjectTaggingOutput>> {
        let tags = self.store().get(&req.input.bucket, &req.input.key)?.tags();
        let tag = |(key, value)| Tag { key: Some(key), value: Some(value) };
        let output =
            GetObjectTaggingOutput { tag_set: tags.into_iter().map(tag).collect(), ..Default::default() };
        Ok(S3Response::new(output))
    }

    async fn delete_object(
        &self,
        req: S3Request<DeleteObjectInput>,
    ) -> S3Result<S3Response<DeleteObjectOutput>> {
        let mut store = self.store();
        store.bucket(&req.input.bucket)?;
        if let Some(object) = store.objects.get(&req.input.key) {
            check(Some(object), req.input.if_match.as_ref(), None)?;
        }
        store.objects.remove(&req.input.key);
        Ok(S3Response::new(DeleteObjectOutput::default()))
    }

    async fn copy_object(&self, req: S3Request<CopyObjectInput>) -> S3Result<S3Response<CopyObjectOutput>> {
        let input = req.input;
        let CopySource::Bucket { bucket, key, .. } = &input.copy_source else {
            return Err(s3_error!(NotImplemented));
        };
        let mut store = self.store();
        let mut object = store.get(bucket, key)?.clone();
        check(Some(&object), input.copy_source_if_match.as_ref(), None)?;
        object.storage_class = input.storage_class;
        if input.metadata_directive.is_some_and(|directive| directive.as_str() == "REPLACE") {
            object.metadata = input.metadata.unwrap_or_default();
            object.content_type = input.content_type;
        }
        // What the request does not name, the copy does not have, whatever its source has.
        object.encryption = input.server_side_encryption;
        object.kms_key = input.ssekms_key_id;
        object.bucket_key = input.bucket_key_enabled;
        object.modified = now();
        let result =
            CopyObjectResult { e_tag: Some(ETag::Strong(object.etag.clone())), ..Default::default() };
        let told = !store.silent_copies;
        let output = CopyObjectOutput {
            copy_object_result: Some(result),
            server_side_encryption: object.encryption.clone().filter(|_| told),
            ssekms_key_id: object.kms_key.clone().filter(|_| told),
            bucket_key_enabled: object.bucket_key.filter(|_| told),
            ..Default::default()
        };
        store.objects.insert(input.key, object);
        Ok(S3Response::new(output))
    }

    async fn list_objects_v2(
        &self,
        req: S3Request<ListObjectsV2Input>,
    ) -> S3Result<S3Response<ListObjectsV2Output>> {
        let input = req.input;
        let store = self.store();
        store.bucket(&input.bucket)?;
        store.listed()?;
        let most = input.max_keys.unwrap_or(1000).clamp(0, 1000) as usize;
        let prefix = input.prefix.clone().unwrap_or_default();
        let after = input.continuation_token.clone().or(input.start_after.clone());
        let (rows, prefixes, next) = page(&store.objects, &prefix, input.delimiter.as_deref(), after, most);
        let shown = |name: &str| shown(name, input.encoding_type.as_ref());
        let contents = rows.into_iter().map(|(key, object)| s3s::dto::Object {
            key: Some(shown(key)),
            size: Some(object.bytes.len() as i64),
            e_tag: Some(ETag::Strong(object.etag.clone())),
            last_modified: Some(Timestamp::from(object.modified)),
            storage_class: object
                .storage_class
                .as_ref()
                .map(|class| ObjectStorageClass::from(class.as_str().to_string())),
            ..Default::default()
        });
        Ok(S3Response::new(ListObjectsV2Output {
            contents: Some(contents.collect()),
            common_prefixes: Some(
                prefixes.into_iter().map(|prefix| CommonPrefix { prefix: Some(shown(&prefix)) }).collect(),
            ),
            is_truncated: Some(next.is_some()),
            next_continuation_token: next,
            encoding_type: input.encoding_type,
            ..Default::default()
        }))
    }
}

/// The code of a refused condition that two writers' race makes.
pub fn conflict() -> s3s::S3Error {
    s3s::S3Error::new(S3ErrorCode::ConditionalRequestConflict)
}
