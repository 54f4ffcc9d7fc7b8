//! `persist env`

use anyhow::Result;
use serde_json::json;

use crate::{output::Output, storage::Storage};

pub(crate) fn run(storage: &Storage, output: &Output) -> Result<()> {
    for row in storage.sources()?.effective()? {
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
                    (Some(value), Some(from)) => format!("{value}   ({from})"),
                    _ => format!("not set; default: {}", setting.default),
                };
                format!("{}\n    {}\n    {value}", names.join(", "), setting.meaning)
            },
        )?;
    }
    Ok(())
}
