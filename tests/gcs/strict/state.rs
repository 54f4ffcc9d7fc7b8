//! Objects, generations, conditions, and the rules that hold for every request.

use std::{
    collections::{BTreeMap, HashMap},
    time::{Duration, Instant, SystemTime},
};

use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
use bytes::Bytes;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use super::{
    faults::Faults,
    request::{Answer, Kind, Logged, Req, is_ours},
    tokens::TokenServer,
    uploads::Session,
};

/// How strict, and what is set up.
#[derive(Debug, Clone)]
pub struct Rules {
    /// Reads are of the current generation, whichever was asked for.
    pub ignores_generation: bool,
    /// Requests need a token that the token endpoints gave.
    pub tokens: bool,
    /// Requests need this `userProject`.
    pub user_project: Option<String>,
    /// Rows of a page at most.
    pub page: usize,
    /// An empty page comes before each full one.
    pub empty_pages: bool,
    /// Encryption keys are ignored without a word, as emulators do.
    pub drops_keys: bool,
    /// One write a second to each object, refused ones included.
    pub limits_writes: bool,
    /// The bucket chooses storage classes by itself, and begins with `STANDARD`.
    pub autoclass: bool,
    /// A rewrite is done at once, as within one location.
    pub one_step: bool,
    /// The account may not list: of a missing object it is told that.
    pub no_list: bool,
    /// The id of an upload session is in the path of its URL, as with some emulators.
    pub sessions_in_path: bool,
}

impl Default for Rules {
    fn default() -> Self {
        Rules {
            ignores_generation: false,
            tokens: false,
            user_project: None,
            page: 1000,
            empty_pages: false,
            drops_keys: false,
            limits_writes: false,
            autoclass: false,
            one_step: false,
            no_list: false,
            sessions_in_path: false,
        }
    }
}

#[derive(Debug, Clone)]
pub struct Object {
    pub data: Vec<u8>,
    pub generation: u64,
    pub metageneration: u64,
    pub created: SystemTime,
    /// The settable part of the resource: contentType, metadata, storageClass and so on.
    pub resource: Map<String, Value>,
    pub kms: Option<String>,
    /// SHA-256 of the customer's key, in base64.
    pub csek: Option<String>,
}

/// Path, query and body of the first step of a rewrite.
pub type Begun = (String, BTreeMap<String, String>, Bytes);

pub struct State {
    pub rules: Rules,
    pub url: String,
    pub objects: BTreeMap<String, Object>,
    pub sessions: HashMap<String, Session>,
    pub tokens: TokenServer,
    pub faults: Faults,
    pub log: Vec<Logged>,
    pub violations: Vec<String>,
    /// When each object was last written.
    written: HashMap<String, Instant>,
    last_generation: u64,
    last_session: u64,
    /// What each rewrite that is under way began with, by its token.
    pub rewrites: HashMap<String, Begun>,
}

/// Parameters that the API knows; another one is a spelling mistake that the real service ignores in silence.
const KNOWN: [&str; 21] = [
    "uploadType",
    "upload_id",
    "name",
    "fields",
    "alt",
    "generation",
    "ifGenerationMatch",
    "ifGenerationNotMatch",
    "ifSourceGenerationMatch",
    "ifSourceMetagenerationMatch",
    "sourceGeneration",
    "kmsKeyName",
    "destinationKmsKeyName",
    "rewriteToken",
    "userProject",
    "prefix",
    "delimiter",
    "maxResults",
    "pageToken",
    "startOffset",
    "endOffset",
];

impl State {
    pub fn new(rules: Rules, url: String) -> Self {
        State {
            rules,
            tokens: TokenServer::new(&url),
            url,
            objects: BTreeMap::new(),
            sessions: HashMap::new(),
            faults: Faults::default(),
            log: Vec::new(),
            violations: Vec::new(),
            written: HashMap::new(),
            last_generation: 1_790_000_000_000_000,
            last_session: 0,
            rewrites: HashMap::new(),
        }
    }

    pub fn violation(&mut self, message: impl Into<String>) -> Answer {
        let message = message.into();
        self.violations.push(message.clone());
        Answer::refusal(400, "invalid", &message)
    }

    /// What every request must keep to.
    pub fn check(&mut self, request: &Req) -> Option<Answer> {
        if let Some(unknown) = request.query.keys().find(|name| !KNOWN.contains(&name.as_str())) {
            return Some(self.violation(format!("unknown parameter {unknown}")));
        }
        let session = matches!(request.kind, Kind::Data | Kind::Probe | Kind::Cancel);
        if let Some(refused) = self.check_token(request, session) {
            return Some(refused);
        }
        if !is_ours(&request.path) {
            return Some(Answer::refusal(404, "notFound", "The specified bucket does not exist."));
        }
        for raw in request.raw_object().into_iter().chain(request.raw_target()) {
            if let Some(odd) = raw.bytes().find(|b| !(b.is_ascii_alphanumeric() || b"-_.~%".contains(b))) {
                return Some(self.violation(format!("raw {:?} in the path {raw}", odd as char)));
            }
        }
        if let Some(coded) = request.header("content-encoding") {
            return Some(self.violation(format!("Content-Encoding: {coded}")));
        }
        if matches!(request.method.as_str(), "POST" | "PUT") && request.header("content-length").is_none() {
            return Some(Answer::refusal(411, "required", "Length Required"));
        }
        if !session
            && self.rules.user_project.is_some()
            && request.query("userProject").map(Into::into) != self.rules.user_project
        {
            let message = "Bucket is a requester pays bucket but no user project provided.";
            return Some(Answer::refusal(400, "required", message));
        }
        None
    }

    fn check_token(&mut self, request: &Req, session: bool) -> Option<Answer> {
        if !self.rules.tokens {
            return None;
        }
        match request.header("authorization") {
            // The session's URL is a credential of its own.
            None if session => None,
            Some(header) if self.tokens.accepts(header) => None,
            _ => Some(Answer::refusal(401, "authError", "Invalid Credentials")),
        }
    }

    /// Checks `ifGenerationMatch` and `ifGenerationNotMatch` against what is there now.
    pub fn condition(&self, request: &Req, name: &str) -> Option<Answer> {
        let current = self.objects.get(name).map_or(0, |object| object.generation);
        self.condition_on(current, request.query("ifGenerationMatch"), request.query("ifGenerationNotMatch"))
    }

    pub fn condition_on(&self, current: u64, matches: Option<&str>, differs: Option<&str>) -> Option<Answer> {
        if matches.is_some_and(|wanted| wanted.parse() != Ok(current)) {
            let message = "At least one of the pre-conditions you specified did not hold.";
            return Some(Answer::refusal(412, "conditionNotMet", message));
        }
        differs.filter(|unwanted| unwanted.parse() == Ok(current)).map(|_| Answer::new(304, ""))
    }

    /// Counts a write of this object; an answer if it comes too soon behind the one before.
    pub fn too_soon(&mut self, name: &str) -> Option<Answer> {
        if !self.rules.limits_writes {
            return None;
        }
        if self.written.get(name).is_some_and(|last| last.elapsed() < Duration::from_secs(1)) {
            let message = format!(
                "The object {}/{name} exceeded the rate limit for object mutation operations (create, update, and delete). \
                 Please reduce your request rate. See https://cloud.google.com/storage/docs/gcs429.",
                super::BUCKET
            );
            return Some(Answer::refusal(429, "rateLimitExceeded", &message));
        }
        self.written.insert(name.into(), Instant::now());
        None
    }

    /// Every object may be written again, as a second later.
    #[cfg(feature = "cli")]
    pub fn a_second_later(&mut self) {
        self.written.clear();
    }

    /// What is said of an object that is not there.
    pub fn missing(&self, name: &str) -> Answer {
        if self.rules.no_list {
            let message = "agent@p.iam.gserviceaccount.com does not have storage.objects.list access to the Google Cloud \
                           Storage bucket. Permission 'storage.objects.list' denied on resource (or it may not exist).";
            return Answer::refusal(403, "forbidden", message);
        }
        Answer::refusal(404, "notFound", &format!("No such object: {}/{name}", super::BUCKET))
    }

    /// Stores an object under a new generation and gives its resource.
    pub fn store(&mut self, name: &str, mut object: Object) -> Value {
        if self.rules.autoclass {
            object.resource.insert("storageClass".into(), "STANDARD".into());
        }
        self.last_generation += 1;
        (object.generation, object.metageneration) = (self.last_generation, 1);
        object.created = SystemTime::now();
        let resource = object.describe(name, true);
        self.objects.insert(name.into(), object);
        resource
    }

    /// Puts an object there as somebody else would.
    pub fn plant(&mut self, name: &str, data: impl Into<Vec<u8>>) -> u64 {
        let object = Object::new(data.into());
        self.store(name, object);
        self.last_generation
    }

    /// Makes an object older than it is.
    pub fn age(&mut self, name: &str, by: Duration) {
        let object = self.objects.get_mut(name).unwrap();
        object.created -= by;
    }

    pub fn new_session(&mut self) -> String {
        self.last_session += 1;
        format!("SECRET-SESSION-{}", self.last_session)
    }
}

impl Object {
    pub fn new(data: Vec<u8>) -> Self {
        let mut resource = Map::new();
        resource.insert("contentType".into(), "application/octet-stream".into());
        Object {
            data,
            generation: 0,
            metageneration: 1,
            created: SystemTime::now(),
            resource,
            kms: None,
            csek: None,
        }
    }

    /// The resource as the API gives it. Hashes of an object with a customer's key are shown to whoever has
    /// the key.
    pub fn describe(&self, name: &str, with_key: bool) -> Value {
        let created = jiff::Timestamp::try_from(self.created).unwrap().to_string();
        let mut value = json!({
            "kind": "storage#object",
            "name": name,
            "bucket": super::BUCKET,
            "size": self.data.len().to_string(),
            "generation": self.generation.to_string(),
            "metageneration": self.metageneration.to_string(),
            "timeCreated": created,
            "updated": created,
            "storageClass": "STANDARD",
        });
        let map = value.as_object_mut().unwrap();
        map.extend(self.resource.clone());
        if self.csek.is_none() || with_key {
            map.insert("crc32c".into(), checksum(&self.data).into());
        }
        if let Some(kms) = &self.kms {
            map.insert("kmsKeyName".into(), format!("{kms}/cryptoKeyVersions/1").into());
        }
        if let Some(sha256) = &self.csek {
            map.insert(
                "customerEncryption".into(),
                json!({ "encryptionAlgorithm": "AES256", "keySha256": sha256 }),
            );
        }
        value
    }
}

/// Custom metadata have 8 KiB at most.
pub fn check_metadata(resource: &Map<String, Value>) -> Result<(), Answer> {
    let metadata = resource.get("metadata").and_then(Value::as_object);
    let text = |value: &Value| value.as_str().map_or(0, str::len);
    let len: usize = metadata.into_iter().flatten().map(|(name, value)| name.len() + text(value)).sum();
    match len {
        0..=8192 => Ok(()),
        _ => Err(Answer::refusal(400, "invalid", "Custom metadata is too large")),
    }
}

pub fn checksum(data: &[u8]) -> String {
    BASE64.encode(crc32c::crc32c(data).to_be_bytes())
}

/// The digest of the customer's key that a request carries, if its three headers agree.
pub fn supplied_key(request: &Req, prefix: &str) -> Result<Option<String>, Answer> {
    let header = |name: &str| request.header(&format!("{prefix}{name}"));
    match (header("algorithm"), header("key"), header("key-sha256")) {
        (None, None, None) => Ok(None),
        (Some("AES256"), Some(key), Some(digest))
            if BASE64
                .decode(key)
                .is_ok_and(|raw| raw.len() == 32 && BASE64.encode(Sha256::digest(&raw)) == digest) =>
        {
            Ok(Some(digest.into()))
        }
        _ => Err(Answer::refusal(
            400,
            "customerEncryptionKeyFormatIsInvalid",
            "The customer-supplied encryption key is invalid.",
        )),
    }
}
