//! The writer of a handle while a call has it, and what others are told meanwhile.

use std::{
    ops::{Deref, DerefMut},
    sync::Mutex,
};

use tokio::sync::MutexGuard;

use super::{Rival, writer::Writer};
use crate::lock::lock;

/// What callers ask a handle for. It is a copy: a call that has the writer may never be polled again, and who
/// only asks must not wait for that.
#[derive(Debug, Default)]
pub(super) struct Asked {
    /// The head's number.
    pub(super) seen: Option<u64>,
    pub(super) rival: Option<Rival>,
}

/// The writer, which leaves a copy of what callers ask for when it is given back, also by a call that is
/// dropped.
pub(super) struct Held<'a> {
    writer: MutexGuard<'a, Writer>,
    asked: &'a Mutex<Asked>,
}

impl<'a> Held<'a> {
    pub(super) fn new(writer: MutexGuard<'a, Writer>, asked: &'a Mutex<Asked>) -> Self {
        Held { writer, asked }
    }
}

impl Deref for Held<'_> {
    type Target = Writer;

    fn deref(&self) -> &Writer {
        &self.writer
    }
}

impl DerefMut for Held<'_> {
    fn deref_mut(&mut self) -> &mut Writer {
        &mut self.writer
    }
}

/// While the writer is still held, so that no older copy comes behind a newer one.
impl Drop for Held<'_> {
    fn drop(&mut self) {
        let seen = self.writer.head.as_ref().map(|head| head.seq);
        *lock(self.asked) = Asked { seen, rival: self.writer.rival.clone() };
    }
}
