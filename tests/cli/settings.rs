//! Where the command line looks for its storage.

use super::harness::{Home, Run};

#[test]
fn command_line_before_variable_before_file() {
    let home = Home::new();
    let path = |name: &str| home.path(name).display().to_string();
    home.write("named.toml", format!("[storage]\nlocal_path = {:?}\n", path("by-file")));
    home.write("config/persist/persist.toml", format!("[storage]\nlocal_path = {:?}\n", path("by-home")));
    let save = |arguments: &[&str], variables: &[(&str, &str)]| {
        let mut command = home.command(&[arguments, &["save", "key"]].concat());
        command.envs(variables.iter().copied()).write_stdin("state");
        Run::from(command.output().unwrap()).text();
    };
    let by_env = path("by-env");
    let url = format!("file://{}", path("by-url"));
    save(&[], &[]);
    save(&["--config", "named.toml"], &[]);
    save(&["--config", "named.toml"], &[("PERSIST_LOCAL_PATH", &by_env)]);
    save(
        &["--storage", &url, "--config", "named.toml"],
        &[("PERSIST_LOCAL_PATH", &by_env), ("PERSIST_PREFIX", "p")],
    );
    let key = format!("file://{}/key", path("by-key"));
    let run = home
        .command(&["cp", "key", &key])
        .env("PERSIST_CONFIG", "named.toml")
        .env("PERSIST_NAMESPACE", "")
        .output();
    assert!(run.unwrap().status.success());
    for name in ["by-home", "by-file", "by-env", "by-url", "by-key"] {
        assert!(home.path(name).join("key").is_file(), "{name}");
    }
}

#[test]
fn a_file_in_the_current_folder_is_not_obeyed_but_mentioned() {
    let home = Home::new();
    home.write("persist.toml", "[storage]\nlocal_path = \"elsewhere\"\n");
    let run: Run = home.command(&["save", "key"]).write_stdin("state").output().unwrap().into();
    assert_eq!(run.code, 0);
    assert!(run.err.contains("./persist.toml is not read unless it is named"), "{}", run.err);
    assert!(home.store().join("key").is_file() && !home.path("elsewhere").exists());
}

#[test]
fn memory_is_warned_of() {
    let home = Home::new();
    let run: Run = home
        .command(&["--storage", "memory://", "save", "key"])
        .write_stdin("state")
        .output()
        .unwrap()
        .into();
    assert_eq!(run.code, 0);
    assert!(run.err.contains("memory:// is gone when this command ends"), "{}", run.err);
}

#[test]
fn env_shows_values_and_where_they_come_from_but_no_secret() {
    let home = Home::new();
    home.write("named.toml", "[storage]\nnamespace = \"team\"\n[storage.s3]\nsession_token = \"hunter2\"\n");
    let mut command = home.command(&["env", "--config", "named.toml"]);
    command
        .env("PERSIST_STORAGE_URL", "s3://bucket/p?region=eu-west-1")
        .env("PERSIST_S3_ACCESS_KEY_ID", "hunter2")
        .env("PERSIST_S3_SECRET_ACCESS_KEY", "hunter2")
        .env("AWS_SECRET_ACCESS_KEY", "hunter2");
    let text = Run::from(command.output().unwrap()).text();
    for expected in [
        "PERSIST_BUCKET, STORAGE_BUCKET\n    The bucket of S3 or GCS.\n    bucket   (variable PERSIST_STORAGE_URL)",
        "eu-west-1   (parameter region of variable PERSIST_STORAGE_URL)",
        "team   (key namespace of named.toml)",
        "(set, hidden)   (variable PERSIST_S3_SECRET_ACCESS_KEY)",
        "PERSIST_RETRY_ATTEMPTS",
        "not set; default: 8",
    ] {
        assert!(text.contains(expected), "{expected}: {text}");
    }
    assert!(!text.contains("hunter2"));
}

/// It is the command with which one looks for the mistake.
#[test]
fn env_shows_what_is_set_also_where_something_is_wrong() {
    let home = Home::new();
    home.write("named.toml", "[storage]\nnamespace = \"team\"\ncompression = \"zstd:19\"\n");
    home.write("broken.toml", "[storage]\nbukcet = \"b\"\n");
    let all = persist::config::SETTINGS.len();
    let (named, broken) = (&["--config", "named.toml"][..], &["--config", "broken.toml"][..]);
    for (options, variable, value, error, problem) in [
        (named, "PERSIST_BUKCET", "b", "there is no variable PERSIST_BUKCET; did you mean", None),
        (named, "PERSIST_BACKEND", "redis", "variable PERSIST_BACKEND (\"redis\")", Some("backend")),
        (named, "PERSIST_STORAGE_URL", "s3:/b", "variable PERSIST_STORAGE_URL: write", Some("storage_url")),
        (named, "PERSIST_PREFIX", "/p", "variable PERSIST_PREFIX (\"/p\")", Some("prefix")),
        (named, "PERSIST_BUCKET", "b", "variable PERSIST_BUCKET (\"b\") names a bucket", None),
        (broken, "PERSIST_NAMESPACE", "team", "broken.toml: there is no key `bukcet`", None),
        (&["--storage", "s3:/b", "--config", "named.toml"][..], "LANG", "C", "--storage: write", None),
    ] {
        let mut command = home.command(&[&["env", "--json"], options].concat());
        command.env("PERSIST_RETRY_ATTEMPTS", "3").env("PERSIST_S3_SESSION_TOKEN", "hunter2");
        let run: Run = command.env(variable, value).output().unwrap().into();
        assert_eq!(run.code, 8, "{variable}: {}", run.err);
        assert!(run.err.contains(error.replace('"', "\\\"").as_str()), "{error}: {}", run.err);
        let rows = run.rows();
        assert_eq!((rows.len(), &rows[0]["storage"]), (all + 1, &serde_json::Value::Null), "{variable}");
        let row = |name: &str| rows.iter().find(|row| row["setting"] == name).unwrap();
        assert_eq!(
            (&row("retry.attempts")["value"], &row("namespace")["value"]),
            (&"3".into(), &"team".into())
        );
        assert_eq!(row("s3.session_token")["value"], "(set, hidden)");
        let wrong: Vec<_> = rows.iter().filter(|row| row["problem"].is_string()).collect();
        let names: Vec<_> = wrong.iter().filter_map(|row| row["setting"].as_str()).collect();
        assert_eq!(names, Vec::from_iter(problem), "{variable}");
        for row in wrong {
            assert!(row["problem"].as_str().unwrap().starts_with(error), "{row}");
            assert_eq!(row["from"], format!("variable {variable}"));
        }
    }
    let run: Run = home
        .command(&["env"])
        .env("PERSIST_BUKCET", "b")
        .env("PERSIST_PREFIX", "/p")
        .output()
        .unwrap()
        .into();
    let text = String::from_utf8(run.out).unwrap();
    assert!(text.starts_with("storage: none: there is no variable PERSIST_BUKCET"), "{text}");
    assert!(
        text.contains("\n    cannot be used: variable PERSIST_PREFIX (\"/p\"): it starts with `/`"),
        "{text}"
    );
    assert_eq!((run.code, run.err.starts_with("persist: there is no variable PERSIST_BUKCET")), (8, true));
}

/// In whichever variable: `tests/config` has more forms of it.
#[test]
fn no_command_shows_a_password_of_a_url_in_a_wrong_variable() {
    let home = Home::new();
    for setting in persist::config::SETTINGS.iter().filter(|setting| !setting.secret) {
        for arguments in [&["env"][..], &["stat", "k"]] {
            let mut command = home.command(arguments);
            command.env(setting.variables[0], "s3://AKIA:x/hunter2@bucket/p");
            let run: Run = command.output().unwrap().into();
            assert_eq!(run.code, 8, "{}: {}", setting.name, run.err);
            let said = String::from_utf8(run.out).unwrap() + &run.err;
            assert!(!said.contains("hunter2"), "{}: {said}", setting.name);
        }
    }
}

/// A script hands it on.
#[test]
fn what_env_and_stat_call_the_storage_is_its_url() {
    let home = Home::new();
    let root = home.path("odd %41?#").display().to_string();
    let run = |arguments: &[&str], odd: bool| {
        let mut command = home.command(arguments);
        let odd =
            odd.then_some([("PERSIST_LOCAL_PATH", root.as_str()), ("PERSIST_NAMESPACE", "user:1/a%41")]);
        command.envs(odd.into_iter().flatten());
        Run::from(command.write_stdin("state").output().unwrap())
    };
    assert_eq!(run(&["save", "a:b/k"], true).code, 0);
    let url = run(&["env", "--json"], true).rows()[0]["storage"].as_str().unwrap().to_owned();
    assert_eq!(run(&["stat", "a:b/k", "--json"], true).rows()[0]["location"], url);
    assert_eq!(run(&["ls", "--storage", &url], false).text(), "a:b/k\n");
    assert_eq!(run(&["env", "--json", "--storage", &url], false).rows()[0]["storage"], url);
    assert_eq!(run(&["load", &format!("{url}//a:b/k")], false).text(), "state");
}

/// One slash for two would be a copy on this disk that somebody takes for a backup.
#[test]
fn a_url_with_one_slash_is_no_key() {
    let home = Home::new();
    home.save("k", "state");
    let file = home.path("backup");
    std::fs::create_dir(&file).unwrap();
    let near = format!("file:{}/k.gz", file.display());
    for (arguments, code) in [
        (&["cp", "k", "s3:/bucket/k"][..], 2),
        (&["cp", "k", "gs:/bucket/k"], 2),
        (&["cp", "--recursive", "k", "s3:/bucket/"], 2),
        (&["ls", "s3:/bucket/"], 2),
        (&["stat", "S3:/bucket/k"], 2),
        (&["stat", "sqlite:/tmp/x.db"], 8),
        (&["cp", "k", &near], 0),
        (&["cp", "k", "s3:k"], 0),
    ] {
        let run = home.run(arguments);
        assert_eq!(run.code, code, "{arguments:?}: {}", run.err);
        assert!(code != 2 || run.err.contains("BUCKET/prefix, with `//`"), "{}", run.err);
    }
    assert!(file.join("k.gz").is_file());
    assert_eq!(home.keys(), ["k", "s3:k"]);
}

#[cfg(unix)]
#[test]
fn a_variable_that_is_no_text_is_named() {
    use std::os::unix::ffi::OsStrExt;
    let home = Home::new();
    let odd = std::ffi::OsStr::from_bytes(b"\xff");
    let run: Run = home.command(&["ls"]).env("PERSIST_PREFIX", odd).output().unwrap().into();
    assert_eq!(
        (run.code, run.err.as_str()),
        (8, "persist: variable PERSIST_PREFIX: its value is not UTF-8\n")
    );
    let run: Run = home.command(&["env"]).env("PERSIST_PREFIX", odd).output().unwrap().into();
    assert!(String::from_utf8(run.out).unwrap().contains("cannot be used: its value is not UTF-8"));
    assert_eq!(Run::from(home.command(&["ls"]).env("OTHER", odd).output().unwrap()).code, 0);
}

/// As `--config <(sops -d persist.toml)` has it: what was read once is gone.
#[cfg(unix)]
#[test]
fn a_configuration_file_may_be_a_pipe() {
    let home = Home::new();
    home.write("state", "state");
    let session = format!("[storage]\nlocal_path = {:?}\n", home.store().join("sessions/a/s"));
    let run = |arguments: &[&str]| -> Run {
        let arguments = [arguments, &["--config", "/dev/stdin"]].concat();
        home.command(&arguments).write_stdin(session.as_str()).output().unwrap().into()
    };
    run(&["save", "mine", "state"]).text();
    // Where the storage is, is in the file as well.
    home.write("data/persist/sessions/a/s/t/tag", "tag");
    for arguments in [&["save", "t/tag", "state"][..], &["rm", "mine", "t/tag"]] {
        let run = run(arguments);
        assert!(run.code == 2 && run.err.contains("part of the session a/s"), "{arguments:?}: {}", run.err);
    }
    assert_eq!(run(&["ls"]).text(), "mine\nt/tag\n");
    let copy = format!("file://{}/copy", home.path("other").display());
    run(&["cp", "mine", &copy]).text();
    assert_eq!(home.run(&["load", &copy]).text(), "state");
    // The URL is first, and the file is read for it.
    run(&["cp", &copy, "back"]).text();
    assert_eq!(run(&["load", "back"]).text(), "state");
}

/// Whoever sets `AWS_S3_BUCKET` and nothing else may believe that states go there.
#[test]
fn a_bucket_of_a_shared_name_alone_is_warned_of() {
    let home = Home::new();
    let run = |arguments: &[&str], variables: &[(&str, &str)]| -> Run {
        let mut command = home.command(arguments);
        command.envs(variables.iter().copied()).write_stdin("state").output().unwrap().into()
    };
    let cases = [("AWS_S3_BUCKET", "s3"), ("GCS_BUCKET", "gcs"), ("STORAGE_BUCKET", "s3 (or gcs)")];
    for (name, backend) in cases {
        let text = format!(
            "variable {name} names a bucket, but nothing names the backend: snapshots go to local disk; set PERSIST_BACKEND={backend}, or \
             PERSIST_BACKEND=local if that is meant"
        );
        let alone = [(name, "agents"), ("AWS_REGION", "eu-west-1")];
        let saved = run(&["save", "pod/k"], &alone);
        assert_eq!((saved.code, saved.err.matches(&text).count()), (0, 1), "{}", saved.err);
        let shown = run(&["env"], &alone);
        assert_eq!(shown.text().lines().nth(1), Some(format!("warning: {text}").as_str()));
        assert_eq!(run(&["env", "--json"], &alone).rows()[0]["warning"], text.as_str());
        assert!(run(&["doctor"], &alone).text().contains(&format!("skip bucket: {text}\n")));
        let meant = [
            vec![(name, "agents"), ("PERSIST_BACKEND", "local")],
            vec![(name, "agents"), ("STORAGE_BACKEND", "local")],
            vec![(name, "agents"), ("PERSIST_LOCAL_PATH", "states")],
            vec![(name, "agents"), ("PERSIST_STORAGE_URL", "states")],
            vec![(name, "")],
        ];
        for variables in meant {
            let saved = run(&["save", "pod/k"], &variables);
            assert_eq!((saved.code, saved.err.as_str()), (0, ""), "{variables:?}");
        }
        let saved = run(&["--storage", "states", "save", "pod/k"], &alone);
        assert_eq!((saved.code, saved.err.as_str()), (0, ""));
    }
}

/// They decide where requests go, and are no settings of persist.
#[test]
fn env_names_what_the_sdks_read_by_themselves() {
    let home = Home::new();
    let run = |arguments: &[&str]| -> Run {
        let mut command = home.command(arguments);
        command.env("AWS_SECRET_ACCESS_KEY", "hunter2").env("AWS_ENDPOINT_URL", "http://u:hunter2@host");
        command
            .env("https_proxy", "http://u:hunter2@host")
            .env("AWS_REGION", "eu-west-1")
            .env("AWS_PROFILE", "");
        command.env("SSL_CERT_FILE", "/ca.pem").env("MY_PROXY_HOST", "x").output().unwrap().into()
    };
    let names = ["AWS_ENDPOINT_URL", "AWS_SECRET_ACCESS_KEY", "SSL_CERT_FILE", "https_proxy"];
    let text = run(&["env"]).text();
    let expected = format!("also set, and read by what persist is built on: {}", names.join(", "));
    assert_eq!(text.lines().nth(1), Some(expected.as_str()));
    assert!(!text.contains("hunter2"));
    assert_eq!(run(&["env", "--json"]).rows()[0]["also_set"], serde_json::json!(names));
}
