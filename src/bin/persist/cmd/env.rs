//! `persist env`

use anyhow::Result;
use persist::config::Effective;
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
    output.row(
        || {
            let mut row = json!({"storage": place.as_ref().ok()});
            if let Some(reason) = &warning {
                row["warning"] = json!(reason);
            }
            row
        },
        || {
            let place = match &place {
                Ok(place) => format!("storage: {}", cell(place)),
                Err(error) => format!("storage: none: {}", cell(error.message())),
            };
            let warning = warning.iter().map(|reason| format!("\nwarning: {}", cell(reason)));
            warning.fold(place, |place, warning| place + &warning)
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
