//! `persist session`: every command, right and wrong use.

use std::fs;

use serde_json::{Value, json};

use super::harness::{Home, Run, names, noise};

const COMMIT: [&str; 16] = [
    "agent",
    "digest",
    "epoch",
    "id",
    "keyframe",
    "label",
    "metadata",
    "parent",
    "seq",
    "session",
    "size",
    "step",
    "stored_size",
    "time",
    "values",
    "writer",
];

impl Home {
    /// A command with this on standard input.
    pub(crate) fn pipe(&self, arguments: &[&str], input: impl Into<Vec<u8>>) -> Run {
        self.command(arguments).write_stdin(input).output().unwrap().into()
    }

    pub(crate) fn session(&self, arguments: &[&str]) -> Run {
        self.run(&[&["session"], arguments].concat())
    }

    /// Commits of `a/s` with the states `{"step":1}` and so on.
    pub(crate) fn commits(&self, count: u64) {
        for step in 1..=count {
            let state = format!("{{\"step\":{step}}}");
            assert_eq!(self.pipe(&["session", "save", "a", "s"], state).text(), "");
        }
    }

    /// The object of a commit of `a/s`.
    pub(crate) fn object(&self, seq: u64) -> std::path::PathBuf {
        self.store().join(format!("sessions/a/s/c/999999999/{}-{seq}", 999 - seq))
    }
}

/// Runs that go wrong: code and message.
pub(crate) fn refused(home: &Home, runs: &[(&[&str], i32, &str)]) {
    for (arguments, code, message) in runs {
        let run = home.session(arguments);
        assert_eq!((run.code, run.out.len()), (*code, 0), "{arguments:?}: {}", run.err);
        assert!(run.err.contains(message), "{arguments:?}: {}", run.err);
    }
}

#[test]
fn states_come_back_from_files_and_pipes_by_number_time_id_and_tag() {
    let home = Home::new();
    let state = noise(100_000);
    home.pipe(
        &["session", "save", "user@é", "run|1", "--label", "first", "--step", "7", "--metadata", "k=v=w"],
        &state[..],
    )
    .text();
    let file = home.write("two.bin", &state[..90_000]);
    let saved =
        home.session(&["save", "user@é", "run|1", file.to_str().unwrap(), "--expect", "1", "--json"]).rows();
    assert_eq!(names(&saved[0]), COMMIT);
    assert_eq!((&saved[0]["seq"], &saved[0]["size"]), (&json!(2), &json!(90_000)));
    assert!(home.session(&["load", "user@é", "run|1"]).bytes() == state[..90_000]);
    let log = home.session(&["log", "user@é", "run|1", "--json"]).rows();
    assert_eq!(log[0], saved[0]);
    assert_eq!(
        (&log[1]["label"], &log[1]["step"], &log[1]["metadata"]),
        (&json!("first"), &json!(7), &json!({"k": "v=w"}))
    );
    assert_eq!(log[1]["agent"], "user@é");
    home.session(&["tag", "user@é", "run|1", "good", "--at", "1"]).text();
    let [id, time] = ["id", "time"].map(|name| log[1][name].as_str().unwrap());
    for at in ["1", id, "good", "tag:good", time] {
        assert!(home.session(&["load", "user@é", "run|1", "--at", at]).bytes() == state, "{at}");
        assert_eq!(home.session(&["show", "user@é", "run|1", "--at", at, "--json"]).rows(), [log[1].clone()]);
    }
    home.session(&["load", "user@é", "run|1", "--at", "1", "-o", "copy.bin"]).text();
    assert!(fs::read(home.path("copy.bin")).unwrap() == state);
    assert_eq!(home.session(&["ls"]).text(), "user@é\trun|1\n");
    assert_eq!(
        home.session(&["ls", "user@é", "--json"]).rows(),
        [json!({"agent": "user@é", "session": "run|1"})]
    );
    assert_eq!(home.session(&["ls", "nobody"]).text(), "");
}

#[test]
fn what_is_told_about_commits() {
    let home = Home::new();
    home.pipe(
        &["session", "save", "a", "s", "--label", "first try", "--step", "7", "--metadata", "k=v"],
        "{}",
    )
    .text();
    home.commits(2);
    let log = home.session(&["log", "a", "s"]).text();
    let lines: Vec<&str> = log.lines().collect();
    assert!(
        lines.len() == 3 && lines[0].starts_with("       3  ") && lines[2].ends_with("step 7  first try"),
        "{log}"
    );
    assert_eq!(
        home.session(&["log", "a", "s", "--limit", "1"]).text().lines().collect::<Vec<_>>(),
        lines[..1]
    );
    let shown = home.session(&["show", "a", "s", "--at", "1"]).text();
    for line in [
        "commit        1 of a/s",
        "label         first try",
        "step          7",
        "metadata      k=v",
        "size          2 B (2 bytes)",
    ] {
        assert!(shown.lines().any(|shown| shown == line), "{line} in {shown}");
    }
    assert!(!shown.contains("parent") && shown.contains("that gunzip reads"), "{shown}");
}

/// A commit's metadata is read from its own object: what it is made of may be gone.
#[test]
fn show_reads_no_state() {
    let home = Home::new();
    home.pipe(&["session", "save", "a", "s"], noise(50_000)).text();
    home.pipe(&["session", "save", "a", "s"], noise(50_001)).text();
    fs::remove_file(home.object(1)).unwrap();
    assert_eq!(home.session(&["show", "a", "s", "--json"]).rows()[0]["keyframe"], false);
    assert_eq!(home.session(&["load", "a", "s"]).code, 5);
}

#[test]
fn a_writer_that_is_late_is_told() {
    let home = Home::new();
    home.commits(2);
    let run = home.pipe(&["session", "save", "a", "s", "--expect", "1"], "late");
    assert_eq!((run.code, run.out.len()), (4, 0));
    assert_eq!(
        run.err,
        "persist: save: a/s has commit 2 as its newest, not 1; load the newest, then save with --expect and its number\n"
    );
    let run = home.pipe(&["session", "save", "a", "s", "--expect", "0", "--json"], "late");
    assert_eq!((run.code, &run.error()["kind"]), (4, &json!("conflict")));
    assert_eq!(home.pipe(&["session", "save", "a", "s", "--expect", "2"], "next").text(), "");
    assert_eq!(home.pipe(&["session", "save", "a", "new", "--expect", "0"], "first").text(), "");
}

/// Processes that save at the same time: each commit has one winner, and the others hear of it.
#[test]
fn of_many_writers_at_the_same_time_each_is_told_the_truth() {
    let home = Home::new();
    home.commits(1);
    let file = home.write("state", noise(3000)).display().to_string();
    let children: Vec<_> = (0..8)
        .map(|_| {
            let mut process = home.process();
            process.args(["session", "save", "a", "s", &file, "--expect", "1", "--json"]);
            process.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped()).spawn().unwrap()
        })
        .collect();
    let runs: Vec<Run> = children.into_iter().map(|child| child.wait_with_output().unwrap().into()).collect();
    let winners: Vec<&Run> = runs.iter().filter(|run| run.code == 0).collect();
    assert_eq!(winners.len(), 1);
    assert!(runs.iter().all(|run| run.code == 0 || (run.code == 4 && run.error()["kind"] == "conflict")));
    let log = home.session(&["log", "a", "s", "--json"]).rows();
    assert_eq!((log.len(), &log[0]), (2, &winners[0].rows()[0]));
}

#[test]
fn wrong_use_says_what_to_do() {
    let home = Home::new();
    let none = "the session a/s has no commit; save one first, or compare agent, name and storage with `session ls`\n";
    refused(
        &home,
        &[
            (&["load", "a", "s"], 3, none),
            (&["log", "a", "s"], 3, none),
            (&["show", "a", "s"], 3, none),
            (&["tag", "a", "s"], 3, none),
            (&["verify", "a", "s"], 3, none),
            (&["export", "a", "s", "x.tar"], 3, none),
            (&["fork", "a", "s", "t"], 3, none),
            (&["diff", "a", "s", "1"], 3, none),
            (&["prune", "a", "s", "--keep-last", "1"], 3, none),
            (&["load", "a", "s", "--fallback"], 3, none),
            (&["load", "a", "s", "--at", "1"], 3, none),
        ],
    );
    assert!(!home.path("x.tar").exists());
    home.commits(3);
    let file = home.write("state", "{}").display().to_string();
    refused(
        &home,
        &[
            (&["show", "a", "s", "--at", "99"], 3, "there is no commit 99 in a/s; see `session log`"),
            (&["show", "a", "s", "--at", "0"], 2, "commits are numbered from 1"),
            (
                &["load", "a", "s", "--at", "nope"],
                3,
                "there is no tag \"nope\" in a/s; `session tag` lists the tags",
            ),
            (&["load", "a", "s", "--at", "2026-05-14"], 3, "a time is written as 2026-05-14T09:30:00Z"),
            (&["load", "a", "s", "--at", "2026-05-14 09:30:00"], 3, "a time is written as"),
            (&["load", "a", "s", "--at", "09:30"], 3, "a time is written as"),
            (&["load", "a", "s", "--at", ""], 2, "give a number, an id, a tag or a time"),
            (
                &["load", "a", "s", "--at", "2020-01-01T00:00:00Z"],
                3,
                "there is no commit in a/s until time 2020-01-01T00:00:00Z; all are younger",
            ),
            (
                &["load", "a", "s", "--value", "x"],
                3,
                "commit 3 is one state without names; load it without --value",
            ),
            (&["tag", "a", "s", "good", "--at", "99"], 3, "there is no commit 99"),
            (&["save", "a", "s", "nofile"], 2, "the file nofile cannot be read"),
            (&["save", "a", "s", "."], 2, "is a folder"),
            (&["save", "", "s", &file], 2, "the agent is empty; give it a name"),
            (&["save", "a", "s", &file, "--value", "x=y"], 2, "cannot be used with"),
            (&["save", "a", "s", "--value", "x"], 2, "write NAME=FILE"),
            (
                &["save", "a", "s", "--value", "x=-", "--value", "f=a.json", "--value", "y=-"],
                2,
                "standard input can be only one value, not x and y; write one of them to a file",
            ),
            (
                &["save", "a", "s", "--value", "x={\"a\":1}"],
                2,
                "there is no such file; write NAME=FILE, or NAME=-",
            ),
            (&["save", "a", "s", "--metadata", "x"], 2, "write NAME=VALUE"),
            (&["prune", "a", "s"], 2, "no rule says what to keep; give --keep-last"),
            (
                &["prune", "a", "s", "--keep-within", "5y"],
                2,
                "write a number and s, m, h, d or w, such as 36h",
            ),
            (
                &["prune", "a", "s", "--keep-within", "30"],
                2,
                "write a number and s, m, h, d or w, such as 36h",
            ),
            (
                &["prune", "a", "s", "--keep-within", "é"],
                2,
                "write a number and s, m, h, d or w, such as 36h",
            ),
            (&["prune", "a", "s", "--keep-within", "99999999999999999w"], 2, "write a number"),
            (&["import", "b", "s", "nofile"], 2, "the file nofile cannot be read"),
            (&["import", "b", "s", &file], 2, "needs an archive that `session export` wrote; nothing"),
            (&["fork", "a", "s", "s"], 4, "the session a/s exists already; fork to another name"),
        ],
    );
    assert_eq!(home.session(&["ls", "--json"]).rows().len(), 1);
    let run = home.run(&["--storage", "memory://", "session", "load", "a", "s"]);
    assert_eq!(run.code, 3);
}

#[cfg(unix)]
#[test]
fn arguments_that_are_not_utf_8_are_refused() {
    use std::os::unix::ffi::OsStrExt;
    let home = Home::new();
    let run =
        home.command(&["session", "load", "a"]).arg(std::ffi::OsStr::from_bytes(b"\xff")).output().unwrap();
    let run = Run::from(run);
    assert!(run.code == 2 && run.err.contains("invalid UTF-8"), "{}", run.err);
}

#[test]
fn several_values_are_one_commit() {
    let home = Home::new();
    let (state, image) = (home.write("s.json", "{\"n\":1}"), home.write("i.png", noise(3000)));
    let [state, image] =
        [("state", state), ("image", image)].map(|(name, file)| format!("{name}={}", file.display()));
    let save = |more: &[&str]| {
        home.session(&[&["save", "a", "s", "--value", &state, "--value", &image], more].concat())
    };
    let row = save(&["--json"]).rows().remove(0);
    assert_eq!(row["values"], json!([{"name": "state", "size": 7}, {"name": "image", "size": 3000}]));
    assert_eq!(home.session(&["load", "a", "s", "--value", "state"]).text(), "{\"n\":1}");
    assert!(home.session(&["load", "a", "s", "--value", "image"]).bytes() == noise(3000));
    let several = "commit 1 has several values; name one with --value: state, image";
    refused(
        &home,
        &[
            (&["load", "a", "s"], 2, several),
            (&["load", "a", "s", "--fallback"], 2, several),
            (&["load", "a", "s", "-o", "joined"], 2, several),
        ],
    );
    assert!(!home.path("joined").exists());
    assert!(home.session(&["show", "a", "s"]).text().contains("value         image  3.0 kB (3000 bytes)"));
    refused(
        &home,
        &[
            (
                &["load", "a", "s", "--value", "other"],
                3,
                "commit 1 has no value \"other\"; it has state, image",
            ),
            (
                &["save", "a", "s", "--value", &state, "--value", &state],
                2,
                "the value \"state\" is given twice",
            ),
            (
                &["save", "a", "s", "--value", "x=nofile"],
                2,
                "--value x=nofile: there is no such file; write NAME=FILE",
            ),
        ],
    );
    assert_eq!(home.session(&["log", "a", "s", "--json"]).rows().len(), 1);
    // One value is one state, whatever its name.
    home.session(&["save", "a", "one", "--value", &state]).text();
    assert_eq!(home.session(&["load", "a", "one"]).text(), "{\"n\":1}");
}

#[test]
fn forks_and_tags() {
    let home = Home::new();
    home.commits(3);
    assert_eq!(home.session(&["fork", "a", "s", "t", "--at", "2"]).text(), "");
    assert_eq!(
        home.session(&["fork", "a", "s", "u", "--json"]).rows(),
        [json!({"agent": "a", "session": "u"})]
    );
    assert_eq!(home.session(&["load", "a", "t"]).text(), "{\"step\":2}");
    refused(
        &home,
        &[
            (&["export", "a", "t", "x.tar"], 3, "the fork a/t has no commit of its own yet; export a/s"),
            (
                &["tag", "a", "t", "here", "--at", "2"],
                2,
                "commit 2 lies in a/s, which this session was forked from; tag it there",
            ),
        ],
    );
    let saved = home.pipe(&["session", "save", "a", "t", "--json"], "{}").rows();
    assert_eq!(saved[0]["seq"], 3);
    assert_eq!(home.session(&["log", "a", "t"]).text().lines().count(), 3);
    let tagged = home.session(&["tag", "a", "s", "good", "--at", "1", "--json"]).rows();
    assert_eq!((names(&tagged[0]), &tagged[0]["seq"]), (vec!["id", "name", "seq"], &json!(1)));
    // The same again is well; another commit only by force.
    assert_eq!(home.session(&["tag", "a", "s", "good", "--at", "1"]).text(), "");
    let there = "the tag \"good\" names commit 1 already; move it with --force, or choose another name\n";
    refused(&home, &[(&["tag", "a", "s", "good"], 4, there)]);
    assert_eq!(home.session(&["tag", "a", "s", "good", "--force"]).text(), "");
    assert_eq!(home.session(&["tag", "a", "s", "new", "--at", "2", "--force"]).text(), "");
    home.session(&["tag", "a", "s", "new", "--delete"]).text();
    let tags = home.session(&["tag", "a", "s"]).text();
    assert!(tags.starts_with("       3  ") && tags.ends_with("  good\n"), "{tags}");
    home.session(&["tag", "a", "s", "good", "--delete"]).text();
    assert_eq!(home.session(&["tag", "a", "s", "good", "--delete"]).code, 0);
    assert_eq!(home.session(&["tag", "a", "s"]).text(), "");
    assert_eq!(home.session(&["tag", "a", "s", "--delete"]).code, 2);
}

/// Whoever saves on by the number that it knew is told; a new process goes on.
#[test]
fn a_session_is_taken_over() {
    let home = Home::new();
    refused(&home, &[(&["take-over", "a", "s"], 3, "the session a/s has no commit")]);
    home.pipe(&["session", "save", "a", "s", "--label", "first", "--step", "7"], "{}").text();
    let row = home.session(&["take-over", "a", "s", "--json"]).rows().remove(0);
    assert_eq!(names(&row), COMMIT);
    assert_eq!((&row["seq"], &row["epoch"], &row["label"]), (&json!(2), &json!(1), &json!("first")));
    assert_eq!(home.pipe(&["session", "save", "a", "s", "--expect", "1"], "late").code, 4);
    assert_eq!(home.session(&["load", "a", "s"]).text(), "{}");
    assert_eq!(home.session(&["take-over", "a", "s"]).text(), "");
    let saved = home.pipe(&["session", "save", "a", "s", "--expect", "3", "--json"], "next").rows().remove(0);
    assert_eq!((&saved["seq"], &saved["epoch"]), (&json!(4), &json!(2)));
    assert!(home.session(&["show", "a", "s"]).text().contains("epoch         2\n"));
}

#[test]
fn differences_in_terms_of_json() {
    let home = Home::new();
    for state in ["{\"n\":1,\"m\":[\"a\"]}", "{\"n\":2,\"m\":[\"a\",\"b\"]}", "no json"] {
        home.pipe(&["session", "save", "a", "s"], state).text();
    }
    assert_eq!(home.session(&["diff", "a", "s", "1", "2"]).text(), "+ /m/1\t\"b\"\n~ /n\t1 -> 2\n");
    let rows: Vec<Value> = home.session(&["diff", "a", "s", "2", "1", "--json"]).rows();
    assert_eq!(rows[0], json!({"op": "remove", "path": "/m/1", "old": "b"}));
    assert_eq!(rows[1], json!({"op": "replace", "path": "/n", "old": 2, "value": 1}));
    assert_eq!(home.session(&["diff", "a", "s", "1", "1"]).text(), "");
    refused(&home, &[(&["diff", "a", "s", "1"], 2, "diff: commit 3 is intact, but no JSON")]);
}

#[test]
fn an_archive_moves_a_session_through_files_and_pipes() {
    let home = Home::new();
    home.commits(3);
    home.session(&["tag", "a", "s", "good", "--at", "2"]).text();
    let moved = json!({"commits": 3, "tags": 1});
    let rows = home.session(&["export", "a", "s", "x.tar", "--json"]).rows();
    assert_eq!((&rows[0]["commits"], &rows[0]["tags"]), (&moved["commits"], &moved["tags"]));
    let piped = home.session(&["export", "a", "s"]).bytes();
    assert!(piped == fs::read(home.path("x.tar")).unwrap());
    assert_eq!(home.pipe(&["session", "import", "b", "s"], piped.clone()).text(), "");
    assert_eq!(home.session(&["import", "c", "s", "x.tar", "--json"]).rows(), rows);
    for agent in ["b", "c"] {
        assert_eq!(home.session(&["load", agent, "s", "--at", "good"]).text(), "{\"step\":2}");
        assert_eq!(home.session(&["log", agent, "s"]).text(), home.session(&["log", "a", "s"]).text());
    }
    // Not over another session, not from half an archive.
    home.pipe(&["session", "save", "d", "s"], "mine").text();
    refused(
        &home,
        &[(&["import", "d", "s", "x.tar"], 4, "the session d/s exists already; import under another name")],
    );
    assert_eq!(home.session(&["load", "d", "s"]).text(), "mine");
    for len in [100, 600, piped.len() - 700] {
        let run = home.pipe(&["session", "import", "e", "s"], &piped[..len]);
        assert!(run.code == 5 && run.err.contains("the archive cannot be read"), "{len}: {}", run.err);
    }
}
