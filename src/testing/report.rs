//! Runs the cases, and reports what came of each.

use std::{fmt, future::Future, time::Duration};

use futures_util::future::BoxFuture;

use super::{Failure, Outcome, Suite};

type Case = (&'static str, for<'a> fn(&'a Suite) -> BoxFuture<'a, Outcome>);

#[doc(hidden)]
#[macro_export]
macro_rules! __conformance_table {
    ($($case:ident)*) => {
        /// Every case with its name.
        const CASES: &[Case] = &[$((stringify!($case), |suite| Box::pin(super::cases::$case(suite)))),*];
    };
}
crate::__conformance_cases! { __conformance_table }

/// Runs the case called `name` and removes what it wrote.
///
/// # Errors
/// What the adapter does that the contract does not allow.
pub async fn case(name: &str, suite: impl Into<Suite>) -> Outcome {
    match CASES.iter().find(|(known, _)| *known == name) {
        Some(case) => run(case, &suite.into()).await,
        None => Err(Failure::new(format!("the suite has no case {name:?}"))),
    }
}

/// The names of all cases, in the order of the contract.
pub fn case_names() -> impl Iterator<Item = &'static str> {
    CASES.iter().map(|(name, _)| *name)
}

/// Runs every case, one after another, against what `factory` gives for each.
pub async fn run_all<S: Into<Suite>, F: Future<Output = S>>(mut factory: impl FnMut() -> F) -> Report {
    let mut cases = Vec::with_capacity(CASES.len());
    for case in CASES {
        let suite = factory().await.into();
        let failure = run(case, &suite).await.err();
        cases.push(CaseReport { name: case.0, failure });
    }
    Report { cases }
}

async fn run((name, case): &Case, suite: &Suite) -> Outcome {
    let suite = suite.below(name);
    let outcome = within(suite.patience, case(&suite)).await;
    let cleaned = within(suite.patience, suite.clean()).await;
    outcome.and(cleaned)
}

/// An adapter may wait for what never comes; whoever runs the suite gets a report all the same.
async fn within(limit: Duration, work: impl Future<Output = Outcome>) -> Outcome {
    match tokio::time::timeout(limit, work).await {
        Ok(outcome) => outcome,
        Err(_) => Err(Failure::new(format!("it did not end within {limit:?}"))),
    }
}

/// How one case went.
#[derive(Debug)]
#[non_exhaustive]
pub struct CaseReport {
    /// The case.
    pub name: &'static str,
    /// Why it failed, if it did.
    pub failure: Option<Failure>,
}

/// How all cases went. `Display` is a line for each failure and one that counts.
#[derive(Debug)]
#[non_exhaustive]
#[must_use = "a case that failed is no error: ask `passed`"]
pub struct Report {
    /// Every case, in the order of the contract.
    pub cases: Vec<CaseReport>,
}

impl Report {
    /// Whether the adapter keeps the contract.
    pub fn passed(&self) -> bool {
        self.cases.iter().all(|case| case.failure.is_none())
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for case in &self.cases {
            if let Some(failure) = &case.failure {
                writeln!(f, "failed: {}: {failure}", case.name)?;
            }
        }
        let passed = self.cases.iter().filter(|case| case.failure.is_none()).count();
        write!(f, "{passed} of {} cases passed", self.cases.len())
    }
}
