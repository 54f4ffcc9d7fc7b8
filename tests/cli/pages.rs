//! The commands in the documentation run as they are written.

use std::{env, fs, path::Path, process::Command};

use super::harness::Home;

/// The fenced blocks of one language in a page.
fn blocks(page: &str, language: &str) -> Vec<String> {
    fenced(&text(page), language)
}

fn text(page: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(page)).unwrap()
}

fn fenced(text: &str, language: &str) -> Vec<String> {
    let fence = format!("```{language}\n");
    text.split(&fence).skip(1).map(|rest| rest.split("```").next().unwrap().to_string()).collect()
}

/// Runs `script` with the `persist` of this build.
#[cfg(unix)]
fn sh(home: &Home, script: &str) {
    sh_with(home, &[], script);
}

#[cfg(unix)]
fn sh_with(home: &Home, variables: &[(&str, String)], script: &str) {
    let folder = Path::new(env!("CARGO_BIN_EXE_persist")).parent().unwrap();
    let path = env::join_paths([folder, Path::new("/usr/bin"), Path::new("/bin")]).unwrap();
    let shell: Command = {
        let mut shell = home.process();
        shell.env("PATH", path).envs(variables.iter().map(|(name, value)| (name, value)));
        let mut command = Command::new("sh");
        command.env_clear().envs(shell.get_envs().filter_map(|(name, value)| Some((name, value?))));
        command.current_dir(home.path("")).args(["-eu", "-c", script]);
        command
    };
    let run = { shell }.output().unwrap();
    let errors = String::from_utf8_lossy(&run.stderr);
    assert!(run.status.success() && errors.is_empty(), "{errors}");
}

#[cfg(unix)]
#[test]
fn the_readme() {
    let home = Home::new();
    home.write("state.json", "{\"step\": 1}");
    // The bucket is a folder here, and the first block is about the sources.
    let bucket = format!("file://{}", home.path("bucket").display());
    let lines = blocks("README.md", "sh")
        .split_off(1)
        .concat()
        .replace("s3://bucket", &bucket)
        .replace("jq .step", "grep step");
    let script: Vec<&str> = lines.lines().filter(|line| !line.starts_with("cargo install")).collect();
    assert!(script.len() > 5);
    sh(&home, &script.join("\n"));
    assert!(home.path("bucket/agents/42/state.json.gz").is_file());
}

#[cfg(unix)]
#[test]
fn the_page_of_the_command_line() {
    let home = Home::new();
    home.write("state.json", "{\"step\": 1}");
    let script = blocks("docs/cli.md", "sh").concat();
    assert!(script.lines().count() > 15);
    sh(&home, &script);
    assert_eq!(fs::read_to_string(home.path("copy.json")).unwrap(), "{\"step\": 1}");
    let keys = home.keys();
    assert_eq!(keys[..2], ["agents/42/state.json.gz", "notes.txt"]);
    assert!(keys[2..].iter().all(|key| key.starts_with("sessions/bot/")), "{keys:?}");
    let sessions = home.run(&["session", "ls", "bot"]).text();
    assert_eq!(sessions, "bot\tconversation-7\nbot\tfiles\nbot\tmoved\nbot\twhat-if\n");
    assert_eq!(fs::read_to_string(home.path("first.json")).unwrap(), "{\"step\": 1}");
    assert!(home.path("backup/once.gz").is_file());
}

/// What it defines does as it says, also with ids that look like options.
#[cfg(unix)]
#[test]
fn the_python_of_the_page() {
    let home = Home::new();
    let [program] = &blocks("docs/cli.md", "python")[..] else { panic!("one program") };
    let checks = r#"
assert load("bot", "from-python") == (b'["another"]', 1) and seq == 1
assert load("--json", "-o") == (None, 0)
assert save("--json", "-o", b"\x00\xff", 0) == 1
assert load("--json", "-o") == (b"\x00\xff", 1)
try:
    save("bot", "from-python", b"stale", 0)
    raise SystemExit("a stale save went through")
except Conflict as conflict:
    assert "from-python" in str(conflict), conflict
"#;
    sh(&home, &format!("python3 - <<'END'\n{program}{checks}END"));
    assert_eq!(home.run(&["session", "load", "bot", "from-python"]).text(), r#"["another"]"#);
}

#[cfg(unix)]
#[test]
fn the_page_of_operations() {
    let home = Home::new();
    home.save("agents/1/state.gz", "{\"step\": 1}");
    let save = ["session", "save", "bot", "conversation-7"];
    assert!(home.command(&save).write_stdin("{}").output().unwrap().status.success());
    let script = blocks("docs/operations.md", "sh").concat();
    assert!(script.lines().count() > 8);
    sh(&home, &format!("BACKUP=file://$PWD/backup\n{script}"));
    assert_eq!(home.run(&["load", "restored/agents/1/state.gz"]).text(), "{\"step\": 1}");
    assert_eq!(home.run(&["session", "load", "bot", "restored"]).text(), "{}");
}

#[test]
fn the_example_of_an_error() {
    let home = Home::new();
    let example: serde_json::Value = serde_json::from_str(&blocks("docs/errors.md", "json")[0]).unwrap();
    assert_eq!(home.run(&["load", "a", "--json"]).error(), example["error"]);
}

/// What a service of `scripts/services` is called.
#[cfg(all(unix, feature = "s3", feature = "gcs"))]
fn service(name: &str) -> String {
    env::var(format!("SVC_{name}")).unwrap_or_else(|_| panic!("SVC_{name} is not set: scripts/services up"))
}

/// The same on every backend: what sessions, copies of them and their checks come to.
#[cfg(all(unix, feature = "s3", feature = "gcs"))]
#[test]
fn the_commands_of_sessions_on_every_backend() {
    let own = format!(
        "cli-{}-{}",
        std::process::id(),
        std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_nanos()
    );
    let s3 = |what: &str| service(&format!("SEAWEEDFS_{what}"));
    let bucket = format!("s3://{}/{own}?endpoint_url={}", s3("BUCKET"), s3("ENDPOINT"));
    let backends = [
        vec![],
        vec![
            ("PERSIST_STORAGE_URL", bucket),
            ("AWS_ACCESS_KEY_ID", s3("ACCESS_KEY")),
            ("AWS_SECRET_ACCESS_KEY", s3("SECRET_KEY")),
            ("AWS_REGION", "us-east-1".into()),
        ],
        vec![
            ("PERSIST_STORAGE_URL", format!("gs://{}/{own}", service("FAKEGCS_BUCKET"))),
            ("STORAGE_EMULATOR_HOST", service("FAKEGCS_ENDPOINT")),
        ],
    ];
    let page = text("docs/cli.md");
    let script = fenced(page.split("\n## Sessions\n").nth(1).unwrap(), "sh").concat();
    assert!(script.lines().count() > 20);
    let looks = "
        persist session ls bot > found
        persist session log bot conversation-7 --json | sed 's/.*\"seq\":\\([0-9]*\\).*/\\1/' >> found
        persist ls | sed 's/[0-9A-Z]\\{26\\}$/ID/' | sort >> found
        persist verify --all >> found
        persist cp --recursive sessions \"file://$PWD/backup/sessions\" | sed 's/,.*//' >> found
        persist verify --all --storage \"file://$PWD/backup\" >> found
        persist session rm bot what-if > removed
        persist cp --recursive \"file://$PWD/backup/sessions\" sessions --if-absent > copied 2>> found || echo \"exit code $?\" >> found
        persist session load bot files --value state >> found
        persist save sessions/k state.json
        persist stat sessions/k --json | sed 's/.*\"size\":\\([0-9]*\\).*/\\1/' >> found
        persist rm -r sessions/k 2>> found || echo \"exit code $?\" >> found
        persist rm sessions/k
        persist session prune --all --keep-last 1 >> found
        persist session verify bot conversation-7 >> found
    ";
    let run = |variables: &[(&str, String)]| {
        let home = Home::new();
        home.write("state.json", "{\"step\": 1}");
        home.write("copy.json", "{\"step\": 1}");
        sh_with(&home, variables, &format!("{script}\n{looks}"));
        fs::read_to_string(home.path("found")).unwrap()
    };
    let found: Vec<String> = std::thread::scope(|scope| {
        let run = &run;
        let runs: Vec<_> = backends.iter().map(|variables| scope.spawn(move || run(variables))).collect();
        runs.into_iter().map(|run| run.join().unwrap()).collect()
    });
    let [disk, s3, gcs] = &found[..] else { panic!("{found:?}") };
    assert!(disk.contains("all well: 0 snapshots, 3 sessions") && disk.lines().count() > 20, "{disk}");
    assert_eq!(disk, s3);
    assert_eq!(disk, gcs);
}
