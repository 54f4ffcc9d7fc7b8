//! `persist session prune --all`: every session of a storage, on behind those that fail.

use std::{fs, time::SystemTime};

use serde_json::{Value, json};

use super::{
    harness::{Home, files, names},
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
    assert_eq!(names(&rows[1]), ["agent", "kind", "message", "ok", "session"]);
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
    home.save("sessions/a/b/notes", "mine");
    home.commits(1);
    let rules = ["prune", "--all", "--keep-last", "1"];
    let rows = home.session(&[&rules[..], &["--json"]].concat()).rows();
    assert_eq!((&rows[0]["session"], &rows[0]["ok"]), (&json!("b"), &json!(true)));
    assert!(rows[0]["passed_over"].as_str().unwrap().contains("has no commit"), "{}", rows[0]);
    assert_eq!(rows[2], json!({"ok": true, "sessions": 1}));
    assert_eq!(home.session(&rules).text().lines().count(), 1);
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
    ] {
        let run = home.session(arguments);
        assert!(run.code == 2 && run.err.contains("<AGENT SESSION | --all"), "{arguments:?}: {}", run.err);
    }
}
