//! Long histories and long rows of forks: what is damaged is read once, and what is good is found.

use persist::{
    ErrorKind,
    sessions::{At, Session},
};

use super::{Bench, commit_key, growing};

/// A session of one long chain of deltas, and its last keyframe.
async fn long_run(bench: &Bench, commits: u64) -> (Session, u64) {
    let (session, mut keyframe) = (bench.session("s"), 0);
    for state in growing(3, commits as usize) {
        let commit = session.save(state).await.unwrap();
        keyframe = if commit.keyframe { commit.seq } else { keyframe };
    }
    (session, keyframe)
}

#[tokio::test]
async fn what_hangs_on_a_damaged_keyframe_is_not_fetched_again_for_each_commit() {
    const COMMITS: u64 = 300;
    for is_lost in [true, false] {
        let bench = Bench::new(1);
        let (_, keyframe) = long_run(&bench, COMMITS).await;
        assert!((2..COMMITS / 2).contains(&keyframe), "{keyframe}");
        let _ = if is_lost { bench.lose("s", keyframe).await } else { bench.damage("s", keyframe).await };
        let before = bench.adapter.counts();
        let good = bench.session("s").load_with_fallback(At::Latest).await.unwrap();
        let cost = bench.adapter.counts() - before;
        assert_eq!(good.commit.seq, keyframe - 1);
        // Each is told, with the object that is at fault.
        let skipped: Vec<_> = good.skipped.iter().filter_map(|skipped| skipped.seq).collect();
        let there = if is_lost { keyframe + 1 } else { keyframe };
        assert_eq!(skipped, (there..=COMMITS).rev().collect::<Vec<_>>());
        let key = commit_key("s", keyframe).to_string();
        assert!(good.skipped.iter().all(|skipped| skipped.key.as_ref() == Some(&key)), "{:?}", good.skipped);
        // The chain of the newest twice, and that of the good one.
        assert!(cost.get < 200 && cost.list < 20, "{cost:?}");

        let before = bench.adapter.counts();
        let found = bench.session("s").verify().await.unwrap();
        let cost = bench.adapter.counts() - before;
        assert!(found.good == keyframe - 1 && found.damaged.len() as u64 > COMMITS - keyframe, "{found:?}");
        assert!(cost.get < 4 * COMMITS && cost.list < 2 * COMMITS, "{cost:?}");
    }
}

/// Whatever is damaged, lost, or of another history: no newer commit than what a fallback gives loads by
/// itself.
#[tokio::test]
async fn a_fallback_is_the_newest_that_loads() {
    const COMMITS: u64 = 20;
    let other = Bench::new(3);
    other.session("s").save("another history").await.unwrap();
    for state in growing(9, COMMITS as usize) {
        other.session("s").save(state).await.unwrap();
    }
    for way in ["lost", "manifest", "content", "another history"] {
        for damaged in 1..=COMMITS {
            let bench = Bench::new(2);
            long_run(&bench, COMMITS).await;
            let key = commit_key("s", damaged);
            match way {
                "lost" => drop(bench.lose("s", damaged).await),
                "manifest" => drop(bench.damage("s", damaged).await),
                "content" => bench.adapter.flip(&key, 20).await,
                _ => bench.set("s", damaged, other.adapter.raw(&key).await).await,
            }
            let mut newest = None;
            for seq in (1..=COMMITS).rev() {
                match bench.session("s").load(seq).await {
                    Ok(good) => {
                        newest = Some(good);
                        break;
                    }
                    // One that was lost at the very end was never there.
                    Err(error) => assert!(
                        error.kind() == ErrorKind::Corrupt || (way == "lost" && seq == COMMITS),
                        "{way} {damaged}: {error}"
                    ),
                }
            }
            match (newest, bench.session("s").load_with_fallback(At::Latest).await) {
                (Some(newest), Ok(good)) => {
                    assert_eq!(good.commit.seq, newest.commit.seq, "{way} {damaged}");
                    assert!(good.state == newest.state, "{way} {damaged}");
                }
                (newest, Err(error)) => {
                    assert!(
                        newest.is_none() && error.kind() == ErrorKind::Corrupt,
                        "{way} {damaged}: {error}"
                    );
                }
                (None, Ok(good)) => panic!("{way} {damaged}: {good:?} does not load by itself"),
            }
        }
    }
}

/// Both may be good by themselves, so both are named.
#[tokio::test]
async fn a_commit_of_another_history_is_told_with_what_it_does_not_fit() {
    let (bench, other) = (Bench::new(4), Bench::new(5));
    let mut ids = Vec::new();
    for bench in [&bench, &other] {
        long_run(bench, 2).await;
        ids.push(bench.session("s").show(1).await.unwrap().id.to_string());
    }
    bench.set("s", 2, other.adapter.raw(&commit_key("s", 2)).await).await;
    let error = bench.session("s").load(2).await.unwrap_err();
    assert_eq!((error.kind(), error.key()), (ErrorKind::Corrupt, Some(&commit_key("s", 2))), "{error}");
    for part in ["number 1", &ids[0], &ids[1], "restore both objects"] {
        assert!(error.message().contains(part), "{part}: {error}");
    }
    assert_eq!(bench.session("s").load_with_fallback(2).await.unwrap().commit.seq, 1);
}

#[tokio::test]
async fn forks_of_forks_go_back_to_the_first_however_many_there_are() {
    const DEEP: u64 = 260;
    let bench = Bench::new(6);
    let mut session = bench.session("0");
    let first = session.save("the first").await.unwrap();
    for depth in 1..=DEEP {
        bench.clock.pass(60_000);
        session = session.fork(&depth.to_string(), At::Latest).await.unwrap();
        session.save(super::noise(depth, 3000)).await.unwrap();
    }
    for at in [At::Seq(1), At::Id(first.id), At::Time(first.time)] {
        let last = bench.session(&DEEP.to_string());
        assert_eq!(last.load(at.clone()).await.unwrap().state, "the first", "{at}");
    }
}

/// What no fork makes, and a copy by hand may: each starts from the other.
#[tokio::test]
async fn forks_in_a_circle_are_damage() {
    let bench = Bench::new(7);
    let (one, _) = bench.saved("one", 3).await;
    let two = one.fork("two", 3).await.unwrap();
    bench.clock.pass(60_000);
    two.save("two's").await.unwrap();
    // "three" starts from commit 4 of "two"; its origin comes in place of that of "two".
    two.fork("three", 4).await.unwrap();
    bench.set("two", 1, bench.adapter.raw(&commit_key("three", 1)).await).await;
    for at in [At::Seq(2), At::Time(bench.clock.time() - std::time::Duration::from_secs(100))] {
        let error = bench.session("two").load(at.clone()).await.unwrap_err();
        assert_eq!(
            (error.kind(), error.key()),
            (ErrorKind::Corrupt, Some(&commit_key("two", 1))),
            "{at}: {error}"
        );
    }
    assert_eq!(bench.session("two").load(At::Latest).await.unwrap().state, "two's");
}
