//! One process: it saves, forks, tags, prunes, takes over, removes, copies, stalls and dies.

use std::{collections::BTreeMap, time::Duration};

use futures_util::TryStreamExt;
use persist::{Digest, Error, ErrorKind, sessions::*};

use super::{Ledger, World, sessions_support::Random};

pub(crate) struct Actor {
    pub(crate) world: World,
    pub(crate) random: Random,
    name: u64,
    pub(crate) sessions: Sessions,
    pub(crate) handle: Option<(String, Session, Vec<u8>)>,
    made: u64,
}

impl Actor {
    pub(crate) fn new(world: World, random: Random, name: u64, sessions: Sessions) -> Self {
        Actor { world, random, name, sessions, handle: None, made: 0 }
    }

    pub(crate) async fn run(mut self, steps: u64) {
        for _ in 0..steps {
            match self.random.below(100) {
                0..=4 => tokio::time::sleep(Duration::from_secs(self.random.below(3 * 3600))).await,
                5..=14 => tokio::time::sleep(Duration::from_secs(self.random.below(900))).await,
                15..=17 => self.handle = None,
                18..=27 => {
                    // Dies in the middle of something, or a caller stops waiting and goes on.
                    let patience = Duration::from_millis(self.random.below(600));
                    if tokio::time::timeout(patience, self.act()).await.is_err() && self.random.below(2) == 0
                    {
                        self.handle = None;
                    }
                }
                _ => self.act().await,
            }
        }
    }

    async fn act(&mut self) {
        if self.handle.is_none() && self.open().await.is_err() {
            self.world.saw("open failed");
            return;
        }
        match self.random.below(100) {
            0..=62 => self.save().await,
            63..=67 => self.fork().await,
            68..=75 => self.tag().await,
            76..=86 => self.prune().await,
            87 => self.take_over().await,
            88 => self.remove().await,
            89..=94 => self.copy().await,
            _ => self.look().await,
        }
    }

    async fn open(&mut self) -> Result<(), Error> {
        let name = {
            let ledger = self.world.ledger.lock().unwrap();
            ledger.sessions[self.random.below(ledger.sessions.len() as u64) as usize].clone()
        };
        let session = self.sessions.session("agent", &name)?;
        let state = match self.random.below(4) {
            // What was found by its number, id or time is what saves continue, also where more has come, or
            // has yet to come.
            3 => match self.somewhere(&name) {
                None => Vec::new(),
                Some((at, archived)) => match session.load(at.clone()).await {
                    Ok(restored) => {
                        self.world.saw(if archived { "began in an import" } else { "began somewhere" });
                        restored.state.to_vec()
                    }
                    Err(error) => return self.expected("load", error),
                },
            },
            // Blind: the first save looks for itself.
            0 => Vec::new(),
            1 => match session.rebase().await? {
                Some(restored) => self.whole(&name, restored),
                None => Vec::new(),
            },
            _ => match session.load(At::Latest).await {
                Ok(restored) => self.whole(&name, restored),
                Err(error) if error.kind() == ErrorKind::NotFound => Vec::new(),
                Err(error) => return self.expected("load", error),
            },
        };
        self.handle = Some((name, session, state));
        Ok(())
    }

    /// A commit that was acknowledged or imported there, and whether it was the latter.
    fn somewhere(&mut self, name: &str) -> Option<(At, bool)> {
        let ledger = self.world.ledger.lock().unwrap();
        let told = ledger.commits.range((name.to_owned(), 0)..=(name.to_owned(), u64::MAX));
        let told = told.map(|((_, seq), (id, _))| (*seq, *id, false));
        let archives = ledger.imports.get(name).into_iter().flatten();
        let archived = archives.flat_map(|archive| &archive.commits).map(|(seq, id, _)| (*seq, *id, true));
        let all: Vec<_> = told.chain(archived).collect();
        let (seq, id, archived) = *all.get(self.random.below(all.len().max(1) as u64) as usize)?;
        let at = match self.random.below(3) {
            0 => At::Id(id),
            1 => At::Time(id.time()),
            _ => At::Seq(seq),
        };
        Some((at, archived))
    }

    /// Fails the test at errors that no schedule may cause.
    pub(crate) fn expected<T>(&self, what: &str, error: Error) -> Result<T, Error> {
        use ErrorKind::{AlreadyExists, Conflict, NotFound, Timeout};
        let fine = matches!(error.kind(), Timeout | Conflict | NotFound | AlreadyExists);
        assert!(fine, "{what}: {error} {:?}", std::error::Error::source(&error));
        Err(error)
    }

    async fn save(&mut self) {
        let Some((name, session, mut state)) = self.handle.clone() else { return };
        let before = session.seen().await;
        self.made += 1;
        if state.len() > 1500 {
            state.drain(..900);
        }
        state.extend_from_slice(format!("[{}:{}]", self.name, self.made).as_bytes());
        for _ in 0..self.random.below(200) {
            state.push(b'a' + (self.random.below(26) as u8));
        }
        loop {
            match session.save(state.clone()).await {
                Ok(commit) => {
                    self.handle = Some((name.clone(), session, state.clone()));
                    self.acknowledged(name, commit, state);
                    return;
                }
                Err(error) if error.kind() == ErrorKind::Conflict => {
                    self.world.saw("conflict");
                    let rival = session.rival().await;
                    assert!(
                        rival.is_none_or(|rival| rival.commit().digest != Digest::of(&state)),
                        "{name}: its own commit was called a rival's"
                    );
                    if error.message().contains("pruned since") {
                        self.world.saw("fenced");
                    }
                    let based = session.rebase().await;
                    // Behind a rebase, too: it goes on with what it was rebased to, once.
                    if error.message().contains("taken over") && session.seen().await == before {
                        self.world.saw("fenced by an owner");
                        self.handle = None;
                        return;
                    }
                    self.handle = match based {
                        Ok(Some(restored)) => Some((name, session, restored.state.to_vec())),
                        _ => None,
                    };
                    return;
                }
                Err(error) => {
                    let _ = self.expected::<()>("save", error);
                    self.world.saw("save unknown");
                    match self.random.below(4) {
                        0 => {}
                        1 => {
                            self.handle = None;
                            return;
                        }
                        // Looks what is there. Where that is what was there before, the same state is still
                        // to be saved.
                        2 => match session.rebase().await {
                            Ok(_) if session.seen().await == before => self.world.saw("rebased to the same"),
                            Ok(newest) => {
                                let newest = newest.map(|restored| restored.state.to_vec());
                                self.handle = Some((name, session, newest.unwrap_or_default()));
                                return;
                            }
                            Err(_) => return,
                        },
                        // Gives up on this state and saves another one behind it.
                        _ => return,
                    }
                }
            }
        }
    }

    fn acknowledged(&self, name: String, commit: Commit, state: Vec<u8>) {
        self.world.saw("saved");
        self.world.acknowledged(&name, commit.seq, commit.id, state);
    }

    /// An acknowledged commit of the session at hand.
    fn any_commit(&mut self) -> Option<(String, u64, Vec<u8>)> {
        let (name, ..) = self.handle.clone()?;
        let ledger = self.world.ledger.lock().unwrap();
        let all: Vec<_> = ledger.commits.iter().filter(|((of, _), _)| *of == name).collect();
        let ((_, seq), (_, state)) = all.get(self.random.below(all.len().max(1) as u64) as usize)?;
        Some((name, *seq, state.clone()))
    }

    async fn fork(&mut self) {
        let Some((name, seq, state)) = self.any_commit() else { return };
        let fork = format!("{name}-{}.{}", self.name, self.random.below(1000));
        if name.len() > 40 {
            return;
        }
        // Others may find it before this caller hears that it is there.
        self.world.ledger.lock().unwrap().sessions.push(fork.clone());
        let (_, session, _) = self.handle.clone().unwrap();
        match session.fork(&fork, seq).await {
            Ok(_) => {
                self.world.saw("forked");
                self.world.ledger.lock().unwrap().forks.insert(fork, (seq, state));
            }
            Err(error) => {
                self.world.saw("fork refused");
                let _ = self.expected::<()>("fork", error);
            }
        }
    }

    async fn tag(&mut self) {
        let Some((name, seq, state)) = self.any_commit() else { return };
        let tag = format!("t{}-{}", self.name, self.random.below(2));
        let (_, session, _) = self.handle.clone().unwrap();
        let entry = (name, tag.clone());
        // Until it is told otherwise the caller knows nothing.
        let before = self.world.ledger.lock().unwrap().tags.remove(&entry);
        if self.random.below(5) == 0 {
            let _ = session.untag(&tag).await;
            return;
        }
        let once = self.random.below(4) == 0;
        let tagged = if once { session.tag(&tag, seq).await } else { session.move_tag(&tag, seq).await };
        match tagged {
            Ok(_) => {
                self.world.saw(if once { "tagged once" } else { "tagged" });
                self.world.ledger.lock().unwrap().tags.insert(entry, state);
            }
            // It is where it was.
            Err(error) if once && error.kind() == ErrorKind::AlreadyExists => {
                let mut ledger = self.world.ledger.lock().unwrap();
                before.map(|before| ledger.tags.insert(entry, before));
            }
            Err(error) => {
                self.world.saw("tag refused");
                let _ = self.expected::<()>("tag", error);
            }
        }
    }

    async fn prune(&mut self) {
        let Some((_, session, _)) = self.handle.clone() else { return };
        let retention = match self.random.below(3) {
            0 => Retention::new().hourly(1 + self.random.below(4)),
            _ => Retention::new().last(1 + self.random.below(3)),
        };
        match session.prune(retention).await {
            Ok(pruned) if pruned.removed.is_empty() => self.world.saw("pruned nothing"),
            Ok(_) => self.world.saw("pruned"),
            Err(error) => {
                self.world.saw("prune stopped");
                let _ = self.expected::<()>("prune", error);
            }
        }
    }

    async fn take_over(&mut self) {
        let Some((name, session, _)) = self.handle.clone() else { return };
        match session.take_over().await {
            Ok(Restored { state, commit, .. }) => {
                self.world.saw("taken over");
                self.handle = Some((name.clone(), session, state.to_vec()));
                self.acknowledged(name, commit, state.to_vec());
            }
            Err(error) => {
                let _ = self.expected::<()>("take over", error);
            }
        }
    }

    async fn remove(&mut self) {
        let Some((name, session, _)) = self.handle.clone() else { return };
        let count = |of: fn(&mut Ledger) -> &mut BTreeMap<String, u64>, by: i64| {
            let mut ledger = self.world.ledger.lock().unwrap();
            let times = of(&mut ledger).entry(name.clone()).or_default();
            *times = times.checked_add_signed(by).unwrap();
        };
        count(|ledger| &mut ledger.removals, 1);
        count(|ledger| &mut ledger.unfinished, 1);
        match session.remove().await {
            Ok(_) => {
                self.world.saw("removed");
                count(|ledger| &mut ledger.unfinished, -1);
            }
            Err(error) => {
                if error.message().contains("was forked from") {
                    self.world.saw("removed with forks");
                    count(|ledger| &mut ledger.removals, -1);
                    count(|ledger| &mut ledger.unfinished, -1);
                }
                let _ = self.expected::<()>("remove", error);
            }
        }
    }

    async fn look(&mut self) {
        let Some((name, seq, state)) = self.any_commit() else { return };
        let (_, session, _) = self.handle.clone().unwrap();
        match self.random.below(6) {
            0 => return self.verify(session).await,
            // As the latest is.
            1 => {
                let future = self.world.sim.now() + Duration::from_secs(86_400);
                match session.load(At::Time(future)).await {
                    Ok(restored) => drop(self.whole(&name, restored)),
                    Err(error) => drop(self.expected::<()>("look ahead", error)),
                }
                return;
            }
            _ => {}
        }
        let id = self.world.ledger.lock().unwrap().commits[&(name.clone(), seq)].0;
        let at = match self.random.below(3) {
            0 => At::Seq(seq),
            1 => At::Id(id),
            _ => At::Time(id.time()),
        };
        match session.load(at.clone()).await {
            // The newest of that time which is left.
            Ok(restored) if matches!(at, At::Time(_)) => {
                self.world.saw("found by time");
                assert!(restored.commit.time <= id.time(), "{name} {at}: it is younger");
            }
            Ok(restored) => {
                assert!(restored.state == state, "{name} {at}: another state");
                if matches!(at, At::Id(_)) {
                    self.world.saw("found by id");
                }
            }
            Err(error) => {
                let _ = self.expected::<()>("look", error);
            }
        }
    }
    /// Nothing was damaged or lost, whatever is under way.
    async fn verify(&self, session: Session) {
        match session.verify().await {
            Ok(verified) => {
                self.world.saw("verified");
                assert!(verified.is_good(), "{session:?}: {verified:?}");
            }
            Err(error) => drop(self.expected::<()>("verify", error)),
        }
        let log: Result<Vec<Commit>, Error> = session.log().try_collect().await;
        if let Err(error) = log {
            let _ = self.expected::<()>("log", error);
        }
    }
}
