//! Listings in byte order, a page at a time.

use std::collections::{BTreeMap, VecDeque};

use aws_sdk_s3::operation::list_objects_v2::ListObjectsV2Output;
use futures_util::{Stream, stream::try_unfold};

use super::{
    bucket::{Bucket, version},
    head::time,
    names,
    probe::is_scratch,
    tier,
};
use crate::{Error, Key, ListEntry, ListOptions, ObjectMeta, Result};

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
        let page = self.bucket.retrying(|_| self.page()).await?;
        self.token = page.next_continuation_token().map(str::to_string);
        self.ended = page.is_truncated() != Some(true) || self.token.is_none();
        let mut entries = self.entries(page);
        // Objects and prefixes come in two lists.
        entries.sort_by(|a, b| self.arrival(a).cmp(self.arrival(b)));
        if self.bucket.found.ordered {
            self.release(entries);
            return Ok(());
        }
        // A server that walks folders gives `a/x` before `a-b`, which sorts before it. What it gives is sorted by the name up to the
        // next `/`, though: nothing that is still to come sorts before that name of the entry at hand. Everything up
        // to it may go out; the rest is held, at most one top folder.
        for entry in entries {
            let bound = self.arrival(&entry).to_string();
            self.held.insert(entry.name().to_string(), entry);
            let later = self.held.split_off(&format!("{bound}\0"));
            let done = std::mem::replace(&mut self.held, later);
            self.release(done.into_values());
        }
        if self.ended {
            let rest = std::mem::take(&mut self.held);
            self.release(rest.into_values());
        }
        Ok(())
    }

    fn release(&mut self, entries: impl IntoIterator<Item = ListEntry>) {
        let wanted: Vec<_> = entries.into_iter().filter(|entry| self.wanted(entry)).collect();
        self.ready.extend(wanted);
    }

    /// By what a server's pages are sorted: the name, or on servers that walk folders its part up to the first `/` behind the prefix.
    fn arrival<'e>(&self, entry: &'e ListEntry) -> &'e str {
        let name = entry.name();
        if self.bucket.found.ordered {
            return name;
        }
        let start = self.options.prefix.len().min(name.len());
        name[start..].find('/').map_or(name, |slash| &name[..start + slash])
    }

    fn wanted(&self, entry: &ListEntry) -> bool {
        let name = entry.name();
        name.starts_with(&self.options.prefix)
            && self.options.start_after.as_deref().is_none_or(|after| name > after)
            && !is_scratch(name)
    }

    async fn page(&self) -> Result<ListObjectsV2Output, Error> {
        let (bucket, folds) = (self.bucket, self.bucket.found.folds_backslash);
        // Folder walkers skip names that sort behind the start: there the start is found on our side.
        let after = self.options.start_after.as_deref().filter(|_| bucket.found.ordered);
        // One row wanted is one request. Where rows are held back or skipped, small pages would be many.
        let slow = !bucket.found.ordered && (self.token.is_some() || self.options.start_after.is_some());
        let most = if slow { LARGEST_PAGE } else { self.left.min(LARGEST_PAGE) };
        let request = bucket
            .client()
            .list_objects_v2()
            .bucket(&bucket.name)
            .prefix(names::to_server(&self.options.prefix, folds)?)
            .set_start_after(after.map(|after| names::to_server(after, folds)).transpose()?)
            .set_delimiter(self.options.delimiter.then(|| "/".into()))
            .set_continuation_token(self.token.clone())
            .max_keys(most as i32)
            .set_request_payer(bucket.shared.settings.payer.clone());
        Ok(bucket.send("list", bucket.shared.silence_limit(), request.send()).await?)
    }

    /// The rows of a page that are ours to show: what is not a [`Key`] was not written through this crate.
    fn entries(&self, page: ListObjectsV2Output) -> Vec<ListEntry> {
        let folds = self.bucket.found.folds_backslash;
        let objects = page.contents.unwrap_or_default().into_iter().filter_map(|object| {
            let key = Key::new(names::from_server(object.key?, folds)).ok()?;
            let size = object.size.unwrap_or(0).max(0) as u64;
            let class = object.storage_class.as_ref().map(|class| class.as_str().into());
            Some(ListEntry::Object(ObjectMeta {
                tier: Some(tier::of(class.as_ref())),
                ..ObjectMeta::new(
                    key,
                    size,
                    version(object.e_tag.as_deref()),
                    time(object.last_modified.as_ref()),
                )
            }))
        });
        let prefixes = page.common_prefixes.unwrap_or_default().into_iter().filter_map(|common| {
            let name = names::from_server(common.prefix?, folds);
            Key::new(name.strip_suffix('/')?).ok()?;
            Some(ListEntry::Prefix(name))
        });
        objects.chain(prefixes).collect()
    }
}
