//! The operation that an error names.

use persist::{
    ErrorKind,
    layers::{Injection, Operation},
    sessions::{At, CommitOptions, Retention},
};

use super::Bench;

/// Logs and metrics go by it.
#[tokio::test]
async fn each_call_says_what_it_could_not_do() {
    let session = Bench::new(90).session("s");
    let latest = || At::Latest;
    let keep = || Retention::new().last(1);
    let failed = [
        ("load", session.load(latest()).await.err()),
        ("load", session.load_stream(latest()).await.err()),
        ("load", session.load_with_fallback(latest()).await.err()),
        ("verify", session.verify().await.err()),
        ("prune", session.prune(keep()).await.err()),
        ("prune", session.prune_dry_run(keep()).await.err()),
        ("export", session.export(&mut Vec::new()).await.err()),
        ("import", session.import(&mut &b""[..]).await.err()),
        ("fork", session.fork("f", latest()).await.err()),
        ("tag", session.tag("t", latest()).await.err()),
        ("tag", session.move_tag("1", latest()).await.err()),
        ("diff", session.diff(1, 2).await.err()),
        ("remove", session.remove().await.err()),
        ("save", session.save_with("x", CommitOptions::new().after(7)).await.err()),
    ];
    for (operation, error) in failed {
        let error = error.unwrap();
        assert_eq!(error.operation(), Some(operation), "{error}");
    }
}

/// Also where it is the second look that fails.
#[tokio::test]
async fn a_load_with_fallback_that_cannot_look_behind_the_damage_is_a_load() {
    let bench = Bench::new(91);
    bench.saved("s", 3).await;
    bench.damage("s", 3).await;
    let (fault, sessions) = bench.faulty();
    fault.inject_later(Operation::List, 1, Injection::Before(ErrorKind::AccessDenied));
    let error = sessions.session("a", "s").unwrap().load_with_fallback(At::Latest).await.unwrap_err();
    assert_eq!((error.kind(), error.operation()), (ErrorKind::AccessDenied, Some("load")), "{error}");
}

/// What finds the damage is no load of the caller's.
#[tokio::test]
async fn damage_that_a_call_meets_on_its_way_bears_the_name_of_that_call() {
    let bench = Bench::new(92);
    bench.saved("s", 3).await;
    bench.damage("s", 3).await;
    let handle = || bench.session("s");
    let failed = [
        ("load", handle().load(At::Latest).await.err()),
        ("load", handle().load_stream(At::Latest).await.err()),
        ("rebase", handle().rebase().await.err()),
        ("take_over", handle().take_over().await.err()),
        ("save", handle().save("x").await.err()),
        ("diff", handle().diff(2, 3).await.err()),
        ("fork", handle().fork("f", At::Latest).await.err()),
    ];
    for (operation, error) in failed {
        let error = error.unwrap();
        assert_eq!((error.kind(), error.operation()), (ErrorKind::Corrupt, Some(operation)), "{error}");
    }
}
