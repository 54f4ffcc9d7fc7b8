//! A storage in simulated time that loses answers, delays requests and lets them arrive after their sender is
//! gone.
//!
//! It keeps the history of every key, so that a test knows what really happened.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex},
    time::{Duration, SystemTime},
};

use async_trait::async_trait;
use futures_util::{StreamExt, stream, stream::BoxStream};
use persist::{sessions::Clock, *};
use tokio::time::Instant;

use super::Random;

/// When the simulation starts.
const START: Duration = Duration::from_secs(1_700_000_000);

/// One life of a key.
#[derive(Debug, Clone)]
pub(crate) struct Life {
    pub(crate) bytes: bytes::Bytes,
    pub(crate) from: SystemTime,
    pub(crate) to: Option<SystemTime>,
}

#[derive(Debug)]
struct State {
    objects: BTreeMap<Key, (bytes::Bytes, Version, SystemTime)>,
    lives: BTreeMap<Key, Vec<Life>>,
    writes: u64,
    random: Random,
    calm: bool,
}

#[derive(Debug, Clone)]
pub(crate) struct Sim {
    state: Arc<Mutex<State>>,
    started: Instant,
}

/// What the simulation does to one request.
struct Fate {
    before: Duration,
    after: Duration,
    /// The sender hears of a timeout instead of the answer.
    lost: bool,
    /// The request is never carried out.
    dropped: bool,
}

impl Sim {
    pub(crate) fn new(seed: u64) -> Self {
        let state = State {
            objects: BTreeMap::new(),
            lives: BTreeMap::new(),
            writes: 0,
            random: Random(seed),
            calm: false,
        };
        Sim { state: Arc::new(Mutex::new(state)), started: Instant::now() }
    }

    /// No more faults and delays.
    pub(crate) fn calm(&self) {
        self.state.lock().unwrap().calm = true;
    }

    pub(crate) fn now(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH + START + self.started.elapsed()
    }

    pub(crate) fn lives(&self, key: &str) -> Vec<Life> {
        self.state.lock().unwrap().lives.get(key).cloned().unwrap_or_default()
    }

    pub(crate) fn keys(&self) -> Vec<Key> {
        self.state.lock().unwrap().objects.keys().cloned().collect()
    }

    /// Changes the last byte of an object. Gives what it was.
    pub(crate) fn damage(&self, key: &str) -> bytes::Bytes {
        let whole = self.state.lock().unwrap().objects[&Key::new(key).unwrap()].0.clone();
        let mut bad = whole.to_vec();
        *bad.last_mut().unwrap() ^= 1;
        self.repair(key, bad.into());
        whole
    }

    /// Puts other bytes in place of an object's, unnoticed by all that it says of itself.
    pub(crate) fn repair(&self, key: &str, bytes: bytes::Bytes) {
        let mut state = self.state.lock().unwrap();
        state.objects.get_mut(&Key::new(key).unwrap()).unwrap().0 = bytes;
    }

    /// Removes an object, as something else than persist does, until it is put back.
    pub(crate) fn lose(&self, key: &str) -> (bytes::Bytes, Version, SystemTime) {
        self.state.lock().unwrap().objects.remove(&Key::new(key).unwrap()).unwrap()
    }

    pub(crate) fn put_back(&self, key: &str, object: (bytes::Bytes, Version, SystemTime)) {
        self.state.lock().unwrap().objects.insert(Key::new(key).unwrap(), object);
    }

    fn fate(&self) -> Fate {
        let mut state = self.state.lock().unwrap();
        let calm = state.calm;
        let random = &mut state.random;
        let mut delay = || {
            Duration::from_millis(match random.below(200) {
                _ if calm => 1,
                // A process that is stopped, a network that is down.
                0 => random.below(3 * 3_600_000),
                1..=3 => random.below(120_000),
                _ => random.below(200),
            })
        };
        let (before, after) = (delay(), delay());
        let fault = random.below(100);
        Fate { before, after, lost: !calm && fault < 4, dropped: !calm && fault < 1 }
    }

    /// Carries a request out, also if the sender does not wait for it.
    async fn request<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut State, SystemTime) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let (fate, sim) = (self.fate(), self.clone());
        let Fate { before, after, lost, dropped } = fate;
        let carried = tokio::spawn(async move {
            tokio::time::sleep(before).await;
            // Stores count in seconds.
            let now = SystemTime::UNIX_EPOCH + Duration::from_secs((START + sim.started.elapsed()).as_secs());
            if dropped { None } else { Some(work(&mut sim.state.lock().unwrap(), now)) }
        });
        if lost {
            // Sometimes before it arrives, sometimes behind.
            tokio::time::sleep(if after < before { after } else { before + after }).await;
            return Err(Error::new(ErrorKind::Timeout, "no answer came"));
        }
        let result =
            carried.await.unwrap().unwrap_or_else(|| Err(Error::new(ErrorKind::Timeout, "no answer came")));
        tokio::time::sleep(after).await;
        result
    }
}

fn meta(key: &Key, (bytes, version, modified): &(bytes::Bytes, Version, SystemTime)) -> ObjectMeta {
    ObjectMeta::new(key.clone(), bytes.len() as u64, version.clone(), *modified)
}

fn none(key: &Key) -> Error {
    Error::new(ErrorKind::NotFound, "there is no snapshot").with_key(key)
}

#[async_trait]
impl SnapshotAdapter for Sim {
    fn capabilities(&self) -> Capabilities {
        Capabilities::default()
    }

    async fn put(&self, key: &Key, body: Body, options: PutOptions) -> Result<ObjectMeta> {
        let (key, bytes) = (key.clone(), body.collect(u64::MAX).await?);
        self.request(move |state, now| {
            match (&options.mode, state.objects.get(&key)) {
                (PutMode::Create, Some(_)) => {
                    return Err(Error::new(ErrorKind::AlreadyExists, "taken").with_key(&key));
                }
                (PutMode::Replace(version), found) if found.map(|found| &found.1) != Some(version) => {
                    return Err(Error::new(ErrorKind::Conflict, "replaced").with_key(&key));
                }
                _ => {}
            }
            state.writes += 1;
            let object = (bytes.clone(), Version::new(state.writes.to_string()), now);
            let meta = meta(&key, &object);
            let life = Life { bytes, from: now, to: None };
            let replaced = state.objects.insert(key.clone(), object).is_some();
            match state.lives.entry(key).or_default() {
                lives if replaced => *lives.last_mut().unwrap() = life,
                lives => lives.push(life),
            }
            Ok(meta)
        })
        .await
    }

    async fn get(&self, key: &Key, options: GetOptions) -> Result<Object> {
        let key = key.clone();
        self.request(move |state, _| {
            let found = state.objects.get(&key).ok_or_else(|| none(&key))?;
            let size = found.0.len() as u64;
            let range = options.range.map_or(Ok(0..size), |range| range.resolve(size))?;
            let body = Body::from(found.0.slice(range.start as usize..range.end as usize));
            Ok(Object::new(meta(&key, found), range, body))
        })
        .await
    }

    async fn head(&self, key: &Key) -> Result<ObjectMeta> {
        let key = key.clone();
        self.request(move |state, _| {
            state.objects.get(&key).map(|found| meta(&key, found)).ok_or_else(|| none(&key))
        })
        .await
    }

    async fn delete(&self, key: &Key, options: DeleteOptions) -> Result<()> {
        let key = key.clone();
        self.request(move |state, now| {
            let Some(found) = state.objects.get(&key) else { return Ok(()) };
            if options.if_version.is_some_and(|version| version != found.1) {
                return Err(Error::new(ErrorKind::Conflict, "replaced").with_key(&key));
            }
            state.objects.remove(&key);
            state.lives.get_mut(&key).unwrap().last_mut().unwrap().to = Some(now);
            Ok(())
        })
        .await
    }

    fn list(&self, options: ListOptions) -> BoxStream<'_, Result<ListEntry>> {
        let rows = self.request(move |state, _| {
            let rows = state.objects.iter().filter(|(key, _)| {
                key.as_str().starts_with(&options.prefix)
                    && options.start_after.as_ref().is_none_or(|after| key.as_str() > after.as_str())
            });
            let rows = rows.map(|(key, object)| Ok(ListEntry::Object(meta(key, object))));
            Ok(rows.take(options.limit.unwrap_or(usize::MAX)).collect::<Vec<_>>())
        });
        stream::once(rows)
            .flat_map(|rows| stream::iter(rows.unwrap_or_else(|error| vec![Err(error)])))
            .boxed()
    }

    async fn set_tier(&self, _: &Key, _: Tier) -> Result<()> {
        Err(Error::new(ErrorKind::Unsupported, "no tiers"))
    }
}

impl fmt::Display for Sim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("sim://")
    }
}

/// The simulation's time, as one machine sees it.
#[derive(Debug)]
pub(crate) struct SimClock {
    pub(crate) sim: Sim,
    pub(crate) ahead: Duration,
    pub(crate) behind: Duration,
    pub(crate) random: Mutex<Random>,
}

impl Clock for SimClock {
    fn now(&self) -> SystemTime {
        self.sim.now() + self.ahead - self.behind
    }

    fn monotonic(&self) -> Duration {
        self.sim.started.elapsed()
    }

    fn random(&self) -> u128 {
        let mut random = self.random.lock().unwrap();
        u128::from(random.next()) << 64 | u128::from(random.next())
    }
}
