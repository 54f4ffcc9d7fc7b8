//! What people do by mistake, and what they are told.

use std::{fs, process::Stdio};

use serde_json::json;

use super::harness::{Home, Run, noise};

/// Runs that go wrong: code, and the whole of standard error.
fn told(home: &Home, runs: &[(&[&str], i32, &str)]) {
    for (arguments, code, message) in runs {
        let run = home.run(arguments);
        assert_eq!((run.code, run.err.as_str(), run.out.len()), (*code, *message, 0), "{arguments:?}");
    }
}

#[test]
fn verify_all_tells_its_sum_and_does_not_call_nothing_well() {
    let home = Home::new();
    let none = format!(
        "persist: there is nothing to verify in file://{}; is it the right storage?\n",
        home.store().display()
    );
    told(&home, &[(&["verify", "--all"], 3, &none)]);
    assert_eq!(home.run(&["verify", "--all", "--json"]).error()["kind"], "not_found");
    home.save("a", "state");
    assert_eq!(home.run(&["verify", "--all"]).text(), "all well: 1 snapshot, 0 sessions\n");
    home.save("b", "state");
    home.commits(1);
    assert_eq!(home.run(&["verify", "--all"]).text(), "all well: 2 snapshots, 1 session\n");
    let sum = |rows: Vec<serde_json::Value>| rows.last().unwrap().clone();
    let rows = home.run(&["verify", "--all", "--json"]).rows();
    assert_eq!(sum(rows), json!({"ok": true, "snapshots": 2, "sessions": 1}));
    fs::write(home.store().join("b"), b"\x1f\x8b damaged").unwrap();
    let rows = home.run(&["verify", "--all", "--json"]).rows();
    assert_eq!(sum(rows), json!({"ok": false, "snapshots": 2, "sessions": 1}));
    let run = home.run(&["verify", "--all"]);
    assert!(run.code == 5 && !String::from_utf8(run.out).unwrap().contains("all well"));
    // Of one snapshot the error says all; with --json the row is there as well.
    let run = home.run(&["verify", "b"]);
    assert_eq!((run.code, run.out.len(), run.err.matches("damaged").count()), (5, 0, 1), "{}", run.err);
}

/// Without one of its objects a session is another one, and nobody would notice.
#[test]
fn the_objects_of_a_session_are_not_removed_one_by_one() {
    let home = Home::new();
    home.commits(2);
    home.session(&["tag", "a", "s", "good", "--at", "1"]).text();
    let file = home.write("state", "{}").display().to_string();
    let keys = home.keys();
    assert_eq!(keys.len(), 3);
    for key in &keys {
        for (arguments, command) in [
            (&["rm", key.as_str()][..], "`persist session rm`"),
            (&["save", key, &file], "`persist session save`"),
        ] {
            let run = home.run(arguments);
            assert_eq!((run.code, run.out.len()), (2, 0), "{arguments:?}: {}", run.err);
            assert!(
                run.err.contains("is part of the session a/s; ") && run.err.contains(command),
                "{}",
                run.err
            );
        }
    }
    assert_eq!(home.keys(), keys);
    // A copy puts an object back, and names beside sessions are anybody's.
    fs::copy(home.object(2), home.write("copy", "")).unwrap();
    let copy = format!("file://{}", home.path("copy").display());
    fs::remove_file(home.object(2)).unwrap();
    home.run(&["cp", &copy, "sessions/a/s/c/999999999/997-2"]).text();
    assert_eq!(home.session(&["verify", "a", "s"]).text(), "good: 2 commits, 20 B of states; damaged: 0\n");
    home.save("sessions/a/notes", "state");
    home.run(&["rm", "sessions/a/notes"]).text();
}

#[test]
fn paths_in_place_of_keys() {
    let home = Home::new();
    home.save("a", "state");
    let hint = |path: &str| {
        format!(
            "persist: {path:?} is no key, because it starts with `/`; for this disk's own write file://{path}\n"
        )
    };
    let (file, folder) = (hint("/backup/a.gz"), hint("/backup/"));
    let beginning = |text: &str| {
        format!("persist: no key starts with {text:?}: there is no `//` in it and no segment `.` or `..`\n")
    };
    told(
        &home,
        &[
            (&["load", "/backup/a.gz"], 2, &file),
            (&["stat", "/backup/a.gz"], 2, &file),
            (&["cp", "a", "/backup/a.gz"], 2, &file),
            (&["cp", "-r", "", "/backup/"], 2, &folder),
            (&["ls", "/backup/"], 2, &folder),
            (&["ls", "../"], 2, &beginning("../")),
            (&["ls", "a//b"], 2, &beginning("a//b")),
            (&["ls", "./a"], 2, &beginning("./a")),
        ],
    );
    // What a name may begin with is none of that.
    for prefix in ["a/.", "..a", "a/..", "a/", "-"] {
        assert_eq!(home.run(&["ls", "--", prefix]).text(), "", "{prefix}");
    }
}

/// Told "removed 0", a script takes it for done.
#[test]
fn folders_that_no_snapshot_can_lie_in() {
    let home = Home::new();
    home.save("agents/42/state.json.gz", "state");
    for folder in [".", "..", "agents/.", "agents/./"] {
        for arguments in
            [&["rm", "-r", folder][..], &["cp", "-r", folder, "x"], &["cp", "-r", "agents", folder]]
        {
            let run = home.run(arguments);
            assert_eq!((run.code, run.out.len()), (2, 0), "{arguments:?}: {}", run.err);
        }
    }
    let run = home.run(&["rm", "-r", "agents/42/state.json.gz"]);
    assert!(run.code == 2 && run.err.contains("remove it without --recursive"), "{}", run.err);
    assert_eq!(home.keys(), ["agents/42/state.json.gz"]);
}

#[test]
fn folders_in_place_of_files() {
    let home = Home::new();
    let folder = home.path("").display().to_string();
    let run = home.session(&["import", "a", "s", &folder]);
    assert!(run.code == 2 && run.err.contains(&format!("{folder} is a folder; ")), "{}", run.err);
}

/// As in a container that may have no more processes.
#[cfg(target_os = "linux")]
#[test]
fn no_thread_to_be_had() {
    use std::os::unix::{fs::MetadataExt, process::CommandExt};
    let home = Home::new();
    let mut command = home.program("prlimit");
    command.env("PATH", "/usr/bin:/bin").args(["--nproc=1", "--"]).arg(env!("CARGO_BIN_EXE_persist"));
    command.args(["ls", "--json"]).current_dir("/");
    // The limit does not hold for root; and nobody else's processes count.
    if fs::metadata("/proc/self").unwrap().uid() == 0 {
        let user = 20_000 + std::process::id() % 40_000;
        command.uid(user).gid(user);
    }
    let run = Run::from(command.output().unwrap());
    assert_eq!((run.code, run.out.len()), (1, 0), "{}", run.err);
    assert!(
        run.error()["message"].as_str().unwrap().starts_with("no thread can be started; "),
        "{}",
        run.err
    );
}

#[test]
fn pairs_that_are_given_twice_or_are_the_formats_own() {
    let home = Home::new();
    let file = home.write("state", "{}").display().to_string();
    let twice = |what: &str| format!("persist: --{what} run is given twice; give it one value\n");
    let (metadata, tag) = (twice("metadata"), twice("tag"));
    let reserved =
        "persist: metadata name \"persist-codec\" is reserved; use one that does not begin with persist-\n";
    told(
        &home,
        &[
            (&["save", "a", &file, "--metadata", "run=1", "--metadata", "run=2"], 2, &metadata),
            (&["save", "a", &file, "--tag", "run=1", "--tag", "run=1"], 2, &tag),
            (
                &["session", "save", "a", "s", &file, "--metadata", "run=1", "--metadata", "run=2"],
                2,
                &metadata,
            ),
            (&["save", "a", &file, "--metadata", "persist-codec=x"], 2, reserved),
        ],
    );
    assert_eq!(home.keys(), [""; 0]);
}

#[test]
fn numbers_and_versions_that_are_none() {
    let home = Home::new();
    home.commits(2);
    for (arguments, message) in [
        (&["ls", "--limit", "abc"][..], "'--limit <N>': write a whole number"),
        (&["session", "log", "a", "s", "--limit", "-1"], "'--limit <N>': write a whole number"),
        (&["session", "save", "a", "s", "--expect", "x"], "'--expect <SEQ>': write a whole number"),
        (&["session", "save", "a", "s", "--step", "1.5"], "'--step <N>': write a whole number"),
        (
            &["session", "prune", "a", "s", "--keep-last", "0"],
            "'--keep-last <N>': 0 keeps nothing; write 1 or more",
        ),
        (
            &["save", "a", "--if-match", ""],
            "'--if-match <VERSION>': it is empty; `persist stat KEY` shows the version",
        ),
    ] {
        let run = home.run(arguments);
        assert!(run.code == 2 && run.err.contains(message), "{arguments:?}: {}", run.err);
    }
    // No tip that does not work.
    let run = home.session(&["load", "a", "s", "--at", "-1"]);
    assert!(run.code == 3 && run.err.contains("there is no tag \"-1\""), "{}", run.err);
}

/// Where nothing can be written: one text and one code, whoever writes.
#[test]
fn files_that_cannot_be_written() {
    let home = Home::new();
    home.save("a", "state");
    home.commits(1);
    home.write("file", "old");
    fs::create_dir(home.path("folder")).unwrap();
    for (path, message) in [
        ("none/x", "persist: the folder none is not there; make it, or name another file\n"),
        ("file/x", "persist: file is no folder; name another file\n"),
        ("folder", "persist: folder is a folder; name a file\n"),
    ] {
        told(
            &home,
            &[
                (&["load", "a", "-o", path], 2, message),
                (&["session", "load", "a", "s", "-o", path], 2, message),
                (&["session", "export", "a", "s", path], 2, message),
            ],
        );
    }
    assert_eq!(fs::read(home.path("file")).unwrap(), b"old");
}

#[cfg(target_os = "linux")]
#[test]
fn files_without_permission() {
    let home = Home::new();
    home.save("a", "state");
    home.commits(1);
    // Nobody, root neither, makes files there.
    let path = "/sys/x";
    for arguments in [
        &["load", "a", "-o", path][..],
        &["session", "load", "a", "s", "-o", path],
        &["session", "export", "a", "s", path],
    ] {
        let run = home.run(arguments);
        let message = format!("persist: the file {path} cannot be written\n  because: ");
        assert!(run.err.starts_with(&message) && !run.err.contains(".tmp"), "{arguments:?}: {}", run.err);
        assert_eq!((run.code, run.err.lines().count()), (1, 2), "{arguments:?}: {}", run.err);
    }
}

/// Ids are those of users.
#[test]
fn no_id_forges_a_line() {
    let home = Home::new();
    let id = "x\nall well: 13 snapshots, 14 sessions";
    assert_eq!(home.pipe(&["session", "save", "a", id], "{}").text(), "");
    let shown = home.session(&["show", "a", id]).text();
    assert!(shown.starts_with("commit        1 of a/x\\nall well"), "{shown}");
    let run = home.session(&["load", "a", id, "--at", "7"]);
    assert_eq!((run.code, run.err.lines().count()), (3, 1), "{}", run.err);
    let key = home.keys().remove(0);
    let mut bytes = fs::read(home.store().join(key.replace('%', "%25"))).unwrap();
    bytes[20] ^= 1;
    fs::write(home.store().join(key.replace('%', "%25")), bytes).unwrap();
    let run = home.run(&["verify", "--all"]);
    let out = String::from_utf8(run.out).unwrap();
    assert!(out.starts_with("corrupt  session a/x\\nall well") && out.lines().count() == 1, "{out}");
    let run = home.session(&["log", "a", id]);
    assert_eq!(String::from_utf8(run.out).unwrap().lines().count(), 1);
    // So are their metadata, and what is in their states.
    home.pipe(&["save", "meta", "--metadata", "k=v"], "{}").text();
    home.pipe(&["session", "save", "a", "d"], "{}").text();
    home.pipe(&["session", "save", "a", "d"], "{\"m\\n+ /forged\":1}").text();
    let diff = home.session(&["diff", "a", "d", "1"]).text();
    assert_eq!(diff, "+ /m\\n+ ~1forged\t1\n");
}

#[test]
fn what_was_removed_is_no_key_that_was_there() {
    let home = Home::new();
    assert_eq!(home.run(&["rm", "nope", "--json"]).rows(), [json!({"key": "nope"})]);
    home.commits(1);
    home.session(&["tag", "a", "s", "good"]).text();
    let removed = home.session(&["tag", "a", "s", "good", "--delete", "--json"]);
    assert_eq!(removed.rows(), [json!({"name": "good"})]);
}

/// The backend is known, whoever found the damage.
#[test]
fn damage_names_the_backend() {
    let home = Home::new();
    home.save("a", noise(3000));
    home.commits(1);
    for file in [home.store().join("a"), home.object(1)] {
        let mut bytes = fs::read(&file).unwrap();
        bytes[20] ^= 1;
        fs::write(&file, bytes).unwrap();
    }
    for arguments in [
        &["load", "a", "--json"][..],
        &["session", "load", "a", "s", "--json"],
        &["verify", "--all", "--json"],
    ] {
        let error = home.run(arguments).error();
        assert_eq!(
            (&error["kind"], &error["backend"]),
            (&json!("corrupt"), &json!("local")),
            "{arguments:?}"
        );
    }
    // Where no storage is at fault, none is named.
    assert_eq!(home.run(&["save", "b", "nofile", "--json"]).error()["backend"], json!(null));
}

/// What the library says by the names of its functions.
#[test]
fn advice_is_in_words_of_the_command_line() {
    let home = Home::new();
    home.commits(2);
    let expected = |session: &str, expect: &str, message: &str| {
        let run = home.pipe(&["session", "save", "a", session, "--expect", expect], "{}");
        assert_eq!((run.code, run.err), (4, format!("persist: save: {message}\n")));
    };
    expected(
        "s",
        "1",
        "a/s has commit 2 as its newest, not 1; load the newest, then save with --expect and its number",
    );
    expected(
        "s",
        "0",
        "a/s was expected to be new, it has commit 2; load the newest, then save with --expect and its number",
    );
    expected("new", "5", "commit 5 was expected to be the newest of a/new, which has none");
    home.session(&["tag", "a", "s", "good", "--at", "1"]).text();
    told(
        &home,
        &[(
            &["session", "tag", "a", "s", "good"],
            4,
            "persist: tag: the tag \"good\" names commit 1 already; move it with --force, or choose another name\n",
        )],
    );
    for seq in [1, 2] {
        fs::write(home.object(seq), "damaged").unwrap();
    }
    let run = home.session(&["load", "a", "s", "--fallback"]);
    assert_eq!(run.code, 5);
    assert!(run.err.contains("no commit is good: ") && !run.err.contains("fallback"), "{}", run.err);
}

/// Twelve at the same time, none with a condition: whoever loses is told what to do here.
#[test]
fn writers_that_lose_are_not_told_to_call_functions() {
    let home = Home::new();
    home.commits(1);
    let file = home.write("state", noise(3000)).display().to_string();
    let mut lost = Vec::new();
    // Almost always in the first round.
    for _ in 0..20 {
        let children: Vec<_> = (0..8)
            .map(|_| {
                let mut process = home.process();
                process.args(["session", "save", "a", "s", &file]);
                process.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
            })
            .collect();
        let runs = children.into_iter().map(|child| Run::from(child.wait_with_output().unwrap()));
        lost.extend(runs.filter(|run| run.code != 0));
        if !lost.is_empty() {
            break;
        }
    }
    assert!(!lost.is_empty());
    for run in lost {
        assert!(run.code == 4 && !run.err.contains("rebase"), "{}", run.err);
        assert!(
            run.err.ends_with("load the newest, then save with --expect and its number, or fork\n"),
            "{}",
            run.err
        );
    }
}

/// An option that does nothing where it stands is a mistake.
#[test]
fn options_that_would_be_passed_over() {
    let home = Home::new();
    home.commits(2);
    home.save("k", "state");
    let run = home.session(&["tag", "a", "s", "--at", "1"]);
    assert!(run.code == 2 && run.err.contains("<TAG>"), "{} {}", run.code, run.err);
    // A URL names the storage: what another one says of it, such as its server, would not hold.
    let [url, other] = [home.store().join("k"), home.path("elsewhere/k")];
    let [url, other] = [&url, &other].map(|path| format!("file://{}", path.display()));
    let file = home.write("state", "{}").display().to_string();
    let folder = format!("file://{}/", home.store().display());
    let one_slash = url.replacen("///", "/", 1);
    for arguments in [
        &["load", &url][..],
        &["stat", &url],
        &["stat", &one_slash],
        &["ls", &folder],
        &["rm", &url],
        &["save", &url, &file],
        &["verify", &url],
        &["cp", &url, &other],
    ] {
        let run = home.run(&[&["--storage", "memory://"], arguments].concat());
        let message =
            "--storage names a storage, and so does the URL of the snapshot; leave one of them out\n";
        assert!(run.code == 2 && run.err.ends_with(message), "{arguments:?}: {}", run.err);
    }
    let store = home.store().display().to_string();
    home.run(&["--storage", &store, "cp", "k", &other]).text();
    assert_eq!(home.run(&["load", &other]).text(), "state");
    assert_eq!(home.run(&["load", &url]).text(), "state");
}

/// The first thing that a newcomer types.
#[test]
fn a_file_in_the_place_of_the_key() {
    let home = Home::new();
    home.write("state.json", "{}");
    told(
        &home,
        &[
            (
                &["save", "state.json", "k.gz"],
                2,
                "persist: there is no file k.gz, but state.json is one; KEY comes first: persist save k.gz state.json\n  because: the file k.gz cannot be read\n  because: No such file or directory (os error 2)\n",
            ),
            (
                &["save", "k.gz", "none.json"],
                2,
                "persist: the file none.json cannot be read\n  because: No such file or directory (os error 2)\n",
            ),
        ],
    );
}

/// It is an argument, whoever finds it wrong.
#[test]
fn urls_of_snapshots_that_are_wrong() {
    let home = Home::new();
    for url in [
        "http://h/x",
        "s3://b/x#y",
        "s3://b/%zz",
        "file://h/x",
        "s3:///x",
        "s3://a:b@c/x",
        "s3://b/x?nope=1",
        "s3://bu cket/x",
    ] {
        let run = home.run(&["stat", url]);
        assert!(
            run.code == 2 && run.err.contains("the URL of the snapshot"),
            "{url}: {} {}",
            run.code,
            run.err
        );
        assert_eq!(home.run(&["stat", url, "--json"]).error()["kind"], "invalid_input", "{url}");
    }
    // A storage that is configured is none.
    assert_eq!(home.run(&["--storage", "s3:///x", "stat", "k"]).code, 8);
}

#[test]
fn env_says_where_states_go() {
    let home = Home::new();
    let first = |arguments: &[&str]| home.run(arguments).text().lines().next().unwrap().to_owned();
    let store = format!("file://{}", home.store().display());
    assert_eq!(first(&["env"]), format!("storage: {store}"));
    assert_eq!(home.run(&["env", "--json"]).rows()[0], json!({"storage": store}));
    assert_eq!(first(&["env", "--storage", "gs://bucket/a/b"]), "storage: gs://bucket/a/b");
    assert_eq!(first(&["env", "--storage", "memory://"]), "storage: memory://");
    let run: Run = home.command(&["env"]).env("PERSIST_BACKEND", "s3").output().unwrap().into();
    assert!(run.out.starts_with(b"storage: none: the backend s3 needs a bucket"));
    assert_eq!(run.code, 8);
    // What is set comes first.
    let mut command = home.command(&["env"]);
    let run: Run = command.env("PERSIST_RETRY_ATTEMPTS", "3").output().unwrap().into();
    assert!(run.text().lines().nth(1).unwrap().starts_with("PERSIST_RETRY_ATTEMPTS"));
    assert!(!home.path("data").exists());
}

/// That package may be anybody's.
#[cfg(not(feature = "s3"))]
#[test]
fn a_build_without_a_feature_names_no_package_to_install() {
    let run = Home::new().run(&["--storage", "s3://bucket", "ls"]);
    let message = "persist: the backend s3 is not compiled in; build persist with `--features s3`\n";
    assert_eq!((run.code, run.err.as_str()), (8, message));
}
