//! Work on all sessions of a storage.

use futures_util::TryStreamExt;
use persist::{ErrorKind, sessions::*};

use super::{Bench, sessions_support::noise};

/// One that fails is a row, and the others are done.
#[tokio::test]
async fn all_sessions_are_pruned_and_verified_whatever_one_fails_with() {
    let bench = Bench::new(94);
    let names: Vec<String> = (10..30).map(|n| format!("s{n}")).collect();
    for name in &names {
        for seed in 0..3 {
            bench.session(name).save(noise(seed, 300)).await.unwrap();
        }
    }
    bench.session("s12").tag("kept", 1).await.unwrap();
    let tag = bench.adapter.key("/t/").await;
    bench.adapter.flip(&tag, 8).await;
    bench.hours(5);
    let rows: Vec<_> =
        bench.sessions.prune_all(Retention::new().last(1), Some("a")).try_collect().await.unwrap();
    let listed: Vec<_> = rows.iter().map(|(name, _)| name.session.clone()).collect();
    assert_eq!(listed, names);
    for (name, pruned) in rows {
        match pruned {
            Ok(pruned) => assert_eq!(pruned.removed, [2, 1]),
            Err(error) => assert_eq!((name.session.as_str(), error.kind()), ("s12", ErrorKind::Corrupt)),
        }
    }
    let rows: Vec<_> = bench.sessions.verify_all(None).try_collect().await.unwrap();
    assert_eq!(rows.len(), names.len());
    for (name, verified) in rows {
        assert_eq!(verified.unwrap().is_good(), name.session != "s12");
    }
    assert!(bench.sessions.prune_all(Retention::new(), Some("nobody")).try_next().await.unwrap().is_none());
}
