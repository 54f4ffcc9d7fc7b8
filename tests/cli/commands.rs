//! What each command does.

use std::{fs, io::Read};

use super::harness::{Home, files, noise};

#[test]
fn a_state_comes_back_from_pipes_and_files() {
    let (home, state) = (Home::new(), noise(3_000_000));
    home.save("agents/42/state.gz", state.clone());
    assert!(home.run(&["load", "agents/42/state.gz"]).bytes() == state);
    let file = home.write("state.bin", &state);
    home.run(&["save", "from file|é 😀.gz", file.to_str().unwrap()]).text();
    home.run(&["load", "from file|é 😀.gz", "-o", "copy.bin"]).text();
    assert!(fs::read(home.path("copy.bin")).unwrap() == state);
    assert_eq!(home.keys(), ["agents/42/state.gz", "from file|é 😀.gz"]);
    // The file is an ordinary .gz.
    let mut plain = Vec::new();
    let stored = fs::File::open(home.store().join("agents/42/state.gz")).unwrap();
    flate2::read::MultiGzDecoder::new(stored).read_to_end(&mut plain).unwrap();
    assert!(plain == state);
}

#[test]
fn nothing_is_a_state_too() {
    let home = Home::new();
    home.pipe(&["save", "empty", "--allow-empty"], "").text();
    assert!(home.run(&["load", "empty"]).bytes().is_empty());
    assert_eq!(home.run(&["stat", "empty", "--json"]).rows()[0]["size"], 0);
}

#[test]
fn conditions_of_a_save() {
    let home = Home::new();
    let save = |options: &[&str], state: &str| {
        let arguments = [&["save", "key", "--json"], options].concat();
        home.command(&arguments).write_stdin(state).output().unwrap()
    };
    let first = super::harness::Run::from(save(&["--if-absent"], "one"));
    let version = first.rows()[0]["version"].as_str().unwrap().to_string();
    let taken = super::harness::Run::from(save(&["--if-absent"], "two"));
    assert_eq!((taken.code, taken.error()["kind"].as_str()), (4, Some("already_exists")));
    assert!(save(&["--if-match", &version], "three").status.success());
    let stale = super::harness::Run::from(save(&["--if-match", &version], "four"));
    assert_eq!((stale.code, stale.error()["kind"].as_str()), (4, Some("conflict")));
    assert_eq!(home.run(&["load", "key"]).text(), "three");
}

#[test]
fn codecs_and_levels() {
    let (home, state) = (Home::new(), "state ".repeat(20_000));
    let stored = |key: &str, options: &[&str]| {
        let run = home.command(&[&["save", key], options].concat()).write_stdin(state.clone()).output();
        assert!(run.unwrap().status.success());
        assert_eq!(home.run(&["load", key]).text(), state);
        fs::read(home.store().join(key)).unwrap()
    };
    assert_eq!(stored("plain", &["--codec", "none"]), state.as_bytes());
    assert_eq!(stored("gzip", &[])[..2], [0x1f, 0x8b]);
    // A text that repeats itself does not; this one shows that the level arrives.
    let words: String =
        (0..40_000_u32).map(|i| format!("{} ", i.wrapping_mul(2_654_435_761) % 997)).collect();
    let size = |level: &str| {
        let run =
            home.command(&["save", "w", "--json", "--level", level]).write_stdin(words.clone()).output();
        super::harness::Run::from(run.unwrap()).rows()[0]["stored_size"].as_u64().unwrap()
    };
    assert!(size("1") > size("9"));
    let run = home.command(&["save", "z", "--codec", "zstd"]).write_stdin("state").output().unwrap();
    if cfg!(feature = "zstd") {
        assert!(run.status.success() && home.run(&["load", "z"]).text() == "state");
    } else {
        assert!(String::from_utf8(run.stderr).unwrap().contains("--features zstd"));
    }
}

#[test]
fn lists_in_order_by_prefix_and_with_a_limit() {
    let home = Home::new();
    for key in ["b/2", "a", "b/1", "b/c/3", "ü"] {
        home.save(key, "state");
    }
    assert_eq!(home.keys(), ["a", "b/1", "b/2", "b/c/3", "ü"]);
    assert_eq!(home.run(&["ls", "b/"]).text(), "b/1\nb/2\nb/c/3\n");
    assert_eq!(home.run(&["ls", "b/", "--folders"]).text(), "b/1\nb/2\nb/c/\n");
    assert_eq!(home.run(&["ls", "--limit", "2"]).text(), "a\nb/1\n");
    assert_eq!(home.run(&["ls", "nothing"]).text(), "");
    let long = home.run(&["ls", "--long", "a"]).text();
    assert!(long.contains(" B  20") && long.ends_with("Z  a\n"), "{long}");
    let url = format!("file://{}/", home.store().join("b").display());
    assert_eq!(home.run(&["ls", &url]).text(), "1\n2\nc/3\n");
}

#[test]
fn removes_and_does_not_mind_what_is_gone() {
    let home = Home::new();
    home.save("a", "state");
    home.save("b", "state");
    home.run(&["rm", "a", "missing"]).text();
    assert_eq!(home.keys(), ["b"]);
    let run = home.run(&["rm", "--must-exist", "missing"]);
    assert_eq!((run.code, run.err.contains("missing")), (3, true));
    // One wrong name, and nothing is removed.
    assert_eq!(home.run(&["rm", "b", "../b"]).code, 2);
    assert_eq!(home.keys(), ["b"]);
}

#[test]
fn copies_bytes_and_metadata_between_storages() {
    let (home, state) = (Home::new(), noise(300_000));
    let run = home
        .command(&["save", "a", "--metadata", "run=7", "--tag", "team=x"])
        .write_stdin(state.clone())
        .output();
    assert!(run.unwrap().status.success());
    home.run(&["cp", "a", "b"]).text();
    let url = format!("file://{}", home.path("elsewhere/c.gz").display());
    home.run(&["cp", "b", &url]).text();
    assert!(fs::read(home.store().join("a")).unwrap() == fs::read(home.path("elsewhere/c.gz")).unwrap());
    assert!(home.run(&["load", &url]).bytes() == state);
    let [one, other] = ["a", &url].map(|key| home.run(&["stat", key, "--json"]).rows().remove(0));
    for name in ["metadata", "tags", "digest", "size", "stored_size", "codec", "content_type"] {
        assert_eq!(one[name], other[name], "{name}");
    }
    assert_eq!((&one["metadata"]["run"], &one["tags"]["team"]), (&"7".into(), &"x".into()));
    assert_eq!(home.run(&["cp", "a", "b", "--if-absent"]).code, 4);
    assert_eq!(home.run(&["cp", "missing", "c"]).code, 3);
    assert_eq!(home.keys(), ["a", "b"]);
}

/// On disk, some keys have other names than in URLs: what is copied is found by its key, or not copied.
#[test]
fn a_copy_to_a_url_is_found_by_its_key() {
    let home = Home::new();
    home.save("k", "state");
    let storage = format!("file://{}", home.path("backup").display());
    let keys = ["plain/k", "sessions/bot/a%2Fb/c/999999999/998-1", "user:1/k"];
    for key in keys {
        home.run(&["cp", "k", &format!("{storage}//{}", key.replace('%', "%25"))]).text();
        assert_eq!(home.run(&["--storage", &storage, "load", key]).text(), "state");
    }
    for arguments in [&["cp", "k"][..], &["cp", "--recursive", "k"], &["load", "-o", "out"]] {
        let url = format!("{storage}/user:2/k");
        let run = home.run(&[arguments, &[&url]].concat());
        let fix = format!("write `//` where the key begins: {storage}//user:2/k");
        assert!(run.code == 2 && run.err.contains(&fix), "{arguments:?}: {} {}", run.code, run.err);
    }
    home.run(&["cp", "--recursive", &format!("{storage}//user:1"), &format!("{storage}//user:3")]).text();
    let all = home.run(&["--storage", &storage, "ls"]).text();
    assert_eq!(all.lines().collect::<Vec<_>>(), [&keys[..], &["user:3/k"]].concat());
}

#[test]
fn verify_finds_the_damaged_one() {
    let home = Home::new();
    for key in ["a", "b", "c"] {
        home.save(key, noise(100_000));
    }
    assert_eq!(home.run(&["verify", "--all"]).text(), "all well: 3 snapshots, 0 sessions\n");
    assert_eq!(home.run(&["verify", "b"]).text(), "");
    let damaged = home.store().join("b");
    let mut bytes = fs::read(&damaged).unwrap();
    bytes[50_000] ^= 1;
    fs::write(&damaged, bytes).unwrap();
    let run = home.run(&["verify", "--all"]);
    assert_eq!(run.code, 5);
    assert!(String::from_utf8(run.out).unwrap().starts_with("corrupt  b: "));
    assert!(run.err.contains("1 of 3 snapshots cannot be loaded"), "{}", run.err);
    assert_eq!(home.run(&["verify", "b"]).code, 5);
    let rows = home.run(&["verify", "--all", "--json"]).rows();
    let bad = rows.iter().find(|row| row["ok"] == false).unwrap();
    let run = home.run(&["verify", bad["key"].as_str().unwrap(), "--json"]);
    assert_eq!((run.code, &run.rows()[..]), (5, std::slice::from_ref(bad)), "one row alone, as among all");
    let mut rows = home.run(&["verify", "--all", "--json"]).rows();
    assert_eq!(rows.pop().unwrap()["ok"], false, "the sum");
    let found: Vec<_> = rows.iter().map(|row| (row["key"].as_str().unwrap(), row["ok"] == true)).collect();
    assert_eq!(found, [("a", true), ("b", false), ("c", true)]);
    assert_eq!(rows[1]["kind"], "corrupt");
}

#[test]
fn a_failed_load_leaves_the_file_as_it_was() {
    let home = Home::new();
    home.save("state", noise(3_000_000));
    let stored = home.store().join("state");
    let bytes = fs::read(&stored).unwrap();
    fs::write(&stored, &bytes[..bytes.len() - 100_000]).unwrap();
    let file = home.write("out/state.bin", "old");
    let run = home.run(&["load", "state", "-o", file.to_str().unwrap()]);
    assert_eq!(run.code, 5);
    assert_eq!(files(&home.path("out")), std::slice::from_ref(&file));
    assert_eq!(fs::read(&file).unwrap(), b"old");
    assert_eq!(home.run(&["load", "missing", "-o", file.to_str().unwrap()]).code, 3);
    assert_eq!(fs::read(&file).unwrap(), b"old");
}

#[test]
fn doctor_finds_all_well_and_leaves_nothing_behind() {
    let home = Home::new();
    home.save("a", "state");
    let before = files(&home.store());
    let text = home.run(&["doctor"]).text();
    assert!(text.lines().count() >= 9 && text.lines().all(|line| line.starts_with("ok   ")), "{text}");
    for check in
        ["configuration", "open", "write", "clock", "read", "list", "create once", "replace", "remove"]
    {
        assert!(text.contains(&format!(" {check}: ")), "{check}");
    }
    assert_eq!(files(&home.store()), before);
    let text = home.run(&["doctor", "--clean-uploads"]).text();
    assert!(text.contains("ok   unfinished uploads: this storage keeps none"), "{text}");
}

#[test]
fn doctor_says_what_to_fix() {
    let home = Home::new();
    let file = home.write("file", "not a folder");
    let run = home.run(&["--storage", file.to_str().unwrap(), "doctor"]);
    assert_eq!(run.code, 8);
    let text = String::from_utf8(run.out).unwrap();
    assert!(text.contains("ok   configuration") && text.contains("FAIL open: "), "{text}");
    let run = home.command(&["doctor", "--json"]).env("PERSIST_BUKCET", "b").output().unwrap();
    let row = super::harness::Run::from(run).rows().remove(0);
    assert_eq!((&row["ok"], &row["kind"]), (&false.into(), &"invalid_config".into()));
    assert!(row["detail"].as_str().unwrap().contains("did you mean `PERSIST_BUCKET`?"));
}

/// To look at a storage that is not there makes none.
#[test]
fn reading_makes_nothing() {
    let home = Home::new();
    for (arguments, code) in [
        (&["ls"][..], 0),
        (&["ls", "--folders", "--long"], 0),
        (&["load", "a"], 3),
        (&["stat", "a"], 3),
        (&["verify", "--all"], 3),
        (&["session", "ls"], 0),
        (&["session", "log", "a", "s"], 3),
        (&["rm", "a"], 0),
        (&["env"], 0),
    ] {
        let run = home.run(arguments);
        assert_eq!(run.code, code, "{arguments:?}: {}", run.err);
        assert!(!home.path("data").exists(), "{arguments:?}");
    }
    home.save("a", "state");
    assert_eq!(home.keys(), ["a"]);
}

#[test]
fn folders_are_copied_with_everything_in_them() {
    let home = Home::new();
    for key in ["agents/1/state.gz", "agents/2/state.gz", "agents/2/image", "agents-x", "agents2/state.gz"] {
        home.save(key, key.as_bytes());
    }
    let run = home
        .command(&["save", "agents/1/noted", "--metadata", "k=v", "--tag", "t=u"])
        .write_stdin("x")
        .output();
    assert!(run.unwrap().status.success());
    let session = |arguments: &[&str]| {
        let arguments = [&["session"], arguments].concat();
        let run: crate::harness::Run =
            home.command(&arguments).write_stdin(noise(2000)).output().unwrap().into();
        run.text()
    };
    session(&["save", "a", "s"]);
    session(&["save", "a", "s"]);
    session(&["tag", "a", "s", "good", "--at", "1"]);
    let elsewhere = format!("file://{}", home.path("elsewhere").display());
    let there = |arguments: &[&str]| home.run(&[&["--storage", &elsewhere], arguments].concat());
    let copied = home.run(&["cp", "-r", "agents", &format!("{elsewhere}/moved/"), "--json"]);
    assert_eq!((copied.code, copied.rows().len()), (0, 5), "{}", copied.err);
    let names = "moved/1/noted\nmoved/1/state.gz\nmoved/2/image\nmoved/2/state.gz\n";
    assert_eq!(there(&["ls"]).text(), names);
    assert_eq!(there(&["load", "moved/2/image"]).text(), "agents/2/image");
    let stat = there(&["stat", "moved/1/noted", "--json"]).rows().remove(0);
    assert_eq!((&stat["metadata"]["k"], &stat["tags"]["t"]), (&"v".into(), &"u".into()));
    // Everything, sessions included; what is there already stays, and only that.
    home.save("agents/1/state.gz", "newer");
    there(&["rm", "moved/2/image"]).text();
    let again =
        home.run(&["cp", "--recursive", "agents/", &format!("{elsewhere}/moved"), "--if-absent", "--json"]);
    assert_eq!((again.code, again.rows().len()), (0, 2), "{}", again.err);
    assert_eq!(again.rows()[0]["key"], "2/image");
    assert_eq!(there(&["load", "moved/1/state.gz"]).text(), "agents/1/state.gz");
    home.run(&["cp", "-r", "agents/", &format!("{elsewhere}/moved")]).text();
    assert_eq!(there(&["load", "moved/1/state.gz"]).text(), "newer");
    home.run(&["cp", "-r", "", &elsewhere]).text();
    assert_eq!(there(&["session", "load", "a", "s", "--at", "good"]).bytes(), noise(2000));
    assert!(there(&["session", "verify", "a", "s"]).text().contains("damaged: 0"));
    // Inside one storage as well, but not into itself, and not from nowhere.
    home.run(&["cp", "-r", "agents", "copies/of/agents"]).text();
    assert_eq!(home.run(&["load", "copies/of/agents/1/state.gz"]).text(), "newer");
    for (source, destination, code, message) in [
        ("agents", "agents/inside", 2, "the destination lies in the source"),
        ("", "all", 2, "the destination lies in the source"),
        ("nowhere", "copies", 3, "there is no snapshot below \"nowhere/\""),
    ] {
        let run = home.run(&["cp", "-r", source, destination]);
        assert!(run.code == code && run.err.contains(message), "{source}: {}", run.err);
    }
}

#[test]
fn a_listing_goes_on_behind_a_key() {
    let home = Home::new();
    for key in ["a/1", "a/2/x", "a/3", "b"] {
        home.save(key, "state");
    }
    let ls = |arguments: &[&str]| home.run(&[&["ls"], arguments].concat()).text();
    assert_eq!(ls(&["--after", "a/1", "--limit", "2"]), "a/2/x\na/3\n");
    assert_eq!(ls(&["a/", "--after", "a/2"]), "a/2/x\na/3\n");
    assert_eq!(ls(&["a/", "--folders", "--after", "a/2/"]), "a/3\n");
    let url = format!("file://{}//a/", home.store().display());
    assert_eq!(ls(&[&url, "--after", "a/2/x"]), "a/3\n");
    assert_eq!(ls(&["--after", "b"]), "");
    let run = home.run(&["ls", "--after", &format!("{url}3")]);
    assert!(run.code == 2 && run.err.contains("is a URL; --after takes a key"), "{}", run.err);
}
