//! Memory of the whole program at its highest: it does not grow with the state.

use std::{
    io::{Read, Write},
    process::Stdio,
};

use crate::harness::{
    Home, noise,
    small::{on_two_cores, peak, test_bytes},
};

const MIB: usize = 1 << 20;

/// A MiB of a state: half noise, half text, so that gzip has some work.
fn block() -> Vec<u8> {
    [noise(MIB / 2), vec![b'x'; MIB / 2]].concat()
}

/// Most memory of a save of `blocks` from standard input, and of a load to standard output.
fn save_and_load(home: &Home, codec: &str, block: &[u8], blocks: usize) -> [u64; 2] {
    let mut save = home.process();
    let save = save.args(["save", "--codec", codec, "state"]).stdin(Stdio::piped());
    let mut save = save.spawn().unwrap();
    let mut input = save.stdin.take().unwrap();
    (0..blocks).for_each(|_| input.write_all(block).unwrap());
    let to_save = peak(save.id());
    drop(input);
    assert!(save.wait().unwrap().success());

    let mut load = home.process();
    let mut load = load.args(["load", "state"]).stdout(Stdio::piped()).spawn().unwrap();
    let (mut output, mut read, mut to_load) = (load.stdout.take().unwrap(), vec![0; MIB], 0);
    for _ in 0..blocks {
        output.read_exact(&mut read).unwrap();
        assert!(read == block);
        to_load = to_load.max(peak(load.id()));
    }
    assert!(to_load > 0);
    assert_eq!(output.read(&mut read).unwrap(), 0);
    assert!(load.wait().unwrap().success());
    [to_save, to_load]
}

/// In a debug build with all features; a release build has less code in memory, and half of this is enough.
#[test]
fn memory_does_not_grow_with_the_state() {
    on_two_cores();
    let (home, block) = (Home::new(), block());
    for codec in ["gzip", "none"] {
        let [to_save, to_load] = save_and_load(&home, codec, &block, test_bytes(128) as usize / MIB);
        assert!(to_save.max(to_load) <= 64, "{codec}: {to_save} MiB to save, {to_load} to load");
    }
}
