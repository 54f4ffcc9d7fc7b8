//! Text, JSON, errors and exit codes.

use super::harness::{Home, Run, names, noise};

const OBJECT: [&str; 9] =
    ["content_type", "encryption", "key", "metadata", "modified", "stored_size", "tags", "tier", "version"];

/// `OBJECT` and what one command adds, in order.
fn object_and(more: &[&'static str]) -> Vec<&'static str> {
    let mut names = [&OBJECT[..], more].concat();
    names.sort_unstable();
    names
}

#[test]
fn rows_of_json_have_these_names() {
    let home = Home::new();
    let run: Run = home.command(&["save", "a/b", "--json"]).write_stdin("state").output().unwrap().into();
    let saved = run.rows().remove(0);
    assert_eq!(names(&saved), object_and(&["codec", "digest", "size"]));
    assert_eq!(
        (&saved["key"], &saved["size"], &saved["codec"]),
        (&"a/b".into(), &5.into(), &"gzip:6".into())
    );
    // printf state | sha256sum
    let sha256 = "sha256:4ba69735ca53765ed6a709edb56c6ea236b7193a3b29a6b390c346f0f4340e4e";
    assert_eq!(saved["digest"], sha256);
    let stat = home.run(&["stat", "a/b", "--json"]).rows().remove(0);
    assert_eq!(names(&stat), object_and(&["codec", "digest", "location", "size"]));
    assert_eq!(
        (&stat["digest"], &stat["version"], &stat["size"]),
        (&saved["digest"], &saved["version"], &5.into())
    );
    let listed = home.run(&["ls", "--json"]).rows().remove(0);
    assert_eq!(names(&listed), OBJECT);
    assert_eq!((&listed["version"], &listed["stored_size"]), (&saved["version"], &saved["stored_size"]));
    assert_eq!(names(&home.run(&["ls", "--folders", "--json"]).rows()[0]), ["prefix"]);
    assert_eq!(names(&home.run(&["cp", "a/b", "c", "--json"]).rows()[0]), OBJECT);
    assert_eq!(names(&home.run(&["load", "c", "-o", "out", "--json"]).rows()[0]), OBJECT);
    assert_eq!(names(&home.run(&["verify", "c", "--json"]).rows()[0]), ["checked", "key", "ok", "size"]);
    assert_eq!(names(&home.run(&["doctor", "--json"]).rows()[0]), ["check", "detail", "kind", "ok"]);
    assert_eq!(home.run(&["rm", "c", "--json"]).rows()[0], serde_json::json!({"key": "c"}));
    let setting =
        ["default", "from", "meaning", "parameter", "problem", "secret", "setting", "value", "variables"];
    let env = home.run(&["env", "--json"]).rows();
    assert_eq!((names(&env[0]), names(&env[1])), (vec!["storage"], setting.to_vec()));
    let of = |name: &str| env.iter().find(|row| row["setting"] == name).unwrap();
    assert_eq!(of("compression")["default"], "gzip:6");
    assert!(env[1..].iter().all(|row| !row["meaning"].as_str().unwrap().contains("**")));
}

#[test]
fn stat_tells_what_is_known() {
    let home = Home::new();
    let run =
        home.command(&["save", "a", "--metadata", "run=7", "--tag", "t=u"]).write_stdin("state").output();
    assert!(run.unwrap().status.success());
    let text = home.run(&["stat", "a"]).text();
    let value = |name: &str| {
        let line =
            text.lines().find(|line| line.starts_with(name)).unwrap_or_else(|| panic!("{name}: {text}"));
        line[name.len()..].trim().to_string()
    };
    assert_eq!(
        (value("key"), value("size"), value("codec")),
        ("a".into(), "5 B (5 bytes)".into(), "gzip".into())
    );
    assert_eq!((value("metadata"), value("tag")), ("run=7".into(), "t=u".into()));
    assert_eq!(value("location"), format!("file://{}", home.store().display()));
    assert!(value("digest").starts_with("sha256:") && value("modified").ends_with('Z'));
}

#[test]
fn every_kind_of_failure_has_its_exit_code() {
    let home = Home::new();
    home.save("a", "state");
    let file = home.write("file", "x").display().to_string();
    for (arguments, code, message) in [
        (&["load", "missing"][..], 3, "persist: local: get \"missing\": there is no snapshot\n"),
        (&["stat", "missing"], 3, "persist: local: get \"missing\": there is no snapshot\n"),
        (
            &["save", "a", "nofile"],
            2,
            "persist: the file nofile cannot be read\n  because: No such file or directory (os error 2)\n",
        ),
        (&["save", "a", "."], 2, "persist: . is a folder; name a file, or pipe an archive of it\n"),
        (
            &["save", "a", &file, "--level", "10"],
            2,
            "persist: level 10 for the codec gzip: use 1 (fast) to 9 (small)\n",
        ),
        (&["save", "a", &file, "--if-absent"], 4, "persist: local: put \"a\": a snapshot is already there\n"),
        (
            &["--storage", "az://c", "ls"],
            8,
            "persist: the backend azure is planned, as the feature `azure`, but not written yet; use local, memory, s3 or gcs\n",
        ),
        (
            &["--config", "none.toml", "ls"],
            8,
            "persist: the configuration file none.toml cannot be read\n  because: No such file or directory (os error 2)\n",
        ),
    ] {
        let run = home.run(arguments);
        assert_eq!((run.code, run.err.as_str(), run.out.len()), (code, message, 0), "{arguments:?}");
    }
    for arguments in [
        &["nonsense"][..],
        &[],
        &["save"],
        &["save", "a", "--codec", "lz4"],
        &["verify"],
        &["ls", "--limit", "x"],
    ] {
        assert_eq!(home.run(arguments).code, 2, "{arguments:?}");
    }
}

#[test]
fn errors_as_json() {
    let home = Home::new();
    let error = home.run(&["load", "missing", "--json"]).error();
    let all =
        ["backend", "causes", "exit_code", "key", "kind", "message", "operation", "request_id", "retryable"];
    assert_eq!(names(&error), all);
    assert_eq!(
        (&error["kind"], &error["key"], &error["exit_code"]),
        (&"not_found".into(), &"missing".into(), &3.into())
    );
    assert_eq!((&error["backend"], &error["operation"]), (&"local".into(), &"get".into()));
    let error = home.run(&["save", "a", "nofile", "--json"]).error();
    assert_eq!(error["causes"], serde_json::json!(["No such file or directory (os error 2)"]));
    let error = home.run(&["nonsense", "--json"]).error();
    assert_eq!((&error["kind"], &error["exit_code"]), (&"usage".into(), &2.into()));
    assert!(error["message"].as_str().unwrap().contains("nonsense"));
}

#[test]
fn help_lists_every_command_and_the_exit_codes() {
    let home = Home::new();
    let help = home.run(&["--help"]).text();
    for command in ["save", "load", "ls", "stat", "rm", "cp", "verify", "doctor", "env"] {
        assert!(help.contains(&format!("\n  {command} ")), "{command}");
        let own = home.run(&["help", command]).text();
        assert!(own.contains("Usage: persist") && own.contains("--storage <URL>"), "{own}");
    }
    assert!(help.contains("Exit codes:\n  0  done\n"));
    assert!(home.run(&["save", "--help"]).text().contains("agent dump | persist save"));
    assert_eq!(home.run(&["--version"]).text(), format!("persist {}\n", env!("CARGO_PKG_VERSION")));
}

#[test]
fn logs_name_keys_only_when_asked_for_more() {
    let home = Home::new();
    let save = |more: &[&str]| {
        let arguments = [&["save", "agents/user@example.com"], more].concat();
        Run::from(home.command(&arguments).write_stdin("state").output().unwrap()).err
    };
    let (none, some, all) = (save(&[]), save(&["-v"]), save(&["-vv"]));
    let pseudonym = persist::Key::new("agents/user@example.com").unwrap().pseudonym();
    assert_eq!(none, "");
    // Reads as well, with durations that somebody can read.
    let read = home.run(&["load", "-v", "agents/user@example.com"]);
    assert!(
        read.code == 0 && read.err.contains("operation=\"get\"") && read.err.contains(&pseudonym),
        "{read:?}"
    );
    assert!(!read.err.contains("user@example.com"), "{}", read.err);
    let durations: Vec<&str> = read.err.split("duration_ms=").skip(1).collect();
    for duration in &durations {
        let digits = duration.split(' ').next().unwrap();
        assert!(digits.split_once('.').is_none_or(|(_, behind)| behind.len() <= 2), "{digits}");
    }
    assert!(!durations.is_empty());
    assert!(some.contains(&pseudonym) && !some.contains("user@example.com"), "{some}");
    assert!(all.contains("user@example.com"), "{all}");
}

/// One line says what failed: the log does not say it again.
#[test]
fn a_failure_is_told_once() {
    let home = Home::new();
    home.save("a", "state");
    std::fs::write(home.store().join("a"), b"\x1f\x8b damaged").unwrap();
    let run = home.run(&["load", "a"]);
    assert_eq!(
        (run.code, run.err.lines().filter(|line| line.contains("persist")).count()),
        (5, 1),
        "{}",
        run.err
    );
    let file = home.write("file", "x").display().to_string();
    let run = home.run(&["save", "a/b", &file]);
    assert!(run.code != 0 && !run.err.contains("WARN"), "{}", run.err);
}

/// Labels and ids come from agents.
#[test]
fn a_terminal_does_not_obey_what_was_stored() {
    let home = Home::new();
    let save = ["session", "save", "a", "s\tt", "--label", "one\n\u{1b}[31mtwo"];
    assert!(home.command(&save).write_stdin("state").output().unwrap().status.success());
    let log = home.run(&["session", "log", "a", "s\tt"]).text();
    assert!(log.lines().count() == 1 && log.trim_end().ends_with("one\\n\\u{1b}[31mtwo"), "{log:?}");
    assert_eq!(home.run(&["session", "ls"]).text(), "a\ts\\tt\n");
    assert!(!home.run(&["session", "show", "a", "s\tt"]).text().contains('\u{1b}'));
}

/// 3 says that there is no snapshot, and nothing else.
#[test]
fn a_folder_that_is_missing_is_no_missing_snapshot() {
    let home = Home::new();
    assert!(home.command(&["save", "a"]).write_stdin("state").output().unwrap().status.success());
    let run = home.run(&["load", "a", "-o", "missing/file"]);
    assert_eq!(run.code, 2, "{run:?}");
    assert_eq!(home.run(&["load", "a", "-o", "-"]).text(), "state");
}

#[test]
fn wrong_usage_is_told_whole_in_json() {
    let run = Home::new().run(&["save", "--json"]);
    assert_eq!(run.code, 2);
    assert!(run.err.contains("were not provided: <KEY>"), "{run:?}");
    let error = Home::new().run(&["ls", "--limit", "abc", "--json"]).error();
    assert_eq!(error["message"], "invalid value 'abc' for '--limit <N>': write a whole number");
}

#[test]
fn a_session_whose_state_is_an_object_of_its_own_is_sound() {
    let home = Home::new();
    assert!(
        home.command(&["session", "save", "a", "s"])
            .write_stdin(noise(9_000_000))
            .output()
            .unwrap()
            .status
            .success()
    );
    let run = home.run(&["verify", "--all"]);
    assert_eq!(run.code, 0, "{run:?}");
}

#[cfg(unix)]
/// The file behind standard output belongs to whoever redirected it there.
#[test]
fn an_output_that_stands_for_an_open_file_is_written_behind_what_is_there() {
    use std::{fs, io::Write};
    let home = Home::new();
    home.save("key", "state");
    let link = home.path("link");
    std::os::unix::fs::symlink("/dev/stdout", &link).unwrap();
    for path in ["/dev/stdout", "/dev/fd/1", "/proc/self/fd/1", link.to_str().unwrap()] {
        for append in [false, true] {
            let log = home.path("log");
            let _ = fs::remove_file(&log);
            let mut out = fs::File::options().create_new(true).write(true).append(append).open(&log).unwrap();
            out.write_all(b"header\n").unwrap();
            let status =
                home.process().args(["load", "key", "-o", path]).stdout(out.try_clone().unwrap()).status();
            assert!(status.unwrap().success());
            out.write_all(b"\nend").unwrap();
            assert_eq!(fs::read_to_string(&log).unwrap(), "header\nstate\nend", "{path}");
        }
    }
}

/// Scripts try again by it.
#[test]
fn an_error_as_json_says_whether_to_try_again() {
    let home = Home::new();
    home.save("old", "old");
    let error = home.run(&["load", "missing", "--json"]).error();
    assert_eq!((&error["retryable"], &error["exit_code"]), (&false.into(), &3.into()));
    let folder = std::fs::File::open(home.store()).unwrap();
    folder.lock().unwrap();
    let output =
        home.process().args(["rm", "old", "--json"]).env("PERSIST_RETRY_DEADLINE", "1s").output().unwrap();
    let row: serde_json::Value = serde_json::from_slice(&output.stderr).unwrap();
    let error = &row["error"];
    assert_eq!((&error["kind"], &error["retryable"]), (&"timeout".into(), &true.into()), "{row}");
    assert_eq!((&error["exit_code"], output.status.code()), (&6.into(), Some(6)));
}

/// Not only that it cannot be read.
#[test]
fn doctor_says_why_a_configuration_file_cannot_be_read() {
    let home = Home::new();
    let run = home.run(&["--config", "none.toml", "doctor"]);
    let out = String::from_utf8(run.out).unwrap();
    assert_eq!(run.code, 8, "{out} {}", run.err);
    assert!(out.contains("none.toml cannot be read (No such file or directory"), "{out}");
}
