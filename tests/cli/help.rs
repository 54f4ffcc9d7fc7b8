//! Help, completions, and short and other names for what people type often.

use super::harness::{Home, Run};

const COMMANDS: [&str; 11] =
    ["save", "load", "ls", "stat", "rm", "cp", "verify", "session", "doctor", "env", "completions"];
const OF_SESSION: [&str; 15] = [
    "save",
    "load",
    "log",
    "show",
    "fork",
    "forks",
    "tag",
    "take-over",
    "diff",
    "prune",
    "rm",
    "verify",
    "export",
    "import",
    "ls",
];

/// The lines of help in front of the usage, on a terminal of so many columns.
fn about(home: &Home, command: &[&str], columns: &str) -> Vec<String> {
    let mut help = home.command(&[command, &["--help"]].concat());
    let text = Run::from(help.env("COLUMNS", columns).output().unwrap()).text();
    text.split("\nUsage: ").next().unwrap().lines().map(str::to_owned).collect()
}

/// A line that is broken anew leaves stumps, and an example that is broken cannot be copied.
#[test]
fn help_with_examples_fits_terminals() {
    let home = Home::new();
    let own = COMMANDS.iter().map(|command| vec![*command]);
    let of_session = OF_SESSION.iter().map(|command| vec!["session", *command]);
    let mut examples = 0;
    for command in own.chain(of_session) {
        let wide = about(&home, &command, "1000");
        if !wide.iter().any(|line| line.starts_with("Example")) {
            continue;
        }
        examples += wide.iter().filter(|line| line.starts_with("  persist ")).count();
        for columns in ["80", "100"] {
            assert_eq!(about(&home, &command, columns), wide, "{command:?}");
        }
    }
    assert!(examples > 25, "{examples}");
    let help = Run::from(home.command(&["--help"]).env("COLUMNS", "80").output().unwrap()).text();
    assert!(help.contains("data\ndirectory. `persist env` lists every setting. A KEY may be"), "{help}");
}

/// Whoever calls `rm` again removes what an agent has begun anew.
#[test]
fn help_of_session_rm_leaves_the_rest_to_a_prune() {
    let help = Home::new().run(&["session", "rm", "--help"]).text();
    assert!(help.contains("with a later `session prune`") && !help.contains("call it again"), "{help}");
}

#[test]
fn completions_know_every_command() {
    let home = Home::new();
    let bash = home.run(&["completions", "bash"]).text();
    for command in COMMANDS {
        assert!(bash.contains(&format!("\n            persist,{command})")), "{command}");
    }
    for command in OF_SESSION {
        let mark = format!("\n            persist__subcmd__session,{command})");
        assert!(bash.contains(&mark), "{command}");
    }
    for (shell, mark) in [("zsh", "#compdef persist"), ("fish", "complete -c persist")] {
        assert!(home.run(&["completions", shell]).text().contains(mark), "{shell}");
    }
    let run = home.run(&["completions", "none"]);
    assert!(run.code == 2 && run.err.contains("bash"), "{}", run.err);
    assert!(!home.store().exists());
}

#[test]
fn other_names_of_commands_and_options() {
    let home = Home::new();
    for key in ["a", "b"] {
        home.save(key, "state");
    }
    assert_eq!(home.run(&["list", "-n", "1"]).text(), "a\n");
    home.run(&["delete", "a"]).text();
    assert_eq!(home.keys(), ["b"]);
    home.commits(2);
    assert_eq!(home.session(&["log", "a", "s", "-n", "1"]).text().lines().count(), 1);
    assert_eq!(home.session(&["list", "-l"]).text(), home.session(&["ls", "--long"]).text());
    home.session(&["delete", "a", "s"]).text();
    assert_eq!(home.session(&["load", "a", "s"]).code, 3);
}

#[test]
fn all_of_a_storage_and_places_that_are_none() {
    let home = Home::new();
    home.save("a/k", "state");
    let to = format!("file://{}", home.path("backup").display());
    for text in [".", "./", "/"] {
        let run = home.run(&["cp", "--recursive", text, &to]);
        let message =
            format!("persist: {text:?} names no folder of the storage; `persist ls --folders` lists them\n");
        assert_eq!((run.code, run.err), (2, message));
    }
    home.run(&["cp", "--recursive", "", &to]).text();
    assert_eq!(home.run(&["ls", "--storage", &to]).text(), "a/k\n");
    let run = home.run(&["ls", "--after", &format!("{to}/a/k")]);
    assert!(run.code == 2 && run.err.contains("is a URL; --after takes a key"), "{}", run.err);
}

/// The next page of a log, damage in it as well.
#[test]
fn a_log_goes_on_before_a_commit() {
    let home = Home::new();
    home.commits(5);
    let log = |arguments: &[&str]| {
        let rows = home.session(&[&["log", "a", "s", "--json"], arguments].concat()).rows();
        rows.iter().map(|row| row["seq"].as_u64()).collect::<Vec<_>>()
    };
    assert_eq!(log(&["--before", "4", "-n", "2"]), [Some(3), Some(2)]);
    assert_eq!(log(&["--before", "latest"]).len(), 4);
    assert!(log(&["--before", "1"]).is_empty());
    home.session(&["tag", "a", "s", "good", "--at", "3"]).text();
    for seq in [2, 4] {
        std::fs::write(home.object(seq), "damaged").unwrap();
    }
    assert_eq!(log(&["--before", "good"]), [None, Some(1)]);
    assert_eq!(home.session(&["log", "a", "s", "--before", "9"]).code, 3);
}

/// `persist save --version` told that of a program `persist-save`.
#[test]
fn only_the_program_has_a_version() {
    let home = Home::new();
    for command in [&["save"][..], &["session"], &["session", "save"]] {
        let run = home.run(&[command, &["--version"]].concat());
        assert!(run.code == 2 && run.err.contains("unexpected argument '--version'"), "{run:?}");
    }
}
