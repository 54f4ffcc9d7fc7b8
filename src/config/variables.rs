//! The variables of a process, and which of their names are persist's.

use std::{collections::BTreeMap, env};

use super::{SETTINGS, bad, suggest};
use crate::Result;

/// What the names of all variables of persist begin with.
pub(super) const OWN: &str = "PERSIST_";

/// The variables of this process; those of persist must be UTF-8.
///
/// # Errors
/// `InvalidConfig` for a `PERSIST_*` variable whose value is not UTF-8.
pub fn variables() -> Result<Vec<(String, String)>> {
    let mut variables = Vec::new();
    for (name, value) in env::vars_os() {
        match (name.into_string(), value.into_string()) {
            (Ok(name), Ok(value)) => variables.push((name, value)),
            (Ok(name), Err(_)) if name.starts_with(OWN) => {
                return Err(bad(format!("variable {name}: its value is not UTF-8")));
            }
            _ => {}
        }
    }
    Ok(variables)
}

/// Refuses variables that look like persist's and are not.
pub(super) fn check_names(variables: &BTreeMap<String, String>) -> Result<()> {
    let known = || SETTINGS.iter().flat_map(|setting| setting.variables.iter().copied());
    // Of the project's own tests and benchmarks.
    let others = |name: &str| name.starts_with("PERSIST_BENCH_") || name.starts_with("PERSIST_TEST_");
    let unknown = |(name, value): &(&String, &String)| {
        name.starts_with(OWN)
            && !others(name)
            && !is_service_link(name, value)
            && !known().any(|known| known == name.as_str())
    };
    match variables.iter().find(unknown) {
        Some((name, _)) => {
            let hint = suggest::hint(name, known());
            Err(bad(format!("there is no variable {name}{hint} (`persist env` lists all)")))
        }
        None => Ok(()),
    }
}

/// Whether it is one of the variables that Kubernetes gives to every pod about each service of its namespace.
/// A service whose name begins with `persist` must not stop agents that know nothing of it.
/// <https://kubernetes.io/docs/tutorials/services/connect-applications-service/#environment-variables>
fn is_service_link(name: &str, value: &str) -> bool {
    let of_port = |rest: &str| {
        let mut parts = rest.split('_');
        let is_number = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
        parts.next().is_some_and(is_number)
            && matches!(parts.next(), Some("TCP" | "UDP" | "SCTP"))
            && matches!(parts.next(), None | Some("ADDR" | "PORT" | "PROTO"))
            && parts.next().is_none()
    };
    name.ends_with("_SERVICE_HOST")
        || name.ends_with("_SERVICE_PORT")
        || name.contains("_SERVICE_PORT_")
        // Else it may be meant for persist.
        || name.ends_with("_PORT") && ["tcp://", "udp://", "sctp://"].iter().any(|link| value.starts_with(link))
        || name.rsplit_once("_PORT_").is_some_and(|(_, rest)| of_port(rest))
}
