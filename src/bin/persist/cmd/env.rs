//! `persist env`

use anyhow::Result;
use persist::config::{Effective, SETTINGS};
use serde_json::json;

use crate::{
    output::{Output, cell},
    storage::Storage,
};

pub(crate) async fn run(storage: &Storage, output: &Output) -> Result<()> {
    let (mut rows, place, warning) = match effective(storage).await {
        Ok(effective) => effective,
        // Whoever looks for the mistake wants to see what is set, all the more.
        Err(error) => (storage.found(), Err(error), None),
    };
    let also = read_by_others();
    output.row(
        || {
            let mut row = json!({"storage": place.as_ref().ok()});
            if let Some(reason) = &warning {
                row["warning"] = json!(reason);
            }
            if !also.is_empty() {
                row["also_set"] = json!(also);
            }
            row
        },
        || {
            let place = match &place {
                Ok(place) => format!("storage: {}", cell(place)),
                Err(error) => format!("storage: none: {}", cell(error.message())),
            };
            let warning = warning.iter().map(|reason| format!("\nwarning: {}", cell(reason)));
            let also = (!also.is_empty()).then(|| {
                format!("\nalso set, and read by what persist is built on: {}", cell(&also.join(", ")))
            });
            warning.chain(also).fold(place, |text, line| text + &line)
        },
    )?;
    // Of 40 settings a few are set.
    rows.sort_by_key(|row| row.from.is_none());
    for row in rows {
        let setting = row.setting;
        // The page of settings has it as Markdown.
        let default = setting.default.replace('`', "");
        let names: Vec<&str> = setting.variables.iter().chain(setting.generic).copied().collect();
        output.row(
            || {
                json!({
                    "setting": setting.name, "variables": names, "parameter": setting.parameter(), "meaning": setting.meaning,
                    "default": default, "value": row.value, "from": row.from, "problem": row.problem, "secret": setting.secret,
                })
            },
            || {
                let value = match (&row.value, &row.from, &row.problem) {
                    (_, _, Some(problem)) => format!("cannot be used: {}", cell(problem)),
                    (Some(value), Some(from), None) => format!("{}   ({})", cell(value), cell(from)),
                    _ => format!("not set; default: {default}"),
                };
                format!("{}\n    {}\n    {value}", names.join(", "), setting.meaning)
            },
        )?;
    }
    place?;
    Ok(())
}

/// Every setting, where states go, and what is perhaps not meant so.
async fn effective(
    storage: &Storage,
) -> persist::Result<(Vec<Effective>, persist::Result<String>, Option<String>)> {
    let sources = storage.sources()?;
    let config = sources.resolve()?;
    let place = match config.check().await {
        Ok(()) => config.location(),
        Err(error) => Err(error),
    };
    Ok((sources.effective()?, place, sources.unused_bucket()))
}

/// The variables that are set and that the SDKs, TLS and the connections read by themselves. Their names
/// alone: some hold secrets.
fn read_by_others() -> Vec<String> {
    const NAMES: [&str; 6] = [
        "CLOUDSDK_CONFIG",
        "GCE_METADATA_HOST",
        "GOOGLE_CLOUD_QUOTA_PROJECT",
        "GOOGLE_CLOUD_UNIVERSE_DOMAIN",
        "SSL_CERT_DIR",
        "SSL_CERT_FILE",
    ];
    let is_setting = |name: &str| SETTINGS.iter().any(|setting| setting.variables.contains(&name));
    let is_theirs = |name: &str| {
        name.starts_with("AWS_") || name.to_ascii_uppercase().ends_with("_PROXY") || NAMES.contains(&name)
    };
    let set = std::env::vars_os().filter(|(_, value)| !value.is_empty());
    let names = set.filter_map(|(name, _)| name.into_string().ok());
    let mut names: Vec<String> = names.filter(|name| is_theirs(name) && !is_setting(name)).collect();
    names.sort_unstable();
    names
}
