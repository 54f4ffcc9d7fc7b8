//! Listings in byte order, a page at a time.

use std::collections::{BTreeMap, VecDeque};

use aws_sdk_s3::{operation::list_objects_v2::ListObjectsV2Output, types::EncodingType};
use futures_util::{
    Stream, StreamExt, TryStreamExt,
    stream::{self, try_unfold},
};

use super::{
    attributes::time,
    bucket::{Bucket, version},
    fail::fail,
    names,
    probe::is_scratch,
    tier,
};
use crate::{Error, ErrorKind, Key, ListEntry, ListOptions, ObjectMeta, Result};

/// S3's own bound for a page.
const LARGEST_PAGE: usize = 1000;

impl Bucket {
    pub(super) fn list(&self, options: ListOptions) -> impl Stream<Item = Result<ListEntry>> + Send + '_ {
        let listing = Listing {
            bucket: self,
            left: options.limit.unwrap_or(usize::MAX),
            options,
            ready: VecDeque::new(),
            held: BTreeMap::new(),
            token: None,
            ended: false,
        };
        try_unfold(listing, |mut listing| async move {
            let next = listing.next().await.map_err(|error| error.with_operation("list"))?;
            Ok(next.map(|entry| (entry, listing)))
        })
    }
}

struct Listing<'a> {
    bucket: &'a Bucket,
    options: ListOptions,
    left: usize,
    /// What may be given out, in order.
    ready: VecDeque<ListEntry>,
    /// What waits for names that come before it.
    held: BTreeMap<String, ListEntry>,
    token: Option<String>,
    ended: bool,
}

impl Listing<'_> {
    async fn next(&mut self) -> Result<Option<ListEntry>> {
        if self.left == 0 {
            return Ok(None);
        }
        while self.ready.is_empty() && !self.ended {
            self.fetch().await?;
        }
        let entry = self.ready.pop_front();
        if entry.is_some() {
            self.left -= 1;
        }
        Ok(entry)
    }

    async fn fetch(&mut self) -> Result<()> {
        let page = self.bucket.retrying_unseen(|_| self.page()).await?;
        let token = page.next_continuation_token().map(str::to_string);
        self.ended = page.is_truncated() != Some(true);
        if !self.ended && (token.is_none() || token == self.token) {
            return Err(fail(
                ErrorKind::Unsupported,
                "the server cannot go on with a listing behind its first page (ListObjectsV2, NextContinuationToken)",
            ));
        }
        self.token = token;
        let mut rows = self.rows(page);
        if self.bucket.server.ordered {
            // Objects and prefixes come in two lists.
            rows.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
            self.release(rows.into_iter().map(|(_, entry)| entry));
            return Ok(());
        }
        // A server that walks folders gives `a/x` before `a-b`, which sorts before it. What it gives is
        // sorted by the name up to the next `/`, though: nothing that is still to come sorts before that part
        // of the last name. Everything up to it may go out; the rest, at most one top folder, is held.
        let last = rows.iter().map(|(name, _)| self.top(name)).max();
        let bound = last.map(|top| names::lower_bound(top, self.bucket.server.backslash));
        self.held.extend(
            self.without_empty(rows).await?.into_iter().map(|entry| (entry.name().to_string(), entry)),
        );
        let later = match bound {
            _ if self.ended => BTreeMap::new(),
            Some(bound) => self.held.split_off(&format!("{bound}\0")),
            // A page without a row of ours says nothing of what is still to come.
            None => std::mem::take(&mut self.held),
        };
        let done = std::mem::replace(&mut self.held, later);
        self.release(done.into_values());
        Ok(())
    }

    fn release(&mut self, entries: impl Iterator<Item = ListEntry>) {
        let wanted: Vec<_> = entries.filter(|entry| self.wanted(entry)).collect();
        self.ready.extend(wanted);
    }

    /// A server's name up to the first `/` behind the prefix.
    fn top<'n>(&self, name: &'n str) -> &'n str {
        let prefix = names::to_server(&self.options.prefix, self.bucket.server.backslash);
        let rest = name.strip_prefix(&prefix).unwrap_or_default();
        rest.find('/').map_or(name, |slash| &name[..prefix.len() + slash])
    }

    /// Servers that walk folders show folders in which nothing is left: each is looked into.
    async fn without_empty(&self, rows: Vec<(String, ListEntry)>) -> Result<Vec<ListEntry>> {
        let checked = rows.into_iter().map(|(name, entry)| async move {
            match entry {
                ListEntry::Prefix(_) if self.is_empty(&name).await? => Ok(None),
                entry => Ok::<_, Error>(Some(entry)),
            }
        });
        stream::iter(checked).buffered(8).try_filter_map(|entry| async { Ok(entry) }).try_collect().await
    }

    async fn is_empty(&self, prefix: &str) -> Result<bool> {
        let bucket = self.bucket;
        let page = bucket
            .retrying_unseen(|_| async {
                let request =
                    bucket.client().list_objects_v2().bucket(&bucket.name).prefix(prefix).max_keys(1);
                let request = request.set_request_payer(bucket.shared.settings.payer.clone());
                Ok(bucket.send("list", bucket.shared.silence_limit(), request.send()).await?)
            })
            .await?;
        Ok(page.contents().is_empty())
    }

    fn wanted(&self, entry: &ListEntry) -> bool {
        let name = entry.name();
        name.starts_with(&self.options.prefix)
            && self.options.start_after.as_deref().is_none_or(|after| name > after)
            && !is_scratch(name)
    }

    async fn page(&self) -> Result<ListObjectsV2Output, Error> {
        let bucket = self.bucket;
        // Folder walkers skip names that sort behind the start: there the start is found on our side.
        let after = self.options.start_after.as_deref().filter(|_| bucket.server.ordered);
        // Everything with the prefix is behind a name that sorts before it, and Garage lists nothing then.
        let after = after.filter(|after| *after >= self.options.prefix.as_str());
        // One row wanted is one request. Where rows are held back or skipped, or the first page had too few,
        // small pages would be many.
        let slow = self.token.is_some() || (!bucket.server.ordered && self.options.start_after.is_some());
        let most = if slow { LARGEST_PAGE } else { self.left.min(LARGEST_PAGE) };
        let request = bucket
            .client()
            .list_objects_v2()
            .bucket(&bucket.name)
            .prefix(names::to_server(&self.options.prefix, bucket.server.backslash))
            .set_start_after(after.map(str::to_string))
            .set_delimiter(self.options.delimiter.then(|| "/".into()))
            .set_continuation_token(self.token.clone())
            .max_keys(most as i32)
            // XML cannot hold every character of a name. Not every server encodes as Amazon does.
            .set_encoding_type(bucket.server.amazon.then_some(EncodingType::Url))
            .set_request_payer(bucket.shared.settings.payer.clone());
        Ok(bucket.send("list", bucket.shared.silence_limit(), request.send()).await?)
    }

    /// The rows of a page that are ours to show, with the server's names for them. What is not a [`Key`] was
    /// not written through this crate.
    fn rows(&self, page: ListObjectsV2Output) -> Vec<(String, ListEntry)> {
        let backslash = self.bucket.server.backslash;
        let encoded = self.bucket.server.amazon && page.encoding_type == Some(EncodingType::Url);
        let plain = |name: String| if encoded { decoded(&name) } else { name };
        let objects = page.contents.unwrap_or_default().into_iter().filter_map(|object| {
            let name = plain(object.key?);
            let key = Key::new(names::from_server(&name, backslash)).ok()?;
            let size = object.size.unwrap_or(0).max(0) as u64;
            let class = object.storage_class.as_ref().map(|class| class.as_str().into());
            let meta = ObjectMeta {
                tier: Some(tier::of(class.as_ref())),
                ..ObjectMeta::new(
                    key,
                    size,
                    version(object.e_tag.as_deref()),
                    time(object.last_modified.as_ref()),
                )
            };
            Some((name, ListEntry::Object(meta)))
        });
        let prefixes = page.common_prefixes.unwrap_or_default().into_iter().filter_map(|common| {
            let name = plain(common.prefix?);
            let prefix = names::from_server(&name, backslash);
            Key::new(prefix.strip_suffix('/')?).ok()?;
            Some((name, ListEntry::Prefix(prefix)))
        });
        objects.chain(prefixes).collect()
    }
}

/// A name out of a listing with `encoding-type=url`, which is that of forms.
pub(super) fn decoded(name: &str) -> String {
    // Amazon encodes these two as well; what is left of them is no end of the name.
    let name = name.replace('&', "%26").replace('=', "%3D");
    url::form_urlencoded::parse(name.as_bytes()).map(|(name, _)| name.into_owned()).next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::decoded;

    #[test]
    fn names_are_decoded() {
        for (encoded, name) in [
            ("agents/42/state.json.gz", "agents/42/state.json.gz"),
            ("a+b%2Bc%252B%26d%3De", "a b+c%2B&d=e"),
            ("a&b=c", "a&b=c"),
            ("%C3%A9/%EF%BF%BE%01", "é/\u{fffe}\u{1}"),
            ("", ""),
        ] {
            assert_eq!(decoded(encoded), name);
        }
    }
}
