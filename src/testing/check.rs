//! How a case fails: with a value, never a panic, so that a program can run the suite and report.

use std::{fmt, panic::Location};

use crate::{Error, ErrorKind};

/// What a case ends with.
pub type Outcome<T = ()> = std::result::Result<T, Failure>;

/// Why a case failed: what was expected, what came, and where in the suite it was checked.
pub struct Failure {
    message: String,
    at: &'static Location<'static>,
}

impl Failure {
    /// A failure that is noticed in the calling line.
    #[track_caller]
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Failure { message: message.into(), at: Location::caller() }
    }
}

/// An operation that should have worked.
impl From<Error> for Failure {
    #[track_caller]
    fn from(error: Error) -> Self {
        Failure::new(format!("an operation failed: {}", error.chain()))
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({}:{})", self.message, self.at.file(), self.at.line())
    }
}

impl std::error::Error for Failure {}

/// Test harnesses print `Debug`.
impl fmt::Debug for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// `check!(condition, "what should be the case", ...)`
macro_rules! check {
    ($condition:expr, $($message:tt)+) => {
        if !$condition {
            return Err($crate::testing::Failure::new(format!($($message)+)));
        }
    };
}

/// `check_eq!(got, expected, "what is compared", ...)`
macro_rules! check_eq {
    ($got:expr, $expected:expr, $($message:tt)+) => {{
        let (got, expected) = (&$got, &$expected);
        if got != expected {
            let what = format!($($message)+);
            return Err($crate::testing::Failure::new(format!("{what}: expected {expected:?}, got {got:?}")));
        }
    }};
}

/// Fails unless `result` is an error of `kind`; gives the error back.
#[track_caller]
pub(crate) fn fails<T>(result: Result<T, Error>, kind: ErrorKind, what: &str) -> Outcome<Error> {
    match result {
        Err(error) if error.kind() == kind => Ok(error),
        Err(error) => Err(Failure::new(format!("{what}: expected {kind}, got {error:?}"))),
        Ok(_) => Err(Failure::new(format!("{what}: expected {kind}, but it worked"))),
    }
}
