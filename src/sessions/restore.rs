//! From the objects of a commit's chain to its state: fetched side by side, checked link by link.

use std::collections::HashMap;

use bytes::Bytes;

use super::{
    at::lost,
    delta,
    head::{Base, Link},
    manifest::Manifest,
    names::Place,
    object::{self, Content, Object},
    store::{Part, Slot, Store, all, not_on_line},
    wire::corrupt,
};
use crate::{Body, Digest, Error, ErrorKind, GetOptions, Key, Limits, Result, codec, threads};

/// A state that passed every check, and what a writer needs to go on from it.
#[derive(Debug)]
pub(super) struct Checked {
    pub(super) manifest: Manifest,
    /// Bytes of the commit's own objects.
    pub(super) stored: u64,
    pub(super) base: Base,
}

/// Objects of the chain that was read last.
#[derive(Debug, Default)]
pub(super) struct Cache(HashMap<(Place, u64), Fetched>);

/// One object as it was fetched, and its body where that is an object of its own.
#[derive(Debug, Clone)]
struct Fetched {
    seq: u64,
    key: Key,
    bytes: Bytes,
    body: Option<(Key, Bytes)>,
}

impl Cache {
    /// Holds these alone, of the chain of `newest`, which lies in `place`.
    fn keep<'a>(&mut self, chain: impl Iterator<Item = &'a Fetched>, newest: &Manifest, place: &Place) {
        self.0 = chain.map(|one| ((newest.place_of(one.seq, place), one.seq), one.clone())).collect();
    }
}

impl Store {
    /// The commit `seq` in `place`, whose object was fetched already.
    pub(super) async fn restore(&self, place: &Place, seq: u64, bytes: Bytes) -> Result<Checked> {
        self.restore_cached(place, seq, bytes, &mut Cache::default()).await
    }

    /// As [`restore`](Store::restore), for one commit after the other, in ascending order: `cache` keeps the
    /// objects of the last one's chain.
    pub(super) async fn restore_cached(
        &self,
        place: &Place,
        seq: u64,
        bytes: Bytes,
        cache: &mut Cache,
    ) -> Result<Checked> {
        let key = place.commit(seq)?;
        let total = bytes.len() as u64;
        let manifest = object::at(object::manifest(&bytes, total, seq), &key)?;
        let manifest = manifest.ok_or_else(|| corrupt("it ends early").with_key(&key))?;
        let chain = manifest.chain();
        if chain.last() != Some(&(seq - manifest.depth)) {
            return Err(corrupt("no delta is so far from its keyframe").with_key(&key));
        }
        // One that is damaged or missing does not stop the others: the next commit needs them, too.
        let first = whole_or_not(self.with_body(place.clone(), seq, key.clone(), Some(bytes)));
        let others = chain[1..].iter().map(|&seq| {
            let place = manifest.place_of(seq, place);
            let kept = cache.0.get(&(place.clone(), seq)).cloned();
            whole_or_not(async move {
                match kept {
                    Some(kept) => Ok(kept),
                    None => self.with_body(place.clone(), seq, place.commit(seq)?, None).await,
                }
            })
        });
        let others = all(others.collect());
        let (first, others) = tokio::try_join!(first, others)?;
        let fetched: Vec<Result<Fetched>> = std::iter::once(first).chain(others).collect();
        cache.keep(fetched.iter().flatten(), &manifest, place);
        let fetched = match fetched.into_iter().collect::<Result<Vec<_>>>() {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                return Err(self.missing(place, seq, error).await);
            }
            fetched => fetched?,
        };
        let size = fetched.iter().map(|one| one.bytes.len()).sum::<usize>();
        let (limits, home) = (self.limits, place.clone());
        let work = move || assemble(fetched, &limits, &home);
        threads::run_unless_short(size.max(manifest.size as usize), work).await
    }

    async fn with_body(&self, place: Place, seq: u64, key: Key, bytes: Option<Bytes>) -> Result<Fetched> {
        let bytes = match bytes {
            Some(bytes) => bytes,
            None => match object::at(self.slot(&place, seq, Part::Whole).await, &key)?.0 {
                Slot::Commit(bytes) => bytes,
                Slot::Origin(_) => return Err(corrupt("a fork's origin is no base").with_key(&key)),
            },
        };
        let total = bytes.len() as u64;
        let Some(manifest) = object::at(object::manifest(&bytes, total, seq), &key)? else {
            return Err(corrupt("it ends early").with_key(&key));
        };
        let Some(body) = manifest.body else { return Ok(Fetched { seq, key, bytes, body: None }) };
        let at = place.body(seq, body.id)?;
        let body = if manifest.depth > 0 {
            object::at(self.delta_body(&at, &manifest).await, &at)?
        } else {
            // The streaming codec decodes in parallel.
            let state = object::at(self.open_body(&at, &manifest).await, &at)?;
            object::at(state.collect(u64::MAX).await, &at)?
        };
        Ok(Fetched { seq, key, bytes, body: Some((at, body)) })
    }
}

impl Store {
    /// An object of the chain is gone: either the commit was pruned meanwhile, or somebody deleted what it
    /// needs.
    pub(super) async fn missing(&self, place: &Place, seq: u64, error: Error) -> Error {
        match self.line(place).await {
            Ok((line, _)) if line.has(seq) => match error.key().cloned() {
                Some(key) => match self.confirm_gone(&key).await {
                    Ok(()) => lost(&key).with_source(error),
                    Err(error) => error,
                },
                None => error,
            },
            Ok(_) => not_on_line(seq).with_source(error),
            Err(error) => error,
        }
    }

    /// The body of a delta, in memory, as the state that it gives will be: by the same limit.
    pub(super) async fn delta_body(&self, key: &Key, manifest: &Manifest) -> Result<Bytes> {
        let stored = manifest.body.map_or(0, |body| body.stored);
        let most = stored.max(manifest.size);
        object::at(self.limits.check(most, most), key)?;
        let object = self.adapter.get(key, GetOptions::new()).await?;
        // The limit on expansion is relative to this length.
        if object.meta.size != stored {
            return Err(corrupt("its length is wrong").with_key(key));
        }
        object.body.collect(u64::MAX).await
    }

    /// The state of a keyframe whose body is an object of its own, as a stream.
    pub(super) async fn open_body(&self, key: &Key, manifest: &Manifest) -> Result<Body> {
        object::at(self.limits.check(manifest.body.map_or(0, |body| body.stored), manifest.size), key)?;
        let object = self.adapter.get(key, GetOptions::new()).await?;
        if manifest.body.is_some_and(|body| body.stored != object.meta.size) {
            return Err(corrupt("its length is wrong").with_key(key));
        }
        // A damaged head may turn it into another kind of file, of the same state; that is damage too.
        let body = codec::decode_own(&*self.adapter, key, object, self.limits).await;
        object::at(body.map_err(object::in_our_words), key).map(|body| body.naming(object::in_our_words))
    }
}

/// What damage leaves is a result; any other failure ends a restore at once.
async fn whole_or_not<T>(fetch: impl Future<Output = Result<T>>) -> Result<Result<T>> {
    match fetch.await {
        Err(error) if !matches!(error.kind(), ErrorKind::Corrupt | ErrorKind::NotFound) => Err(error),
        fetched => Ok(fetched),
    }
}

/// Checks and puts together. Newest first.
fn assemble(fetched: Vec<Fetched>, limits: &Limits, home: &Place) -> Result<Checked> {
    let mut chain = Vec::new();
    for Fetched { seq, key, bytes, body } in fetched {
        let mut object = object::at(object::decode(bytes, seq, limits), &key)?;
        let mut at = key;
        if let (Content::Elsewhere, Some((key, body))) = (&object.content, body) {
            object.content = match object.manifest.depth {
                0 => Content::State(body),
                _ => Content::Delta(object::at(delta::decode(body, limits).map_err(object::of_delta), &key)?),
            };
            object.stored += object.manifest.body.map_or(0, |body| body.stored);
            at = key;
        }
        chain.push((object, at));
    }
    linked(&chain)?;
    let all = chain.iter().map(|(object, _)| object.stored).sum();
    let (mut deltas, mut links) = (Vec::new(), std::collections::VecDeque::new());
    let (mut keyframe, mut newest) = (None, None);
    let (mut measured, mut lines) = ((0, 0), Vec::new());
    for (object, key) in chain {
        let Object { manifest, content, stored } = object;
        let copies = match content {
            Content::State(state) => {
                measured = (manifest.size, stored);
                keyframe = Some(state);
                delta::Copies::none(0, manifest.size as usize)
            }
            Content::Delta(delta) => {
                let copies = delta.copies().clone();
                deltas.push(delta);
                copies
            }
            Content::Elsewhere => return Err(corrupt("its body was not read").with_key(&key)),
        };
        let objects = 1 + usize::from(manifest.body.is_some());
        let copies = std::sync::Arc::new(copies);
        links.push_back(Link { seq: manifest.seq, id: manifest.id, stored, objects, copies });
        newest.get_or_insert((manifest, stored, key));
    }
    let Some((keyframe, (manifest, stored, key))) = keyframe.zip(newest) else {
        return Err(corrupt("its chain has no keyframe"));
    };
    deltas.reverse();
    let state =
        object::at(delta::materialize(keyframe, &deltas, all, limits).map_err(object::of_delta), &key)?;
    if state.len() as u64 != manifest.size || Digest::of(&state) != manifest.digest {
        return Err(corrupt("the state's digest is wrong").with_key(&key));
    }
    if manifest.depth > 0 {
        lines.extend(manifest.lines.iter().filter(|line| line.place != *home).cloned());
    }
    Ok(Checked { manifest, stored, base: Base { state, chain: links, measured, lines } })
}

/// Whether each is made of the next one.
fn linked(chain: &[(Object, Key)]) -> Result<()> {
    for pair in chain.windows(2) {
        let [(object, key), (base, _)] = pair else { continue };
        if object.manifest.base != Some(base.manifest.id) {
            // Each is whole by itself. Which of the two was put here from elsewhere is not known; what is
            // certain is that nothing made of the newer one can be restored.
            let (seq, have) = (base.manifest.seq, base.manifest.id);
            let want = object.manifest.base.map_or_else(|| "none".into(), |want| want.to_string());
            let message = format!(
                "it is made of commit {want}, and number {seq} is commit {have}: one of the two is of another history"
            );
            let advice = "load with fallback, or restore both objects from a copy";
            return Err(corrupt(message).with_advice(advice).with_key(key));
        }
    }
    Ok(())
}

#[cfg(test)]
#[path = "restore_tests.rs"]
mod tests;
