//! Processes that a test starts do not outlive it.
#![allow(unreachable_pub)]

use std::{
    ops::{Deref, DerefMut},
    process::Child,
    sync::mpsc,
};

/// A child that is killed when the test ends, also by a panic.
#[derive(Debug)]
pub struct Killed(pub Child);

impl Drop for Killed {
    fn drop(&mut self) {
        // It may have ended by itself.
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

impl Deref for Killed {
    type Target = Child;

    fn deref(&self) -> &Child {
        &self.0
    }
}

impl DerefMut for Killed {
    fn deref_mut(&mut self) -> &mut Child {
        &mut self.0
    }
}

/// In the child, whose standard input must be a pipe: ends it with its parent, also when that is killed.
/// Gives the lines that the parent sends.
pub fn end_with_parent() -> mpsc::Receiver<String> {
    let (tell, told) = mpsc::channel();
    std::thread::spawn(move || {
        for line in std::io::stdin().lines().map_while(Result::ok) {
            tell.send(line).ok();
        }
        std::process::exit(1);
    });
    told
}
