//! `persist verify --all`: what it looks at, and what it advises.

use std::fs;

use serde_json::json;

use super::harness::{Home, Run, files, noise};

/// In one of the namespaces of the storage.
fn within(home: &Home, namespace: &str, arguments: &[&str]) -> Run {
    let mut command = home.command(arguments);
    command.env("PERSIST_NAMESPACE", namespace).write_stdin(noise(100)).output().unwrap().into()
}

/// A nightly check of a whole bucket is meant to find what is lost in one of its namespaces.
#[test]
fn sessions_are_found_below_and_above() {
    let home = Home::new();
    for namespace in ["prod", "prod", "prod", "x/y"] {
        within(&home, namespace, &["session", "save", "bot", "s"]).text();
    }
    home.save("k", "state");
    assert_eq!(home.run(&["verify", "--all"]).text(), "all well: 1 snapshot, 2 sessions\n");
    fs::remove_file(home.store().join("prod/sessions/bot/s/c/999999999/997-2")).unwrap();
    let run = home.run(&["verify", "--all"]);
    let out = String::from_utf8(run.out).unwrap();
    assert!(run.code == 5 && run.err.contains("1 of 2 sessions is damaged"), "{}: {}", run.code, run.err);
    assert!(
        out.starts_with("corrupt  session bot/s in prod: ") && out.contains("commit 2 is missing"),
        "{out}"
    );
    let rows = home.run(&["verify", "--all", "--json"]).rows();
    let told = |row: usize| json!([rows[row]["root"], rows[row]["session"], rows[row]["ok"]]);
    assert_eq!((told(1), told(2)), (json!(["prod", "s", false]), json!(["x/y", "s", true])), "{rows:?}");
    assert_eq!(rows[3], json!({"ok": false, "snapshots": 1, "sessions": 2}));
    // Its own session has no folder to name.
    let own = within(&home, "prod", &["verify", "--all", "--json"]).rows();
    assert_eq!((&own[0]["session"], &own[0].get("root")), (&json!("s"), &None));
    // Of a part nobody can say whether the whole is well.
    let root = fs::canonicalize(home.store().join("prod")).unwrap().display().to_string();
    for (namespace, parts) in
        [("prod/sessions", "2 objects here are parts"), ("prod/sessions/bot/s/c/999999999", "2 objects")]
    {
        let run = within(&home, namespace, &["verify", "--all"]);
        assert_eq!((run.code, run.out.len()), (2, 0), "{namespace}: {}", run.err);
        let advice = format!(", and without a namespace: persist verify --all --storage file://{root}\n");
        assert!(run.err.contains(parts) && run.err.ends_with(&advice), "{namespace}: {}", run.err);
        let rows = within(&home, namespace, &["verify", "--all", "--json"]).rows();
        assert_eq!(rows, [json!({"ok": false, "snapshots": 0, "sessions": 0})]);
    }
    assert_eq!(home.run(&["verify", "--all", "--storage", &format!("file://{root}")]).code, 5);
}

/// Bytes that nobody compressed have no check of their own.
#[test]
fn what_is_saved_as_it_is_is_checked_where_it_fits_into_memory() {
    let home = Home::new();
    let file = home.write("state.json", "{\"step\": 1}").display().to_string();
    home.run(&["save", "file", &file, "--codec", "none"]).text();
    home.pipe(&["save", "pipe", "--codec", "none"], "{\"step\": 1}").text();
    home.pipe(&["save", "empty", "--codec", "none", "--allow-empty"], "").text();
    assert_eq!(home.run(&["verify", "--all"]).text(), "all well: 3 snapshots, 0 sessions\n");
    for key in ["file", "pipe"] {
        let row = home.run(&["verify", key, "--json"]).rows().remove(0);
        assert_eq!(row, json!({"key": key, "ok": true, "checked": true, "size": 11}));
        assert!(home.run(&["stat", key, "--json"]).rows()[0]["digest"].is_string());
        let path = home.store().join(key);
        let modified = fs::metadata(&path).unwrap().modified().unwrap();
        fs::write(&path, "{\"step\": 2}").unwrap();
        fs::File::options().write(true).open(&path).unwrap().set_modified(modified).unwrap();
        assert_eq!(home.run(&["verify", key]).code, 5);
        assert_eq!(home.run(&["load", key]).code, 5);
    }
    let home = Home::new();
    let large = noise(9 << 20);
    home.pipe(&["save", "stream", "--codec", "none"], &large[..]).text();
    home.save("k", "state");
    assert!(home.run(&["load", "stream"]).bytes() == large);
    let row = home.run(&["verify", "stream", "--json"]).rows().remove(0);
    assert_eq!(row, json!({"key": "stream", "ok": true, "checked": false, "size": large.len()}));
    let doubt = "all well: 2 snapshots (1 of them has nothing to be checked by), 0 sessions\n";
    assert_eq!(home.run(&["verify", "--all"]).text(), doubt);
}

/// The command that an error names is copied into a shell.
#[cfg(unix)]
#[test]
fn what_verify_advises_works_in_a_shell() {
    let home = Home::new();
    within(&home, "u:1/it's %41", &["session", "save", "bot", "s"]).text();
    let store = home.store().display().to_string();
    let parts = within(&home, "u:1/it's %41/sessions", &["verify", "--all"]);
    let options = format!("file://{store}?max_ratio=9&namespace=u:1/it's %2541/sessions&max_bytes=2KiB");
    let url = home.run(&["verify", "--all", "--storage", &options]);
    assert!(url.err.ends_with("?max_ratio=9&max_bytes=2KiB'\n"), "{}", url.err);
    let variable = home.command(&["verify", "--all"]).env("PERSIST_STORAGE_URL", &options).output();
    let variable = Run::from(variable.unwrap());
    assert_eq!(variable.err, url.err);
    for run in [parts, url] {
        assert_eq!(run.code, 2, "{}", run.err);
        let (_, advice) = run.err.split_once("without a namespace: persist ").unwrap();
        let command = format!("{} {advice}", env!("CARGO_BIN_EXE_persist"));
        let well = Run::from(home.program("/bin/sh").args(["-c", &command]).output().unwrap());
        assert_eq!(well.text(), "all well: 0 snapshots, 1 session\n", "{advice}");
    }
}

/// A user's own folder may be called `sessions`.
#[test]
fn what_is_no_sessions_by_its_name_is_a_snapshot() {
    let home = Home::new();
    let key = "sessions/alice/chat/b/state.json.gz";
    home.save("k.gz", noise(3000));
    home.run(&["cp", "k.gz", key]).text();
    assert_eq!(home.run(&["verify", "--all"]).text(), "all well: 2 snapshots, 0 sessions\n");
    fs::write(home.store().join(key), b"\x1f\x8b damaged").unwrap();
    let run = home.run(&["verify", "--all"]);
    let out = String::from_utf8(run.out).unwrap();
    assert!(run.code == 5 && out.starts_with(&format!("corrupt  {key}: ")), "{}: {out}", run.code);
    assert!(run.err.contains("1 of 2 snapshots cannot be loaded; restore"), "{}", run.err);
}

/// Who restores an older version of a sound snapshot loses the newer one.
#[test]
fn only_damage_is_to_be_restored() {
    let home = Home::new();
    home.save("large", noise(3000));
    let limited = || -> Run {
        home.command(&["verify", "--all"]).env("PERSIST_MAX_BYTES", "2KiB").output().unwrap().into()
    };
    let run = limited();
    assert_eq!(
        (run.code, run.err.as_str()),
        (2, "persist: 1 of 1 snapshot cannot be read; their rows say why\n")
    );
    home.save("damaged", "state");
    fs::write(home.store().join("damaged"), b"\x1f\x8b damaged").unwrap();
    let run = limited();
    let both = "1 of 2 snapshots cannot be loaded; restore those objects from a copy or an older version, or save them again; 1 of 2 snapshots cannot be read";
    assert!(run.code == 5 && run.err.contains(both), "{}: {}", run.code, run.err);
}

/// A new commit in its place would not bring back what a fork is made of.
#[test]
fn a_fork_of_a_lost_session_is_not_told_to_save() {
    let home = Home::new();
    home.commits(2);
    home.session(&["fork", "a", "s", "t"]).text();
    fs::remove_dir_all(home.store().join("sessions/a/s")).unwrap();
    for arguments in [&["verify", "--all"][..], &["session", "verify", "a", "t"]] {
        let run = home.run(arguments);
        let out = String::from_utf8(run.out).unwrap();
        assert_eq!(run.code, 5, "{out}");
        assert!(out.contains("commit 2 of a/s, from which the session was forked, is missing"), "{out}");
        assert!(!(out + &run.err).contains("save one"));
    }
}

/// Eight are read at once, and the largest come first.
#[test]
fn rows_come_in_the_order_of_their_keys() {
    let home = Home::new();
    let mut wanted = Vec::new();
    for number in 0..20 {
        home.save(&format!("k{number:02}"), noise(if number % 9 == 0 { 2_000_000 } else { 10 }));
        wanted.push(json!(format!("k{number:02}")));
    }
    fs::write(home.store().join("k01"), b"\x1f\x8b damaged").unwrap();
    for name in ["a", "b", "c"] {
        home.pipe(&["session", "save", "bot", name], noise(if name == "a" { 2_000_000 } else { 10 })).text();
        wanted.push(json!(name));
    }
    let run = home.run(&["verify", "--all", "--json"]);
    let mut rows = run.rows();
    assert_eq!(
        (run.code, rows.pop()),
        (5, Some(json!({"ok": false, "snapshots": 20, "sessions": 3}))),
        "{rows:?}"
    );
    let name = |row: &serde_json::Value| row.get("key").or(row.get("session")).unwrap().clone();
    assert_eq!(rows.iter().map(name).collect::<Vec<_>>(), wanted);
    let bad: Vec<_> = rows.iter().filter(|row| row["ok"] == false).map(name).collect();
    assert_eq!(bad, ["k01"]);
}

/// The ids of such a session are in its commits alone.
#[test]
fn a_damaged_session_with_a_long_name_is_found() {
    let home = Home::new();
    let long = "n".repeat(300);
    home.pipe(&["session", "save", "bot", &long], noise(100)).text();
    let commit = files(&home.store()).remove(0);
    fs::write(&commit, &fs::read(&commit).unwrap()[..90]).unwrap();
    let run = home.run(&["verify", "--all", "--json"]);
    let rows = run.rows();
    assert_eq!((run.code, &rows[0]["agent"], &rows[0]["ok"]), (5, &json!("bot"), &json!(false)), "{rows:?}");
    let row = home.session(&["ls", "--long", "--json"]).rows().remove(0);
    assert!(row.get("reason").is_some(), "{row}");
}

/// Under a key of its own folder alone it would be the object of another session, whose good commit a restore
/// would replace.
#[test]
fn keys_of_a_namespace_are_those_of_the_storage_that_was_named() {
    let home = Home::new();
    home.commits(2);
    for _ in 0..2 {
        within(&home, "bk", &["session", "save", "a", "s"]).text();
    }
    let key = "bk/sessions/a/s/c/999999999/998-1";
    fs::write(home.store().join(key), "torn").unwrap();
    let run = home.run(&["verify", "--all"]);
    let out = String::from_utf8(run.out).unwrap();
    assert_eq!(run.code, 5, "{out}");
    assert!(out.starts_with(&format!("corrupt  session a/s in bk: {key}: ")), "{out}");
    let advice = "see `persist session verify`, in the folder that its row names\n";
    assert!(run.err.ends_with(advice), "{}", run.err);
    let row = home.run(&["verify", "--all", "--json"]).rows().remove(1);
    assert_eq!((&row["root"], &row["damaged"][0]["key"]), (&json!("bk"), &json!(key)), "{row}");
    assert_eq!(home.run(&["stat", key, "--json"]).rows()[0]["stored_size"], 4, "it is the one that is torn");
    // Put back under the key of another session's commit, it would replace that.
    let state = home.session(&["load", "a", "s"]).bytes();
    let backup = format!("file://{}", home.path("backup").display());
    home.run(&["cp", "-r", "", &backup]).text();
    let wrong = "sessions/a/s/c/999999999/997-2";
    for source in [format!("{backup}//bk/{wrong}"), format!("{backup}//{key}")] {
        for wrong in [wrong, "sessions/a/s/c/999999999/998-1"] {
            let run = home.run(&["cp", &source, wrong]);
            assert!(run.code == 4 && run.err.contains("another commit is there"), "{source}: {}", run.err);
        }
    }
    assert_eq!(home.session(&["load", "a", "s"]).bytes(), state);
    // A fork's start stands under its number 1.
    home.session(&["fork", "a", "s", "f"]).text();
    let run = home.run(&["cp", "sessions/a/s/c/999999999/998-1", "sessions/a/f/c/999999999/998-1"]);
    assert!(run.code == 4 && run.err.contains("another commit is there"), "{}", run.err);
    // What is there already, and what is missing, may be put there; so may anything in the place of damage.
    home.run(&["cp", &format!("{backup}//{wrong}"), wrong]).text();
    fs::remove_file(home.store().join(wrong)).unwrap();
    home.run(&["cp", &format!("{backup}//{wrong}"), wrong]).text();
    home.run(&["cp", &format!("{backup}//{key}"), key]).text();
    // In the folder itself they are that folder's.
    let own = within(&home, "bk", &["verify", "--all", "--json"]).rows().remove(0);
    assert_eq!(own["damaged"][0]["key"], json!("sessions/a/s/c/999999999/998-1"), "{own}");
    // The same of one that cannot be read.
    let home = Home::new();
    let save = home
        .command(&["session", "save", "a", "s"])
        .env("PERSIST_NAMESPACE", "bk")
        .write_stdin(noise(3000))
        .output();
    Run::from(save.unwrap()).text();
    let mut limited = home.command(&["verify", "--all", "--json"]);
    let row = Run::from(limited.env("PERSIST_MAX_BYTES", "2KiB").output().unwrap()).rows().remove(0);
    assert_eq!((&row["ok"], &row["key"]), (&json!(false), &json!(key)), "{row}");
}

/// What a warning names only as a pseudonym, nobody can put right.
#[test]
fn what_a_listing_passes_over_is_named() {
    let home = Home::new();
    home.save("a/k", "state");
    std::fs::write(home.store().join("a/conv:7"), "state").unwrap();
    let warned = |more: &[&str]| {
        let run = home.run(&[&["verify", "--all"], more].concat());
        run.err.lines().find(|line| line.contains("not listed")).unwrap().to_owned()
    };
    assert!(warned(&[]).contains("conv:7"), "{}", warned(&[]));
    assert!(!warned(&["-v"]).contains("conv:7"), "{}", warned(&["-v"]));
}
