//! How a command that writes is interrupted: what it had begun is undone before the process ends. So is what
//! it gave up by itself.
//!
//! Commands that only read are ended by the signal itself, also while they wait for a reader of their output.
//! A signal that was ignored before ends none.

use std::{
    future::Future,
    io, process,
    sync::{LazyLock, mpsc},
    thread,
    time::Duration,
};

use tokio::{runtime, sync::watch};

use crate::output::complain;

/// A signal came; this is the exit code that tells so.
pub(crate) struct Interrupted(pub(crate) u8);

/// Said where that was not enough, but not to somebody who did not want to wait.
const NOT_UNDONE: &str = "persist: stopped before all was undone; nothing is half saved, but a temporary file, an unfinished upload, a probe of `persist doctor` or the announcement of a prune, which holds up the next one for 10 minutes, may be left";

/// How long what was begun may take to be undone.
const CLEAN_UP: Duration = Duration::from_secs(5);

/// Each piece of work that goes on behind a command has a receiver.
static BEHIND: LazyLock<watch::Sender<()>> = LazyLock::new(|| watch::Sender::new(()));

/// Runs `work` to its end, also when the command is interrupted. Must be called on a runtime.
pub(crate) fn behind(work: impl Future<Output = ()> + Send + 'static) {
    let receiver = BEHIND.subscribe();
    tokio::spawn(async move {
        work.await;
        drop(receiver);
    });
}

/// Resolves when nothing goes on behind a command, nor behind what it had begun.
pub(crate) async fn all_undone() {
    BEHIND.closed().await;
    persist::cleaned_up().await;
}

/// Runs `work` until it is done or a signal asks to stop. Then its future is dropped, and what that sets off
/// (removing temporary files, giving up uploads) gets a moment, and as long as it takes where that is known,
/// but not for ever: another signal ends it.
pub(crate) async fn interruptible<T, E>(
    work: impl Future<Output = Result<T, E>>,
) -> Result<Result<T, E>, Interrupted> {
    let mut signals = listen();
    let code = {
        tokio::pin!(work);
        tokio::select! {
            done = &mut work => {
                // Also behind a success: an upload whose answer was lost is looked for, and given up.
                tokio::select! {
                    () = undone(Duration::ZERO) => {}
                    _ = next(&mut signals) => {}
                }
                return Ok(done);
            }
            code = next(&mut signals) => code,
        }
    };
    undone(Duration::from_millis(300)).await;
    Err(Interrupted(code))
}

/// Waits for what goes on behind work that was given up, for a `moment` at least.
async fn undone(moment: Duration) {
    let undone = async {
        tokio::time::sleep(moment).await;
        all_undone().await;
    };
    if tokio::time::timeout(CLEAN_UP, undone).await.is_err() {
        complain(NOT_UNDONE);
    }
}

/// The next signal's exit code; none where signals cannot be listened to: then they end the process by
/// themselves.
async fn next(signals: &mut watch::Receiver<u8>) -> u8 {
    match signals.changed().await {
        Ok(()) => *signals.borrow_and_update(),
        Err(_) => std::future::pending().await,
    }
}

/// Listens on a thread of its own, because the runtime's may stand still: in a write to a pipe that nobody
/// reads. Then there is nothing to undo, and the process ends a moment after the first signal, or with the
/// second.
fn listen() -> watch::Receiver<u8> {
    let (send, signals) = watch::channel(0);
    let (ready, listening) = mpsc::channel();
    let thread = move || {
        let Ok(runtime) = runtime::Builder::new_current_thread().enable_all().build() else { return };
        runtime.block_on(async {
            let Ok(mut signals) = Signals::new() else { return };
            let _ = ready.send(());
            let code = signals.next().await;
            let _ = send.send(code);
            if tokio::time::timeout(CLEAN_UP + Duration::from_secs(1), signals.next()).await.is_err() {
                // On another thread, and not for long: the pipe that nobody reads may be standard error.
                let told = tokio::task::spawn_blocking(|| complain(NOT_UNDONE));
                let _ = tokio::time::timeout(Duration::from_secs(1), told).await;
            }
            process::exit(code.into());
        });
    };
    if thread::Builder::new().name("signals".into()).spawn(thread).is_ok() {
        // From here on no signal ends the process before it is asked to. An error says that it does not
        // listen.
        let _ = listening.recv();
    }
    signals
}

/// A write beyond a limit on the size of files (`ulimit -f`) fails, and the error says why, where by default
/// the signal SIGXFSZ ends the process without a word. Must be called on a runtime.
#[cfg(any(target_os = "linux", target_os = "macos"))]
pub(crate) fn survive_the_size_limit() {
    // Its number on all of these, but for Linux on MIPS.
    if cfg!(not(any(target_arch = "mips", target_arch = "mips64"))) {
        // Listening is enough, for as long as the process lives; without it, all is as by default.
        let _ = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::from_raw(25));
    }
}

#[cfg(not(any(target_os = "linux", target_os = "macos")))]
pub(crate) fn survive_the_size_limit() {}

#[cfg(unix)]
struct Signals(Vec<(tokio::signal::unix::Signal, u8)>);

#[cfg(unix)]
impl Signals {
    /// Must be called on a runtime.
    fn new() -> io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        let ignored = ignored();
        let mut signals = Vec::new();
        // 128 and the signal's number, as shells have it.
        for (kind, code) in
            [(SignalKind::interrupt(), 130), (SignalKind::terminate(), 143), (SignalKind::hangup(), 129)]
        {
            // Whoever started this has said that it goes on: `nohup`, and shells of what runs in the
            // background.
            if ignored & (1 << (code - 129)) == 0 {
                signals.push((signal(kind)?, code));
            }
        }
        Ok(Signals(signals))
    }

    async fn next(&mut self) -> u8 {
        use std::task::{Context, Poll};
        let came = |cx: &mut Context<'_>| {
            let came =
                self.0.iter_mut().find_map(|(signal, code)| signal.poll_recv(cx).is_ready().then_some(*code));
            came.map_or(Poll::Pending, Poll::Ready)
        };
        std::future::poll_fn(came).await
    }
}

/// The signals that this process ignores since its start, a bit each; none where the system does not tell.
#[cfg(unix)]
fn ignored() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or_default()
}

#[cfg(not(unix))]
struct Signals;

#[cfg(not(unix))]
impl Signals {
    fn new() -> io::Result<Self> {
        Ok(Signals)
    }

    async fn next(&mut self) -> u8 {
        let listened: io::Result<()> = tokio::signal::ctrl_c().await;
        match listened {
            Ok(()) => 130,
            Err(_) => std::future::pending().await,
        }
    }
}
