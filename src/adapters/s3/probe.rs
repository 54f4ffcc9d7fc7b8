//! What a server can do. Amazon is known; every other server is asked once a process and bucket, by deeds: several ignore conditions,
//! tags or storage classes without a word.

use aws_sdk_s3::{operation::list_objects_v2::ListObjectsV2Output, types::StorageClass};
use bytes::Bytes;
use futures_util::future::{join, join3, join4};

use super::{
    attributes::confirm,
    bucket::Bucket,
    fail::{about, fail},
    found::Found,
    names::Backslash,
    tier,
};
use crate::{Capabilities, DeleteOptions, Error, ErrorKind, Key, PutMode, PutOptions, Result, Tier, Version};

/// Objects of a probe have such a segment, with a ULID behind it; they show in no listing.
const SCRATCH: &str = ".persist-probe-";

/// Whether a name belongs to a probe.
pub(super) fn is_scratch(name: &str) -> bool {
    let of_probe = |id: &str| id.parse::<ulid::Ulid>().is_ok();
    name.split('/').any(|segment| segment.strip_prefix(SCRATCH).is_some_and(of_probe))
}

/// Finds out what the server of `bucket` does, with a few objects under `scratch` that are removed again.
///
/// # Errors
/// What stops every use of the bucket: that it does not exist, that the credentials are wrong, that the server cannot be reached, and
/// that it drops the encryption or the storage class that is configured. Credentials that may not write there are no error: such
/// a bucket is taken for one without any conditions.
pub(super) async fn probe(bucket: &Bucket, scratch: &str) -> Result<Found> {
    let folder = format!("{scratch}/{SCRATCH}{}", ulid::Ulid::generate());
    let folder = Key::new(folder.trim_start_matches('/'))?;
    // Everything is allowed while it is tried out, and names go out as they are.
    let bucket = Bucket { found: Found { amazon: false, ..Found::amazon() }, ..bucket.clone() };
    let keys = [folder.join("a-x")?, folder.join("a/x")?, folder.join("a\\x")?];
    let outcome = examine(&bucket, &folder, &keys).await;
    let [first, second, third] = &keys;
    let remove = |key| bucket.delete(key, DeleteOptions::new());
    let (a, b, c) = join3(remove(first), remove(second), remove(third)).await;
    if let Err(error) = a.and(b).and(c)
        && outcome.is_ok()
    {
        tracing::warn!(kind = %error.kind(), folder = %folder, "objects of the probe could not be removed");
    }
    match outcome {
        Err(error) if error.kind() == ErrorKind::AccessDenied => Ok(Found::unknown()),
        outcome => outcome.map_err(|error| about(error, "open", &folder)),
    }
}

async fn examine(bucket: &Bucket, folder: &Key, [plain, nested, folded]: &[Key; 3]) -> Result<Found> {
    let put = |key, mode, options| write(bucket, key, mode, options);
    put(nested, PutMode::Overwrite, PutOptions::new()).await?;
    // Tags and classes are things apart: many a server has one and not the other, and credentials may not set tags.
    let (tagged, classed) = join(
        put(plain, PutMode::Overwrite, PutOptions::new().tag("probe", "1")),
        put(folded, PutMode::Overwrite, PutOptions::new().tier(Tier::Cool)),
    )
    .await;
    if tagged.is_err() {
        put(plain, PutMode::Overwrite, PutOptions::new()).await?;
    }
    if classed.is_err() {
        put(folded, PutMode::Overwrite, PutOptions::new()).await?;
    }
    // By what is in them, and by HEAD: not all credentials may list.
    let (tags, of_nested, of_folded, listed) =
        join4(bucket.tags(plain), look(bucket, nested), look(bucket, folded), rows(bucket, folder)).await;
    let (of_nested, of_folded) = (of_nested?, of_folded?);
    let stale = Version::new("00000000000000000000000000000000");
    let (created, replaced) = join(
        put(nested, PutMode::Create, PutOptions::new()),
        put(nested, PutMode::Replace(stale.clone()), PutOptions::new()),
    )
    .await;
    let deleted = bucket.delete(nested, DeleteOptions::new().if_version(stale)).await;

    let create = refused(created, ErrorKind::AlreadyExists)?;
    let replace = refused(replaced, ErrorKind::Conflict)?;
    let mut capabilities = Capabilities { create, replace, ..Capabilities::default() };
    capabilities.conditional_delete = refused(deleted, ErrorKind::Conflict)?;
    // No probe can show that no race has two winners.
    capabilities.create_large = create && replace && bucket.shared.settings.atomic_multipart == Some(true);
    capabilities.tags = tagged.is_ok() && tags.is_ok_and(|tags| tags.contains_key("probe"));
    capabilities.tiers =
        classed.is_ok() && of_folded.as_ref().is_some_and(|it| it.has(&tier::class(Tier::Cool)));
    // On an object of its own: two of the names may be one.
    if let Some(asked) = &bucket.shared.settings.storage_class
        && look(bucket, plain).await?.is_some_and(|it| !it.has(asked))
    {
        return Err(fail(
            ErrorKind::InvalidConfig,
            format!("storage_class: this server does not keep {}; remove the setting", asked.as_str()),
        ));
    }
    let backslash = match of_nested {
        None => Backslash::Unknown,
        Some(nested_is) if nested_is.size == content(nested).len() as u64 => Backslash::Kept,
        Some(_) => Backslash::Folded,
    };
    Ok(Found { amazon: false, capabilities, ordered: listed.len() == 3 && listed.is_sorted(), backslash })
}

/// What a HEAD tells.
struct Looked {
    size: u64,
    class: Option<StorageClass>,
}

impl Looked {
    /// Servers name none for their standard.
    fn has(&self, class: &StorageClass) -> bool {
        self.class.as_ref().unwrap_or(&StorageClass::Standard) == class
    }
}

/// An object of the probe. `None`: these credentials may not look at it.
async fn look(bucket: &Bucket, key: &Key) -> Result<Option<Looked>> {
    match bucket.retrying(|_| async { Ok(bucket.head_once(key).await?) }).await {
        Ok(head) => Ok(Some(Looked {
            size: head.content_length().unwrap_or(0).max(0) as u64,
            class: head.storage_class().cloned(),
        })),
        Err(error) if error.kind() == ErrorKind::AccessDenied => Ok(None),
        Err(error) => Err(error),
    }
}

/// Two names that are one object show it by its content.
fn content(key: &Key) -> &'static str {
    if key.as_str().contains('\\') { "a probe of persist, with a backslash" } else { "a probe of persist" }
}

async fn write(bucket: &Bucket, key: &Key, mode: PutMode, options: PutOptions) -> Result<()> {
    let attributes = bucket.attributes(&options, None);
    let body = Bytes::from_static(content(key).as_bytes());
    let stored =
        bucket.retrying(|failed| bucket.put_attempt(key, body.clone(), &mode, &attributes, failed)).await?;
    confirm(&attributes, &stored)
}

/// Whether the server refused what it must refuse. Not knowing the condition at all is an answer too; an outage is none.
fn refused(outcome: Result<()>, right: ErrorKind) -> Result<bool, Error> {
    match outcome {
        Ok(()) => Ok(false),
        Err(error) if error.kind() == right => Ok(true),
        Err(error) if error.retryable() => Err(error),
        Err(_) => Ok(false),
    }
}

/// Names under `folder`, in the server's order; none where listing is not allowed.
async fn rows(bucket: &Bucket, folder: &Key) -> Vec<String> {
    let page: Result<ListObjectsV2Output> = bucket
        .retrying(|_| async {
            let request = bucket
                .client()
                .list_objects_v2()
                .bucket(&bucket.name)
                .prefix(format!("{folder}/"))
                .set_request_payer(bucket.shared.settings.payer.clone());
            Ok(bucket.send("list", bucket.shared.silence_limit(), request.send()).await?)
        })
        .await;
    let rows = page.ok().and_then(|page| page.contents).unwrap_or_default();
    rows.into_iter().filter_map(|object| object.key).collect()
}

#[cfg(test)]
mod tests {
    use super::{SCRATCH, is_scratch};

    #[test]
    fn users_may_have_names_like_ours() {
        let ours = format!("agents/{SCRATCH}{}/a-x", ulid::Ulid::generate());
        assert!(is_scratch(&ours));
        for name in
            ["agents/.persist-probe-/state", "agents/.persist-probe-results/state", "a.persist-probe-x"]
        {
            assert!(!is_scratch(name), "{name}");
        }
    }
}
