//! Settings that cannot be used: what is said of them, and what not.

use persist::config::SETTINGS;

use super::harness::{Home, Run};

/// Variables and their values.
type Pairs<'a> = &'a [(&'a str, &'a str)];

/// A pipeline has the key as a text, and the variable wants the name of its file.
#[test]
fn a_key_in_place_of_its_file_is_shown_nowhere() {
    const SECRET: &str = "HUNTER2";
    let home = Home::new();
    let short = r#"{"type":"service_account","private_key":"-----BEGIN PRIVATE KEY-----\nHUNTER2"}"#;
    let long = short.replace(',', ",\n  ");
    let pem = "-----BEGIN PRIVATE KEY-----\nHUNTER2\n";
    let one_line = "-----BEGIN PRIVATE KEY----- HUNTER2";
    let folder = home.path("states").display().to_string();
    // As `docker --env-file` gives it, and without what else tells a key.
    let quoted = r#"'{"private_key_id":"HUNTER2"}'"#;
    let marked = "\u{feff} \"{HUNTER2}\"";
    for key in [short, &format!("\n {long}"), pem, one_line, "HUNTER2\nHUNTER2", quoted, marked] {
        let encoded: String = key.bytes().map(|byte| format!("%{byte:02X}")).collect();
        let toml =
            format!("[storage]\nstorage_url = \"gs://bucket\"\n[storage.gcs]\ncredentials_path = {key:?}\n");
        home.write("key.toml", toml);
        let plain = format!("gs://bucket?credentials_path={key}");
        let encoded = format!("gs://bucket?credentials_path={encoded}");
        let gcs = ("PERSIST_STORAGE_URL", "gs://bucket");
        let local = ("PERSIST_STORAGE_URL", folder.as_str());
        let shared = ("GOOGLE_APPLICATION_CREDENTIALS", key);
        let doors: &[(Pairs, &[&str], i32)] = &[
            (&[gcs, shared], &[], 8),
            (&[gcs, ("PERSIST_GCS_CREDENTIALS_PATH", key)], &[], 8),
            (&[local, ("PERSIST_GCS_CREDENTIALS_PATH", key)], &[], 8),
            (&[("PERSIST_STORAGE_URL", &plain)], &[], 8),
            (&[("PERSIST_STORAGE_URL", &encoded)], &[], 8),
            (&[], &["--storage", &plain], 8),
            (&[], &["--storage", &encoded], 8),
            (&[], &["--config", "key.toml"], 8),
            (&[], &[&format!("--config={key}")], 8),
            (&[("PERSIST_CONFIG", key)], &[], 8),
            (&[("PERSIST_LOCAL_PATH", key)], &[], 8),
            (&[("PERSIST_STORAGE_URL", key)], &[], 8),
            (&[], &[&format!("--storage={key}")], 8),
            (&[("STORAGE_BASE_PATH", key)], &[], 8),
            // Of no use to another backend, and nobody is in its way.
            (&[local, shared], &[], 0),
        ];
        for (variables, options, code) in doors {
            let commands =
                [&["env", "--json"][..], &["stat", "x"], &["env"], &["stat", "x", "--json"], &["doctor"]];
            // The rest say the same in their own ways.
            let commands = if key == short { &commands[..] } else { &commands[..2] };
            for command in commands {
                let mut process = home.command(&[*command, *options].concat());
                let run: Run = process.envs(variables.iter().copied()).output().unwrap().into();
                let right = if *code == 0 && command[0] == "stat" { 3 } else { *code };
                let said = String::from_utf8(run.out).unwrap() + &run.err;
                assert_eq!(run.code, right, "{variables:?} {options:?} {command:?}: {said}");
                assert!(!said.contains(SECRET), "{variables:?} {options:?} {command:?}: {said}");
            }
        }
        for variable in ["GOOGLE_APPLICATION_CREDENTIALS", "PERSIST_GCS_CREDENTIALS_PATH"] {
            let mut process = home.command(&["stat", "x"]);
            let run: Run = process.envs([gcs, (variable, key)]).output().unwrap().into();
            let message = format!(
                "persist: variable {variable} (\"{{…}}\"): it looks like the content of a credentials file, not like a path; put that into PERSIST_GCS_CREDENTIALS_JSON"
            );
            assert!(run.err.starts_with(&message), "{}", run.err);
        }
    }
}

/// What an adapter refuses without a request is wrong already.
#[test]
fn env_finds_wrong_what_the_adapter_would() {
    let home = Home::new();
    let key = ("PERSIST_S3_ACCESS_KEY_ID", "a");
    let secret = ("PERSIST_S3_SECRET_ACCESS_KEY", "HUNTER2");
    let rows: &[(&str, Pairs, &str)] = &[
        ("s3://bucket", &[key], "access_key_id and secret_access_key go together"),
        ("s3://bucket", &[("PERSIST_S3_SESSION_TOKEN", "HUNTER2")], "session_token needs access_key_id"),
        (
            "s3://bucket",
            &[("PERSIST_S3_ANONYMOUS", "true"), key, secret],
            "anonymous contradicts explicit keys",
        ),
        ("s3://bucket", &[("PERSIST_S3_BUCKET_KEY", "true")], "bucket_key needs encryption aws:kms"),
        (
            "s3://bucket",
            &[("PERSIST_S3_KMS_KEY", "k"), ("PERSIST_S3_ENCRYPTION", "AES256")],
            "kms_key contradicts encryption AES256",
        ),
        ("s3://bucket", &[("PERSIST_S3_ENDPOINT_URL", "http://127.0.0.1:1/?x")], "endpoint_url: leave out"),
        ("s3://bucket--x-s3", &[], "is a directory bucket"),
        ("gs://b", &[], "a name has 3 to 222"),
        ("gs://bucket", &[("PERSIST_GCS_ENCRYPTION_KEY", "abc")], "32 bytes"),
        ("gs://bucket", &[("PERSIST_GCS_KMS_KEY", "abc")], "projects/"),
        ("gs://bucket", &[("PERSIST_GCS_STORAGE_CLASS", "bogus")], "storage class \"bogus\""),
        (
            "gs://bucket",
            &[("PERSIST_GCS_CREDENTIALS_PATH", "/nope")],
            "the credentials file /nope cannot be read",
        ),
        ("gs://bucket", &[("PERSIST_GCS_CREDENTIALS_JSON", "{}")], "the credentials in the configuration"),
        (
            "gs://bucket",
            &[("PERSIST_GCS_CREDENTIALS_JSON", "{}"), ("PERSIST_GCS_ANONYMOUS", "true")],
            "credentials are given twice",
        ),
    ];
    let features = [("s3", cfg!(feature = "s3")), ("gs", cfg!(feature = "gcs"))];
    for (url, variables, message) in rows {
        let built = features.iter().any(|(scheme, built)| *built && url.starts_with(scheme));
        let env = |options: &[&str]| -> Run {
            let mut command = home.command(&[&["env", "--storage", url], options].concat());
            command.envs(variables.iter().copied()).output().unwrap().into()
        };
        let run = env(&[]);
        assert_eq!(run.code == 8, built, "{url} {variables:?}: {}", run.err);
        if built {
            let out = String::from_utf8(run.out).unwrap();
            assert!(out.starts_with("storage: none: ") && out.contains(message), "{out}");
            assert!(run.err.contains(message) && !(out + &run.err).contains("HUNTER2"), "{}", run.err);
            let rows = env(&["--json"]).rows();
            assert_eq!((rows.len(), &rows[0]["storage"]), (SETTINGS.len() + 1, &serde_json::Value::Null));
        }
    }
    let right = |url: &str, variables: &[(&str, &str)]| {
        let mut command = home.command(&["env", "--storage", url]);
        Run::from(command.envs(variables.iter().copied()).output().unwrap()).text()
    };
    assert!(right("s3://bucket", &[key, secret]).starts_with("storage: s3://bucket\n"));
    assert!(right("gs://bucket", &[("PERSIST_GCS_ANONYMOUS", "true")]).starts_with("storage: gs://bucket\n"));
    // Nothing but variables and files is asked: no server.
    let url = "s3://bucket?endpoint_url=http://127.0.0.1:1";
    assert!(right(url, &[key, secret]).starts_with("storage: s3://bucket\n"));
}

#[cfg(unix)]
mod pipes {
    use std::{fs, process::Stdio, time::Duration};

    use super::*;

    /// What was read once is gone, also where something in it is wrong.
    #[test]
    fn env_reads_a_wrong_configuration_from_a_pipe_once() {
        let home = Home::new();
        let fifo = home.path("fifo").display().to_string();
        assert!(std::process::Command::new("mkfifo").arg(&fifo).status().unwrap().success());
        for (line, message, value) in [
            ("max_bytes = \"12 foo\"", "key max_bytes of ", Some("team")),
            ("bukcet = \"b\"", "there is no key `bukcet`", None),
        ] {
            let file = format!("[storage]\nnamespace = \"team\"\n{line}\n");
            let run = |name: &str| -> Run {
                let mut command = home.command(&["env", "--json", "--config", name]);
                command.write_stdin(file.as_str()).timeout(Duration::from_secs(60)).output().unwrap().into()
            };
            let (path, text) = (fifo.clone(), file.clone());
            let writer = std::thread::spawn(move || fs::write(path, text).unwrap());
            let named = run(&fifo);
            writer.join().unwrap();
            for run in [named, run("/dev/stdin")] {
                assert!(run.code == 8 && run.err.contains(message), "{}: {}", run.code, run.err);
                let rows = run.rows();
                let namespace = rows.iter().find(|row| row["setting"] == "namespace").unwrap();
                assert_eq!(namespace["value"].as_str(), value);
            }
        }
    }

    /// `/dev/states` would be gone with the next start of the machine.
    #[test]
    fn a_pipe_has_no_folder_for_relative_paths() {
        let home = Home::new();
        for line in ["local_path = \"states\"", "storage_url = \"states\""] {
            let file = home.write("persist.toml", format!("[storage]\n{line}\n"));
            let opened = || Stdio::from(fs::File::open(&file).unwrap());
            let mut cat =
                std::process::Command::new("cat").stdin(opened()).stdout(Stdio::piped()).spawn().unwrap();
            for input in [Stdio::from(cat.stdout.take().unwrap()), opened()] {
                let mut process = home.process();
                let run = process.args(["ls", "--config", "/dev/stdin"]).stdin(input).output().unwrap();
                let run = Run::from(run);
                let message = "of /dev/stdin (\"states\"): a pipe has no folder in which it could begin; write the whole path\n";
                assert!(run.code == 8 && run.err.ends_with(message), "{}: {}", run.code, run.err);
            }
            cat.wait().unwrap();
            // Another place is stronger.
            let mut process = home.process();
            let process = process.args(["ls", "--config", "/dev/stdin"]).stdin(opened());
            let elsewhere = Run::from(process.args(["--storage", "memory://"]).output().unwrap());
            assert_eq!((elsewhere.code, elsewhere.out.len()), (0, 0), "{}", elsewhere.err);
            #[cfg(target_os = "linux")]
            {
                // A file that the system's own folders lead to.
                let run = home.run(&["env", "--json", "--config", "/proc/self/cwd/persist.toml"]);
                assert_eq!(run.rows()[0]["storage"], "file:///proc/self/cwd/states", "{}", run.err);
                let mut process = home.process();
                process.args(["ls", "--config", "/proc/self/fd/0"]).stdin(opened());
                assert_eq!(Run::from(process.output().unwrap()).code, 8);
            }
            let named = home.run(&["env", "--json", "--config", file.to_str().unwrap()]);
            let states = fs::canonicalize(home.path("")).unwrap().join("states");
            assert!(named.rows()[0]["storage"].as_str().unwrap().ends_with(states.to_str().unwrap()));
        }
    }
}
