//! `docs/environment.md` is written from the table.

use std::path::PathBuf;

use persist::config::{SETTINGS, Setting};

const HEAD: &str = "\
# Variables, URL parameters and keys of the file

Written from the table in `src/config/table.rs` by `tests/config.rs`; `persist env` shows the same with the effective values and
where each comes from.

## Who wins

Explicit in code > command line > variables > file > generic variables (`STORAGE_*`) > default. Among variables persist's own, `PERSIST_*`, come
before those that other programs know too (`AWS_S3_BUCKET`, `AWS_REGION`, `GCS_BUCKET`, `GOOGLE_APPLICATION_CREDENTIALS`, `STORAGE_EMULATOR_HOST`).

- A value of a name that other programs know too is passed over where persist cannot read it and it is for another backend, or is a `STORAGE_*` beside persist's own location.
- A storage URL names the whole location: backend, bucket, path and prefix of weaker places do not count. The namespace is no part of the location.
- Two settings of one place may say the same, but not different things: the error names both.
- Credentials are taken from one place as a whole. An emulator of GCS (an address that is not `https://`) gets none that only
  happen to be in the environment.
- What is empty is not set. An unknown `PERSIST_*` variable, parameter or key is an error that names the nearest right one;
  `PERSIST_BENCH_*` and `PERSIST_TEST_*` belong to the project's own tests.
- There is no default bucket, and a bucket does not choose a backend.

## URLs

| URL | storage |
|---|---|
| `/path`, `relative/path` | local disk; taken as it is, nothing is decoded; in a file, a relative path begins in the folder of the file |
| `file:///path` | local disk |
| `memory://` | memory of the process |
| `s3://bucket/prefix?region=eu-west-1&endpoint_url=http://127.0.0.1:9000` | S3 (feature `s3`) |
| `gs://bucket/prefix?project=p` | Google Cloud Storage (feature `gcs`) |
| `az://`, `sqlite:`, `postgres:`, `mysql:` | planned; the error says so |

`%XX` stands for a byte of UTF-8, `+` for itself. Write `?`, `#`, `%` in names as `%3F`, `%23`, `%25`, and `&` in values as `%26`. Parameters are those
of the table; those of S3 hold in `s3://` URLs and those of GCS in `gs://` URLs. Secrets have no parameter, because URLs
end up in logs and lists of processes.

The URL of a snapshot is that of its storage with the key behind it. On disk the key is what stands behind the last `/`, and the folder before it is the
storage. Write `//` where a longer key begins: `file:///backup//outer:1/k.gz` is the key `outer:1/k.gz` in the storage `/backup`, which has
[another name on disk](backends.md) for `outer:1`. Without `//` such a folder is refused, unless it is there.

## The file

`--config` or `PERSIST_CONFIG` names it; else `persist/persist.toml` in `$XDG_CONFIG_HOME` or `~/.config` (macOS: `~/Library/Application Support`,
Windows: `%APPDATA%`) is read if it is there, and an error if it cannot be read; `PERSIST_CONFIG=/dev/null` reads none. One in the current folder is not read unless it is named: agents work in folders that
others filled ([ADR 5](adr/0005-configuration-layers.md)).

```toml
[storage]
storage_url = \"s3://my-bucket/agents\"
namespace = \"team-a\"
compression = \"gzip:9\"

[storage.s3]
region = \"eu-west-1\"

[storage.retry]
attempts = 5
```

A text stands in quotes: without them `012` is a number and, in YAML, `no` a flag, and both are refused where a text belongs.
With the feature `yaml` the same can be written as YAML in a file that ends with `.yaml` or `.yml`.

The AWS SDK reads its own variables and files (`AWS_ACCESS_KEY_ID`, `AWS_PROFILE` and so on) where nothing is set here.

## All settings

Times are seconds, or have a unit: `500ms`, `2m`. Sizes are bytes, or have one: `8MiB`. Flags are `true` or `false`.

| variables | key of the file | URL parameter | meaning | default |
|---|---|---|---|---|
";

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

/// `PERSIST_TEST_WRITE_DOCS=1 cargo test --test config` writes it anew.
#[test]
fn the_page_of_variables_is_up_to_date() {
    let page: String = std::iter::once(HEAD.to_string()).chain(SETTINGS.iter().map(row)).collect();
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("docs/environment.md");
    if std::env::var_os("PERSIST_TEST_WRITE_DOCS").is_some() {
        std::fs::write(&path, &page).unwrap();
    }
    assert_eq!(std::fs::read_to_string(path).unwrap(), page, "write it anew, see above");
}

/// The example in the page is a file that loads.
#[test]
fn the_example_of_a_file_loads() {
    let example = HEAD.split("```toml\n").nth(1).unwrap().split("```").next().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("persist.toml");
    std::fs::write(&path, example).unwrap();
    let config = persist::StorageConfig::from_file(&path).unwrap();
    assert_eq!((config.bucket.as_deref(), config.prefix.as_deref()), (Some("my-bucket"), Some("agents")));
    assert_eq!((config.s3.region.as_deref(), config.retry.max_attempts), (Some("eu-west-1"), 5));
    assert_eq!(config.codec, Some(persist::Codec::Gzip { level: 9 }));
}
