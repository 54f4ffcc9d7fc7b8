//! Copies of sessions that were removed on one side or on both.

use std::fs;

use serde_json::json;

use super::{
    harness::{Home, Run, files},
    recursive::history,
};

/// A session, and the URL of its backup.
struct Backup(Home, String);

impl Backup {
    /// Two commits, and their copies.
    fn new() -> Self {
        let home = Home::new();
        home.commits(2);
        let folder = format!("file://{}", home.path("backup").display());
        let backup = Backup(home, folder);
        assert_eq!(backup.copy(&[]).code, 0);
        backup
    }

    fn copy(&self, more: &[&str]) -> Run {
        self.0.run(&[&["cp", "-r", "sessions", &format!("{}//sessions", self.1)], more].concat())
    }

    /// In the backup.
    fn there(&self, arguments: &[&str]) -> Run {
        self.0.session(&[arguments, &["--storage", &self.1]].concat())
    }

    /// After everything at the source has become old.
    fn later(&self, arguments: &[&str]) -> String {
        let old = std::time::SystemTime::now() - std::time::Duration::from_secs(7200);
        for path in files(&self.0.store()) {
            fs::File::options().write(true).open(path).unwrap().set_modified(old).unwrap();
        }
        let mut command = self.0.command(&[&["session"], arguments].concat());
        Run::from(command.env("PERSIST_FENCE_WINDOW", "60s").output().unwrap()).text()
    }
}

/// What was removed by hand in the backup, too, has nothing that a copy could replace.
#[test]
fn a_session_that_was_removed_on_both_sides_is_none_that_is_left_out() {
    for more in [&[][..], &["--removals"], &["--if-absent"]] {
        let backup = Backup::new();
        backup.0.session(&["rm", "a", "s"]).text();
        backup.there(&["rm", "a", "s"]).text();
        let before = files(&backup.0.path("backup"));
        backup.copy(more).text();
        assert_eq!(files(&backup.0.path("backup")), before, "each has its own marker");
        assert_eq!(backup.there(&["load", "a", "s"]).code, 3);
        // What begins anew goes on in both.
        backup.0.commits(1);
        backup.copy(more).text();
        assert_eq!(backup.there(&["load", "a", "s"]).text(), "{\"step\":1}");
        backup.there(&["verify", "a", "s"]).text();
        assert_eq!(backup.there(&["log", "a", "s", "--json"]).rows(), history(&backup.0));
        backup.0.commits(1);
        backup.copy(more).text();
        assert_eq!(backup.there(&["load", "a", "s"]).text(), "{\"step\":1}");
        backup.there(&["verify", "a", "s"]).text();
    }
}

/// Two that began anew behind markers of their own are two histories.
#[test]
fn what_begins_anew_in_the_backup_is_not_replaced() {
    for theirs in [1, 2, 3] {
        let backup = Backup::new();
        backup.0.session(&["rm", "a", "s"]).text();
        backup.there(&["rm", "a", "s"]).text();
        backup.0.commits(2);
        // The marker is the newest that both have.
        fs::remove_file(backup.0.object(4)).unwrap();
        for state in 0..theirs {
            let mut command = backup.0.command(&["session", "save", "a", "s", "--storage", &backup.1]);
            Run::from(command.write_stdin(format!("mine {state}")).output().unwrap()).text();
        }
        let before = files(&backup.0.path("backup"));
        for more in [&[][..], &["--removals"], &["--if-absent"]] {
            let run = backup.copy(more);
            assert!(run.code == 4 && run.err.contains("left out a/s: nobody can tell"), "{}", run.err);
            assert_eq!(files(&backup.0.path("backup")), before);
            let newest = format!("mine {}", theirs - 1);
            assert_eq!(backup.there(&["load", "a", "s"]).text(), newest);
        }
        backup.there(&["verify", "a", "s"]).text();
    }
}

/// Where nothing is in common any more, a removal in the backup says that what is there is not wanted.
#[test]
fn a_session_that_began_anew_is_copied_behind_a_removal_in_the_backup() {
    let backup = Backup::new();
    backup.later(&["rm", "a", "s"]);
    backup.0.commits(2);
    backup.later(&["prune", "a", "s", "--keep-last", "1"]);
    assert_eq!((backup.0.object(3).exists(), backup.0.object(5).exists()), (false, true));
    for more in [&[][..], &["--removals"]] {
        let run = backup.copy(more);
        assert!(run.code == 4 && run.err.contains("`persist session rm` it there"), "{}", run.err);
        assert_eq!(backup.there(&["load", "a", "s"]).text(), "{\"step\":2}");
    }
    backup.there(&["rm", "a", "s"]).text();
    backup.copy(&[]).text();
    assert_eq!(backup.there(&["load", "a", "s"]).text(), backup.0.session(&["load", "a", "s"]).text());
    backup.there(&["verify", "a", "s"]).text();
    // Removed again, and nothing but that is left: both end.
    backup.later(&["rm", "a", "s"]);
    backup.copy(&["--removals"]).text();
    backup.0.commits(1);
    backup.later(&["rm", "a", "s"]);
    backup.copy(&[]).text();
    assert_eq!(backup.there(&["load", "a", "s"]).code, 3);
}

/// One reason for each, where namespaces have sessions of the same ids.
#[test]
fn sessions_of_two_namespaces_that_are_left_out_are_two() {
    let home = Home::new();
    let save = |namespace: &str, storage: Option<&str>| {
        let mut command = home.command(&["session", "save", "a", "s"]);
        command.env("PERSIST_NAMESPACE", namespace);
        command.envs(storage.map(|storage| ("PERSIST_STORAGE_URL", storage)));
        Run::from(command.write_stdin("state").output().unwrap()).text()
    };
    let backup = format!("file://{}", home.path("backup").display());
    save("t1", None);
    home.run(&["cp", "-r", "", &backup]).text();
    let mut command = home.command(&["session", "rm", "a", "s"]);
    Run::from(command.env("PERSIST_NAMESPACE", "t1").output().unwrap()).text();
    save("t2", None);
    save("t2", Some(&backup));
    let run = home.run(&["cp", "-r", "", &backup]);
    assert!(run.code == 4 && run.err.contains("left out t1/a/s: removed from the source"), "{}", run.err);
    assert!(run.err.contains("; left out t2/a/s: nobody can tell"), "{}", run.err);
    let rows = home.run(&["cp", "-r", "", &backup, "--json"]).rows();
    assert_eq!(rows[rows.len() - 1]["left_out"], json!(["t1/a/s", "t2/a/s"]));
}

/// In the hour of the mistake, in which a prune has removed nothing yet.
#[test]
fn a_removal_by_mistake_is_not_undone_by_a_copy_and_the_copy_says_so() {
    let backup = Backup::new();
    backup.0.session(&["rm", "a", "s"]).text();
    let before = files(&backup.0.store());
    let back = [&*format!("{}//sessions", backup.1), "sessions"];
    for more in [&[][..], &["--if-absent"], &["--removals"], &["--dry-run"]] {
        let run = backup.0.run(&[&["cp", "-r", back[0], back[1]], more].concat());
        let words = "left out a/s: removed at the destination, and nothing brings it back there";
        assert!(run.code == 4 && run.err.contains(words), "{}: {}", run.code, run.err);
        assert_eq!(files(&backup.0.store()), before);
    }
    // As it says. What is there is no state that could be lost, also where the session goes on.
    let export = backup.there(&["export", "a", "s"]).bytes();
    assert_eq!(backup.0.pipe(&["session", "import", "a", "restored"], export).text(), "");
    assert_eq!(backup.0.session(&["load", "a", "restored"]).text(), "{\"step\":2}");
    backup.0.commits(1);
    backup.0.run(&["cp", "-r", back[0], back[1], "--if-absent"]).text();
    assert_eq!(backup.0.session(&["load", "a", "s"]).text(), "{\"step\":1}");
}

/// A put-back is typed by hand, with the key in two places.
#[test]
fn a_commit_is_put_back_only_into_its_own_session() {
    let backup = Backup::new();
    let home = &backup.0;
    home.session(&["fork", "a", "s", "one", "--at", "1"]).text();
    for step in 1..=2 {
        home.pipe(&["session", "save", "a", "x:y"], format!("other {step}")).text();
    }
    let other = "sessions/a/x%3Ay/c/999999999";
    for (source, destination) in [
        (format!("{other}/997-2"), "sessions/a/s/c/999999999/996-3"),
        (format!("{other}/997-2"), "sessions/a/one/c/999999999/997-2"),
        (
            format!("file://{}//{}/997-2", home.store().display(), other.replace('%', "%25")),
            "sessions/a/one/c/999999999/997-2",
        ),
    ] {
        let run = home.run(&["cp", &source, destination]);
        let words = "a commit is put back under its own key";
        assert!(
            run.code == 2 && run.err.contains(words) && run.err.contains("a/x:y"),
            "{source}: {}",
            run.err
        );
        assert!(!home.store().join(destination).exists());
    }
    // From a backup, whatever encodes its names.
    let lost = home.store().join("sessions/a/x%253Ay/c/999999999/997-2");
    let synced = home.path("synced/sessions/a/x%3Ay/c/999999999/997-2");
    fs::create_dir_all(synced.parent().unwrap()).unwrap();
    fs::rename(&lost, &synced).unwrap();
    let source = format!("file://{}//sessions/a/x:y/c/999999999/997-2", home.path("synced").display());
    home.run(&["cp", &source, &format!("{other}/997-2")]).text();
    assert_eq!(home.session(&["load", "a", "x:y"]).text(), "other 2");
}

#[test]
fn a_dry_run_of_a_removal_says_what_would_go_and_removes_nothing() {
    let home = Home::new();
    home.commits(2);
    home.session(&["fork", "a", "s", "f"]).text();
    let before = files(&home.store());
    let run = home.session(&["rm", "a", "s", "--dry-run"]);
    assert!(run.code == 4 && run.err.contains("was forked from commit 2"), "{}", run.err);
    assert_eq!(files(&home.store()), before);
    let home = Home::new();
    home.commits(2);
    let before = files(&home.store());
    let text = home.session(&["rm", "a", "s", "--dry-run"]).text();
    assert!(text.starts_with("would remove 0 commits, 0 B; 2 are younger"), "{text}");
    let row: serde_json::Value =
        serde_json::from_str(&home.session(&["rm", "a", "s", "--dry-run", "--json"]).text()).unwrap();
    assert_eq!((&row["dry_run"], &row["kept"], &row["removed"]), (&json!(true), &json!(3), &json!([])));
    assert_eq!(files(&home.store()), before);
    home.session(&["rm", "a", "s"]).text();
}
