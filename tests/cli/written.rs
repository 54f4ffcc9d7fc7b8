//! Files that commands write: the same for a snapshot, for the state of a session, and for an archive.

use std::{
    fs,
    io::Write,
    os::unix::fs::{FileTypeExt, PermissionsExt, symlink},
    path::Path,
    process::{Command, Stdio},
};

use super::harness::{Home, Run};

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn files_links_and_pipes_are_written_alike() {
    let home = Home::new();
    home.save("k", "state");
    home.commits(1);
    let archive = home.session(&["export", "a", "s"]).bytes();
    for (command, arguments, content) in [
        ("load", &["load", "k", "-o"][..], &b"state"[..]),
        ("session-load", &["session", "load", "a", "s", "-o"], b"{\"step\":1}"),
        ("session-export", &["session", "export", "a", "s"], &archive),
    ] {
        let folder = home.path(command);
        fs::create_dir(&folder).unwrap();
        let run = |name: &str| {
            let path = folder.join(name);
            assert_eq!(home.run(&[arguments, &[path.to_str().unwrap()]].concat()).text(), "", "{command}");
            path
        };
        // As any other program makes one, by the umask.
        fs::write(folder.join("made"), "").unwrap();
        let new = run("new");
        assert_eq!((mode(&new), fs::read(&new).unwrap()), (mode(&folder.join("made")), content.to_vec()));
        for shared in [0o664, 0o640] {
            fs::write(folder.join("old"), "old").unwrap();
            fs::set_permissions(folder.join("old"), fs::Permissions::from_mode(shared)).unwrap();
            let old = run("old");
            assert_eq!((mode(&old), fs::read(&old).unwrap()), (shared, content.to_vec()), "{command}");
        }
        fs::write(folder.join("target"), "old").unwrap();
        for target in ["target", "nothing-yet"] {
            let link = folder.join(format!("link-to-{target}"));
            symlink(target, &link).unwrap();
            run(link.file_name().unwrap().to_str().unwrap());
            assert_eq!(fs::read_link(&link).unwrap(), Path::new(target), "{command}");
            assert_eq!(fs::read(folder.join(target)).unwrap(), content, "{command}");
        }
        let pipe = folder.join("pipe");
        assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        let mut reader = Command::new("cat").arg(&pipe).stdout(Stdio::piped()).spawn().unwrap();
        run("pipe");
        let still = fs::symlink_metadata(&pipe).unwrap().file_type().is_fifo();
        if !still {
            reader.kill().unwrap();
        }
        let read = reader.wait_with_output().unwrap().stdout;
        assert!(still && read == content, "{command}");
        // The file behind standard output belongs to whoever redirected it there.
        let log = folder.join("log");
        let mut out = fs::File::options().create_new(true).append(true).open(&log).unwrap();
        out.write_all(b"header\n").unwrap();
        let arguments = [arguments, &["/dev/fd/1"]].concat();
        let status = home.process().args(arguments).stdout(out.try_clone().unwrap()).status();
        out.write_all(b"end").unwrap();
        assert!(status.unwrap().success(), "{command}");
        assert_eq!(fs::read(&log).unwrap(), [b"header\n", content, b"end"].concat(), "{command}");
    }
}

/// JSON knows no `\\u{7f}`, and a script that handles a conflict reads this line.
#[test]
fn json_is_json_whatever_the_names() {
    let home = Home::new();
    let odd = "a\u{7f}\u{9b}";
    let error = home.run(&["save", "k", odd, "--json"]).error();
    assert_eq!(error["message"], format!("the file {odd} cannot be read"));
    let run = home.run(&["session", "load", odd, "s", "--json"]);
    assert!(run.code == 3 && run.error()["kind"] == "not_found", "{}", run.err);
    home.pipe(&["session", "save", odd, "s"], "{}").text();
    let run = home.run(&["session", "ls", "--json"]);
    assert_eq!(run.rows()[0]["agent"], odd);
    assert!(run.out.is_ascii(), "a terminal obeys them");
    let error = home.run(&["--json", "session"]).error();
    assert_eq!(error["message"], "a subcommand is missing");
}

/// Of the storage's disk it would say which key.
#[cfg(target_os = "linux")]
#[test]
fn output_that_cannot_be_written_is_said_to_be_it() {
    let home = Home::new();
    home.commits(1);
    for arguments in [&["session", "export", "a", "s"][..], &["--help"], &["--version"]] {
        let mut command = home.process();
        let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
        let run = Run::from(command.args(arguments).stdout(full).output().unwrap());
        let message = "persist: the output cannot be written\n";
        assert!(run.code == 1 && run.err.starts_with(message), "{arguments:?}: {run:?}");
    }
}

/// A script whose number of days is 0 by mistake would lose the history.
#[test]
fn no_rule_keeps_nothing() {
    let home = Home::new();
    home.commits(1);
    let run = home.session(&["prune", "a", "s", "--keep-within", "0d"]);
    assert!(run.code == 2 && run.err.contains("0 keeps nothing; write 1s or more"), "{}", run.err);
    let offers = home.run(&["doctor", "--storage", "memory://"]);
    let out = String::from_utf8(offers.out).unwrap();
    assert!(out.contains("offers: ") && !out.contains("not: nothing"), "{out}");
}

/// Ids of users do not belong into logs. In an outage between a save and the look at what became of it, the
/// errors of both have the key.
#[cfg(target_os = "linux")]
#[test]
fn the_log_of_a_save_that_fails_has_no_ids() {
    let home = Home::new();
    let script = format!(
        "ulimit -f 0; echo state | {} -v session save bot alice@example.com",
        env!("CARGO_BIN_EXE_persist")
    );
    let run = Run::from(home.program("/bin/sh").args(["-c", &script]).output().unwrap());
    let log: Vec<&str> = run.err.lines().filter(|line| line.contains("DEBUG")).collect();
    assert!(log.iter().any(|line| line.contains("what became of a commit is unknown")), "{}", run.err);
    assert!(!log.iter().any(|line| line.contains("alice")), "{}", run.err);
}
