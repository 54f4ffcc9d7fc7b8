//! How a command that writes is interrupted: what it had begun is undone before the process ends.
//!
//! Commands that only read are ended by the signal itself, also while they wait for a reader of their output.

use std::{future::Future, io, time::Duration};

/// A signal came; this is the exit code that tells so.
pub(crate) struct Interrupted(pub(crate) u8);

/// How long what was begun may take to be undone.
const CLEAN_UP: Duration = Duration::from_secs(5);

/// Runs `work` until it is done or a signal asks to stop. Then its future is dropped, and what that sets off (removing temporary files,
/// giving up uploads) gets a moment, and as long as it takes where that is known, but not for ever: another signal ends it.
pub(crate) async fn interruptible<T>(work: impl Future<Output = T>) -> Result<T, Interrupted> {
    let interrupted = {
        tokio::pin!(work);
        tokio::select! {
            done = &mut work => return Ok(done),
            interrupted = signal() => interrupted,
        }
    };
    let undone = async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        persist::cleaned_up().await;
    };
    tokio::select! {
        _ = tokio::time::timeout(CLEAN_UP, undone) => {}
        _ = signal() => {}
    }
    Err(interrupted)
}

#[cfg(unix)]
async fn signal() -> Interrupted {
    use tokio::signal::unix::{SignalKind, signal};
    let wait = async {
        let (mut interrupt, mut terminate, mut hangup) = (
            signal(SignalKind::interrupt())?,
            signal(SignalKind::terminate())?,
            signal(SignalKind::hangup())?,
        );
        // 128 and the signal's number, as shells have it.
        io::Result::Ok(tokio::select! {
            _ = interrupt.recv() => 130,
            _ = terminate.recv() => 143,
            _ = hangup.recv() => 129,
        })
    };
    match wait.await {
        Ok(code) => Interrupted(code),
        // Signals cannot be listened to; then they end the process by themselves.
        Err(_) => std::future::pending().await,
    }
}

#[cfg(not(unix))]
async fn signal() -> Interrupted {
    let listened: io::Result<()> = tokio::signal::ctrl_c().await;
    match listened {
        Ok(()) => Interrupted(130),
        Err(_) => std::future::pending().await,
    }
}
