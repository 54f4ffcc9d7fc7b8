//! `persist env`

use anyhow::Result;
use serde_json::json;

use crate::{
    output::{Output, cell},
    storage::Storage,
};

pub(crate) fn run(storage: &Storage, output: &Output) -> Result<()> {
    let sources = storage.sources()?;
    let place = sources.resolve().and_then(|config| config.location());
    output.row(
        || json!({"storage": place.as_ref().ok()}),
        || match &place {
            Ok(place) => format!("storage: {}", cell(place)),
            Err(error) => format!("storage: none: {}", cell(error.message())),
        },
    )?;
    let mut rows = sources.effective()?;
    // Of 40 settings a few are set.
    rows.sort_by_key(|row| row.value.is_none());
    for row in rows {
        let setting = row.setting;
        let names: Vec<&str> = setting.variables.iter().chain(setting.generic).copied().collect();
        output.row(
            || {
                json!({
                    "setting": setting.name, "variables": names, "parameter": setting.parameter(), "meaning": setting.meaning,
                    "default": setting.default, "value": row.value, "from": row.from, "secret": setting.secret,
                })
            },
            || {
                let value = match (&row.value, &row.from) {
                    (Some(value), Some(from)) => format!("{}   ({})", cell(value), cell(from)),
                    _ => format!("not set; default: {}", setting.default),
                };
                format!("{}\n    {}\n    {value}", names.join(", "), setting.meaning)
            },
        )?;
    }
    Ok(())
}
