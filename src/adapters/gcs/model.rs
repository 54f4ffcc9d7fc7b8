//! The object resource of the JSON API, as far as it is used.

use std::{borrow::Cow, collections::BTreeMap, fmt, marker::PhantomData, time::SystemTime};

use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::names;
use crate::{Error, ErrorKind, Key, ObjectMeta, PutOptions, Result, Tier, Version, meta::is_page};

/// The random id of one `put`, kept with the object: it tells the writer's own earlier attempt from a
/// rival's.
pub(super) const PUT_ID: &str = "persist-put-id";
/// Cloud Storage has no tags: each is a metadata entry under this prefix, its name percent-encoded.
const TAG: &str = "persist-tag-";
/// What the service says of objects that not everybody may read. Those that everybody may read, it would
/// otherwise serve for an hour from caches of its own, old generations included
/// (<https://cloud.google.com/storage/docs/caching>).
pub(super) const CACHE: &str = "private, max-age=0";
/// The most bytes of custom metadata (<https://cloud.google.com/storage/quotas>), names and values.
const METADATA: usize = 8192;

/// The fields of [`Resource`], for partial answers.
pub(super) const FIELDS: &str = "name,size,generation,metageneration,crc32c,contentType,storageClass,timeCreated,metadata,\
                                 kmsKeyName,customerEncryption";

/// <https://cloud.google.com/storage/docs/json_api/v1/objects#resource>
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Resource {
    pub(super) name: String,
    #[serde(deserialize_with = "int64")]
    pub(super) size: u64,
    #[serde(deserialize_with = "int64")]
    pub(super) generation: u64,
    /// The version of what is said of the content, which can change without it.
    #[serde(default, deserialize_with = "some_int64")]
    pub(super) metageneration: Option<u64>,
    #[serde(default, deserialize_with = "checksum")]
    pub(super) crc32c: Option<u32>,
    pub(super) content_type: Option<String>,
    pub(super) storage_class: Option<String>,
    #[serde(default, deserialize_with = "time")]
    pub(super) time_created: Option<SystemTime>,
    #[serde(default)]
    pub(super) metadata: BTreeMap<String, String>,
    pub(super) kms_key_name: Option<String>,
    pub(super) customer_encryption: Option<CustomerEncryption>,
}

/// Which key the customer supplied.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct CustomerEncryption {
    pub(super) key_sha256: String,
}

/// One page of a listing. `items` is absent where a page has none, and so may be all but `kind`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Page {
    kind: Option<String>,
    pub(super) items: Option<Vec<Resource>>,
    pub(super) prefixes: Option<Vec<String>>,
    pub(super) next_page_token: Option<String>,
}

impl Page {
    /// Whether it is a page of a listing at all: any other JSON object would be a listing without a row.
    pub(super) fn is_listing(&self) -> bool {
        let rows = self.items.is_some() || self.prefixes.is_some() || self.next_page_token.is_some();
        // The second is what releases of the Firebase emulator say.
        rows || matches!(self.kind.as_deref(), Some("storage#objects" | "#storage/objects"))
    }
}

/// The answer to one step of a rewrite.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Rewrite {
    pub(super) done: bool,
    /// What there is to go on from, when it is not.
    #[serde(flatten)]
    pub(super) reached: Option<Reached>,
    /// The new object, when it is done.
    pub(super) resource: Option<Resource>,
}

/// How far a rewrite is.
#[derive(Debug, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Reached {
    #[serde(rename = "rewriteToken")]
    pub(super) token: String,
    total_bytes_rewritten: Option<serde_json::Value>,
}

impl Reached {
    /// The error where a step has brought neither another token nor more bytes: such steps would follow for
    /// ever.
    pub(super) fn no_further() -> Error {
        Error::new(ErrorKind::Unavailable, "the service goes no further with the rewrite")
    }
}

/// The API writes 64-bit integers as strings, since JavaScript has none; some servers write numbers.
fn int64<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    struct Int;
    impl de::Visitor<'_> for Int {
        type Value = u64;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a 64-bit integer")
        }

        fn visit_u64<E>(self, number: u64) -> Result<u64, E> {
            Ok(number)
        }

        fn visit_str<E: de::Error>(self, text: &str) -> Result<u64, E> {
            text.parse().map_err(|_| E::custom("not a 64-bit integer"))
        }
    }
    deserializer.deserialize_any(Int)
}

fn some_int64<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
    int64(deserializer).map(Some)
}

fn checksum<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u32>, D::Error> {
    read(deserializer, |text| {
        // Four bytes, for which the decoder wants room for six.
        let mut bytes = [0; 6];
        let len = BASE64.decode_slice(text, &mut bytes).ok()?;
        Some(u32::from_be_bytes(bytes[..len].try_into().ok()?))
    })
}

fn time<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<SystemTime>, D::Error> {
    read(deserializer, |text| Some(text.parse::<jiff::Timestamp>().ok()?.into()))
}

/// What a text stands for, without a copy of it. What cannot be read is as good as not there.
fn read<'de, D: Deserializer<'de>, T, F: Fn(&str) -> Option<T>>(
    deserializer: D,
    read: F,
) -> Result<Option<T>, D::Error> {
    struct Text<F, T>(F, PhantomData<T>);
    impl<T, F: Fn(&str) -> Option<T>> de::Visitor<'_> for Text<F, T> {
        type Value = Option<T>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a text")
        }

        fn visit_str<E>(self, text: &str) -> Result<Option<T>, E> {
            Ok((self.0)(text))
        }

        fn visit_unit<E>(self) -> Result<Option<T>, E> {
            Ok(None)
        }
    }
    deserializer.deserialize_any(Text(read, PhantomData))
}

impl Resource {
    /// The id of the `put` that wrote it.
    pub(super) fn put_id(&self) -> Option<&str> {
        self.metadata.get(PUT_ID).map(String::as_str)
    }

    /// When this generation was written.
    pub(super) fn created(&self) -> Option<SystemTime> {
        self.time_created
    }

    /// The checksum of the stored bytes.
    pub(super) fn checksum(&self) -> Option<u32> {
        self.crc32c
    }

    /// Whether it says that it is a page.
    pub(super) fn is_page(&self) -> bool {
        self.content_type.as_deref().is_some_and(is_page)
    }

    /// As the contract has it, without what is only ours.
    pub(super) fn meta(self, key: Key) -> ObjectMeta {
        // Of what is old, sweeps and prunes may remove what nobody refers to.
        let modified = self.created().unwrap_or_else(SystemTime::now);
        let version = Version::new(self.generation.to_string());
        let (mut metadata, mut tags) = (BTreeMap::new(), BTreeMap::new());
        for (name, value) in self.metadata {
            match name.strip_prefix(TAG) {
                Some(tag) => drop(tags.insert(names::decode(tag), value)),
                None if name == PUT_ID => {}
                None => drop(metadata.insert(name, value)),
            }
        }
        ObjectMeta {
            content_type: self.content_type,
            metadata,
            tags,
            tier: self.storage_class.as_deref().and_then(tier),
            encryption: self
                .kms_key_name
                .or(self.customer_encryption.map(|_| "customer-supplied AES256".into())),
            ..ObjectMeta::new(key, self.size, version, modified)
        }
    }
}

/// The resource that a `put` sends along. Nothing in it says `contentEncoding`: the service would decompress
/// the object for its readers.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct NewResource<'a> {
    name: &'a str,
    content_type: &'a str,
    cache_control: &'static str,
    metadata: NewMetadata<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    storage_class: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    crc32c: Option<String>,
}

/// The caller's metadata and tags, and the id.
struct NewMetadata<'a> {
    options: &'a PutOptions,
    put_id: &'a str,
}

impl Serialize for NewMetadata<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let own = self.options.metadata.iter().map(|(name, value)| (Cow::from(name), value.as_str()));
        let tag = |name: &str| Cow::from(format!("{TAG}{}", names::encode(name)));
        let tags = self.options.tags.iter().map(|(name, value)| (tag(name), value.as_str()));
        serializer.collect_map(own.chain(tags).chain([(PUT_ID.into(), self.put_id)]))
    }
}

/// Writes the JSON of a new object's resource to the end of `out`.
pub(super) fn new_resource(
    out: &mut Vec<u8>,
    key: &Key,
    options: &PutOptions,
    put_id: &str,
    storage_class: Option<&str>,
    crc32c: Option<u32>,
) -> Result<()> {
    let resource = NewResource {
        name: key.as_str(),
        content_type: options.media_type(),
        cache_control: CACHE,
        metadata: NewMetadata { options, put_id },
        storage_class: options.tier.map(class).or(storage_class),
        crc32c: crc32c.map(checksum_text),
    };
    serde_json::to_writer(out, &resource).map_err(|error| {
        Error::new(ErrorKind::Internal, "the object's description is no JSON").with_source(error)
    })
}

/// Refuses metadata names that are ours, and more than the service has room for.
pub(super) fn fits(options: &PutOptions) -> Result<()> {
    let bad = |message| Err(Error::new(ErrorKind::InvalidInput, message));
    if let Some(name) = options.metadata.keys().find(|name| *name == PUT_ID || name.starts_with(TAG)) {
        return bad(format!("metadata name {name:?} is reserved on Cloud Storage; use another one"));
    }
    let metadata = options.metadata.iter().map(|(name, value)| name.len() + value.len());
    let tags = options.tags.iter().map(|(name, value)| TAG.len() + names::encode(name).len() + value.len());
    let total = metadata.chain(tags).sum::<usize>() + PUT_ID.len() + ulid::ULID_LEN;
    if total > METADATA {
        return bad(format!(
            "tags and metadata: {total} bytes as Cloud Storage keeps them, the limit is {METADATA}; use fewer or shorter tags, in ASCII"
        ));
    }
    Ok(())
}

/// A CRC32C as the API writes it: 4 bytes, big-endian, in base64.
pub(super) fn checksum_text(crc32c: u32) -> String {
    BASE64.encode(crc32c.to_be_bytes())
}

/// The storage class of a tier.
pub(super) fn class(tier: Tier) -> &'static str {
    match tier {
        Tier::Hot => "STANDARD",
        Tier::Cool => "NEARLINE",
        Tier::Cold => "COLDLINE",
        Tier::Archive => "ARCHIVE",
    }
}

/// The tier of a storage class, the old names of `STANDARD` included.
pub(super) fn tier(class: &str) -> Option<Tier> {
    match class {
        "STANDARD" | "REGIONAL" | "MULTI_REGIONAL" | "DURABLE_REDUCED_AVAILABILITY" => Some(Tier::Hot),
        "NEARLINE" => Some(Tier::Cool),
        "COLDLINE" => Some(Tier::Cold),
        "ARCHIVE" => Some(Tier::Archive),
        _ => None,
    }
}
