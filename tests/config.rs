//! Configuration: every form that users write, every door to every setting, and who wins.
#![allow(clippy::unwrap_used)]

use std::{path::PathBuf, time::Duration};

use persist::{
    Codec, ErrorKind, GcsConfig, RetryConfig, S3Config, SnapshotAdapterExt, StorageBackend, StorageConfig,
    config::{Layers, SETTINGS, split_key},
};

fn vars(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect()
}

fn from_vars(pairs: &[(&str, &str)]) -> persist::Result<StorageConfig> {
    Layers::new().environment(vars(pairs))?.resolve()
}

/// The forms that the documentation promises. They must compile as they stand.
#[test]
fn the_promised_forms() {
    let _ = StorageConfig::default_local();
    let by_hand = StorageConfig {
        backend: StorageBackend::Local,
        local_base_path: Some(PathBuf::from("/var/lib/agents")),
        ..Default::default()
    };
    assert_eq!(by_hand, StorageConfig::local("/var/lib/agents"));
    let s3 = StorageConfig::s3_with_bucket_and_region("b".to_string(), "eu-west-1".to_string());
    assert_eq!((s3.backend, s3.bucket.as_deref()), (StorageBackend::S3, Some("b")));
    assert_eq!(s3.s3.region.as_deref(), Some("eu-west-1"));
    assert_eq!(StorageConfig::s3_with_bucket("b".to_string()).s3.region, None);
    let gcs = StorageConfig::gcs_with_bucket_prefix_and_credentials("b".to_string(), "p".to_string(), None);
    assert_eq!((gcs.bucket.as_deref(), gcs.prefix.as_deref()), (Some("b"), Some("p")));
    assert_eq!(StorageConfig::gcs_with_bucket("b".to_string()).backend, StorageBackend::Gcs);
    let gcs = StorageConfig::gcs_with_bucket_and_credentials("b".to_string(), PathBuf::from("/key.json"));
    assert_eq!(gcs.gcs.credentials_path, Some(PathBuf::from("/key.json")));
}

#[test]
fn builder_methods_reach_every_field() {
    let built = StorageConfig::default_local()
        .with_backend(StorageBackend::S3)
        .with_local_path("/x")
        .with_bucket("b")
        .with_prefix("p")
        .with_namespace("n")
        .with_codec(Codec::None)
        .with_timeout(Duration::from_secs(9))
        .with_retry(RetryConfig::none())
        .with_s3(S3Config { anonymous: true, ..Default::default() })
        .with_gcs(GcsConfig { anonymous: true, ..Default::default() });
    // Without `..`: a new field must be named here, hence have a method.
    let StorageConfig { backend, local_base_path, bucket, prefix, namespace, codec, timeout, retry, s3, gcs } =
        built;
    assert_eq!((backend, local_base_path), (StorageBackend::S3, Some(PathBuf::from("/x"))));
    assert_eq!((bucket.unwrap(), prefix.unwrap(), namespace.unwrap()), ("b".into(), "p".into(), "n".into()));
    assert_eq!((codec, timeout), (Some(Codec::None), Some(Duration::from_secs(9))));
    assert!(retry == RetryConfig::none() && s3.anonymous && gcs.anonymous);
}

/// A value that each setting takes and that is not its default.
fn sample(name: &str) -> &'static str {
    match name {
        "config" => "/etc/persist.toml",
        "storage_url" => "memory://",
        "backend" => "memory",
        "compression" => "none",
        "compression_level" => "9",
        "s3.endpoint_url" => "http://127.0.0.1:9000",
        "s3.encryption" => "aws:kms",
        "s3.checksums" => "when_required",
        "s3.part_size" => "16MiB",
        "gcs.chunk_size" => "512KiB",
        name if name.ends_with("timeout") || name.ends_with("delay") || name.ends_with("deadline") => {
            "1500ms"
        }
        name if name.ends_with("parallel") || name.ends_with("attempts") => "7",
        name if ["anonymous", "path_style", "requester_pays", "bucket_key", "atomic_multipart"]
            .iter()
            .any(|end| name.ends_with(end)) =>
        {
            "true"
        }
        _ => "some-text",
    }
}

/// The variables that make a specific bucket or prefix count.
fn backend_for(name: &str) -> Vec<(&'static str, &'static str)> {
    match name {
        name if name.starts_with("s3_") => vec![("PERSIST_BACKEND", "s3")],
        name if name.starts_with("gcs_") => vec![("PERSIST_BACKEND", "gcs")],
        _ => vec![],
    }
}

#[test]
fn every_setting_has_an_effect_through_every_variable() {
    for setting in SETTINGS.iter().filter(|setting| setting.name != "config") {
        for variable in setting.variables.iter().chain(setting.generic) {
            let mut with = backend_for(setting.name);
            let without = from_vars(&with).unwrap();
            with.push((variable, sample(setting.name)));
            let config = from_vars(&with).unwrap_or_else(|error| panic!("{variable}: {error}"));
            assert_ne!(config, without, "{variable} changes nothing");
        }
    }
}

#[test]
fn every_setting_is_the_same_from_the_file_and_from_a_url() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("persist.toml");
    for setting in SETTINGS.iter().filter(|setting| setting.name != "config") {
        let backend = backend_for(setting.name);
        let mut with = backend.clone();
        with.push((setting.variables[0], sample(setting.name)));
        let from_variable = from_vars(&with).unwrap();
        let (table, key) = setting.name.split_once('.').unwrap_or(("", setting.name));
        let backend =
            backend.first().map(|(_, value)| format!("backend = \"{value}\"\n")).unwrap_or_default();
        let table = if table.is_empty() { String::new() } else { format!("[storage.{table}]\n") };
        let text = format!("[storage]\n{backend}{table}{key} = \"{}\"\n", sample(setting.name));
        std::fs::write(&file, text).unwrap();
        assert_eq!(StorageConfig::from_file(&file).unwrap(), from_variable, "{}", setting.name);

        let Some(parameter) = setting.parameter() else { continue };
        let (scheme, name) = match setting.group() {
            "s3" => ("s3://b", "PERSIST_BACKEND=s3"),
            "gcs" => ("gs://b", "PERSIST_BACKEND=gcs"),
            _ => ("memory://", "PERSIST_BACKEND=memory"),
        };
        let parameter = if setting.group() == "retry" { setting.name } else { parameter };
        let value: String = url::form_urlencoded::byte_serialize(sample(setting.name).as_bytes()).collect();
        let from_url = StorageConfig::from_url(&format!("{scheme}?{parameter}={value}")).unwrap();
        let (variable, backend) = name.split_once('=').unwrap();
        let mut same = vec![(variable, backend), (setting.variables[0], sample(setting.name))];
        if backend != "memory" {
            same.push(("PERSIST_BUCKET", "b"));
        }
        assert_eq!(from_url, from_vars(&same).unwrap(), "{parameter}");
    }
}

#[test]
fn the_stronger_place_wins() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("persist.toml");
    std::fs::write(&file, "[storage]\nbackend = \"s3\"\nbucket = \"from-file\"\nnamespace = \"file\"\n")
        .unwrap();
    let resolve = |url: Option<&str>, env: &[(&str, &str)]| {
        let layers = match url {
            Some(url) => Layers::new().url(url, "--storage").unwrap(),
            None => Layers::new(),
        };
        layers.environment(vars(env)).unwrap().file(&file).unwrap().resolve().unwrap()
    };
    let bucket = |config: StorageConfig| config.bucket.unwrap();
    assert_eq!(bucket(resolve(None, &[("STORAGE_BUCKET", "generic")])), "from-file");
    assert_eq!(bucket(resolve(None, &[("PERSIST_BUCKET", "env")])), "env");
    assert_eq!(bucket(resolve(None, &[("PERSIST_BUCKET", "env"), ("AWS_S3_BUCKET", "aws")])), "aws");
    assert_eq!(
        bucket(resolve(Some("s3://url"), &[("PERSIST_BUCKET", "env"), ("AWS_S3_BUCKET", "aws")])),
        "url"
    );
    // A URL names the whole location, but not what lies beside it.
    let config =
        resolve(Some("gs://url"), &[("PERSIST_PREFIX", "env-prefix"), ("PERSIST_COMPRESSION", "none")]);
    assert_eq!(
        (config.prefix, config.namespace.as_deref(), config.codec),
        (None, Some("file"), Some(Codec::None))
    );
    // The level of one place goes with the codec of another.
    let config = from_vars(&[("PERSIST_COMPRESSION", "zstd"), ("PERSIST_COMPRESSION_LEVEL", "12")]).unwrap();
    assert_eq!(config.codec, Some(Codec::Zstd { level: 12 }));
}

#[test]
fn an_empty_variable_is_an_unset_one() {
    assert_eq!(
        from_vars(&[("PERSIST_BUCKET", ""), ("PERSIST_STORAGE_URL", "")]).unwrap(),
        StorageConfig::default()
    );
}

#[test]
fn locations_from_urls() {
    let url = |text: &str| StorageConfig::from_url(text).unwrap();
    assert_eq!(url("/data/agents"), StorageConfig::local("/data/agents"));
    assert_eq!(url("relative"), StorageConfig::local("relative"));
    assert_eq!(url(r"C:\agents"), StorageConfig::local(r"C:\agents"));
    assert_eq!(url("file:///data/a%20b"), StorageConfig::local("/data/a b"));
    assert_eq!(url("memory://").backend, StorageBackend::Memory);
    let config = url("s3://bucket/a/b?region=eu-west-1&endpoint_url=http%3A%2F%2F127.0.0.1%3A9000");
    assert_eq!((config.bucket.as_deref(), config.prefix.as_deref()), (Some("bucket"), Some("a/b")));
    assert_eq!(config.s3.endpoint_url.as_deref(), Some("http://127.0.0.1:9000"));
    assert_eq!(url("gs://bucket/?project=p").gcs.project.as_deref(), Some("p"));
    for (text, backend) in [
        ("az://container/p?account=a", StorageBackend::Azure),
        ("sqlite:/tmp/x.db", StorageBackend::Sqlite),
        ("postgres://user:hunter2@h/db", StorageBackend::Postgres),
        ("mysql://h/db", StorageBackend::Mysql),
    ] {
        assert_eq!(url(text).backend, backend);
    }
}

#[test]
fn keys_that_are_urls() {
    let split = |text: &str| split_key(text).unwrap().map(|(url, key)| (url, key.to_string()));
    assert_eq!(split("agents/42"), None);
    assert_eq!(split("outer:1|inner:2"), None);
    assert_eq!(
        split("gs://bucket/a/b%20c.gz?project=p"),
        Some(("gs://bucket?project=p".into(), "a/b c.gz".into()))
    );
    assert_eq!(split("file:///data/a/b.gz"), Some(("file:///data/a".into(), "b.gz".into())));
    assert_eq!(split_key("s3://bucket").unwrap_err().kind(), ErrorKind::InvalidInput);
}

#[test]
fn no_secret_is_shown() {
    let config = from_vars(&[
        ("PERSIST_S3_SECRET_ACCESS_KEY", "hunter2"),
        ("PERSIST_GCS_CREDENTIALS_JSON", "hunter2"),
    ])
    .unwrap();
    assert!(config.s3.secret_access_key.is_some() && !format!("{config:?}").contains("hunter2"));
    let layers = Layers::new()
        .url("postgres://user:hunter2@host/db", "--storage")
        .unwrap()
        .environment(vars(&[("PERSIST_S3_SESSION_TOKEN", "hunter2")]))
        .unwrap();
    assert!(!format!("{:?}", layers.effective().unwrap()).contains("hunter2"));
}

#[tokio::test]
async fn opens_and_lays_namespace_below_prefix() {
    let folder = tempfile::tempdir().unwrap();
    let config =
        StorageConfig::local(folder.path()).with_prefix("p/q").with_namespace("n").with_codec(Codec::None);
    let store = config.open().await.unwrap();
    store.save("state", "a/b").await.unwrap();
    assert_eq!(std::fs::read(folder.path().join("p/q/n/a/b")).unwrap(), b"state");
    assert_eq!(store.load("a/b").await.unwrap(), "state");
}

/// The page of variables is written from the table. `PERSIST_TEST_WRITE_DOCS=1 cargo test --test config` writes it anew.
#[test]
fn the_page_of_variables_is_up_to_date() {
    let mut page = String::from(
        "# Variables, URL parameters and keys of the file\n\n\
         Written from the table in `src/config/table.rs` by `tests/config.rs`. `persist env` shows the same with the effective values.\n\n\
         What is set in several places is decided so: explicit in code > command line > variables > file > generic variables\n\
         (`STORAGE_*`) > default. A storage URL names the whole location: backend, bucket, path and prefix of weaker places do not count.\n\
         Both a URL and another setting in one place may say the same, but not different things. An empty variable is an unset one. An unknown\n\
         `PERSIST_*` variable, parameter or key is an error.\n\n\
         The file is named by `--config` or `PERSIST_CONFIG`; the command line also takes `persist.toml` in the current folder. Its keys stand in\n\
         `[storage]`, those with a dot in `[storage.s3]`, `[storage.gcs]` and `[storage.retry]`. Secrets have no URL parameter, because URLs end up\n\
         in logs. The AWS SDK reads its own variables (`AWS_ACCESS_KEY_ID`, `AWS_PROFILE` and so on) where nothing is set here.\n\n\
         | variable | key of the file | URL parameter | meaning | default |\n|---|---|---|---|---|\n",
    );
    for setting in SETTINGS {
        let names: Vec<String> =
            setting.variables.iter().chain(setting.generic).map(|name| format!("`{name}`")).collect();
        let parameter = match setting.parameter() {
            Some(_) if setting.group() == "retry" => format!("`{}`", setting.name),
            Some(name) => format!("`{name}`"),
            None => "–".into(),
        };
        let key = if setting.name == "config" { "–".into() } else { format!("`{}`", setting.name) };
        page += &format!(
            "| {} | {key} | {parameter} | {} | {} |\n",
            names.join(", "),
            setting.meaning,
            setting.default
        );
    }
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("docs/environment.md");
    if std::env::var_os("PERSIST_TEST_WRITE_DOCS").is_some() {
        std::fs::write(&path, &page).unwrap();
    }
    assert_eq!(std::fs::read_to_string(path).unwrap(), page, "write it anew, see above");
}
