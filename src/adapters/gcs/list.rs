//! Listing: pages on demand, in byte order.

use std::collections::VecDeque;

use futures_util::{
    StreamExt,
    stream::{self, BoxStream},
};
use reqwest::Method;

use super::{
    Bucket,
    errors::not_the_services,
    model::{self, Page},
    names,
};
use crate::{Error, ErrorKind, Key, ListEntry, ListOptions, Result, retry::retry_unseen};

/// The service's limit for a page.
const PAGE: usize = 1000;

/// A listing under way.
struct Listing<'a> {
    bucket: &'a Bucket,
    options: ListOptions,
    left: usize,
    rows: VecDeque<ListEntry>,
    /// The name of the last row: a page may repeat a prefix of the page before.
    last: Option<String>,
    next: Next,
}

enum Next {
    First,
    Page(String),
    End,
}

impl Bucket {
    pub(super) fn list(&self, options: ListOptions) -> BoxStream<'_, Result<ListEntry>> {
        let left = options.limit.unwrap_or(usize::MAX);
        let last = options.start_after.clone();
        let listing = Listing { bucket: self, options, left, rows: VecDeque::new(), last, next: Next::First };
        stream::unfold(Some(listing), |state| async move {
            let mut listing = state?;
            match listing.row().await {
                Ok(Some(row)) => Some((Ok(row), Some(listing))),
                Ok(None) => None,
                Err(error) => Some((Err(error), None)),
            }
        })
        .boxed()
    }
}

impl Listing<'_> {
    async fn row(&mut self) -> Result<Option<ListEntry>> {
        if self.left == 0 {
            return Ok(None);
        }
        loop {
            while let Some(row) = self.rows.pop_front() {
                // A prefix comes again with every page that has something of it.
                if self.last.as_deref().is_none_or(|last| row.name() > last) {
                    self.last = Some(row.name().to_owned());
                    self.left -= 1;
                    return Ok(Some(row));
                }
            }
            // A page may be empty and not the last: only the token tells.
            match &self.next {
                Next::End => return Ok(None),
                Next::First => self.fetch(None).await?,
                Next::Page(token) => {
                    let token = token.clone();
                    self.fetch(Some(token)).await?;
                }
            }
        }
    }

    async fn fetch(&mut self, token: Option<String>) -> Result<()> {
        let Listing { bucket, options, .. } = &*self;
        let most = match token {
            // The row at the start offset itself is thrown away.
            None => self.left.saturating_add(usize::from(options.start_after.is_some())).min(PAGE),
            // What is in front are names that are no keys, and there may be many more of them.
            Some(_) => PAGE,
        };
        let fields = format!("kind,items({}),prefixes,nextPageToken", model::FIELDS);
        let call = bucket
            .client
            .request(Method::GET, format!("/storage/v1/b/{}/o", names::encode(&bucket.name)))
            .query("maxResults", most.to_string())
            .query("fields", fields)
            .maybe("prefix", Some(&options.prefix).filter(|prefix| !prefix.is_empty()))
            .maybe("delimiter", options.delimiter.then_some("/"))
            .maybe("startOffset", options.start_after.as_deref())
            .maybe("pageToken", token.as_deref());
        let page = retry_unseen(&bucket.retry, &bucket.client.budget, |_| async {
            let answer = bucket.client.json::<Page>(call.clone()).await;
            let page = match answer {
                Ok((page, _)) if page.is_listing() => Ok(page),
                Ok(_) => Err(not_the_services()),
                Err(failure) => Err(failure.error),
            };
            page.map_err(|error| error.with_backend("gcs").with_operation("list"))
        });
        let page = page.await?;
        self.next = match page.next_page_token {
            Some(next) if Some(&next) == token.as_ref() => return Err(no_further()),
            Some(next) if !next.is_empty() => Next::Page(next),
            _ => Next::End,
        };
        let mut rows = rows(page.items.unwrap_or_default(), page.prefixes.unwrap_or_default());
        if rows.iter().any(|row| !row.name().starts_with(&self.options.prefix)) {
            return Err(unsupported("lists names that were not asked for (prefix)"));
        }
        // `startOffset` is inclusive, and some servers do not know it.
        rows.retain(|row| self.options.start_after.as_deref().is_none_or(|after| row.name() > after));
        if token.is_some() {
            self.check_order(&rows)?;
        }
        self.rows = rows.into();
        Ok(())
    }

    /// Whether a page goes on behind the one before. Only prefixes come again: with every page that has
    /// something of them.
    fn check_order(&self, rows: &[ListEntry]) -> Result<()> {
        let Some(last) = self.last.as_deref() else { return Ok(()) };
        let mut objects = rows.iter().filter(|row| matches!(row, ListEntry::Object(_))).peekable();
        match objects.peek() {
            Some(_) if rows.iter().all(|row| row.name() <= last) => Err(no_further()),
            Some(first) if first.name() < last => Err(unsupported("lists in no order")),
            _ => Ok(()),
        }
    }
}

fn no_further() -> Error {
    unsupported("cannot go on with a listing behind its first page (pageToken)")
}

fn unsupported(what: &str) -> Error {
    Error::new(ErrorKind::Unsupported, format!("the server {what}"))
        .with_backend("gcs")
        .with_operation("list")
}

/// Objects and prefixes in one order. Objects of other tools whose names are no keys are not snapshots, and
/// under prefixes that are none there is none either.
fn rows(items: Vec<model::Resource>, prefixes: Vec<String>) -> Vec<ListEntry> {
    let objects = items.into_iter().filter_map(|item| match Key::new(&item.name) {
        Ok(key) => Some(ListEntry::Object(item.meta(key))),
        Err(_) => {
            // The name may have ids of users, and is none that `Key::logged` takes.
            tracing::debug!(
                bytes = item.name.len(),
                "an object that is no snapshot is left out of the listing"
            );
            None
        }
    });
    let is_key = |prefix: &String| prefix.strip_suffix('/').is_some_and(|name| Key::new(name).is_ok());
    let prefixes = prefixes.into_iter().filter(is_key).map(ListEntry::Prefix);
    let mut rows: Vec<_> = objects.chain(prefixes).collect();
    rows.sort_by(|a, b| a.name().cmp(b.name()));
    rows
}
