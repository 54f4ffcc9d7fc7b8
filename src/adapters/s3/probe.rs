//! What a server can do. Amazon is known; every other server is asked once a process and bucket, by deeds: several ignore conditions,
//! tags or storage classes without a word.

use aws_sdk_s3::operation::list_objects_v2::ListObjectsV2Output;
use bytes::Bytes;
use futures_util::future::{join, join3, join4};

use super::bucket::{Bucket, about, fail};
use crate::{Capabilities, DeleteOptions, Error, ErrorKind, Key, PutMode, PutOptions, Result, Tier, Version};

/// What a bucket's server does.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Found {
    /// It is Amazon's.
    pub(super) amazon: bool,
    pub(super) capabilities: Capabilities,
    /// It lists in byte order. One that walks folders gives `a/x` before `a-x`.
    pub(super) ordered: bool,
    /// It takes `\` for `/`.
    pub(super) folds_backslash: bool,
}

impl Found {
    /// Amazon S3, by its documentation.
    pub(super) fn amazon() -> Found {
        Found {
            amazon: true,
            capabilities: Capabilities::default().with_tags().with_tiers(),
            ordered: true,
            folds_backslash: false,
        }
    }

    /// A server that nothing is known about, except that it stores and gives back.
    pub(super) fn unknown() -> Found {
        Found {
            amazon: false,
            capabilities: Capabilities::default().unconditional(),
            ordered: false,
            folds_backslash: false,
        }
    }
}

/// Objects of a probe have such a segment; they show in no listing.
const SCRATCH: &str = ".persist-probe-";

/// Whether a name belongs to a probe.
pub(super) fn is_scratch(name: &str) -> bool {
    name.split('/').any(|segment| segment.starts_with(SCRATCH))
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
    let adorned = PutOptions::new().tag("probe", "1").tier(Tier::Cool);
    let (adorned, odd) =
        join(put(plain, PutMode::Overwrite, adorned), put(folded, PutMode::Overwrite, PutOptions::new()))
            .await;
    odd?;
    // Neither tags nor classes, or no permission for tags.
    if adorned.is_err() && put(plain, PutMode::Overwrite, PutOptions::new().tier(Tier::Cool)).await.is_err() {
        put(plain, PutMode::Overwrite, PutOptions::new()).await?;
    }
    let stale = Version::new("00000000000000000000000000000000");
    let (created, replaced, listed, tags) = join4(
        put(nested, PutMode::Create, PutOptions::new()),
        put(nested, PutMode::Replace(stale.clone()), PutOptions::new()),
        rows(bucket, folder),
        bucket.tags(plain),
    )
    .await;
    let deleted = bucket.delete(nested, DeleteOptions::new().if_version(stale)).await;

    let create = refused(created, ErrorKind::AlreadyExists)?;
    let replace = refused(replaced, ErrorKind::Conflict)?;
    let mut capabilities = Capabilities { create, replace, ..Capabilities::default() };
    capabilities.conditional_delete = refused(deleted, ErrorKind::Conflict)?;
    // No probe can show that no race has two winners.
    capabilities.create_large = create && replace && bucket.shared.settings.atomic_multipart == Some(true);
    capabilities.tags = adorned.is_ok() && tags.is_ok_and(|tags| tags.contains_key("probe"));
    let names: Vec<_> = listed.iter().map(|(name, _)| name.as_str()).collect();
    let wanted = super::tier::class(Tier::Cool);
    capabilities.tiers = listed
        .iter()
        .any(|(name, class)| name == plain.as_str() && class.as_deref() == Some(wanted.as_str()));
    if bucket.shared.settings.storage_class.is_some() && !capabilities.tiers {
        return Err(fail(
            ErrorKind::InvalidConfig,
            "storage_class: this server does not keep storage classes; remove the setting",
        ));
    }
    Ok(Found {
        amazon: false,
        capabilities,
        ordered: names.len() == 3 && names.is_sorted(),
        folds_backslash: names.contains(&nested.as_str()) && !names.contains(&folded.as_str()),
    })
}

async fn write(bucket: &Bucket, key: &Key, mode: PutMode, options: PutOptions) -> Result<()> {
    let attributes = bucket.attributes(&options, None);
    let body = Bytes::from_static(b"a probe of persist");
    let stored =
        bucket.retrying(|failed| bucket.put_attempt(key, body.clone(), &mode, &attributes, failed)).await?;
    super::put::confirm(&attributes, &stored)
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

/// Names and storage classes under `folder`, in the server's order; none where listing is not allowed.
async fn rows(bucket: &Bucket, folder: &Key) -> Vec<(String, Option<String>)> {
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
    let row = |object: aws_sdk_s3::types::Object| {
        Some((object.key?, object.storage_class.map(|class| class.as_str().to_string())))
    };
    rows.into_iter().filter_map(row).collect()
}
