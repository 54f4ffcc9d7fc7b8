//! What a caller may ask of a save and a load, and what a save tells.

use crate::{Codec, Digest, Limits, ObjectMeta, PutMode, PutOptions, Version};

/// Options of the `save` family.
#[derive(Debug, Clone, Default, PartialEq)]
#[non_exhaustive]
#[must_use]
pub struct SaveOptions {
    /// The form to write; by default what the deployment configured
    /// ([`Settings::codec`](crate::Settings::codec)).
    pub codec: Option<Codec>,
    /// Condition, metadata, tags and tier of the object.
    pub put: PutOptions,
}

impl SaveOptions {
    /// Overwrite, in the deployment's codec.
    pub fn new() -> Self {
        Self::default()
    }

    /// The form to write.
    pub fn codec(mut self, codec: Codec) -> Self {
        self.codec = Some(codec);
        self
    }

    /// When the save may take effect.
    pub fn mode(mut self, mode: PutMode) -> Self {
        self.put.mode = mode;
        self
    }

    /// Only if the key is free; else `AlreadyExists`.
    pub fn create(self) -> Self {
        self.mode(PutMode::Create)
    }

    /// Only if `version` is still current; else `Conflict`, also where the key is gone.
    pub fn replace(self, version: Version) -> Self {
        self.mode(PutMode::Replace(version))
    }

    /// Adds a key-value pair; its limits are those of [`PutOptions::metadata`].
    pub fn metadata(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.put = self.put.metadata(name, value);
        self
    }

    /// Condition, metadata, tags and tier of the object, **in place of all that was set before**: call it
    /// first.
    pub fn put(mut self, put: PutOptions) -> Self {
        self.put = put;
        self
    }
}

/// Options of the `load` family.
#[derive(Debug, Clone, Default, PartialEq)]
#[non_exhaustive]
#[must_use]
pub struct LoadOptions {
    /// The guard against decompression bombs; by default what the deployment configured
    /// ([`Settings::limits`](crate::Settings::limits)).
    pub limits: Option<Limits>,
    /// Only this version; else `Conflict`.
    pub if_version: Option<Version>,
    /// Only another version; else `NotModified`.
    pub if_not_version: Option<Version>,
    /// Also compare the SHA-256 that the snapshot carries. Off by default: the checksums of the segments find
    /// damage already, and this one costs as much time as all the rest of a load.
    pub verify_digest: bool,
}

impl LoadOptions {
    /// Any version, default limits.
    pub fn new() -> Self {
        Self::default()
    }

    /// The guard against decompression bombs.
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = Some(limits);
        self
    }

    /// Only this version; else `Conflict`.
    pub fn if_version(mut self, version: Version) -> Self {
        self.if_version = Some(version);
        self
    }

    /// Only another version; else `NotModified`.
    pub fn if_not_version(mut self, version: Version) -> Self {
        self.if_not_version = Some(version);
        self
    }

    /// Also compare the SHA-256 that the snapshot carries.
    pub fn verify_digest(mut self) -> Self {
        self.verify_digest = true;
        self
    }
}

/// What a save did.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Saved {
    /// The stored object; `meta.size` is its size after compression.
    pub meta: ObjectMeta,
    /// The state's size before compression, in bytes.
    pub size: u64,
    /// The state's SHA-256.
    pub digest: Digest,
    /// The form that was written.
    pub codec: Codec,
}
