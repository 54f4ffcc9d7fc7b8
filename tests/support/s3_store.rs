//! What the strict server keeps, and its rules.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    time::{Duration, SystemTime},
};

use bytes::{Bytes, BytesMut};
use s3s::{S3Response, S3Result, dto::*, s3_error};
use sha2::Digest;

use super::s3_server::{BUCKET, conflict};

/// Amazon's times have whole seconds.
pub fn now() -> SystemTime {
    let seconds = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
    SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(seconds)
}

#[derive(Debug, Default)]
pub struct Store {
    pub objects: BTreeMap<String, Object>,
    pub uploads: BTreeMap<String, Upload>,
    /// How many more conditional writes are answered with 409, as Amazon does when they race.
    pub conflicts: usize,
    /// What the identity may do: actions and resources, as a policy names them. `None`: everything.
    pub allowed: Option<Vec<(String, String)>>,
    /// What of that it has done.
    pub used: BTreeSet<String>,
    /// Listing is not permitted; then Amazon does not tell either which keys there are not.
    pub unlisted: bool,
    /// How much the clock is behind, as uploads and their listing show it.
    pub behind: Duration,
    /// Copies are answered without a word on their encryption.
    pub silent_copies: bool,
    /// Versions are shown as a proxy does that compresses: as weak ones.
    pub weak: bool,
    /// Uploads are listed without their time.
    pub undated: bool,
    /// The storage classes that it has; empty: all.
    pub classes: Vec<&'static str>,
    /// Parts lose their first byte when the object is put together.
    pub spoil_parts: bool,
    /// Answers have no id of the request.
    pub nameless: bool,
    begun: usize,
}

#[derive(Debug, Clone)]
pub struct Object {
    pub bytes: Bytes,
    pub etag: String,
    pub modified: SystemTime,
    pub checksum: Option<String>,
    pub content_type: Option<String>,
    pub metadata: HashMap<String, String>,
    pub tagging: String,
    pub storage_class: Option<StorageClass>,
    pub encryption: Option<ServerSideEncryption>,
    pub kms_key: Option<String>,
    pub bucket_key: Option<bool>,
}

impl Default for Object {
    fn default() -> Self {
        Object {
            bytes: Bytes::new(),
            etag: String::new(),
            modified: now(),
            checksum: None,
            content_type: None,
            metadata: HashMap::new(),
            tagging: String::new(),
            storage_class: None,
            encryption: None,
            kms_key: None,
            bucket_key: None,
        }
    }
}

impl Object {
    pub fn tags(&self) -> Vec<(String, String)> {
        url::form_urlencoded::parse(self.tagging.as_bytes()).into_owned().collect()
    }
}

#[derive(Debug)]
pub struct Upload {
    pub key: String,
    pub object: Object,
    pub begun: SystemTime,
    pub checksummed: bool,
    /// It is to have a checksum as a whole.
    pub whole: bool,
    pub parts: BTreeMap<i32, (Bytes, String, Option<String>)>,
}

impl Default for Upload {
    fn default() -> Self {
        Upload {
            key: String::new(),
            object: Object::default(),
            begun: SystemTime::now(),
            checksummed: false,
            whole: false,
            parts: BTreeMap::new(),
        }
    }
}

impl Upload {
    /// The object that these parts make, by Amazon's rules.
    pub fn assemble(&self, wanted: &[CompletedPart]) -> S3Result<Object> {
        let (mut bytes, mut etags, mut before) = (BytesMut::new(), Vec::new(), 0);
        for (index, part) in wanted.iter().enumerate() {
            let number = part.part_number.unwrap_or(0);
            if number <= before {
                return Err(s3_error!(InvalidPartOrder));
            }
            before = number;
            let Some((content, etag, checksum)) = self.parts.get(&number) else {
                return Err(s3_error!(InvalidPart));
            };
            if part.e_tag.as_ref().map(ETag::value) != Some(etag) || part.checksum_crc32 != *checksum {
                return Err(s3_error!(InvalidPart));
            }
            if index + 1 < wanted.len() && content.len() < 5 << 20 {
                return Err(s3_error!(EntityTooSmall));
            }
            bytes.extend_from_slice(content);
            etags.push(etag.as_bytes());
        }
        if wanted.is_empty() {
            return Err(s3_error!(MalformedXML));
        }
        let etag = format!("{}-{}", etag_of(&etags), wanted.len());
        Ok(Object { bytes: bytes.freeze(), etag, modified: now(), ..self.object.clone() })
    }
}

impl Store {
    pub fn bucket(&self, name: &str) -> S3Result<()> {
        if name == BUCKET { Ok(()) } else { Err(s3_error!(NoSuchBucket)) }
    }

    pub fn listed(&self) -> S3Result<()> {
        if self.unlisted { Err(s3_error!(AccessDenied)) } else { Ok(()) }
    }

    pub fn get(&self, bucket: &str, key: &str) -> S3Result<&Object> {
        self.bucket(bucket)?;
        self.objects
            .get(key)
            .ok_or_else(|| if self.unlisted { s3_error!(AccessDenied) } else { s3_error!(NoSuchKey) })
    }

    pub fn upload(&mut self, id: &str, key: &str) -> S3Result<&mut Upload> {
        self.uploads.get_mut(id).filter(|upload| upload.key == key).ok_or_else(|| s3_error!(NoSuchUpload))
    }

    /// Refuses an action on a resource that no statement allows.
    pub fn permit(&mut self, action: &str, resource: &str) -> S3Result<()> {
        let Some(allowed) = &self.allowed else { return Ok(()) };
        let fits = |pattern: &str| match pattern.strip_suffix('*') {
            Some(prefix) => resource.starts_with(prefix),
            None => resource == pattern,
        };
        if !allowed.iter().any(|(name, pattern)| name == action && fits(pattern)) {
            return Err(s3_error!(AccessDenied));
        }
        self.used.insert(action.into());
        Ok(())
    }

    pub fn shown(&self, object: &Object) -> ETag {
        if self.weak { ETag::Weak(object.etag.clone()) } else { ETag::Strong(object.etag.clone()) }
    }

    pub fn has_class(&self, class: Option<&StorageClass>) -> S3Result<()> {
        match class.filter(|_| !self.classes.is_empty()) {
            Some(class) if !self.classes.contains(&class.as_str()) => Err(s3_error!(InvalidStorageClass)),
            _ => Ok(()),
        }
    }

    /// An answer with the server's own time.
    pub fn dated<T>(&self, output: T) -> S3Response<T> {
        let mut response = S3Response::new(output);
        let now = aws_smithy_types::DateTime::from(SystemTime::now() - self.behind);
        let now = now.fmt(aws_smithy_types::date_time::Format::HttpDate).unwrap();
        response.headers.insert("date", now.parse().unwrap());
        response
    }

    pub fn next_upload(&mut self) -> String {
        self.begun += 1;
        format!("upload-{}", self.begun)
    }

    pub fn conflict(&mut self, conditional: bool) -> S3Result<()> {
        if conditional && self.conflicts > 0 {
            self.conflicts -= 1;
            return Err(conflict());
        }
        Ok(())
    }
}

/// The conditions of a request.
pub fn check(
    object: Option<&Object>,
    if_match: Option<&ETagCondition>,
    if_none_match: Option<&ETagCondition>,
) -> S3Result<()> {
    match (object, if_match, if_none_match) {
        (Some(_), _, Some(_)) => Err(s3_error!(PreconditionFailed)),
        (None, Some(_), _) => Err(s3_error!(NoSuchKey)),
        // A weak one matches nothing there (RFC 9110 section 13.1.1).
        (Some(object), Some(ETagCondition::ETag(etag)), _) if *etag != ETag::Strong(object.etag.clone()) => {
            Err(s3_error!(PreconditionFailed))
        }
        _ => Ok(()),
    }
}

/// S3's limit, which counts what clients add.
pub fn small_enough(metadata: Option<&HashMap<String, String>>) -> S3Result<()> {
    let size: usize = metadata.into_iter().flatten().map(|(name, value)| name.len() + value.len()).sum();
    if size > 2048 { Err(s3_error!(MetadataTooLarge)) } else { Ok(()) }
}

/// A name in a listing.
pub fn shown(name: &str, encoding: Option<&EncodingType>) -> String {
    if encoding.is_some_and(|of| of.as_str() == EncodingType::URL) {
        url::form_urlencoded::byte_serialize(name.as_bytes()).collect()
    } else {
        name.to_string()
    }
}

/// Made from the content alone, like Amazon's.
pub fn etag_of(contents: &[&[u8]]) -> String {
    let mut hash = sha2::Sha256::new();
    contents.iter().for_each(|content| hash.update(content));
    hash.finalize()[..16].iter().map(|byte| format!("{byte:02x}")).collect()
}

type Page<'a> = (Vec<(&'a String, &'a Object)>, Vec<String>, Option<String>);

/// A page of a listing: objects, common prefixes, and where the next one starts.
pub fn page<'a>(
    objects: &'a BTreeMap<String, Object>,
    prefix: &str,
    delimiter: Option<&str>,
    after: Option<String>,
    most: usize,
) -> Page<'a> {
    let (mut rows, mut prefixes, mut last) = (Vec::new(), BTreeSet::new(), None);
    for (key, object) in objects.range(prefix.to_string()..) {
        let Some(rest) = key.strip_prefix(prefix) else { break };
        let rolled = delimiter.and_then(|d| rest.find(d).map(|at| format!("{prefix}{}{d}", &rest[..at])));
        let name = rolled.as_ref().unwrap_or(key);
        let seen =
            after.as_ref().is_some_and(|after| name <= after || key <= after) || prefixes.contains(name);
        if seen {
            continue;
        }
        if rows.len() + prefixes.len() == most {
            return (rows, prefixes.into_iter().collect(), last);
        }
        last = Some(name.clone());
        match rolled {
            Some(rolled) => drop(prefixes.insert(rolled)),
            None => rows.push((key, object)),
        }
    }
    (rows, prefixes.into_iter().collect(), None)
}
