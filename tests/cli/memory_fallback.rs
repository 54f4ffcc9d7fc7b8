//! `--fallback` holds a long state in memory only where damage makes it.

use std::{
    fs,
    io::{Read, Write},
    path::PathBuf,
    process::Stdio,
};

use crate::harness::{
    Home, noise,
    small::{on_two_cores, peak, test_bytes},
};

const MIB: usize = 1 << 20;

/// The state that is too long to be held.
struct Long {
    home: Home,
    block: Vec<u8>,
    blocks: usize,
}

impl Long {
    /// As commit 2, behind a short one.
    fn new() -> Self {
        let (home, blocks) = (Home::new(), test_bytes(128) as usize / MIB);
        home.commits(1);
        let long = Long { home, block: [noise(MIB / 2), vec![b'x'; MIB / 2]].concat(), blocks };
        let mut save = long.home.process();
        let mut save = save.args(["session", "save", "a", "s"]).stdin(Stdio::piped()).spawn().unwrap();
        let mut input = save.stdin.take().unwrap();
        (0..blocks).for_each(|_| input.write_all(&long.block).unwrap());
        drop(input);
        assert!(save.wait().unwrap().success());
        long
    }

    /// Flips a byte of its body, near the end.
    fn flip(&self) {
        let bodies = self.home.store().join("sessions/a/s/b");
        let body: Vec<PathBuf> = fs::read_dir(bodies).unwrap().map(|entry| entry.unwrap().path()).collect();
        let [body] = &body[..] else { panic!("{body:?}") };
        let mut bytes = fs::read(body).unwrap();
        let at = bytes.len() - bytes.len() / 8;
        bytes[at] ^= 0x10;
        fs::write(body, bytes).unwrap();
    }
}

#[test]
fn without_damage_a_long_state_passes_through_a_fallback() {
    on_two_cores();
    let long = Long::new();
    let mut load = long.home.process();
    let load = load.args(["session", "load", "a", "s", "--fallback"]).stdout(Stdio::piped());
    let mut load = load.spawn().unwrap();
    let (mut output, mut read, mut to_load) = (load.stdout.take().unwrap(), vec![0; MIB], 0);
    for _ in 0..long.blocks {
        output.read_exact(&mut read).unwrap();
        assert!(read == long.block);
        to_load = to_load.max(peak(load.id()));
    }
    assert_eq!(output.read(&mut read).unwrap(), 0);
    assert!(load.wait().unwrap().success());

    let mut save = long.home.process();
    let save = save.args(["session", "save", "a", "s", "--fallback"]).stdin(Stdio::piped());
    let mut save = save.spawn().unwrap();
    let mut input = save.stdin.take().unwrap();
    // More than a pipe holds: by its end the save has looked at the long state.
    input.write_all(&long.block).unwrap();
    let to_save = peak(save.id());
    drop(input);
    assert!(save.wait().unwrap().success());
    assert!(to_load > 0 && to_save > 0);
    assert!(to_load.max(to_save) <= 64, "{to_load} MiB to load, {to_save} to save");
}

#[test]
fn nothing_of_a_damaged_long_state_is_given() {
    let Long { home, .. } = {
        let long = Long::new();
        long.flip();
        long
    };
    let run = home.session(&["load", "a", "s", "--fallback"]);
    assert_eq!((run.code, &run.out[..]), (0, &b"{\"step\":1}"[..]));
    assert!(run.err.starts_with("persist: passed over: commit 2 is damaged: "), "{}", run.err);
    let file = home.write("loaded", "before");
    let to_file = ["load", "a", "s", "--fallback", "--json", "-o", file.to_str().unwrap()];
    let row = home.session(&to_file).rows().remove(0);
    assert_eq!((row["seq"].as_u64(), row["skipped"][0]["seq"].as_u64()), (Some(1), Some(2)));
    assert_eq!(fs::read(&file).unwrap(), b"{\"step\":1}");
    // Without it, the file stays.
    fs::write(&file, "before").unwrap();
    assert_eq!(home.session(&["load", "a", "s", "-o", file.to_str().unwrap()]).code, 5);
    assert_eq!(fs::read(&file).unwrap(), b"before");

    let saved = home.pipe(&["session", "save", "a", "s", "--fallback", "--json"], "{}").rows().remove(0);
    assert_eq!((saved["seq"].as_u64(), saved["keyframe"].as_bool()), (Some(3), Some(true)));
    assert!(saved["parent"].is_null());
    assert_eq!(saved["skipped"][0]["seq"].as_u64(), Some(2));
}

/// A body of its own passes through the look; the save starts from it all the same.
#[test]
fn a_save_behind_the_look_is_a_delta() {
    let (home, state) = (Home::new(), noise(12 * MIB));
    let save = |state: &[u8]| {
        let file = home.write("state", state);
        let run = home.session(&["save", "a", "s", file.to_str().unwrap(), "--fallback", "--json"]);
        run.rows().remove(0)["keyframe"].as_bool()
    };
    assert_eq!(save(&state), Some(true));
    assert_eq!(save(&[&state[..], b"x"].concat()), Some(false));
    assert_eq!(save(&[&state[..], b"xy"].concat()), Some(false));
}
