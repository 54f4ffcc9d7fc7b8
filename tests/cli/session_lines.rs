//! What a session was forked to and from, and tags that are not there.

use serde_json::json;

use super::{harness::Home, session::refused};

#[test]
fn forks_are_listed_and_shown_with_their_start() {
    let home = Home::new();
    home.commits(2);
    assert_eq!(home.session(&["forks", "a", "s"]).text(), "");
    home.session(&["fork", "a", "s", "one", "--at", "1"]).text();
    home.session(&["fork", "a", "s", "two"]).text();
    assert_eq!(home.session(&["forks", "a", "s"]).text(), "a\tone\na\ttwo\n");
    let rows = home.session(&["forks", "a", "s", "--json"]).rows();
    assert_eq!(rows, [json!({"agent": "a", "session": "one"}), json!({"agent": "a", "session": "two"})]);
    assert_eq!(home.session(&["forks", "a", "two"]).text(), "");
    refused(&home, &[(&["forks", "a", "none"], 3, "the session a/none has no commit")]);

    home.pipe(&["session", "save", "a", "one"], "{\"step\":7}").text();
    let shown = home.session(&["show", "a", "one"]).text();
    assert!(shown.contains("\nsession       a/one, forked from commit 1 of a/s\n"), "{shown}");
    let row = home.session(&["show", "a", "one", "--json"]).rows().remove(0);
    assert_eq!(row["forked_from"], json!({"agent": "a", "session": "s", "seq": 1}));
    let shown = home.session(&["show", "a", "s"]).text();
    assert!(!shown.contains("forked from"), "{shown}");
    assert!(home.session(&["show", "a", "s", "--json"]).rows()[0].get("forked_from").is_none());

    // One that was removed has given its start up.
    home.session(&["rm", "a", "one"]).text();
    assert_eq!(home.session(&["forks", "a", "s"]).text(), "a\ttwo\n");
}

#[test]
fn a_fork_is_compared_with_its_main_line() {
    let home = Home::new();
    home.commits(2);
    home.session(&["fork", "a", "s", "f"]).text();
    home.pipe(&["session", "save", "a", "f"], "{\"step\":2,\"plan\":\"b\"}").text();
    assert_eq!(home.session(&["diff", "a", "s", "2", "--with", "f"]).text(), "+ /plan\t\"b\"\n");
    assert_eq!(home.session(&["diff", "a", "f", "3", "latest", "--with", "s"]).text(), "- /plan\t\"b\"\n");
    refused(
        &home,
        &[
            (&["diff", "a", "s", "2", "3"], 3, "there is no commit 3 in a/s"),
            (&["diff", "a", "s", "2", "--with", "none"], 3, "the session a/none has no commit"),
        ],
    );
}

/// Somebody who misspelt it would keep the commit for ever.
#[test]
fn a_tag_that_is_not_there_is_told() {
    let home = Home::new();
    home.commits(1);
    home.session(&["tag", "a", "s", "good"]).text();
    let told = "there is no tag \"godo\" in a/s; `session tag` lists the tags";
    for form in [&[][..], &["--json"]] {
        let run = home.session(&[&["tag", "a", "s", "godo", "--delete"], form].concat());
        assert_eq!((run.code, run.err), (0, format!("persist: {told}\n")));
    }
    refused(&home, &[(&["tag", "a", "s", "godo", "--delete", "--must-exist"], 3, told)]);
    refused(&home, &[(&["tag", "a", "s", "godo", "--must-exist"], 2, "--delete")]);
    home.session(&["tag", "a", "s", "good", "--delete", "--must-exist"]).text();
    assert_eq!(home.session(&["tag", "a", "s"]).text(), "");
}

/// Nothing of what was before it is needed.
#[test]
fn a_whole_state_is_a_keyframe() {
    let home = Home::new();
    let state = super::harness::noise(5000);
    let save = |state: &[u8], form: &[&str]| {
        let run = home.pipe(&[&["session", "save", "a", "s", "--json"], form].concat(), state);
        run.rows()[0]["keyframe"].clone()
    };
    assert_eq!(save(&state, &[]), true);
    assert_eq!(save(&state[1..], &[]), false);
    assert_eq!(save(&state[2..], &["--whole"]), true);
    let file = home.write("state", &state[3..]);
    let value = format!("v={}", file.display());
    let run = home.session(&["save", "a", "s", "--value", &value, "--whole", "--json"]);
    assert_eq!(run.rows()[0]["keyframe"], true);
}
