//! `persist session`: damage, limits, prunes and removal.

use std::fs;

use serde_json::{Value, json};

use super::{
    harness::{Home, Run, names, noise},
    session::refused,
};

#[test]
fn a_prune_says_what_goes_and_the_last_hour_stays() {
    let home = Home::new();
    home.commits(4);
    let text = home.session(&["prune", "a", "s", "--keep-last", "1", "--dry-run"]).text();
    assert_eq!(
        text,
        "would remove 0 commits and 0 other objects, 0 B; 4 commits stay: 1 by the rules, 3 younger than the fence window\n"
    );
    // Written long ago, by the clock of the storage.
    let old = std::time::SystemTime::now() - std::time::Duration::from_secs(7200);
    for seq in 1..=4 {
        fs::File::options().write(true).open(home.object(seq)).unwrap().set_modified(old).unwrap();
    }
    home.session(&["tag", "a", "s", "keep", "--at", "1"]).text();
    let rules = ["--keep-last", "1", "--keep-within", "3600s"];
    let dry =
        home.session(&[&["prune", "a", "s"], &rules[..], &["--dry-run", "--json"]].concat()).rows().remove(0);
    let mut real = home.session(&[&["prune", "a", "s"], &rules[..], &["--json"]].concat()).rows().remove(0);
    assert_eq!(names(&real), ["bytes", "dry_run", "garbage", "kept", "kept_by", "removed"]);
    assert_eq!((&dry["dry_run"], &real["dry_run"]), (&json!(true), &json!(false)));
    real["dry_run"] = json!(true);
    assert_eq!(dry, real);
    let left: Vec<u64> = home
        .session(&["log", "a", "s", "--json"])
        .rows()
        .iter()
        .map(|row| row["seq"].as_u64().unwrap())
        .collect();
    let gone: Vec<u64> = serde_json::from_value(real["removed"].clone()).unwrap();
    assert!(
        left.contains(&4) && left.contains(&1) && left.iter().all(|seq| !gone.contains(seq)),
        "{left:?} {gone:?}"
    );
    for seq in gone {
        refused(&home, &[(&["load", "a", "s", "--at", &seq.to_string()], 3, "a prune removed it")]);
    }
    assert_eq!(home.session(&["verify", "a", "s", "--json"]).rows()[0]["damaged"], json!([]));
}

/// One is not many, and where nothing stays there is no reason for it.
#[test]
fn a_prune_counts_in_words() {
    let home = Home::new();
    let prune = || home.session(&["prune", "a", "s", "--keep-last", "1"]).text();
    let old = std::time::SystemTime::now() - std::time::Duration::from_secs(365 * 86_400);
    let body = || {
        let folder = home.store().join("sessions/a/s/b");
        fs::create_dir_all(&folder).unwrap();
        let file = folder.join("2-01HF7YGAYRFNDEATEHYDS4HS42");
        fs::write(&file, "of a writer that died").unwrap();
        fs::File::options().write(true).open(file).unwrap().set_modified(old).unwrap();
    };
    body();
    assert_eq!(prune(), "removed 0 commits and 1 other object, 21 B; 0 commits stay\n");
    // Nothing in common: neither is made of the other.
    home.pipe(&["session", "save", "a", "s"], noise(3000)).text();
    home.pipe(&["session", "save", "a", "s"], noise(3000).into_iter().rev().collect::<Vec<_>>()).text();
    for seq in 1..=2 {
        fs::File::options().write(true).open(home.object(seq)).unwrap().set_modified(old).unwrap();
    }
    body();
    let text = prune();
    assert!(text.starts_with("removed 1 commit and 1 other object, "), "{text}");
    assert!(text.ends_with("; 1 commit stays: 1 by the rules\n"), "{text}");
}

#[test]
fn damage_is_named_and_passed_over_only_when_asked() {
    let home = Home::new();
    home.commits(3);
    let verified = home.session(&["verify", "a", "s"]).text();
    assert_eq!(verified, "good: 3 commits, 30 B of states; damaged: 0\n");
    let mut bytes = fs::read(home.object(3)).unwrap();
    bytes[20] ^= 1;
    fs::write(home.object(3), bytes).unwrap();
    let key = "sessions/a/s/c/999999999/996-3";
    let out = home.write("out.json", "old").display().to_string();
    refused(&home, &[(&["load", "a", "s"], 5, key), (&["load", "a", "s", "-o", &out], 5, key)]);
    refused(
        &home,
        &[(&["load", "a", "s"], 5, "load or save with --fallback, or restore the object from a copy")],
    );
    assert_eq!(fs::read(&out).unwrap(), b"old");
    let run = home.session(&["load", "a", "s", "--json"]);
    assert_eq!((&run.error()["kind"], &run.error()["key"]), (&json!("corrupt"), &json!(key)));
    let run = home.session(&["load", "a", "s", "--fallback"]);
    assert_eq!((run.code, &run.out[..]), (0, &b"{\"step\":2}"[..]));
    assert!(run.err.starts_with("persist: passed over: commit 3 is damaged: "), "{}", run.err);
    // For scripts it is in the row.
    let skipped = json!([{"seq": 3, "key": key, "reason": "its checksum is wrong"}]);
    let run = home.session(&["load", "a", "s", "--fallback", "--json", "-o", &out]);
    assert_eq!((run.code, &run.rows()[0]["seq"], &run.rows()[0]["skipped"]), (0, &json!(2), &skipped));
    fs::write(&out, "old").unwrap();
    // Rows say no more by the names of functions than errors do.
    for arguments in [&["log", "a", "s"][..], &["log", "a", "s", "--json"], &["ls", "--long", "--json"]] {
        let out = String::from_utf8(home.session(arguments).out).unwrap();
        let advice = "its checksum is wrong; load or save with --fallback, or restore the object from a copy";
        assert!(out.contains(advice), "{arguments:?}: {out}");
    }
    let run = home.session(&["verify", "a", "s"]);
    let text = String::from_utf8(run.out).unwrap();
    let line = format!("damaged: {key}: its checksum is wrong (commits that cannot be loaded: 3)");
    assert_eq!(text.lines().next(), Some(&*line), "{text}");
    assert_eq!(run.err.matches("restore").count(), 1, "{}", run.err);
    let run = home.session(&["verify", "a", "s", "--json"]);
    let damaged = json!([{"seq": 3, "key": key, "reason": "its checksum is wrong"}]);
    let row = json!({"agent": "a", "session": "s", "ok": false, "good": 2, "bytes": 20, "damaged": damaged, "garbage": 0});
    assert_eq!((run.code, run.rows()), (5, vec![row.clone()]));
    assert_eq!(home.run(&["verify", "--all", "--json"]).rows()[0], row);
    // A writer goes on behind the damage only if it says so.
    assert_eq!(home.pipe(&["session", "save", "a", "s"], "{}").code, 5);
    let run = home.pipe(&["session", "save", "a", "s", "--fallback", "--json"], "{}");
    assert_eq!((&run.rows()[0]["seq"], &run.rows()[0]["keyframe"]), (&json!(4), &json!(true)));
    assert_eq!(run.rows()[0]["skipped"], skipped);
    assert!(run.err.contains("commit 3 is damaged"), "{}", run.err);
    assert_eq!(
        home.session(&["load", "a", "s", "--fallback", "--json", "-o", &out]).rows()[0]["skipped"],
        json!([])
    );
    assert_eq!(home.session(&["load", "a", "s"]).text(), "{}");
}

#[test]
fn a_session_without_a_good_commit_goes_on_with_a_fallback() {
    let home = Home::new();
    home.commits(1);
    let mut bytes = fs::read(home.object(1)).unwrap();
    bytes[20] ^= 1;
    fs::write(home.object(1), bytes).unwrap();
    refused(&home, &[(&["load", "a", "s", "--fallback"], 5, "998-1")]);
    assert_eq!(home.pipe(&["session", "save", "a", "s"], "{}").code, 5);
    let run = home.pipe(&["session", "save", "a", "s", "--fallback", "--json"], "{}");
    assert_eq!((run.code, &run.rows()[0]["seq"]), (0, &json!(2)), "{}", run.err);
    let key = "sessions/a/s/c/999999999/998-1";
    let skipped = &run.rows()[0]["skipped"];
    let reason = skipped[0]["reason"].as_str().unwrap();
    assert_eq!(*skipped, json!([{"seq": 1, "key": key, "reason": reason}]));
    // Not the advice to do what was just done.
    let told = format!("persist: no commit is good, the newest is passed over: {key}: {reason}\n");
    assert!(run.err == told && !reason.contains("fallback"), "{}", run.err);
    assert_eq!(home.session(&["load", "a", "s"]).text(), "{}");
}

#[test]
fn a_commit_that_somebody_removed_is_missing_and_not_pruned() {
    let home = Home::new();
    home.commits(4);
    home.session(&["tag", "a", "s", "good", "--at", "2"]).text();
    home.session(&["fork", "a", "s", "t", "--at", "4"]).text();
    home.session(&["tag", "a", "s", "newest", "--at", "4"]).text();
    fs::remove_file(home.object(2)).unwrap();
    let missing = "commit 2 is missing; restore its object from a copy";
    let exported =
        "commit 2 is missing; restore what is damaged or missing from a copy, or fork from a good commit";
    let verified = |lines: &[&str]| {
        let run = home.session(&["verify", "a", "s"]);
        let out = String::from_utf8(run.out).unwrap();
        let found: Vec<&str> = out.lines().filter(|line| line.starts_with("damaged: ")).collect();
        assert_eq!((run.code, found.len()), (5, lines.len()), "{out}");
        found.iter().zip(lines).for_each(|(found, line)| assert!(found.ends_with(line), "{out}"));
    };
    verified(&["997-2: commit 2 is missing (commits that cannot be loaded: 2, 3, 4)"]);
    refused(
        &home,
        &[(&["load", "a", "s", "--at", "2"], 5, "is missing"), (&["export", "a", "s", "x.tar"], 5, exported)],
    );
    assert!(!home.path("x.tar").exists());
    // In its place in the log, also in that of a fork.
    for session in ["s", "t"] {
        let run = home.session(&["log", "a", session]);
        let out = String::from_utf8(run.out).unwrap();
        let lines: Vec<&str> = out.lines().collect();
        assert_eq!((run.code, lines.len()), (5, 4), "{out}");
        assert!(lines[2].starts_with("damaged: ") && lines[2].ends_with(missing), "{out}");
        assert_eq!(run.err.lines().count(), 1, "{}", run.err);
        let run = home.session(&["log", "a", session, "--json"]);
        assert_eq!((&run.rows()[2]["reason"], &run.rows()[3]["seq"]), (&json!(missing), &json!(1)));
        assert_eq!(run.error()["exit_code"], 5);
    }
    // The newest is missed only by what names it.
    fs::remove_file(home.object(4)).unwrap();
    verified(&[
        "997-2: commit 2 is missing (commits that cannot be loaded: 2, 3)",
        "995-4: commit 4, which the fork a/t names, is missing (commits that cannot be loaded: 4)",
    ]);
}

/// One damage is told once, and not as a fault of the tag.
#[test]
fn a_damaged_commit_is_told_once() {
    let home = Home::new();
    home.commits(3);
    for seq in ["1", "2"] {
        home.session(&["tag", "a", "s", &format!("v{seq}"), "--at", seq]).text();
    }
    for (seq, at) in [(2, 20), (1, 3)] {
        let whole = fs::read(home.object(seq)).unwrap();
        let mut bytes = whole.clone();
        bytes[at] ^= 1;
        fs::write(home.object(seq), bytes).unwrap();
        let run = home.session(&["verify", "a", "s"]);
        let text = String::from_utf8(run.out).unwrap();
        assert_eq!((run.code, text.lines().count()), (5, 2), "{text}");
        assert!(text.contains(&format!("-{seq}: ")) && text.ends_with("damaged: 1\n"), "{text}");
        // No commit twice.
        let run = home.session(&["verify", "a", "s", "--json"]);
        let damaged = run.rows()[0]["damaged"].as_array().unwrap().clone();
        let mut seqs: Vec<&Value> = damaged.iter().map(|damaged| &damaged["seq"]).collect();
        seqs.dedup();
        assert_eq!(seqs.len(), damaged.len(), "{damaged:?}");
        let run = home.session(&["log", "a", "s", "--json"]);
        let rows = run.rows();
        let place = rows.iter().position(|row| row["reason"].is_string()).unwrap();
        assert_eq!((run.code, rows.len(), place), (5, 3, 3 - seq as usize), "{rows:?}");
        assert_eq!(run.error()["kind"], "corrupt");
        fs::write(home.object(seq), whole).unwrap();
    }
    assert_eq!(home.session(&["verify", "a", "s"]).code, 0);
}

/// A limit is one in every command, and no damage.
#[test]
fn a_limit_has_one_exit_code() {
    let home = Home::new();
    home.pipe(&["session", "save", "a", "s"], noise(3000)).text();
    home.pipe(&["save", "plain"], noise(3000)).text();
    for arguments in [
        &["session", "load", "a", "s"][..],
        &["session", "load", "a", "s", "--fallback"],
        &["session", "verify", "a", "s"],
        &["load", "plain"],
        &["verify", "plain"],
    ] {
        let run: Run = home.command(arguments).env("PERSIST_MAX_BYTES", "2KiB").output().unwrap().into();
        assert_eq!((run.code, run.out.len()), (2, 0), "{arguments:?}: {}", run.err);
        assert!(run.err.contains("raise `max_bytes` (PERSIST_MAX_BYTES)"), "{arguments:?}: {}", run.err);
        assert_eq!(home.run(arguments).code, 0);
    }
    let run: Run =
        home.command(&["verify", "--all"]).env("PERSIST_MAX_BYTES", "2KiB").output().unwrap().into();
    assert_eq!(run.code, 2, "{}", run.err);
}

/// With a window of its own a prune keeps more or less.
#[test]
fn the_fence_window_is_a_setting() {
    let home = Home::new();
    home.commits(12);
    let old = std::time::SystemTime::now() - std::time::Duration::from_secs(600);
    for seq in 1..=12 {
        fs::File::options().write(true).open(home.object(seq)).unwrap().set_modified(old).unwrap();
    }
    let prune = |window: &str| -> Run {
        let mut command = home.command(&["session", "prune", "a", "s", "--keep-last", "1", "--dry-run"]);
        command.env("PERSIST_FENCE_WINDOW", window).output().unwrap().into()
    };
    assert!(prune("1h").text().contains("12 commits stay"));
    let short = prune("5m").text();
    assert!(!short.contains("12 commits stay"), "{short}");
    let refused = prune("59s");
    assert!(refused.code == 8 && refused.err.contains("use 60 seconds to 30 days"), "{}", refused.err);
}

#[test]
fn a_commit_of_another_history_is_named_by_its_id() {
    let (one, two) = (Home::new(), Home::new());
    let state = noise(20_000);
    for home in [&one, &two] {
        home.pipe(&["session", "save", "a", "s"], &state[..10_000]).text();
        home.pipe(&["session", "save", "a", "s"], &state[..]).text();
    }
    let id = one.session(&["show", "a", "s", "--at", "1", "--json"]).rows()[0]["id"].clone();
    fs::copy(two.object(1), one.object(1)).unwrap();
    let run = one.session(&["load", "a", "s"]);
    let needed = format!("it is made of commit {}, and number 1 is commit ", id.as_str().unwrap());
    assert!(run.code == 5 && run.err.contains(&needed), "{}: {}", run.code, run.err);
}

#[test]
fn a_session_is_removed() {
    let home = Home::new();
    refused(&home, &[(&["rm", "a", "s"], 3, "has no commit; save one first")]);
    home.commits(4);
    let old = std::time::SystemTime::now() - std::time::Duration::from_secs(7200);
    for seq in 1..=3 {
        fs::File::options().write(true).open(home.object(seq)).unwrap().set_modified(old).unwrap();
    }
    home.session(&["tag", "a", "s", "good", "--at", "1"]).text();
    home.session(&["fork", "a", "s", "t"]).text();
    refused(&home, &[(&["rm", "a", "s"], 4, "the session a/t was forked from commit 4 of a/s")]);
    home.session(&["rm", "a", "t"]).text();
    let text = home.session(&["rm", "a", "s"]).text();
    let left = "; 1 is younger than the fence window: any later `session prune` removes it\n";
    assert!(text.starts_with("removed 3 commits, ") && text.ends_with(left), "{text}");
    for command in ["load", "show", "verify", "export"] {
        refused(&home, &[(&[command, "a", "s"], 3, "was removed, with commit 5")]);
    }
    refused(&home, &[(&["load", "a", "s", "--at", "good"], 3, "there is no tag")]);
    fs::File::options().write(true).open(home.object(4)).unwrap().set_modified(old).unwrap();
    let row = home.session(&["rm", "a", "s", "--json"]).rows().remove(0);
    assert_eq!(row["kept"], 1);
    assert!(row["removed"].as_array().unwrap().contains(&json!(4)));
    home.pipe(&["session", "save", "a", "s"], "anew").text();
    assert_eq!(home.session(&["load", "a", "s"]).text(), "anew");
}

/// Which sessions are long, old, removed, damaged or half there.
#[test]
fn a_long_listing_tells_of_each_newest_commit() {
    let home = Home::new();
    home.commits(3);
    let archive = home.path("s.tar");
    home.session(&["export", "a", "s", archive.to_str().unwrap()]).text();
    let half = fs::read(&archive).unwrap();
    let run = home.pipe(&["session", "import", "a", "half"], &half[..half.len() - 2048]);
    assert!(run.code == 5 && run.err.contains("ends early"), "{}", run.err);
    home.session(&["import", "a", "gone", archive.to_str().unwrap()]).text();
    home.session(&["rm", "a", "gone"]).text();
    home.session(&["fork", "a", "s", "fork"]).text();
    let names = home.session(&["ls", "--json"]).rows();
    assert_eq!(names[0], json!({"agent": "a", "session": "fork"}));
    let rows = home.session(&["ls", "a", "--long", "--json"]).rows();
    let newest = home.session(&["show", "a", "s", "--json"]).rows().remove(0);
    for (row, name) in [(&rows[0], "fork"), (&rows[3], "s")] {
        let (time, size) = (&newest["time"], &newest["size"]);
        let told =
            json!({"agent": "a", "session": name, "seq": 3, "time": time, "size": size, "removed": false});
        assert_eq!(row, &told);
    }
    assert_eq!(rows[1], json!({"agent": "a", "session": "gone", "removed": true}));
    assert!(rows[2]["reason"].as_str().unwrap().contains("is being imported"), "{}", rows[2]);
    let text = home.session(&["ls", "a", "--long"]).text();
    let lines: Vec<&str> = text.lines().collect();
    assert!(lines[0].starts_with("       3  20") && lines[0].ends_with("a\tfork"), "{text}");
    assert!(lines[1].contains("removed  ") && lines[2].contains("being imported  "), "{text}");
    let ends: Vec<usize> = lines.iter().map(|line| line.find("a\t").unwrap()).collect();
    assert!(ends.iter().all(|end| *end == ends[0]), "{text}");
}

/// One session that a newer release wrote does not hide the others.
#[test]
fn a_long_listing_goes_on_behind_what_it_cannot_read() {
    let home = Home::new();
    home.commits(1);
    let mut origin = b"PSR\x02o".to_vec();
    origin.extend(crc32c::crc32c(&origin).to_le_bytes());
    let folder = home.store().join("sessions/a/new/c/999999999");
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("998-1"), origin).unwrap();
    let rows = home.session(&["ls", "--long", "--json"]).rows();
    assert_eq!((rows.len(), &rows[0]["session"], &rows[1]["seq"]), (2, &json!("new"), &json!(1)));
    assert!(rows[0]["reason"].as_str().unwrap().contains("use a newer persist"), "{}", rows[0]);
    let text = home.session(&["ls", "--long"]).text();
    assert!(text.lines().count() == 2 && text.contains("cannot be read  "), "{text}");
}

/// What operators watch: saves, and damage where a load meets it; without the ids of users.
#[test]
fn sessions_are_logged() {
    let home = Home::new();
    home.commits(2);
    let saved = home.pipe(&["-v", "session", "save", "a", "s"], b"{}");
    let line = saved.err.lines().find(|line| line.contains("committed")).unwrap_or_default();
    assert!(
        line.contains("commit=3") && line.contains(" size=2") && !line.contains("sessions/a/s"),
        "{}",
        saved.err
    );
    let keyframe = home.object(1);
    let mut bytes = fs::read(&keyframe).unwrap();
    bytes[30] ^= 1;
    fs::write(&keyframe, bytes).unwrap();
    let failed = home.run(&["-v", "session", "load", "a", "s", "--at", "1"]);
    assert!(
        failed.err.lines().any(|line| line.contains("WARN damaged") && !line.contains("sessions/a/s")),
        "{}",
        failed.err
    );
}

/// A damaged delta is no damaged file: only what it means tells.
#[test]
fn all_of_a_store_is_verified_with_its_sessions() {
    let home = Home::new();
    home.commits(3);
    home.pipe(&["save", "plain"], "{}").text();
    let run = home.run(&["verify", "--all"]);
    assert!(
        run.code == 0 && run.err.is_empty() && run.out == b"all well: 1 snapshot, 1 session\n",
        "{run:?}"
    );
    let rows = home.run(&["verify", "--all", "--json"]).rows();
    assert_eq!((rows.len(), &rows[0]["key"]), (3, &json!("plain")));
    assert_eq!((&rows[1]["agent"], &rows[1]["ok"], &rows[1]["good"]), (&json!("a"), &json!(true), &json!(3)));
    let mut bytes = fs::read(home.object(2)).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(home.object(2), bytes).unwrap();
    let run = home.run(&["verify", "--all"]);
    let out = String::from_utf8(run.out).unwrap();
    assert!(run.code == 5 && out.starts_with("corrupt  session a/s: ") && out.lines().count() == 1, "{out}");
    assert!(run.err.contains("1 of 1 session is damaged; see `persist session verify`"), "{}", run.err);
    let rows = home.run(&["verify", "--all", "--json"]).rows();
    let damaged = rows[1]["damaged"].as_array().unwrap();
    let seqs: Vec<&Value> = damaged.iter().map(|damaged| &damaged["seq"]).collect();
    assert_eq!((&rows[1]["ok"], seqs), (&json!(false), vec![&json!(2), &json!(3)]));
}

/// Half an import says nothing about the sessions behind it, and damage is worse.
#[test]
fn all_of_a_store_is_verified_beside_half_an_import() {
    let home = Home::new();
    home.commits(3);
    let archive = home.path("s.tar");
    home.session(&["export", "a", "s", archive.to_str().unwrap()]).text();
    let whole = fs::read(&archive).unwrap();
    let run = home.pipe(&["session", "import", "a", "half"], &whole[..whole.len() - 2048]);
    assert!(run.code == 5 && run.err.contains("ends early"), "{}", run.err);
    let run = home.run(&["verify", "--all"]);
    let out = String::from_utf8(run.out).unwrap();
    assert!(run.code == 4 && out.lines().count() == 1, "{}: {out}", run.code);
    assert!(out.starts_with("conflict session a/half: ") && out.contains("is being imported"), "{out}");
    assert!(run.err.contains("1 of 2 sessions cannot be verified; their rows say why"), "{}", run.err);
    let run = home.run(&["verify", "--all", "--json"]);
    let rows = run.rows();
    assert_eq!((run.code, rows.len()), (4, 3), "{rows:?}");
    assert_eq!(
        (&rows[0]["session"], &rows[0]["ok"], &rows[0]["kind"]),
        (&json!("half"), &json!(false), &json!("conflict"))
    );
    assert_eq!((&rows[1]["session"], &rows[1]["ok"]), (&json!("s"), &json!(true)));
    assert_eq!(rows[2], json!({"ok": false, "snapshots": 0, "sessions": 2}));
    let mut bytes = fs::read(home.object(2)).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(home.object(2), bytes).unwrap();
    let run = home.run(&["verify", "--all"]);
    assert!(run.code == 5 && run.err.contains("1 of 2 sessions is damaged"), "{}: {}", run.code, run.err);
    // So does a limit.
    home.pipe(&["session", "save", "a", "big"], noise(3000)).text();
    let mut limited = home.command(&["verify", "--all", "--json"]);
    let run: Run = limited.env("PERSIST_MAX_BYTES", "2KiB").output().unwrap().into();
    let rows = run.rows();
    assert_eq!(
        (run.code, &rows[0]["session"], &rows[0]["kind"]),
        (5, &json!("big"), &json!("invalid_input"))
    );
    assert_eq!(rows.last().unwrap()["sessions"], 3);
}

/// Of a number the next page is known without the commit.
#[test]
fn a_log_goes_on_behind_a_damaged_commit() {
    let home = Home::new();
    home.commits(3);
    fs::write(home.object(2), "torn").unwrap();
    let rows = home.session(&["log", "a", "s", "--before", "2", "--json"]);
    assert_eq!((rows.code, rows.err.as_str(), rows.rows().len()), (0, "", 1));
    assert_eq!(rows.rows()[0]["seq"], 1);
    assert_eq!(home.session(&["log", "a", "s", "--before", "9"]).code, 3);
}

/// Whoever follows the advice begins the lost session anew, beside its own history.
#[test]
fn a_fork_whose_source_is_lost_does_not_advise_to_save_there() {
    let home = Home::new();
    home.commits(2);
    home.session(&["fork", "a", "s", "bare", "--at", "2"]).text();
    home.session(&["fork", "a", "s", "begun", "--at", "2"]).text();
    home.pipe(&["session", "save", "a", "begun"], "{\"step\":3}").text();
    fs::remove_dir_all(home.store().join("sessions/a/s")).unwrap();
    for fork in ["bare", "begun"] {
        let run = home.session(&["load", "a", fork]);
        assert!(run.code == 5 && run.err.contains("997-2"), "{fork}: {}", run.err);
        assert!(!run.err.contains("save one first"), "{fork}: {}", run.err);
    }
}
