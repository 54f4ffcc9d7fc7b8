//! What is done to all below a folder.

use std::fs;

use serde_json::json;

use super::harness::{Home, Run, files, noise};

/// Twenty-five names are more than are under way at once.
fn overlapping(home: &Home) {
    for index in 10..35 {
        home.write(&format!("data/persist/a/a/x{index}"), format!("one{index}"));
        home.write(&format!("data/persist/a/x{index}"), format!("two{index}"));
    }
}

#[test]
fn a_copy_overwrites_nothing_that_it_has_still_to_copy() {
    let home = Home::new();
    overlapping(&home);
    let before = files(&home.store());
    let store = format!("file://{}", home.store().display());
    for (source, destination) in [
        ("a", ""),
        ("a/", &store),
        (&format!("{store}/a"), ""),
        (&format!("{store}/a/"), &format!("{store}/")),
    ] {
        for more in [&[][..], &["--if-absent"]] {
            let run = home.run(&[&["cp", "-r", source, destination], more].concat());
            let message = "x10\" would lie in the source, perhaps over what is still to be copied";
            assert!(run.code == 2 && run.err.contains(message), "{source} {destination}: {}", run.err);
        }
    }
    assert_eq!(files(&home.store()), before);
    assert_eq!(home.run(&["load", "a/x10"]).text(), "two10");
    // Up is a way like any other where nothing is in it.
    home.run(&["cp", "-r", "a/a", ""]).text();
    assert_eq!(home.run(&["load", "x34"]).text(), "one34");
    // Names on disk are not those of keys.
    home.save("u:1/u:1/k", "one");
    home.save("u:1/k", "two");
    let run = home.run(&["cp", "-r", &format!("{store}/u%3A1/"), &store]);
    assert_eq!(run.code, 2, "{}", run.err);
    let run = home.run(&["cp", "-r", &format!("{store}//u:1"), &store]);
    assert!(run.code == 2 && run.err.contains("\"u:1/u:1/k\""), "{}", run.err);
    assert_eq!(home.run(&["load", "u:1/k"]).text(), "two");
}

#[test]
fn a_folder_is_not_copied_into_itself_however_it_is_named() {
    let home = Home::new();
    home.save("loop/k", "state");
    home.save("looping/k", "state");
    let store = format!("file://{}", home.store().display());
    let before = files(&home.store());
    let mut names = vec![
        ("loop".to_owned(), format!("{store}/loop/zz")),
        (format!("{store}/loop"), format!("{store}/loop/zz")),
        (format!("{store}/loop"), "loop/zz".to_owned()),
        (format!("{store}/loop"), format!("{store}/loop")),
        (store.clone(), format!("{store}/zz")),
    ];
    #[cfg(unix)]
    {
        std::os::unix::fs::symlink(home.store(), home.path("link")).unwrap();
        names.push(("".to_owned(), format!("file://{}/zz", home.path("link").display())));
    }
    for (source, destination) in names {
        let run = home.run(&["cp", "-r", &source, &destination]);
        let message = "the destination lies in the source; choose another folder";
        assert!(run.code == 2 && run.err.contains(message), "{source} {destination}: {}", run.err);
    }
    assert_eq!(files(&home.store()), before);
    home.run(&["cp", "-r", "loop", &format!("{store}/loop-2")]).text();
    assert_eq!(home.keys(), ["loop-2/k", "loop/k", "looping/k"]);
}

#[test]
fn a_folder_is_removed_with_everything_in_it() {
    let home = Home::new();
    for index in 0..30 {
        home.write(&format!("data/persist/many/{}/x{index}", index % 3), "state");
    }
    for key in ["many-x", "many2/k", "other/u:1/k"] {
        home.save(key, "state");
    }
    let would = home.run(&["rm", "--recursive", "--dry-run", "many"]);
    assert_eq!(would.text(), "would remove 30 snapshots, 150 B\n");
    assert_eq!(home.keys().len(), 33);
    let rows = home.run(&["rm", "-r", "many/2", "--dry-run", "--json"]).rows();
    assert_eq!((rows.len(), &rows[0]), (11, &json!({"key": "many/2/x11"})));
    assert_eq!(rows[10], json!({"removed": 10, "bytes": 50, "dry_run": true}));
    let rows = home.run(&["rm", "-r", "many/2/", "--json"]).rows();
    assert_eq!(rows[10], json!({"removed": 10, "bytes": 50, "dry_run": false}));
    assert_eq!(home.keys().len(), 23);
    assert_eq!(home.run(&["rm", "-r", "many"]).text(), "removed 20 snapshots, 100 B\n");
    assert_eq!(home.keys(), ["many-x", "many2/k", "other/u:1/k"]);
    // Gone already is as good, unless that is said; the text alone could be a mistake.
    assert_eq!(home.run(&["rm", "-r", "many"]).text(), "removed 0 snapshots, 0 B\n");
    let url = format!("file://{}//many2", home.store().display());
    let run = home.run(&["rm", "-r", "many", &url, "--must-exist"]);
    assert!(run.code == 3 && run.err.contains("there is no snapshot below \"many/\""), "{}", run.err);
    assert_eq!(home.keys(), ["many-x", "many2/k", "other/u:1/k"]);
    assert!(home.run(&["rm", "-r", &url]).text().starts_with("removed 1 snapshot, "));
    assert!(home.run(&["rm", "-r", "other/u:1", "--must-exist"]).text().starts_with("removed 1 snapshot, "));
    assert_eq!(home.keys(), ["many-x"]);
}

/// An empty variable of a script is no folder, and a session goes as a whole.
#[test]
fn what_rm_recursive_refuses() {
    let home = Home::new();
    home.save("a", "state");
    home.save("sessions/notes/x", "state");
    home.commits(2);
    let keys = home.keys();
    let all = format!("file://{}", home.store().display());
    let path = home.store().display().to_string();
    // Nobody can tell whether the last name of a path is a storage or a folder in one.
    for folder in [
        "",
        &all,
        &format!("{all}/"),
        &format!("{all}//"),
        &format!("{all}/sessions/notes"),
        &format!("file:{path}"),
        &format!("FILE:{path}?compression=none"),
        &format!("{all}?compression=none"),
        &format!("{all}/sessions/notes?compression=none"),
    ] {
        let run = home.run(&["rm", "-r", folder]);
        let message = "no folder is named, that would remove everything in file://";
        assert!(run.code == 2 && run.err.contains(message), "{folder}: {}", run.err);
    }
    let above = format!("file://{}//persist", home.path("data").display());
    let below = format!("{all}/sessions//a");
    let commits = format!("{all}/sessions/a/s/c//999999999?compression=none");
    for folder in ["sessions", "sessions/a", "sessions/a/s/", &above, &below, &commits] {
        for more in [&[][..], &["--dry-run"]] {
            let run = home.run(&[&["rm", "-r", folder], more].concat());
            assert_eq!((run.code, run.out.len()), (2, 0), "{folder}: {}", run.err);
            assert!(run.err.contains("is part of the session a/s; `persist session "), "{}", run.err);
        }
    }
    let (object, state) = (home.object(2).display().to_string(), home.write("state", "{}"));
    let (object, other) = (format!("file:{object}"), format!("file://{object}"));
    for arguments in [&["rm", &object][..], &["rm", &other], &["save", &other, &state.display().to_string()]]
    {
        let run = home.run(arguments);
        assert!(run.code == 2 && run.err.contains("is part of the session a/s; "), "{}", run.err);
    }
    let tenant = home.command(&["rm", "-r", "c"]).env("PERSIST_NAMESPACE", "sessions/a/s").output().unwrap();
    assert_eq!(Run::from(tenant).code, 2);
    assert_eq!(home.run(&["rm", "--dry-run", "a"]).code, 2);
    assert_eq!(home.keys(), keys);
    home.run(&["rm", "-r", "sessions/notes"]).text();
    assert_eq!(home.keys().len(), keys.len() - 1);
    assert!(fs::metadata(home.object(2)).is_ok());
}

/// The numbers and ids of all commits of `a/s`, newest first.
pub(crate) fn history(home: &Home) -> Vec<serde_json::Value> {
    home.session(&["log", "a", "s", "--json"]).rows()
}

/// What was acknowledged is not replaced: neither by an old backup, nor in the only backup.
#[test]
fn a_copy_of_sessions_mixes_no_histories() {
    for (ours, theirs) in [(3, 2), (2, 2), (2, 3)] {
        let (live, lost) = (Home::new(), Home::new());
        live.commits(ours);
        lost.commits(theirs);
        lost.save("sessions/k", "state");
        // What others leave between commits, in front of the newest, is none of them.
        for home in [&live, &lost] {
            for stray in [".DS_Store", "1/1-1", "999999999/999-0"] {
                home.write(&format!("data/persist/sessions/a/s/c/{stray}"), "the same");
            }
        }
        let (here, there) = (history(&live), history(&lost));
        let before = files(&live.store());
        let old = format!("file://{}//sessions", lost.store().display());
        for more in [&[][..], &["--if-absent"]] {
            let run = live.run(&[&["cp", "-r", &old, "sessions"], more].concat());
            assert!(run.code == 4 && run.err.contains("left out a/s: "), "{}: {}", run.code, run.err);
            assert_eq!(live.run(&["load", "sessions/k"]).text(), "state", "all others are copied");
            let run = live.run(&[&["cp", "-r", "sessions", &old], more].concat());
            assert!(run.code == 4 && run.err.contains("left out a/s: "), "{}: {}", run.code, run.err);
        }
        // Any folder of it is a part.
        let run = live.run(&["cp", "-r", &format!("{old}/a/s/c"), "sessions/a/s/c"]);
        assert!(run.code == 4 && run.err.contains("left out a/s: "), "{}: {}", run.code, run.err);
        assert_eq!((history(&live), history(&lost)), (here, there));
        assert_eq!(files(&live.store()).len(), before.len() + 1);
        for home in [&live, &lost] {
            // It has no name that a session gives: anybody may remove it.
            let strays =
                [".DS_Store", "1/1-1", "999999999/999-0"].map(|name| format!("sessions/a/s/c/{name}"));
            home.run(&["rm", &strays[0], &strays[1], &strays[2], "--must-exist"]).text();
            home.session(&["verify", "a", "s"]).text();
        }
    }
}

/// A backup's folder may have any name.
#[test]
fn a_copy_of_sessions_to_a_folder_of_another_name_is_one_too() {
    let home = Home::new();
    home.commits(3);
    let backup = format!("file://{}//nightly", home.path("backup").display());
    home.run(&["cp", "-r", "sessions", &backup]).text();
    let before = files(&home.path("backup"));
    home.run(&["cp", "-r", "sessions", &backup]).text();
    assert_eq!(files(&home.path("backup")), before);
    let lost = Home::new();
    lost.commits(2);
    let run = lost.run(&["cp", "-r", "sessions", &backup]);
    assert!(run.code == 4 && run.err.contains("left out a/s: "), "{}: {}", run.code, run.err);
    assert_eq!(files(&home.path("backup")), before);
    fs::remove_dir_all(home.store()).unwrap();
    home.run(&["cp", "-r", &backup, "sessions"]).text();
    assert_eq!(history(&home).len(), 3);
    home.session(&["verify", "a", "s"]).text();
}

/// As a prune may take it from the source.
#[test]
fn a_copy_of_sessions_goes_on_without_the_newest_commit_of_the_backup() {
    let home = Home::new();
    home.commits(3);
    let to = format!("file://{}//sessions", home.path("backup").display());
    home.run(&["cp", "-r", "sessions", &to]).text();
    home.commits(12);
    fs::remove_file(home.object(3)).unwrap();
    home.run(&["cp", "-r", "sessions", &to]).text();
    let copied = Home::new();
    copied.run(&["cp", "-r", &to, "sessions"]).text();
    assert_eq!(history(&copied).len(), 15);
    // One object that cannot be read holds up nobody else.
    home.save("sessions/k", "state");
    fs::write(home.object(15), "torn").unwrap();
    let run = home.run(&["cp", "-r", "sessions", &to]);
    assert!(run.code == 4 && run.err.contains("left out a/s: "), "{}: {}", run.code, run.err);
    assert_eq!(copied.run(&["load", &format!("{to}/k")]).text(), "state");
}

#[test]
fn a_copy_of_sessions_goes_on_where_the_last_one_ended() {
    let home = Home::new();
    home.commits(2);
    home.session(&["tag", "a", "s", "good", "--at", "1"]).text();
    let backup = format!("file://{}", home.path("backup").display());
    let to = format!("{backup}//sessions");
    let copied = |home: &Home| {
        let rows = home.run(&["cp", "-r", "sessions", &to, "--json"]).rows();
        rows.iter().filter_map(|row| Some(row["key"].as_str()?.to_owned())).collect::<Vec<_>>()
    };
    assert_eq!(copied(&home).len(), 3);
    home.commits(1);
    home.session(&["tag", "a", "s", "good", "--at", "2", "--force"]).text();
    assert_eq!(copied(&home), ["sessions/a/s/c/999999999/996-3", "sessions/a/s/t/good"]);
    // A backup that is older gives what is missing, and takes nothing back.
    home.commits(1);
    home.session(&["tag", "a", "s", "good", "--at", "4", "--force"]).text();
    let before = history(&home);
    fs::remove_file(home.object(1)).unwrap();
    assert_eq!(home.session(&["verify", "a", "s"]).code, 5);
    let rows = home.run(&["cp", "-r", &to, "sessions", "--json"]).rows();
    assert_eq!((rows.len(), &rows[0]["key"]), (2, &json!("sessions/a/s/c/999999999/998-1")));
    home.session(&["verify", "a", "s"]).text();
    assert_eq!(history(&home), before);
    assert_eq!(home.session(&["load", "a", "s", "--at", "good"]).text(), "{\"step\":1}");
    // Nor does it bring back what was removed since, and says so.
    home.session(&["rm", "a", "s"]).text();
    assert_eq!(home.run(&["cp", "-r", &to, "sessions"]).code, 4);
    assert_eq!(home.session(&["load", "a", "s"]).code, 3);
    let run = home.run(&["--storage", &backup, "session", "verify", "a", "s"]);
    assert!(run.text().starts_with("good: 3 commits"));
}

/// What is asked twice is done once.
#[test]
fn a_name_that_is_missing_keeps_the_others() {
    let home = Home::new();
    home.save("a", "state");
    home.save("b", "state");
    let run: Run = home.run(&["rm", "a", "nope", "b", "--must-exist"]);
    assert!(run.code == 3 && run.err.contains("\"nope\""), "{}", run.err);
    assert_eq!(home.keys(), ["a", "b"]);
    home.run(&["rm", "a", "a", "--must-exist"]).text();
    assert_eq!(home.keys(), ["b"]);
}

/// A session that somebody removed by mistake is still in the backup, where it can be loaded, the next night
/// as well.
#[test]
fn a_copy_takes_a_removal_along_only_if_that_is_said() {
    // What is younger than the fence window stays behind the marker; without it there is nothing that both
    // sides have.
    for window in ["1h", "60s"] {
        let home = Home::new();
        let session = |arguments: &[&str]| {
            let mut command = home.command(&[&["session"], arguments].concat());
            Run::from(command.env("PERSIST_FENCE_WINDOW", window).output().unwrap())
        };
        home.commits(2);
        home.session(&["tag", "a", "s", "good", "--at", "1"]).text();
        home.save("sessions/k", "state");
        let backup = format!("file://{}", home.path("backup").display());
        let to = format!("{backup}//sessions");
        home.run(&["cp", "-r", "sessions", &to]).text();
        let before = files(&home.path("backup"));
        if window == "60s" {
            let old = std::time::SystemTime::now() - std::time::Duration::from_secs(7200);
            for path in files(&home.store().join("sessions/a")) {
                fs::File::options().write(true).open(path).unwrap().set_modified(old).unwrap();
            }
        }
        session(&["rm", "a", "s"]).text();
        assert_eq!(home.object(2).exists(), window == "1h");
        for more in [&[][..], &["--if-absent"], &["--dry-run"]] {
            let run = home.run(&[&["cp", "-r", "sessions", &to], more].concat());
            let message = "left out a/s: removed from the source, and left as it is at the destination; ";
            assert!(run.code == 4 && run.err.contains(message), "{}: {}", run.code, run.err);
            assert_eq!(files(&home.path("backup")), before);
        }
        let there = |arguments: &[&str]| home.session(&[arguments, &["--storage", &backup]].concat());
        assert_eq!(there(&["load", "a", "s"]).text(), "{\"step\":2}");
        assert_eq!(there(&["load", "a", "s", "--at", "good"]).text(), "{\"step\":1}");
        there(&["verify", "a", "s"]).text();
        // From a folder in the session, and to one of another name.
        let run = home.run(&["cp", "-r", "sessions/a/s/c", &format!("{to}/a/s/c")]);
        assert_eq!(run.code, 4, "{}", run.err);
        // It was meant.
        home.run(&["cp", "-r", "sessions", &to, "--removals"]).text();
        assert_eq!(there(&["load", "a", "s"]).code, 3);
        // What begins anew goes on in both.
        home.commits(1);
        home.run(&["cp", "-r", "sessions", &to]).text();
        assert_eq!(there(&["load", "a", "s"]).text(), "{\"step\":1}");
    }
}

#[test]
fn a_copy_says_first_what_it_would_do() {
    let home = Home::new();
    home.commits(2);
    home.save("sessions/k", "state");
    let to = format!("file://{}//sessions", home.path("backup").display());
    let would = home.run(&["cp", "-r", "sessions", &to, "--dry-run"]).text();
    let folder = home.path("backup");
    assert!(would.starts_with("would copy 3 snapshots, "), "{would}");
    assert!(would.ends_with(&format!(", to file://{}/sessions/\n", folder.display())), "{would}");
    assert!(!folder.exists());
    // Sessions and plain snapshots are copied side by side: the sum alone has its place.
    let by_key = |more: &[&str]| {
        let mut rows = home.run(&[&["cp", "-r", "sessions", &to, "--json"], more].concat()).rows();
        rows.sort_by_key(|row| row["key"].as_str().unwrap_or("~").to_owned());
        rows
    };
    let (dry, done) = (by_key(&["--dry-run"]), by_key(&[]));
    assert_eq!(dry.len(), 4);
    assert!(dry.iter().zip(&done).all(|(dry, done)| dry["key"] == done["key"]), "{dry:?} {done:?}");
    assert_eq!(dry[0], json!({"key": "sessions/a/s/c/999999999/997-2"}));
    let bytes = &done[3]["bytes"];
    for (row, dry_run) in [(&dry[3], true), (&done[3], false)] {
        assert_eq!(
            *row,
            json!({"copied": 3, "bytes": bytes, "skipped": 0, "left_out": [], "dry_run": dry_run})
        );
    }
    let again = home.run(&["cp", "-r", "sessions", &to, "--dry-run", "--if-absent"]).text();
    assert!(
        again.starts_with("would copy 0 snapshots, 0 B, to ") && again.ends_with("; 3 skipped\n"),
        "{again}"
    );
    let run = home.run(&["cp", "-r", "sessions/k", &to]);
    let message = "\"sessions/k\" is no folder but a snapshot; copy it without --recursive";
    assert!(run.code == 2 && run.err.contains(message), "{}", run.err);
    assert_eq!(home.run(&["cp", "sessions/k", "x", "--dry-run"]).code, 2);
}

/// Keys have the newest commit first, which is made of those behind it.
#[test]
fn a_copy_that_breaks_off_leaves_a_session_that_loads() {
    let home = Home::new();
    let state = |step: u64| [noise(3000), step.to_string().into_bytes()].concat();
    let save = |steps: std::ops::RangeInclusive<u64>| {
        for step in steps {
            home.pipe(&["session", "save", "a", "s"], state(step)).text();
        }
    };
    let backup = format!("file://{}", home.path("backup").display());
    let to = format!("{backup}//sessions");
    let newest = || home.session(&["load", "a", "s", "--storage", &backup]).bytes();
    save(1..=3);
    home.run(&["cp", "-r", "sessions", &to]).text();
    save(4..=20);
    let way = home.path("backup").join("sessions/a/s/c/999999999/993-6");
    fs::create_dir(&way).unwrap();
    fs::write(way.join("x"), "in the way").unwrap();
    let run = home.run(&["cp", "-r", "sessions", &to]);
    let after = "this failed after 2 snapshots had been copied";
    assert!(run.code == 2 && run.err.contains(after), "{}: {}", run.code, run.err);
    fs::remove_dir_all(&way).unwrap();
    assert!(newest() == state(5));
    home.session(&["verify", "a", "s", "--storage", &backup]).text();
    // What was not copied comes with the next one.
    home.run(&["cp", "-r", "sessions", &to]).text();
    assert!(newest() == state(20));
}

/// That is what a prune leaves of a session whose first save died, or a bucket's rule that removed the rest.
#[test]
fn what_is_left_of_a_session_does_not_replace_a_whole_one() {
    let home = Home::new();
    home.commits(6);
    let to = format!("file://{}//sessions", home.path("backup").display());
    let old = std::time::SystemTime::now() - std::time::Duration::from_secs(7200);
    for seq in 1..=6 {
        fs::File::options().write(true).open(home.object(seq)).unwrap().set_modified(old).unwrap();
    }
    home.session(&["prune", "a", "s", "--keep-last", "2"]).text();
    home.run(&["cp", "-r", "sessions", &to]).text();
    let line = home.path("backup").join("sessions/a/s/line");
    let before = fs::read(&line).unwrap();
    let left = Home::new();
    left.write("data/persist/sessions/a/s/line", "another");
    left.save("sessions/k", "state");
    for more in [&[][..], &["--if-absent"]] {
        let run = left.run(&[&["cp", "-r", "sessions", &to], more].concat());
        assert!(run.code == 4 && run.err.contains("left out a/s: "), "{}: {}", run.code, run.err);
        assert_eq!(fs::read(&line).unwrap(), before);
        assert_eq!(left.run(&["load", &format!("{to}/k")]).text(), "state", "all others are copied");
    }
    let empty = format!("file://{}//sessions", left.path("empty").display());
    left.run(&["cp", "-r", "sessions", &empty]).text();
}
