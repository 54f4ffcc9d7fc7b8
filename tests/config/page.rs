//! The table of `docs/environment.md` is written from the table of settings.

use std::path::PathBuf;

use persist::config::{SETTINGS, Setting};

/// The table ends the page; what stands before it is written by hand.
const TABLE: &str =
    "\n| variables | key of the file | URL parameter | meaning | default |\n|---|---|---|---|---|\n";

fn path() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("docs/environment.md")
}

fn page() -> String {
    std::fs::read_to_string(path()).unwrap()
}

fn row(setting: &Setting) -> String {
    let quoted = |text: &str| format!("`{text}`");
    let names: Vec<String> =
        setting.variables.iter().chain(setting.generic).map(|name| quoted(name)).collect();
    let key = if setting.name == "config" { "–".into() } else { quoted(setting.name) };
    let parameter = setting.parameter().map_or("–".into(), quoted);
    let secret = if setting.secret { " Secret." } else { "" };
    let (names, meaning, default) = (names.join(", "), setting.meaning, setting.default);
    format!("| {names} | {key} | {parameter} | {meaning}{secret} | {default} |\n")
}

/// `PERSIST_TEST_WRITE_DOCS=1 cargo test --test config` writes the table anew.
#[test]
fn the_page_of_variables_is_up_to_date() {
    let now = page();
    let (prose, _) = now.split_once(TABLE).expect("the head of the table");
    let rows: String = SETTINGS.iter().map(row).collect();
    let new = format!("{prose}{TABLE}{rows}");
    if std::env::var_os("PERSIST_TEST_WRITE_DOCS").is_some() {
        std::fs::write(path(), &new).unwrap();
    }
    assert_eq!(page(), new, "write it anew, see above");
}

/// The example in the page is a file that loads.
#[test]
fn the_example_of_a_file_loads() {
    let page = page();
    let example = page.split("```toml\n").nth(1).unwrap().split("```").next().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("persist.toml");
    std::fs::write(&path, example).unwrap();
    let config = persist::StorageConfig::from_file(&path).unwrap();
    assert_eq!((config.bucket.as_deref(), config.prefix.as_deref()), (Some("my-bucket"), Some("agents")));
    assert_eq!((config.s3.region.as_deref(), config.retry.max_attempts), (Some("eu-west-1"), 5));
    assert_eq!(config.codec, Some(persist::Codec::Gzip { level: 9 }));
}
