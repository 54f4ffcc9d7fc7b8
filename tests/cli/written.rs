//! Files that commands write: the same for a snapshot, for the state of a session, and for an archive.

use std::{
    fs,
    io::Write,
    os::unix::fs::{FileTypeExt, PermissionsExt, symlink},
    path::Path,
    process::{Command, Stdio},
};

use super::harness::Home;

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
