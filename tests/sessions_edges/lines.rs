//! What differs between two lines of one history.

use persist::{
    ErrorKind,
    sessions::{At, Change},
};
use serde_json::json;

use super::Bench;

#[tokio::test]
async fn a_fork_is_compared_with_its_main_line() {
    let bench = Bench::new(241);
    let main = bench.session("s");
    main.save(r#"{"plan": [1]}"#).await.unwrap();
    main.save(r#"{"plan": [1, 2]}"#).await.unwrap();
    let fork = main.fork("f", 2).await.unwrap();
    let mine = main.save(r#"{"plan": [1, 2, 3]}"#).await.unwrap();
    let theirs = fork.save(r#"{"plan": [1, 2], "done": true}"#).await.unwrap();
    let changes = main.diff_to(At::Latest, &fork, At::Latest).await.unwrap();
    let removed = Change::Remove { path: "/plan/2".into(), old: json!(3) };
    assert!(changes.contains(&removed), "{changes:?}");
    let added = Change::Add { path: "/done".into(), value: json!(true) };
    assert!(changes.contains(&added), "{changes:?}");
    assert_eq!(changes.len(), 2);
    assert_eq!(main.diff_to(&mine, &fork, &theirs).await.unwrap(), changes);
    // What both have.
    assert!(main.diff_to(2, &fork, 2).await.unwrap().is_empty());
    // Neither line knows the other's commits.
    for (from, to) in [(&mine, &mine), (&theirs, &theirs)] {
        let error = main.diff_to(from, &fork, to).await.unwrap_err();
        assert_eq!((error.kind(), error.operation()), (ErrorKind::NotFound, Some("diff")));
    }
    // To look changes nothing of what the handles continue.
    assert_eq!((main.seen().await, fork.seen().await), (Some(3), Some(3)));
}
