//! What gives nothing: seldom is that the state.

use std::{fs, process::Stdio};

use super::harness::{Home, Run};

/// A producer that died before its first byte has not said that the state is empty.
#[test]
fn a_pipe_that_gave_nothing_is_not_saved() {
    let home = Home::new();
    home.save("good", "state");
    home.commits(1);
    for arguments in [
        &["save", "good"][..],
        &["save", "good", "-"],
        &["save", "new"],
        &["session", "save", "a", "s"],
        &["session", "save", "a", "s", "--value", "state=-"],
    ] {
        let run = home.pipe(arguments, "");
        assert_eq!((run.code, run.out.len()), (2, 0), "{arguments:?}: {}", run.err);
        let message = "standard input was empty, nothing is saved; --allow-empty if that is the state";
        assert!(run.err.contains(message), "{arguments:?}: {}", run.err);
    }
    assert_eq!(home.run(&["load", "good"]).text(), "state");
    assert_eq!(home.session(&["log", "a", "s"]).text().lines().count(), 1);
    assert_eq!(home.run(&["load", "new"]).code, 3);
    for arguments in [&["save", "good", "--allow-empty"][..], &["session", "save", "a", "s", "--allow-empty"]]
    {
        assert_eq!(home.pipe(arguments, "").text(), "");
    }
    assert!(home.run(&["load", "good"]).bytes().is_empty());
    // A file says how long it is, named or redirected.
    let file = home.write("empty", "");
    home.run(&["save", "named", file.to_str().unwrap()]).text();
    let redirected = fs::File::open(&file).unwrap();
    let status = home.process().args(["save", "redirected"]).stdin(Stdio::from(redirected)).status();
    assert!(status.unwrap().success());
    assert!(home.run(&["load", "redirected"]).bytes().is_empty());
}

/// What cron, systemd and containers give in place of a FILE that was forgotten.
#[cfg(unix)]
#[test]
fn nothing_is_not_saved_over_a_state() {
    let home = Home::new();
    home.save("good", "state");
    home.commits(1);
    let run = |arguments: &[&str]| -> Run {
        home.process().args(arguments).stdin(Stdio::null()).output().unwrap().into()
    };
    for (arguments, what) in [
        (&["save", "good"][..], "standard input"),
        (&["save", "good", "-"], "standard input"),
        (&["save", "good", "/dev/null"], "/dev/null"),
        (&["session", "save", "a", "s"], "standard input"),
        (&["session", "save", "a", "s", "/dev/null"], "/dev/null"),
        (&["session", "save", "a", "s", "--value", "state=-"], "standard input"),
        (&["session", "save", "a", "s", "--value", "state=/dev/null"], "/dev/null"),
    ] {
        let run = run(arguments);
        let message = format!("{what} was empty, nothing is saved; --allow-empty if that is the state");
        assert!(run.code == 2 && run.err.contains(&message), "{arguments:?}: {} {}", run.code, run.err);
    }
    assert_eq!(home.run(&["load", "good"]).text(), "state");
    assert_eq!(home.session(&["log", "a", "s"]).text().lines().count(), 1);
    for arguments in [&["save", "good", "--allow-empty"][..], &["save", "good", "/dev/null", "--allow-empty"]]
    {
        run(arguments).text();
        assert!(home.run(&["load", "good"]).bytes().is_empty());
    }
}
