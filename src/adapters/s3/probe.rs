//! What a server can do. Amazon is known; every other server is asked when a bucket is opened first, by
//! deeds: several ignore conditions, tags or storage classes without a word.

use std::{pin::pin, sync::OnceLock, time::Duration};

use aws_sdk_s3::{operation::list_objects_v2::ListObjectsV2Output, types::StorageClass};
use bytes::Bytes;
use futures_util::future::{join, join3, join5};
use tokio::{runtime::Handle, sync::oneshot};

use super::{
    attributes::{Attributes, Stored, confirm},
    bucket::Bucket,
    client::Shared,
    doubt::Doubt,
    errors::KEY_REFUSED,
    fail::{fail, retold},
    names::Backslash,
    server::Server,
    tier,
};
use crate::{
    Capabilities, DeleteOptions, Error, ErrorKind, Key, PutMode, PutOptions, Result, RetryConfig, Tier,
    Version, cleanup,
};

/// Objects of a probe have such a segment, with a ULID behind it; they show in no listing.
const SCRATCH: &str = ".persist-probe-";
/// How long an error of a server that is away waits for the removal, which goes on behind it.
const PATIENCE: Duration = Duration::from_secs(5);

/// Whether a name belongs to a probe.
pub(super) fn is_scratch(name: &str) -> bool {
    let of_probe = |id: &str| id.parse::<ulid::Ulid>().is_ok();
    name.split('/').any(|segment| segment.strip_prefix(SCRATCH).is_some_and(of_probe))
}

/// How far what a probe found goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Scope {
    /// Not behind this adapter: something was out of order for a moment, or not allowed as a whole.
    Once,
    /// To the objects under the same prefix: something was not allowed.
    Prefix,
    /// To the whole server.
    Everywhere,
}

impl Scope {
    fn of<T>(outcome: &Result<T>) -> Scope {
        match outcome {
            Err(error) if error.kind() == ErrorKind::AccessDenied => Scope::Prefix,
            Err(error) if error.retryable() || error.kind() == ErrorKind::Unavailable => Scope::Once,
            _ => Scope::Everywhere,
        }
    }
}

/// Finds out what the server of `bucket` does, with a few objects under `scratch` that are removed again.
///
/// # Errors
/// What stops every use of the bucket: that it does not exist, that the credentials are wrong, that the
/// server cannot be reached, and that it drops the encryption or the storage class that is configured.
/// Credentials that may not write there are no error: such a bucket is taken for one without any conditions.
pub(super) async fn probe(bucket: &Bucket, scratch: &str) -> Result<(Server, Scope)> {
    let folder = format!("{scratch}/{SCRATCH}{}", ulid::Ulid::generate());
    let folder = Key::new(folder.trim_start_matches('/'))?;
    let keys = [folder.join("a-x")?, folder.join("a/x")?, folder.join("a\\x")?];
    // Everything is allowed while it is tried out, and names go out as they are.
    let bucket = Bucket {
        server: Server { amazon: false, names_requests: false, ..Server::amazon() },
        ..bucket.clone()
    };
    let (give, taken) = oneshot::channel();
    // In a task of its own: what it wrote is removed, also where its caller has gone away.
    cleanup::spawn(&Handle::current(), examined(bucket, folder, keys, give));
    taken.await.map_err(|error| {
        fail(ErrorKind::Internal, "the task that probes the server ended early").with_source(error)
    })?
}

async fn examined(
    bucket: Bucket,
    folder: Key,
    keys: [Key; 3],
    mut give: oneshot::Sender<Result<(Server, Scope)>>,
) {
    let wrote = OnceLock::new();
    let outcome = tokio::select! {
        outcome = examine(&bucket, &folder, &keys, &wrote) => outcome,
        () = give.closed() => Err(fail(ErrorKind::Internal, "nobody waits for the probe")),
    };
    // What waits for a server that is away would do so for nothing.
    let away = outcome.as_ref().is_err_and(is_away);
    let patience = match wrote.get() {
        _ if !away => Duration::MAX,
        Some(Wrote::All) => PATIENCE,
        Some(Wrote::Perhaps) | None => Duration::ZERO,
    };
    let mut removal = pin!(async {
        let removed = match wrote.get() {
            None => Ok(()),
            Some(Wrote::Perhaps) => {
                let once = Bucket { retry: RetryConfig::none(), ..bucket.clone() };
                once.delete(&keys[1], DeleteOptions::new()).await
            }
            Some(Wrote::All) => remove(&bucket.cleaning_up(), &keys).await,
        };
        if let Err(error) = removed {
            tracing::warn!(kind = %error.kind(), folder = %folder, "objects of the probe could not be removed");
        }
    });
    let told = match outcome {
        Err(error) if may_not_write(&bucket, &error, wrote.get()) => Ok((Server::unknown(), Scope::Once)),
        Err(error) if error.kind() == ErrorKind::Unsupported && wrote.get().is_none() => {
            let message = format!(
                "{}; if it has no such thing, remove encryption, storage_class, requester_pays and checksums",
                error.message()
            );
            Err(fail(ErrorKind::Unsupported, message).with_operation("open").with_source(error))
        }
        outcome => outcome.map_err(|error| retold(&error, "open")),
    };
    let removed = tokio::time::timeout(patience, &mut removal).await.is_ok();
    drop(give.send(told));
    if !removed {
        removal.await;
    }
}

/// What a probe may have left.
#[derive(Debug, Clone, Copy)]
enum Wrote {
    /// Its first object, whose write was not answered.
    Perhaps,
    All,
}

async fn remove(bucket: &Bucket, [first, second, third]: &[Key; 3]) -> Result<()> {
    let remove = |key| bucket.delete(key, DeleteOptions::new());
    let (a, b, c) = join3(remove(first), remove(second), remove(third)).await;
    // A server that does not have such names refuses the third; then there is none.
    a.and(b).and(c.or_else(|error| if error.kind() == ErrorKind::InvalidInput { Ok(()) } else { Err(error) }))
}

/// Whether it says that these credentials, or all, only read there.
fn may_not_write(bucket: &Bucket, error: &Error, wrote: Option<&Wrote>) -> bool {
    match error.kind() {
        // Who may write, with another key, does not only read.
        ErrorKind::AccessDenied => error.message() != KEY_REFUSED,
        // Mirrors and caches have no PUT at all, or want a name for it.
        ErrorKind::Unsupported => wrote.is_none() && is_plain(&bucket.shared),
        ErrorKind::Unauthenticated => wrote.is_none() && bucket.shared.settings.anonymous,
        _ => false,
    }
}

/// Whether a save asks for nothing that a server could refuse in place of the save.
fn is_plain(shared: &Shared) -> bool {
    let settings = &shared.settings;
    settings.encryption.is_none()
        && settings.storage_class.is_none()
        && settings.payer.is_none()
        && !shared.checksums
}

/// Whether the server is away, or has no time: what is known only after all attempts.
pub(super) fn is_away(error: &Error) -> bool {
    error.retryable() || matches!(error.kind(), ErrorKind::Unavailable | ErrorKind::Timeout)
}

async fn examine(
    bucket: &Bucket,
    folder: &Key,
    [plain, nested, folded]: &[Key; 3],
    wrote: &OnceLock<Wrote>,
) -> Result<(Server, Scope)> {
    let doubt = Doubt::default();
    let plainly = bucket.attributes(&PutOptions::new(), None);
    let first = store(bucket, nested, &PutMode::Overwrite, &plainly, &doubt).await;
    // What was refused, or never arrived, has left nothing.
    if first.is_ok() || doubt.is_open() {
        wrote.get_or_init(|| if first.is_ok() { Wrote::All } else { Wrote::Perhaps });
    }
    confirm(&plainly, &first?)?;
    let put = |key, mode, options| write(bucket, key, mode, options);
    // Tags and classes are things apart: many a server has one and not the other, and credentials may not set
    // tags.
    let cool = PutOptions::new().tier(Tier::Cool);
    let (tagged, mut classed) = join(
        put(plain, PutMode::Overwrite, PutOptions::new().tag("probe", "1")),
        put(folded, PutMode::Overwrite, cool.clone()),
    )
    .await;
    if tagged.is_err() {
        put(plain, PutMode::Overwrite, PutOptions::new()).await?;
    }
    let mut of_folded = Ok(());
    if classed.is_err() {
        of_folded = put(folded, PutMode::Overwrite, PutOptions::new()).await;
        if of_folded.is_err() {
            // It is for its name that it is refused.
            classed = put(nested, PutMode::Overwrite, cool).await;
        }
    }
    let of_class = if of_folded.is_ok() { folded } else { nested };
    // By what is in them, and by HEAD: not all credentials may list.
    let (tags, of_nested, of_class, listed, named) = join5(
        bucket.tags(plain),
        look(bucket, nested),
        look(bucket, of_class),
        rows(bucket, folder),
        names_requests(bucket, folder),
    )
    .await;
    let (of_nested, of_class) = (of_nested?, of_class?);
    let stale = Version::new("00000000000000000000000000000000");
    let (created, replaced) = join(
        put(nested, PutMode::Create, PutOptions::new()),
        put(nested, PutMode::Replace(stale.clone()), PutOptions::new()),
    )
    .await;
    let deleted = bucket.delete(nested, DeleteOptions::new().if_version(stale)).await;

    let seen = if of_nested.is_some() { Scope::Everywhere } else { Scope::Prefix };
    let scopes = [Scope::of(&classed), Scope::of(&tagged), Scope::of(&of_folded), Scope::of(&listed), seen];
    let scopes = scopes.into_iter().chain([Scope::of(&named)]);
    let refusals = [Scope::of(&created), Scope::of(&replaced), Scope::of(&deleted)];
    let of_tags = if tagged.is_ok() { Scope::of(&tags) } else { Scope::Everywhere };
    let scope = scopes.chain(refusals).fold(of_tags, Scope::min);
    let create = refused(created, ErrorKind::AlreadyExists)?;
    let replace = refused(replaced, ErrorKind::Conflict)?;
    let mut capabilities = Capabilities { create, replace, ..Capabilities::default() };
    capabilities.conditional_delete = refused(deleted, ErrorKind::Conflict)?;
    // No probe can show that no race has two winners.
    capabilities.create_large = create && replace && bucket.shared.settings.atomic_multipart == Some(true);
    capabilities.tags = tagged.is_ok() && tags.is_ok_and(|tags| tags.contains_key("probe"));
    capabilities.tiers =
        classed.is_ok() && of_class.as_ref().is_some_and(|it| it.has(&tier::class(Tier::Cool)));
    // On an object of its own: two of the names may be one.
    if let Some(asked) = &bucket.shared.settings.storage_class
        && look(bucket, plain).await?.is_some_and(|it| !it.has(asked))
    {
        return Err(fail(
            ErrorKind::InvalidConfig,
            format!("storage_class: this server does not keep {}; remove the setting", asked.as_str()),
        ));
    }
    let size = of_nested.and_then(|it| it.size).filter(|_| of_folded.is_ok());
    let is = |key: &Key| size == Some(content(key).len() as i64);
    let backslash = if is(nested) {
        Backslash::Kept
    } else if is(folded) {
        Backslash::Folded
    } else {
        // Such names are refused here, or nobody could see what became of one.
        Backslash::Unknown
    };
    let listed = listed.unwrap_or_default();
    let ordered = listed.len() == 2 + usize::from(of_folded.is_ok()) && listed.is_sorted();
    let names_requests = named.unwrap_or_default();
    Ok((Server { amazon: false, capabilities, ordered, backslash, names_requests }, scope))
}

/// What a HEAD tells.
struct Looked {
    /// Not every gateway tells.
    size: Option<i64>,
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
        Ok(head) => Ok(Some(Looked { size: head.content_length(), class: head.storage_class().cloned() })),
        Err(error) if error.kind() == ErrorKind::AccessDenied => Ok(None),
        Err(error) => Err(error),
    }
}

/// Whether refusals have the id of the request: a HEAD's, which has nothing else to show that it is the
/// server's.
async fn names_requests(bucket: &Bucket, folder: &Key) -> Result<bool> {
    let missing = folder.join("missing")?;
    match bucket.retrying(|_| async { Ok(bucket.head_once(&missing).await?) }).await {
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::AccessDenied) => {
            Ok(error.request_id().is_some())
        }
        outcome => outcome.map(|_| false),
    }
}

/// Two names that are one object show it by its content.
fn content(key: &Key) -> &'static str {
    if key.as_str().contains('\\') { "a probe of persist, with a backslash" } else { "a probe of persist" }
}

async fn write(bucket: &Bucket, key: &Key, mode: PutMode, options: PutOptions) -> Result<()> {
    let attributes = bucket.attributes(&options, None);
    let stored = store(bucket, key, &mode, &attributes, &Doubt::default()).await?;
    confirm(&attributes, &stored)
}

async fn store(
    bucket: &Bucket,
    key: &Key,
    mode: &PutMode,
    attributes: &Attributes,
    doubt: &Doubt,
) -> Result<Stored> {
    let body = Bytes::from_static(content(key).as_bytes());
    bucket.retrying(|_| bucket.put_attempt(key, body.clone(), mode, attributes, doubt)).await
}

/// Whether the server refused what it must refuse. Not knowing the condition at all is an answer too; an
/// outage is none.
fn refused(outcome: Result<()>, right: ErrorKind) -> Result<bool, Error> {
    match outcome {
        Ok(()) => Ok(false),
        Err(error) if error.kind() == right => Ok(true),
        Err(error) if error.retryable() => Err(error),
        Err(_) => Ok(false),
    }
}

/// Names under `folder`, in the server's order.
async fn rows(bucket: &Bucket, folder: &Key) -> Result<Vec<String>> {
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
    let rows = page?.contents.unwrap_or_default();
    Ok(rows.into_iter().filter_map(|object| object.key).collect())
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
