//! What forks are made of in their source, which keeps it for as long as any commit of theirs needs it.

use persist::sessions::{At, Retention, Session};

use super::{Bench, commit_key, sessions_support::noise};

/// A fork of the third of five commits.
async fn forked(bench: &Bench) -> (Session, Session, Vec<u8>) {
    let (source, states) = bench.saved("s", 5).await;
    let fork = source.fork("f", 3).await.unwrap();
    fork.rebase().await.unwrap();
    (source, fork, states[2].clone())
}

/// Saves deltas, each made of the one before it.
async fn grown(fork: &Session, mut state: Vec<u8>, commits: u64) -> Vec<u8> {
    for seed in 0..commits {
        state.extend(noise(seed, 40));
        assert!(!fork.save(state.clone()).await.unwrap().keyframe);
    }
    state
}

/// The source goes over to another keyframe and keeps nothing else by itself.
async fn prune_source(bench: &Bench, source: &Session) {
    source.save(noise(100, 60_000)).await.unwrap();
    bench.hours(100);
    source.prune(Retention::new().last(1)).await.unwrap();
}

#[tokio::test]
async fn a_prune_of_a_fork_whose_commits_need_its_source_does_not_release_that() {
    for commits in [0, 1, 3] {
        let bench = Bench::new(111);
        let (source, fork, state) = forked(&bench).await;
        let state = grown(&fork, state, commits).await;
        bench.hours(100);
        fork.prune(Retention::new().last(1)).await.unwrap();
        prune_source(&bench, &source).await;
        let loaded = bench.session("f").load(At::Latest).await;
        let loaded = loaded.unwrap_or_else(|error| panic!("{commits} commits: {error}"));
        assert!(loaded.state == state, "{commits} commits");
    }
}

#[tokio::test]
async fn a_prune_of_a_fork_whose_newest_is_damaged_does_not_release_its_source() {
    for commits in [1, 2] {
        let bench = Bench::new(112);
        let (source, fork, state) = forked(&bench).await;
        let state = grown(&fork, state, commits).await;
        let whole = bench.damage("f", 3 + commits).await;
        bench.hours(100);
        bench.session("f").prune(Retention::new().last(1)).await.unwrap();
        prune_source(&bench, &source).await;
        bench.set("f", 3 + commits, whole).await;
        let loaded = bench.session("f").load(At::Latest).await;
        let loaded = loaded.unwrap_or_else(|error| panic!("{commits} commits: {error}"));
        assert!(loaded.state == state, "{commits} commits");
    }
}

/// A copy that went astray: even with the same number and the same state it is another commit.
#[tokio::test]
async fn a_delta_is_not_applied_to_a_commit_of_another_session() {
    let bench = Bench::new(113);
    let (session, _) = bench.saved("s", 3).await;
    bench.saved("t", 3).await;
    let astray = bench.adapter.raw(&commit_key("t", 1)).await;
    bench.set("s", 1, astray).await;
    let error = session.load(3).await.unwrap_err();
    assert!(error.to_string().contains("one of the two is of another history"), "{error}");
}
