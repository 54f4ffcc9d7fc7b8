//! Listings: pages on demand, in order, complete.

use std::time::Duration;

use futures_util::{StreamExt, TryStreamExt};
use persist::{ErrorKind, ListEntry, ListOptions, SnapshotAdapter};
use serde_json::json;

use crate::{
    strict::{Fault, Kind, Rules, Server},
    support::{key, open},
};

async fn names(server: &Server, options: ListOptions) -> Vec<String> {
    let store = open(server).await;
    let rows: Vec<ListEntry> = store.list(options).try_collect().await.unwrap();
    rows.iter().map(|row| row.name().to_owned()).collect()
}

#[tokio::test]
async fn pages_are_followed_over_empty_ones() {
    let server = Server::with(Rules { page: 3, empty_pages: true, ..Rules::default() }).await;
    let all: Vec<String> = (0..10).map(|i| format!("agents/{i}+a b")).collect();
    for name in all.iter().rev() {
        server.state().plant(name, "x");
    }
    assert_eq!(names(&server, ListOptions::new().prefix("agents/")).await, all);
    let pages = server.logged(Kind::List);
    assert_eq!(pages.len(), 8, "four pages with rows, four without");
    assert!(pages[0].query("fields").unwrap().contains("nextPageToken"));
    assert!(pages[1..].iter().all(|page| page.query("pageToken").is_some()));
    server.clean();
}

#[tokio::test]
async fn a_limit_of_one_is_one_request_for_one_row() {
    let server = Server::start().await;
    for name in ["a", "b", "c"] {
        server.state().plant(name, "x");
    }
    assert_eq!(names(&server, ListOptions::new().limit(1)).await, ["a"]);
    assert_eq!(server.logged(Kind::List)[0].query("maxResults"), Some("1"));
    // The offset is inclusive at the service: one row more, still one request.
    assert_eq!(names(&server, ListOptions::new().limit(1).start_after("a")).await, ["b"]);
    assert_eq!(server.logged(Kind::List)[1].query("maxResults"), Some("2"));
    assert_eq!(server.logged(Kind::List)[1].query("startOffset"), Some("a"));
    assert_eq!(server.count(Kind::List), 2);
    // A stream that nobody reads asks for nothing.
    let store = open(&server).await;
    drop(store.list(ListOptions::new()));
    assert_eq!(server.count(Kind::List), 2);
    server.clean();
}

#[tokio::test]
async fn prefixes_and_objects_come_in_one_order_each_once() {
    let server = Server::with(Rules { page: 2, ..Rules::default() }).await;
    for name in ["a", "b/1", "b/2", "b/3", "b/4", "b0", "c/x/y", "c/z", "d"] {
        server.state().plant(name, "x");
    }
    assert_eq!(names(&server, ListOptions::new().delimiter()).await, ["a", "b/", "b0", "c/", "d"]);
    assert_eq!(names(&server, ListOptions::new().delimiter().start_after("b/")).await, ["b0", "c/", "d"]);
    assert_eq!(names(&server, ListOptions::new().delimiter().prefix("c/")).await, ["c/x/", "c/z"]);
    server.clean();
}

#[tokio::test]
async fn objects_whose_names_are_no_keys_are_left_out() {
    let server = Server::start().await;
    for name in ["a", "folder/", "b//c", "d"] {
        server.state().plant(name, "x");
    }
    assert_eq!(names(&server, ListOptions::new()).await, ["a", "d"]);
}

#[tokio::test]
async fn rows_have_what_the_service_lists() {
    let server = Server::start().await;
    let store = open(&server).await;
    let options = persist::PutOptions::new().metadata("a", "b").tag("t", "u");
    let put = store.put(&key("k"), "state".into(), options).await.unwrap();
    let rows: Vec<_> = store.list(ListOptions::new()).collect().await;
    assert_eq!(rows.len(), 1);
    assert_eq!(rows[0].as_ref().unwrap(), &ListEntry::Object(put));
}

#[tokio::test]
async fn a_page_that_fails_is_asked_for_again_or_ends_the_listing_with_an_error() {
    let server = Server::with(Rules { page: 3, ..Rules::default() }).await;
    let all: Vec<String> = (0..10).map(|i| format!("k{i}")).collect();
    for name in &all {
        server.state().plant(name, "x");
    }
    let passing = [Fault::Status(503), Fault::Reset, Fault::Cut(20), Fault::Status(429)];
    server.script(Kind::List, [Fault::Pass].into_iter().chain(passing));
    assert_eq!(names(&server, ListOptions::new().limit(5000)).await, all);
    let pages = server.logged(Kind::List);
    let tokens: Vec<_> = pages.iter().map(|page| page.query("pageToken")).collect();
    assert_eq!((tokens.len(), tokens[0]), (8, None));
    assert!(tokens[1].is_some() && tokens[1..6].iter().all(|token| *token == tokens[1]), "{tokens:?}");
    assert!(pages.iter().all(|page| page.query("maxResults") == Some("1000")), "the limit of a page");
    // What stays is no end of the listing: whoever reads on would take the rest for removed.
    let store = open(&server).await;
    server.script(Kind::List, [Fault::Pass, Fault::Status(403)]);
    let mut rows = store.list(ListOptions::new());
    for name in &all[..3] {
        assert_eq!(rows.next().await.unwrap().unwrap().name(), name);
    }
    assert_eq!(rows.next().await.unwrap().unwrap_err().kind(), ErrorKind::AccessDenied);
    assert!(rows.next().await.is_none());
    server.clean();
}

/// A page as a server gives it that keeps to no rules, with these objects and prefixes.
fn page(objects: &[&str], prefixes: &[&str], token: &str) -> Fault {
    let item = |name: &&str| json!({ "name": name, "size": "1", "generation": "1" });
    let items: Vec<_> = objects.iter().map(item).collect();
    let page = json!({ "items": items, "prefixes": prefixes, "nextPageToken": token });
    Fault::Answer(200, vec![], page.to_string())
}

/// What is left out or comes twice would be taken for removed, and what was not asked for could be removed:
/// each is an error, and none a listing without end.
#[tokio::test]
async fn pages_that_do_not_go_on_end_the_listing_with_an_error() {
    for (pages, given, requests, words) in [
        // The same page again, with the same token, and with others.
        (vec![page(&["p/a", "p/b"], &[], "x"), page(&["p/a", "p/b"], &[], "x")], 2, 2, "(pageToken)"),
        (vec![page(&[], &[], "x"), page(&[], &[], "x")], 0, 2, "(pageToken)"),
        (vec![page(&["p/a"], &[], "x"), page(&["p/a"], &[], "y")], 1, 2, "(pageToken)"),
        (vec![page(&["p/a", "p/b"], &[], "x"), page(&["p/a", "p/b"], &[], "y")], 2, 2, "(pageToken)"),
        // No order across pages.
        (vec![page(&["p/b"], &[], "x"), page(&["p/a", "p/c"], &[], "")], 1, 2, "order"),
        // What was not asked for.
        (vec![page(&["other/a", "p/a"], &[], "")], 0, 1, "(prefix)"),
        (vec![page(&["p/a"], &["other/"], "")], 0, 1, "(prefix)"),
    ] {
        let server = Server::start().await;
        let store = open(&server).await;
        server.script(Kind::List, pages);
        let rows = store.list(ListOptions::new().prefix("p/").delimiter()).collect::<Vec<_>>();
        let mut rows =
            tokio::time::timeout(Duration::from_secs(20), rows).await.expect("a listing without end");
        let error = rows.pop().unwrap().unwrap_err();
        assert_eq!((error.kind(), error.retryable()), (ErrorKind::Unsupported, false), "{error}");
        assert!(error.to_string().contains(words), "{error}");
        assert_eq!((rows.len(), server.count(Kind::List)), (given, requests), "{error}");
    }
}

/// What is before the start is passed over, and a prefix that comes with each of its pages is given once.
#[tokio::test]
async fn pages_may_repeat_a_prefix_and_ignore_the_start() {
    let server = Server::start().await;
    server.script(
        Kind::List,
        [
            page(&["p/a", "p/b"], &[], "1"),
            page(&["p/c"], &[], "2"),
            page(&[], &["p/d/"], "3"),
            page(&[], &["p/d/"], "4"),
            page(&["p/e"], &["p/d/"], ""),
        ],
    );
    let options = ListOptions::new().prefix("p/").delimiter().start_after("p/bb");
    assert_eq!(names(&server, options).await, ["p/c", "p/d/", "p/e"]);
    assert_eq!(server.count(Kind::List), 5);
}

/// Consoles and file systems over buckets write an object for each folder, whose name is no key.
#[tokio::test]
async fn one_row_behind_many_foreign_names_is_few_requests() {
    let server = Server::start().await;
    for folder in 0..1500 {
        server.state().plant(&format!("of/{folder:04}/"), "");
    }
    server.state().plant("of/state", "x");
    assert_eq!(names(&server, ListOptions::new().prefix("of/").limit(1)).await, ["of/state"]);
    assert_eq!(server.count(Kind::List), 3);
    server.clean();
}

/// All that lies under them are no keys either.
#[tokio::test]
async fn prefixes_that_are_no_keys_are_left_out() {
    let server = Server::with(Rules { page: 2, ..Rules::default() }).await;
    for name in ["/x", "a", "a//b", "a/c/d", "b/../c", "b/d"] {
        server.state().plant(name, "x");
    }
    assert_eq!(names(&server, ListOptions::new().delimiter()).await, ["a", "a/", "b/"]);
    assert_eq!(names(&server, ListOptions::new().delimiter().prefix("a/")).await, ["a/c/"]);
    assert_eq!(names(&server, ListOptions::new().delimiter().prefix("b/")).await, ["b/d"]);
}
