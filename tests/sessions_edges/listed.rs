//! Which sessions there are, of many agents.

use std::pin::pin;

use futures_util::{FutureExt, StreamExt, TryStreamExt};
use persist::{
    layers::{Injection, Operation},
    sessions::SessionName,
};

use super::{Bench, hold};

/// Behind one agent whose listing takes long, those of others are under way; the order stays.
#[tokio::test]
async fn agents_are_listed_side_by_side_and_in_order() {
    let bench = Bench::new(231);
    let mut wanted = Vec::new();
    for agent in 10..50 {
        for name in ["one", "two"] {
            wanted.push((format!("agent-{agent}"), name.to_owned()));
            bench.sessions.session(format!("agent-{agent}"), name).unwrap().save("state").await.unwrap();
        }
    }
    let (fault, sessions) = bench.faulty();
    let first = hold(&fault, Operation::List, 1);
    let before = fault.calls(Operation::List);
    let mut listed = pin!(sessions.list(None));
    assert!(listed.next().now_or_never().is_none());
    // That of the agents, and 16.
    assert_eq!(fault.calls(Operation::List) - before, 17);
    first.notify_one();
    let listed: Vec<SessionName> = listed.try_collect().await.unwrap();
    let listed: Vec<_> = listed.into_iter().map(|name| (name.agent, name.session)).collect();
    assert_eq!(listed, wanted);
    assert_eq!(fault.calls(Operation::List) - before, 41);
}

/// What one agent's listing fails with stands in its place.
#[tokio::test]
async fn an_agent_that_cannot_be_listed_hides_no_other() {
    let bench = Bench::new(232);
    for agent in ["a1", "a2", "a3"] {
        bench.sessions.session(agent, "s").unwrap().save("state").await.unwrap();
    }
    let (fault, sessions) = bench.faulty();
    fault.inject_later(Operation::List, 2, Injection::CutAfter(0));
    let rows: Vec<_> = sessions.list(None).map(|row| row.ok().map(|name| name.agent)).collect().await;
    assert_eq!(rows, [Some("a1".to_owned()), None, Some("a3".to_owned())]);
}

/// A request that nobody polls runs into its timeout while the caller works on a session.
#[tokio::test]
async fn behind_a_name_no_listing_is_left_under_way() {
    let bench = Bench::new(233);
    for agent in 10..30 {
        bench.sessions.session(format!("agent-{agent}"), "s").unwrap().save("state").await.unwrap();
    }
    let (fault, sessions) = bench.faulty();
    let last = hold(&fault, Operation::List, 16);
    let mut listed = pin!(sessions.list(None));
    assert!(listed.next().now_or_never().is_none(), "the sixteenth is still under way");
    last.notify_one();
    assert_eq!(listed.next().await.unwrap().unwrap().agent, "agent-10");
}
