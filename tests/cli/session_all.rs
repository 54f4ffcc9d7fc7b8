//! `persist session prune`, `export` and `import` with `--all`: every session of a storage, on behind those
//! that fail.

use std::{fs, time::SystemTime};

use serde_json::{Value, json};

use super::{
    harness::{Home, Run, files, names, noise},
    session::refused,
};

/// Three sessions; the one in the middle is half an import.
fn three(home: &Home) {
    home.commits(12);
    for state in ["1", "2"] {
        home.pipe(&["session", "save", "z", "x/y"], state).text();
    }
    let archive = home.session(&["export", "a", "s"]).bytes();
    let run = home.pipe(&["session", "import", "b", "half"], &archive[..archive.len() - 2048]);
    assert_eq!(run.code, 5, "{}", run.err);
}

/// Older than the fence window.
fn age(home: &Home) {
    let old = SystemTime::now() - std::time::Duration::from_secs(7200);
    for path in files(&home.store().join("sessions")) {
        fs::File::options().write(true).open(path).unwrap().set_modified(old).unwrap();
    }
}

#[test]
fn all_sessions_are_pruned_beside_one_that_cannot() {
    let home = Home::new();
    let rules = ["prune", "--all", "--keep-last", "1"];
    let all = |more: &[&str]| home.session(&[&rules[..], more].concat());
    refused(&home, &[(&rules, 3, "there is no session in "), (&["prune", "--all"], 2, "no rule says")]);
    three(&home);
    age(&home);
    let run = all(&["--dry-run"]);
    let out = String::from_utf8(run.out).unwrap();
    let lines: Vec<&str> = out.lines().collect();
    assert!(lines[0].starts_with("a/s: would remove ") && lines[1].starts_with("conflict b/half: "), "{out}");
    assert_eq!((run.code, lines.len()), (4, 3), "{out}");
    assert_eq!(run.err, "persist: 1 of 3 sessions cannot be pruned; their rows say why\n");
    // One alone says the same of itself.
    let one = home.session(&["prune", "a", "s", "--keep-last", "1", "--dry-run", "--json"]).rows().remove(0);
    let rows = all(&["--dry-run", "--json"]).rows();
    for (name, value) in one.as_object().unwrap() {
        assert_eq!(&rows[0][name], value, "{name}");
    }
    assert_eq!(
        (&rows[0]["agent"], &rows[0]["session"], &rows[0]["ok"]),
        (&json!("a"), &json!("s"), &json!(true))
    );
    assert_eq!(names(&rows[1]), ["agent", "causes", "key", "kind", "message", "ok", "session"]);
    assert_eq!((&rows[1]["kind"], &rows[1]["ok"]), (&json!("conflict"), &json!(false)));
    assert_eq!(rows[2]["session"], "x/y");
    assert_eq!(rows[3], json!({"ok": false, "sessions": 3}));
    let gone = |rows: &[Value]| rows.iter().map(|row| row["removed"].clone()).collect::<Vec<_>>();
    assert_eq!(gone(&all(&["--json"]).rows()), gone(&rows));
    let first = all(&["--dry-run", "--json"]).rows().remove(0);
    assert_eq!((&first["removed"], &first["garbage"]), (&json!([]), &json!(0)));
}

/// Damage decides the exit code, wherever it is met.
#[test]
fn damage_is_the_worst() {
    let home = Home::new();
    three(&home);
    home.session(&["tag", "z", "x/y", "good", "--at", "1"]).text();
    let tag = files(&home.store()).into_iter().find(|path| path.ends_with("t/good")).unwrap();
    fs::write(tag, "damaged").unwrap();
    let run = home.session(&["prune", "--all", "--keep-last", "1", "--json"]);
    let rows = run.rows();
    assert_eq!((run.code, rows.len()), (5, 4), "{rows:?}");
    assert_eq!((&rows[1]["kind"], &rows[2]["kind"]), (&json!("conflict"), &json!("corrupt")));
}

/// A snapshot of the user's own may have such a name.
#[test]
fn what_is_no_session_is_passed_over() {
    let home = Home::new();
    home.commits(1);
    home.write("data/persist/sessions/a/b/notes", "mine");
    let rules = ["prune", "--all", "--keep-last", "1"];
    let rows = home.session(&[&rules[..], &["--json"]].concat()).rows();
    assert_eq!((&rows[0]["session"], &rows[0]["ok"]), (&json!("b"), &json!(true)));
    assert!(rows[0]["passed_over"].as_str().unwrap().contains("has no commit"), "{}", rows[0]);
    assert_eq!(rows[2], json!({"ok": true, "sessions": 1}));
    assert_eq!(home.session(&rules).text().lines().count(), 1);
    // What a removal leaves is no session for an export; a prune takes it away.
    home.session(&["rm", "a", "s"]).text();
    let rows = home.session(&[&rules[..], &["--json"]].concat()).rows();
    assert_eq!((&rows[1]["session"], &rows[1]["kept"]), (&json!("s"), &json!(2)), "{}", rows[1]);
    let rows = home.session(&["export", "--all", "archives", "--json"]).rows();
    assert!(rows[1]["passed_over"].as_str().unwrap().contains("was removed"), "{}", rows[1]);
}

#[test]
fn all_and_one_exclude_each_other() {
    let home = Home::new();
    home.commits(1);
    for arguments in [
        &["prune", "a", "s", "--all", "--keep-last", "1"][..],
        &["prune", "a", "--all", "--keep-last", "1"],
        &["prune", "a", "--keep-last", "1"],
        &["prune", "--keep-last", "1"],
        &["export", "a", "s", "--all", "dir"],
        &["export", "a", "s", "x.tar", "--all", "dir"],
        &["export", "a"],
        &["export", "--all"],
        &["export", "--all", ""],
        &["import", "a", "s", "x.tar", "--all", "dir"],
        &["import"],
    ] {
        let run = home.session(arguments);
        assert!(run.code == 2 && run.out.is_empty(), "{arguments:?}: {}", run.err);
    }
    assert!(!home.path("dir").exists());
}

/// In another storage.
fn there(home: &Home, arguments: &[&str]) -> Run {
    home.session(&[arguments, &["--storage", "there"]].concat())
}

#[test]
fn all_sessions_move_by_archives_whatever_their_ids() {
    let home = Home::new();
    let long = "n".repeat(300);
    let ids = [("..", "x/y"), ("bot", "a\tb\nc"), ("bot", "-x"), ("user@é", &long), (&long, ".tar")];
    for (agent, session) in ids {
        for state in ["one", "two"] {
            home.pipe(&["session", "save", "--", agent, session], format!("{session} {state}")).text();
        }
    }
    home.session(&["tag", "--at", "1", "--", "bot", "-x", "good"]).text();
    home.session(&["fork", "--", "bot", "-x", "begun"]).text();
    // The folder is made.
    let exported = home.session(&["export", "--all", "to/archives"]).text();
    assert_eq!(exported, "exported 5 sessions, passed over 1\n");
    let archives = files(&home.path("to/archives"));
    assert_eq!(archives.len(), 5, "{archives:?}");
    let rows = home.session(&["export", "--all", "to/archives", "--json"]).rows();
    assert_eq!(files(&home.path("to/archives")), archives);
    assert_eq!(names(&rows[0]), ["agent", "bytes", "commits", "file", "ok", "session", "tags"]);
    assert!(rows.iter().take(6).all(|row| row["ok"] == true), "{rows:?}");
    let begun = rows.iter().find(|row| row["session"] == "begun").unwrap();
    assert!(begun["passed_over"].as_str().unwrap().contains("no commit of its own"), "{begun}");
    assert_eq!(rows[6], json!({"ok": true, "sessions": 5}));
    let file = |row: &Value| home.path(row["file"].as_str().unwrap_or("none"));
    assert!(rows.iter().take(6).all(|row| file(row).is_file() || row.get("passed_over").is_some()));

    fs::write(home.path("to/archives/notes.txt"), "mine").unwrap();
    fs::write(home.path("to/archives/.persist-left.tmp"), "").unwrap();
    let imported = there(&home, &["import", "--all", "to/archives"]).text();
    assert_eq!(imported, "imported 5 archives\n");
    for (agent, session) in ids {
        let log = home.session(&["log", "--json", "--", agent, session]).text();
        let moved = home.session(&["log", "--json", "--storage", "there", "--", agent, session]);
        assert_eq!(moved.text(), log);
    }
    // Once more: nothing has to be done. What has gone on is not set back.
    let save = ["session", "save", "bot", "a\tb\nc", "--storage", "there"];
    home.pipe(&save, "three").text();
    let again = there(&home, &["import", "--all", "to/archives", "--json"]).rows();
    assert!(again[..5].iter().all(|row| row["there"] == true && row["commits"] == 2), "{again:?}");
    assert_eq!(again[5], json!({"ok": true, "sessions": 5}));
    assert_eq!(there(&home, &["load", "bot", "a\tb\nc"]).text(), "three");
}

#[test]
fn an_import_of_all_goes_on_behind_what_is_another_or_damaged() {
    let home = Home::new();
    for name in ["one", "two", "three"] {
        home.pipe(&["session", "save", "a", name], name).text();
    }
    refused(&home, &[(&["import", "--all", "none"], 2, "none cannot be read")]);
    fs::create_dir(home.path("empty")).unwrap();
    refused(&home, &[(&["import", "--all", "empty"], 3, "there is no archive *.tar in empty")]);
    refused(&home, &[(&["export", "--all", "dir", "--storage", "nothing"], 3, "there is no session in ")]);
    home.session(&["export", "--all", "dir"]).text();
    // Beside the folders of agents as well.
    fs::rename(home.path("dir/a/two.tar"), home.path("dir/another name.tar")).unwrap();
    fs::write(home.path("dir/a/no.tar"), "no archive").unwrap();
    home.pipe(&["session", "save", "a", "one", "--storage", "there"], "of its own").text();
    let run = there(&home, &["import", "--all", "dir"]);
    let out = String::from_utf8(run.out).unwrap();
    let lines: Vec<&str> = out.lines().collect();
    assert!(lines[0].starts_with("invalid_input dir/a/no.tar: ") && lines.len() == 2, "{out}");
    assert!(lines[1].starts_with("already_exists a/one: ") && lines[1].contains("exists already"), "{out}");
    assert_eq!(run.err, "persist: 2 of 4 archives cannot be imported; their rows say why\n");
    assert_eq!(run.code, 2);
    assert_eq!(there(&home, &["load", "a", "one"]).text(), "of its own");
    for name in ["two", "three"] {
        assert_eq!(there(&home, &["load", "a", name]).text(), name);
    }
    let whole = fs::read(home.path("dir/a/three.tar")).unwrap();
    fs::write(home.path("dir/a/three.tar"), &whole[..whole.len() - 700]).unwrap();
    let rows = there(&home, &["import", "--all", "dir", "--json"]);
    assert_eq!((rows.code, rows.rows().len()), (5, 5), "{}", rows.err);
}

/// What was good last night is worth more than what is damaged today.
#[test]
fn an_export_of_all_leaves_the_archive_of_what_is_damaged() {
    let home = Home::new();
    three(&home);
    let run = home.session(&["export", "--all", "dir", "--json"]);
    let rows = run.rows();
    assert_eq!((run.code, &rows[1]["session"], &rows[1]["kind"]), (4, &json!("half"), &json!("conflict")));
    let old = fs::read(home.path("dir/a/s.tar")).unwrap();
    home.pipe(&["session", "save", "z", "x/y"], "3").text();
    let mut bytes = fs::read(home.object(2)).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(home.object(2), bytes).unwrap();
    let run = home.session(&["export", "--all", "dir"]);
    let out = String::from_utf8(run.out).unwrap();
    assert!(run.code == 5 && out.starts_with("corrupt  a/s: ") && out.lines().count() == 2, "{out}");
    assert!(fs::read(home.path("dir/a/s.tar")).unwrap() == old);
    assert_eq!(files(&home.path("dir")).len(), 2, "nothing half written is left");
    let rows = there(&home, &["import", "--all", "dir", "--json"]).rows();
    assert_eq!((&rows[1]["session"], &rows[1]["commits"]), (&json!("x/y"), &json!(3)));
}

/// As on a file system that does not tell upper and lower case apart.
#[test]
fn the_archive_of_another_session_is_not_replaced() {
    let home = Home::new();
    home.commits(1);
    home.pipe(&["session", "save", "a", "other"], "other").text();
    home.session(&["export", "--all", "dir"]).text();
    fs::rename(home.path("dir/a/other.tar"), home.path("dir/a/s.tar")).unwrap();
    let run = home.session(&["export", "--all", "dir"]);
    let out = String::from_utf8(run.out).unwrap();
    assert!(run.code == 4 && out.contains("dir/a/s.tar is the archive of the session a/other"), "{out}");
    assert_eq!(files(&home.path("dir")).len(), 2);
}

/// Which of them is restored must not be chance.
#[test]
fn several_archives_of_one_session_are_refused() {
    let home = Home::new();
    home.pipe(&["session", "save", "b", "other"], "other").text();
    for night in ["1", "2", "3"] {
        home.commits(1);
        home.session(&["export", "a", "s", &format!("{night}.tar")]).text();
    }
    fs::create_dir(home.path("dir")).unwrap();
    for night in ["1", "2", "3"] {
        fs::rename(home.path(&format!("{night}.tar")), home.path(&format!("dir/{night}.tar"))).unwrap();
    }
    home.session(&["export", "b", "other", "dir/other.tar"]).text();
    let run = there(&home, &["import", "--all", "dir"]);
    let out = String::from_utf8(run.out).unwrap();
    let lines: Vec<&str> = out.lines().collect();
    assert_eq!((run.code, lines.len()), (4, 3), "{out}");
    let all = ["dir/1.tar", "dir/2.tar", "dir/3.tar"];
    assert!(lines.iter().all(|line| line.starts_with("conflict a/s: ")), "{out}");
    assert!(lines.iter().all(|line| all.iter().all(|file| line.contains(file))), "{out}");
    assert_eq!(run.err, "persist: 3 of 4 archives cannot be imported; their rows say why\n");
    assert_eq!(there(&home, &["ls"]).text(), "b\tother\n");
    let again = there(&home, &["import", "--all", "dir", "--agent", "b"]).text();
    assert_eq!(again, "imported 0 archives, 1 there already\n");
}

/// Each row says which object or file it was, and why.
#[test]
fn rows_of_what_fails_say_why() {
    let home = Home::new();
    home.commits(2);
    let key = "sessions/a/s/c/999999999/997-2";
    let mut bytes = fs::read(home.object(2)).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(home.object(2), bytes).unwrap();
    let run = home.session(&["export", "--all", "dir"]);
    let out = String::from_utf8(run.out).unwrap();
    assert!(run.code == 5 && out.starts_with(&format!("corrupt  a/s: {key}: ")), "{out}");
    assert!(out.contains("or fork from a good commit, take over the fork and export that"), "{out}");
    let row = home.session(&["export", "--all", "dir", "--json"]).rows().remove(0);
    assert_eq!((&row["key"], &row["file"], &row["causes"]), (&json!(key), &json!("dir/a/s.tar"), &json!([])));
    // That is what helps.
    home.session(&["fork", "a", "s", "good", "--at", "1"]).text();
    home.session(&["take-over", "a", "good"]).text();
    home.session(&["export", "a", "good", "good.tar"]).text();
    // A file is in the way of a folder.
    home.write("folder/a", "mine");
    let run = home.session(&["export", "--all", "folder"]);
    let out = String::from_utf8(run.out).unwrap();
    assert!(run.code == 2 && out.contains("the folder folder/a cannot be made: "), "{}: {out}", run.code);
    let row = home.session(&["export", "--all", "folder", "--json"]).rows().remove(0);
    assert_eq!(
        (row["causes"].as_array().unwrap().len(), &row["file"]),
        (1, &json!("folder/a/good.tar")),
        "{row}"
    );
    #[cfg(target_os = "linux")]
    refused(&home, &[(&["export", "a", "good", "/dev/full"], 1, "the file /dev/full cannot be written\n")]);
    let run = home.run(&["verify", "--all", "--json"]);
    assert_eq!(run.rows().len(), 3);
}

#[test]
fn all_sessions_of_one_agent() {
    let home = Home::new();
    for agent in ["a", "b"] {
        home.pipe(&["session", "save", agent, "s"], "state").text();
    }
    assert_eq!(home.session(&["export", "--all", "dir", "--agent", "b"]).text(), "exported 1 session\n");
    assert_eq!(files(&home.path("dir")), [home.path("dir/b/s.tar")]);
    let pruned = home.session(&["prune", "--all", "--agent", "a", "--keep-last", "1"]).text();
    assert!(pruned.starts_with("a/s: ") && pruned.lines().count() == 1, "{pruned}");
    assert_eq!(there(&home, &["import", "--all", "dir", "--agent", "b"]).text(), "imported 1 archive\n");
    refused(
        &home,
        &[
            (&["export", "--all", "dir", "--agent", "none"], 3, "there is no session of \"none\" in "),
            (
                &["import", "--all", "dir", "--agent", "none"],
                3,
                "there is no archive *.tar of \"none\" in dir",
            ),
            (&["export", "a", "s", "--agent", "a"], 2, "--all"),
        ],
    );
    // Whose a damaged archive is nobody can tell.
    home.write("dir/a/no.tar", "torn");
    for agent in ["b", "none"] {
        let run = there(&home, &["import", "--all", "dir", "--agent", agent]);
        let out = String::from_utf8(run.out).unwrap();
        assert!(run.code == 2 && out.contains("dir/a/no.tar: "), "{}: {out}", run.code);
        assert_eq!(out.lines().count(), 1, "{out}");
    }
}

/// It is no more than a place in another session: `0 commits stay` would read as a loss.
#[test]
fn a_prune_of_all_passes_over_a_fork_without_a_save() {
    let home = Home::new();
    home.commits(1);
    home.session(&["fork", "a", "s", "begun"]).text();
    let rules = ["prune", "--all", "--keep-last", "1"];
    for more in [&["--json"][..], &["--json", "--dry-run"]] {
        let rows = home.session(&[&rules[..], more].concat()).rows();
        assert_eq!((&rows[0]["session"], &rows[0]["ok"]), (&json!("begun"), &json!(true)));
        assert_eq!(rows[0]["passed_over"], "it has no commit of its own");
        assert_eq!((&rows[1]["session"], &rows[1]["kept"]), (&json!("s"), &json!(1)));
        assert_eq!(rows[2], json!({"ok": true, "sessions": 1}));
    }
    // With a save it has something to prune.
    home.pipe(&["session", "save", "a", "begun"], "more").text();
    let rows = home.session(&[&rules[..], &["--json"]].concat()).rows();
    assert_eq!((&rows[0]["kept"], &rows[2]["sessions"]), (&json!(1), &json!(2)));
}

/// As tools bring a bucket to disk: no command would find these sessions by their ids.
#[test]
fn sessions_in_folders_that_another_tool_named_are_told() {
    let home = Home::new();
    home.commits(1);
    let long = "x".repeat(300);
    for (agent, session) in [("a", "c:7"), ("a", "50%"), (long.as_str(), "s")] {
        home.pipe(&["session", "save", agent, session], "state").text();
    }
    home.session(&["ls"]).text();
    home.run(&["verify", "--all"]).text();
    // As the key `a/c%3A7` lies there.
    let sessions = home.store().join("sessions/a");
    fs::rename(sessions.join("c%253A7"), sessions.join("c%3A7")).unwrap();
    fs::rename(sessions.join("50%2525"), sessions.join("50%25")).unwrap();
    let run = home.session(&["ls", "--json"]);
    let folder = |name: &str| json!({"agent": "a", "session": name, "folder": format!("sessions/a/{name}/")});
    assert_eq!(run.code, 0);
    assert_eq!(run.rows()[..3], [folder("50%"), folder("c:7"), json!({"agent": "a", "session": "s"})]);
    assert!(
        run.err
            .contains("2 sessions of these in a folder that another tool named, such as sessions/a/50%/: no")
    );
    let run = home.run(&["verify", "--all"]);
    let out = String::from_utf8(run.out).unwrap();
    assert!(run.code == 2 && run.err.contains("2 of 4 sessions cannot be verified"), "{}", run.err);
    assert!(out.contains("session a/c:7: its objects lie in sessions/a/c:7/, "), "{out}");
    for run in [home.session(&["load", "a", "c:7"]), home.pipe(&["session", "save", "a", "c:7"], "anew")] {
        assert_eq!(run.code, 2, "{}", run.err);
        assert!(
            run.err.contains("a/c:7 lies in sessions/a/c:7/, a folder that another tool named"),
            "{}",
            run.err
        );
    }
    assert!(!sessions.join("c%253A7").exists());
    // The way out.
    home.session(&["export", "--all", "dir"]).text();
    there(&home, &["import", "--all", "dir"]).text();
    assert_eq!(there(&home, &["load", "a", "c:7"]).text(), "state");
    // The other way round, that is where an id with escapes of its own leads.
    home.pipe(&["session", "save", "a", "d%3A7"], "another").text();
    let run = home.pipe(&["session", "save", "a", "d:7"], "anew");
    assert_eq!(run.code, 0);
    assert!(
        run.err.contains("nothing under this name") && run.err.contains("sessions/a/d%253A7"),
        "{}",
        run.err
    );
}

/// What an import finds too late costs the session its name.
#[test]
fn an_archive_that_is_a_file_is_read_to_its_end_before_anything_is_stored() {
    let home = Home::new();
    home.commits(2);
    // A state that is an object of its own, and does not fit on a screen.
    home.pipe(&["session", "save", "a", "s"], noise(9 << 20)).text();
    home.session(&["tag", "a", "s", "good", "--at", "2"]).text();
    home.session(&["export", "a", "s", "monday.tar"]).text();
    let rows = home.session(&["import", "a", "s", "monday.tar", "--dry-run", "--json"]).rows();
    assert_eq!((&rows[0]["commits"], &rows[0]["tags"]), (&json!(3), &json!(1)));
    home.pipe(&["session", "save", "a", "s"], "tuesday").text();
    fs::create_dir_all(home.path("dir")).unwrap();
    home.session(&["export", "a", "s", "dir/tuesday.tar"]).text();
    let good = fs::read(home.path("dir/tuesday.tar")).unwrap();
    // In the long state, in the commit behind it, and cut.
    let mut bad = vec![good[..good.len() - 3000].to_vec()];
    for at in [good.len() / 2, good.len() - 2048 - 500] {
        bad.push(good.clone());
        bad.last_mut().unwrap()[at] ^= 1;
    }
    for bad in bad {
        fs::write(home.path("dir/tuesday.tar"), bad).unwrap();
        for arguments in [
            &["import", "a", "s", "dir/tuesday.tar"][..],
            &["import", "a", "s", "dir/tuesday.tar", "--dry-run"],
            &["import", "--all", "dir"],
            &["import", "--all", "dir", "--dry-run"],
        ] {
            assert_eq!(there(&home, arguments).code, 5, "{arguments:?}");
        }
        assert_eq!(there(&home, &["ls"]).text(), "");
    }
    assert_eq!(home.session(&["import", "--all", "dir", "--dry-run"]).code, 5);
    there(&home, &["import", "a", "s", "monday.tar"]).text();
    assert!(there(&home, &["load", "a", "s"]).bytes() == noise(9 << 20));
    fs::write(home.path("dir/tuesday.tar"), good).unwrap();
    assert_eq!(home.session(&["import", "--all", "dir", "--dry-run"]).text(), "checked 1 archive\n");
    refused(&home, &[(&["import", "a", "s", "--dry-run"], 2, "--dry-run reads an archive that is a file")]);
}
