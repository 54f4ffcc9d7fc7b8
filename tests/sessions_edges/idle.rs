//! Prunes of sessions in which there is nothing to do: they come back every night.

use std::time::Duration;

use persist::sessions::*;

use super::{
    Bench,
    sessions_support::{Counts, Random, growing, noise},
};

const WINDOW: Duration = Duration::from_secs(3600);

/// What the prune costs, which removes nothing.
async fn cost(bench: &Bench, name: &str, keep: Retention) -> Counts {
    let session = bench.session(name);
    let (would, keys) = (session.prune_dry_run(keep).await.unwrap(), bench.keys("").await);
    let before = bench.adapter.counts();
    let pruned = session.prune(keep).await.unwrap();
    let counts = bench.adapter.counts() - before;
    assert_eq!((pruned.removed.len(), pruned.garbage), (0, 0));
    assert_eq!((pruned.kept, pruned.kept_by), (would.kept, would.kept_by));
    assert_eq!(bench.keys("").await, keys);
    counts
}

#[tokio::test]
async fn a_session_that_was_removed_costs_three_requests() {
    let bench = Bench::new(98);
    let (session, _) = bench.saved("s", 9).await;
    session.remove().await.unwrap();
    bench.hours(30);
    assert_eq!(session.prune(Retention::new().last(1)).await.unwrap().removed.len(), 9);
    for keep in [Retention::new().last(9), Retention::new().daily(1), Retention::new().within(WINDOW)] {
        let three = Counts { list: 1, get: 2, ..Counts::default() };
        assert_eq!(cost(&bench, "s", keep).await, three);
    }
    // It is removed again.
    assert_eq!(session.remove().await.unwrap().kept, 1);
}

#[tokio::test]
async fn a_session_that_nobody_uses_costs_few_requests() {
    let bench = Bench::new(99);
    let session = bench.session("s");
    for seed in 0..6 {
        session.save(noise(seed, 300)).await.unwrap();
        bench.hours(12);
    }
    // It tells `line` of the newest, whose loss would not be noticed else.
    session.prune(Retention::new().last(6)).await.unwrap();
    let few = |get| Counts { list: 1, get, ..Counts::default() };
    assert_eq!(cost(&bench, "s", Retention::new().last(6)).await, few(3), "the newest, the first and `line`");
    assert_eq!(session.prune(Retention::new().last(2).daily(2)).await.unwrap().removed.len(), 4);
    assert_eq!(cost(&bench, "s", Retention::new().last(2).daily(2)).await, few(2), "the newest and `line`");
    // By age it takes the storage's time, and that an announcement.
    assert!(cost(&bench, "s", Retention::new().within(10 * WINDOW * 24)).await.put == 2);
}

/// Whatever there is: it reports what a prune finds that looks at everything.
#[tokio::test]
async fn what_is_told_at_a_glance_is_what_a_closer_look_tells() {
    let (mut glances, mut looks) = (0, 0);
    for seed in 0..400 {
        let (bench, mut random) = (Bench::new(seed), Random(seed));
        let inline = if random.below(4) == 0 { 200 } else { 8 << 20 };
        let sessions = bench.sessions.clone().inline_limit(inline);
        let mut name = "s";
        let mut session = sessions.session("a", name).unwrap();
        let states = growing(seed, 8);
        for n in 0..1 + random.below(7) {
            let seed = seed * 100 + n;
            let state = if random.below(2) == 0 { noise(seed, 400) } else { states[n as usize].clone() };
            if session.save(state).await.is_err() {
                break;
            }
            bench.clock.pass(random.below(20 * 3_600_000));
            match random.below(24) {
                0 => drop(session.tag("t", At::Latest).await),
                1 => drop(session.remove().await),
                2 => bench.adapter.flip(&bench.keys(&format!("/{name}/c/")).await[0], 0).await,
                3 if name == "s" => {
                    if let Ok(fork) = session.fork("fork", At::Latest).await {
                        (name, session) = ("fork", fork);
                    }
                }
                4..8 => drop(session.prune(Retention::new().last(1 + random.below(3))).await),
                _ => {}
            }
        }
        bench.hours(random.below(60));
        if random.below(2) == 0 {
            drop(bench.session(name).prune(Retention::new().last(9)).await);
        }
        if random.below(12) == 0 {
            let keys = bench.keys(&format!("/{name}/c/")).await;
            bench.adapter.remove(&keys[random.below(keys.len() as u64) as usize]).await;
        }
        let keep = match random.below(4) {
            0 => Retention::new().last(1 + random.below(9)),
            1 => Retention::new().daily(1 + random.below(9)),
            2 => Retention::new().last(random.below(2)).hourly(1 + random.below(9)),
            _ => Retention::new().within(WINDOW * random.below(99) as u32),
        };
        let session = bench.session(name);
        let would = session.prune_dry_run(keep).await;
        let before = bench.adapter.counts();
        let pruned = session.prune(keep).await;
        if (bench.adapter.counts() - before).put == 0 && pruned.is_ok() {
            glances += 1;
        } else {
            looks += 1;
        }
        match (would, pruned) {
            (Ok(mut would), Ok(pruned)) => {
                would.dry_run = false;
                assert_eq!(pruned, would, "{seed}");
            }
            (would, pruned) => {
                let kinds = (would.map_err(|error| error.kind()), pruned.map_err(|error| error.kind()));
                assert!(kinds.0.is_err() && kinds.0 == kinds.1, "{seed}: {kinds:?}");
            }
        }
    }
    assert!(glances > 50 && looks > 50, "{glances} {looks}");
}
