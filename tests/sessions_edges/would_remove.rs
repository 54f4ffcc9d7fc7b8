//! The dry run of a removal says what the removal then does, and writes nothing.

use persist::{
    ErrorKind,
    layers::{Injection, Operation},
    sessions::{At, Pruned, Session},
};

use super::{Bench, half::half, seqs, sessions_support::noise};

/// What a dry run says, and then the removal.
async fn removed(bench: &Bench, session: &Session) -> Pruned {
    let before = (bench.adapter.counts(), bench.adapter.keys().await);
    let would = session.remove_dry_run().await.unwrap();
    let cost = bench.adapter.counts() - before.0;
    assert_eq!((cost.put, cost.delete), (0, 0));
    assert_eq!(bench.adapter.keys().await, before.1);
    assert!(would.dry_run);
    let went = session.remove().await.unwrap();
    assert_eq!(would, {
        let mut went = went.clone();
        went.dry_run = true;
        went
    });
    went
}

#[tokio::test]
async fn a_dry_run_says_what_goes_and_what_is_too_young() {
    let bench = Bench::new(301);
    let (session, _) = bench.saved("s", 3).await;
    bench.hours(5);
    session.save(noise(1, 100)).await.unwrap();
    for at in [2, 4] {
        session.tag(&format!("t-{at}"), at).await.unwrap();
    }
    let went = removed(&bench, &session).await;
    assert_eq!((went.removed, went.kept), (vec![3, 2, 1], 2));
    // Again: what was young is not any more. And once it has begun anew.
    bench.hours(5);
    let went = removed(&bench, &bench.session("s")).await;
    assert_eq!((went.removed, went.kept), (vec![4], 1));
    bench.session("s").save("anew").await.unwrap();
    bench.hours(5);
    let went = removed(&bench, &bench.session("s")).await;
    assert_eq!((went.removed, went.kept), (vec![6, 5], 1));
}

#[tokio::test]
async fn a_dry_run_of_a_fork_of_half_an_import_and_of_damage_says_what_goes() {
    let bench = Bench::new(303);
    let (source, _) = bench.saved("s", 3).await;
    let fork = source.fork("f", 2).await.unwrap();
    fork.save(noise(1, 100)).await.unwrap();
    bench.hours(5);
    assert_eq!(removed(&bench, &fork).await.removed, [3]);
    // The reference of a fork that is gone keeps nothing.
    bench.hours(5);
    bench.damage("s", 3).await;
    assert_eq!(removed(&bench, &bench.session("s")).await.removed, [3, 2, 1]);
    let (bench, ..) = half(305).await;
    bench.hours(5);
    assert_eq!(removed(&bench, &bench.session("copy")).await.removed, [5, 2, 1]);
}

/// Its marker is there, and the tags are, too: they keep nothing, damaged or not.
#[tokio::test]
async fn a_dry_run_behind_a_removal_that_broke_off_says_what_goes() {
    let bench = Bench::new(309);
    bench.saved("s", 3).await;
    bench.hours(5);
    let (fault, sessions) = bench.faulty();
    let session = sessions.session("a", "s").unwrap();
    session.tag("good", 2).await.unwrap();
    fault.inject(Operation::Delete, Injection::Before(ErrorKind::Io));
    assert_eq!(session.remove().await.unwrap_err().kind(), ErrorKind::Io);
    assert_eq!((bench.keys("/s/c/").await.len(), bench.keys("/s/t/").await.len()), (4, 1));
    assert_eq!(removed(&bench, &bench.session("s")).await.removed, [3, 2, 1]);
}

#[tokio::test]
async fn a_dry_run_is_refused_like_the_removal() {
    let bench = Bench::new(307);
    let (session, _) = bench.saved("s", 2).await;
    let fork = session.fork("f", At::Latest).await.unwrap();
    let owner = bench.session("other");
    owner.save("1").await.unwrap();
    let old = bench.session("other");
    old.rebase().await.unwrap();
    owner.take_over().await.unwrap();
    old.rebase().await.unwrap();
    for (session, kind) in [
        (&session, ErrorKind::Conflict),
        (&old, ErrorKind::Conflict),
        (&bench.session("none"), ErrorKind::NotFound),
    ] {
        let would = session.remove_dry_run().await.unwrap_err();
        let error = session.remove().await.unwrap_err();
        assert_eq!((would.kind(), would.to_string()), (kind, error.to_string()));
    }
    // The handle goes on from where it was.
    fork.save("mine").await.unwrap();
    fork.remove_dry_run().await.unwrap();
    fork.save("next").await.unwrap();
    assert_eq!(seqs(&fork).await, [4, 3, 2, 1]);
}
