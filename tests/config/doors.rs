//! Every setting through every door: by hand, by builder methods, variables, URL parameters and the file.

use std::{path::PathBuf, time::Duration};

use persist::{
    Codec, GcsConfig, RetryConfig, S3Config, StorageBackend, StorageConfig,
    config::{SETTINGS, Setting, Sources},
};

use super::{from_vars, vars};

/// Two values that each setting takes, neither of them the default.
fn samples(setting: &Setting) -> [&'static str; 2] {
    match setting.name {
        "storage_url" => ["memory://", "/somewhere"],
        "local_path" | "gcs.credentials_path" => ["/some/path", "/other/path"],
        "backend" => ["memory", "gcs"],
        "compression" => ["none", "gzip:9"],
        "s3.endpoint_url" => ["http://127.0.0.1:9000", "https://s3.example.com"],
        "s3.encryption" => ["aws:kms", "AES256"],
        "s3.checksums" => ["when_required", "when_supported"],
        "s3.part_size" | "gcs.chunk_size" | "max_bytes" => ["16MiB", "33554432"],
        "compression_level" | "retry.attempts" | "s3.parallel" | "gcs.parallel" | "max_ratio" => ["7", "3"],
        "fence_window" => ["90s", "2h"],
        "s3.path_style" | "s3.atomic_multipart" => ["true", "false"],
        name if name.ends_with("timeout") || name.ends_with("delay") || name.ends_with("deadline") => {
            ["1500ms", "7"]
        }
        name if ["anonymous", "requester_pays", "bucket_key"].iter().any(|flag| name.ends_with(flag)) => {
            ["true", "1"]
        }
        _ => ["some-text", "other-text"],
    }
}

fn settings() -> impl Iterator<Item = &'static Setting> {
    SETTINGS.iter().filter(|setting| setting.name != "config")
}

/// The variable without which a setting has no say.
fn backend(setting: &Setting) -> (&'static str, &'static str) {
    match setting.name {
        "backend" | "storage_url" => ("UNRELATED", "1"),
        "gcs_bucket" | "gcs_prefix" => ("PERSIST_BACKEND", "gcs"),
        _ => ("PERSIST_BACKEND", "s3"),
    }
}

/// A file with one key.
fn file(folder: &tempfile::TempDir, setting: &Setting, value: &str) -> PathBuf {
    let (table, key) = setting.name.split_once('.').unwrap_or(("", setting.name));
    let table = if table.is_empty() { "storage".into() } else { format!("storage.{table}") };
    let path = folder.path().join("persist.toml");
    std::fs::write(&path, format!("[{table}]\n{key} = {value:?}\n")).unwrap();
    path
}

/// The URL of a storage that takes the parameter.
fn url(setting: &Setting, value: &str) -> Option<String> {
    let place = if setting.name.starts_with("gcs.") { "gs://b" } else { "s3://b" };
    Some(format!("{place}?{}={}", setting.parameter()?, value.replace('/', "%2F")))
}

#[test]
fn each_variable_has_its_effect() {
    for setting in settings() {
        for variable in setting.variables.iter().chain(setting.generic) {
            let without = from_vars(&[backend(setting)]).unwrap();
            let with = |value| {
                from_vars(&[backend(setting), (variable, value)])
                    .unwrap_or_else(|error| panic!("{variable}: {error}"))
            };
            let [one, other] = samples(setting).map(with);
            assert!(one != without && other != without, "{variable} changes nothing");
            assert_eq!(
                one,
                from_vars(&[backend(setting), (setting.variables[0], samples(setting)[0])]).unwrap()
            );
        }
    }
}

#[test]
fn the_file_and_the_url_set_the_same_as_the_variable() {
    let folder = tempfile::tempdir().unwrap();
    for setting in settings() {
        let value = samples(setting)[0];
        let by_variable = from_vars(&[backend(setting), (setting.variables[0], value)]).unwrap();
        let sources = Sources::new().environment(vars(&[backend(setting)])).unwrap();
        let by_file = sources.file(&file(&folder, setting, value)).unwrap().resolve();
        assert_eq!(by_file.unwrap(), by_variable, "{}", setting.name);
        if let Some(url) = url(setting, value) {
            let location = StorageConfig::from_url(&url).unwrap();
            let mut same = by_variable.with_bucket("b");
            same.backend = location.backend;
            assert_eq!(location, same, "{url}");
        }
    }
}

/// Every place against every weaker one, for every setting.
#[test]
fn the_stronger_place_wins() {
    let folder = tempfile::tempdir().unwrap();
    for setting in settings() {
        let [strong, weak] = samples(setting);
        let own: Vec<&str> =
            setting.variables.iter().copied().filter(|name| name.starts_with("PERSIST_")).collect();
        let foreign: Vec<&str> =
            setting.variables.iter().copied().filter(|name| !name.starts_with("PERSIST_")).collect();
        assert!(own.len() <= 1, "{}: one own name", setting.name);
        // The places in order, the strongest first; the one at `first` has the strong value, all below it the
        // weak one.
        for first in 0..5 {
            let value = |place: usize| match place {
                place if place < first => None,
                place if place == first => Some(strong),
                _ => Some(weak),
            };
            let mut variables = vec![backend(setting)];
            let mut set = |names: &[&'static str], place| {
                variables.extend(
                    value(place).into_iter().flat_map(|text| names.iter().map(move |name| (*name, text))),
                );
            };
            set(&own, 1);
            set(&foreign, 2);
            set(setting.generic, 4);
            let exists = match first {
                0 => setting.parameter().is_some(),
                1 => !own.is_empty(),
                2 => !foreign.is_empty(),
                3 => true,
                _ => !setting.generic.is_empty(),
            };
            if !exists {
                continue;
            }
            let sources = match value(0).and_then(|text| url(setting, text)) {
                Some(url) => Sources::new().url(&url, "--storage").unwrap(),
                None => Sources::new(),
            };
            let sources = sources.environment(vars(&variables)).unwrap();
            let sources = match value(3) {
                Some(text) => sources.file(&file(&folder, setting, text)).unwrap(),
                None => sources,
            };
            let mut expected = from_vars(&[backend(setting), (setting.variables[0], strong)]).unwrap();
            if first == 0 {
                expected = StorageConfig::from_url(&url(setting, strong).unwrap()).unwrap();
            }
            assert_eq!(sources.resolve().unwrap(), expected, "{} from place {first}", setting.name);
        }
    }
}

/// All fields by hand, all by builder methods, and all by variables: a new field does not compile here until
/// it is named, and then needs a setting.
#[test]
fn all_fields_by_hand_by_builder_and_by_variables() {
    let text = || Some("some-text".to_string());
    let secret = || Some("some-text".into());
    let (time, path) = (Duration::from_millis(1500), PathBuf::from("/some/path"));
    let by_hand = StorageConfig {
        backend: StorageBackend::S3,
        local_base_path: Some(path.clone()),
        bucket: text(),
        prefix: text(),
        namespace: text(),
        codec: Some(Codec::Gzip { level: 7 }),
        idle_timeout: Some(time),
        max_bytes: Some(16 << 20),
        max_ratio: Some(7),
        fence_window: Some(Duration::from_secs(90)),
        retry: RetryConfig { max_attempts: 7, initial_delay: time, max_delay: time, deadline: time },
        s3: S3Config {
            region: text(),
            endpoint_url: Some("http://127.0.0.1:9000".into()),
            path_style: Some(true),
            profile: text(),
            access_key_id: secret(),
            secret_access_key: secret(),
            session_token: secret(),
            anonymous: true,
            requester_pays: true,
            encryption: Some("aws:kms".into()),
            kms_key: text(),
            bucket_key: true,
            storage_class: text(),
            checksums: Some("when_required".into()),
            atomic_multipart: Some(true),
            part_size: Some(16 << 20),
            parallel: Some(7),
            connect_timeout: Some(time),
            read_timeout: Some(time),
            attempt_timeout: Some(time),
            total_timeout: Some(time),
        },
        gcs: GcsConfig {
            credentials_path: Some(path.clone()),
            credentials_json: secret(),
            anonymous: true,
            project: text(),
            kms_key: text(),
            encryption_key: secret(),
            storage_class: text(),
            endpoint_url: text(),
            timeout: Some(time),
            connect_timeout: Some(time),
            chunk_size: Some(16 << 20),
            parallel: Some(7),
        },
    };
    let built = StorageConfig::default_local()
        .with_backend(StorageBackend::S3)
        .with_local_path("/some/path")
        .with_bucket("some-text")
        .with_prefix("some-text")
        .with_namespace("some-text")
        .with_codec(Codec::Gzip { level: 7 })
        .with_idle_timeout(time)
        .with_max_bytes(16 << 20)
        .with_max_ratio(7)
        .with_fence_window(Duration::from_secs(90))
        .with_retry(
            RetryConfig::default()
                .with_max_attempts(7)
                .with_initial_delay(time)
                .with_max_delay(time)
                .with_deadline(time),
        )
        .with_s3(
            S3Config::default()
                .with_region("some-text")
                .with_endpoint_url("http://127.0.0.1:9000")
                .with_path_style(true)
                .with_profile("some-text")
                .with_access_key_id("some-text")
                .with_secret_access_key("some-text")
                .with_session_token("some-text")
                .with_anonymous(true)
                .with_requester_pays(true)
                .with_encryption("aws:kms")
                .with_kms_key("some-text")
                .with_bucket_key(true)
                .with_storage_class("some-text")
                .with_checksums("when_required")
                .with_atomic_multipart(true)
                .with_part_size(16 << 20)
                .with_parallel(7)
                .with_connect_timeout(time)
                .with_read_timeout(time)
                .with_attempt_timeout(time)
                .with_total_timeout(time),
        )
        .with_gcs(
            GcsConfig::default()
                .with_credentials_path("/some/path")
                .with_credentials_json("some-text")
                .with_anonymous(true)
                .with_project("some-text")
                .with_kms_key("some-text")
                .with_encryption_key("some-text")
                .with_storage_class("some-text")
                .with_endpoint_url("some-text")
                .with_timeout(time)
                .with_connect_timeout(time)
                .with_chunk_size(16 << 20)
                .with_parallel(7),
        );
    assert_eq!(built, by_hand);
    let mut all = vec![("PERSIST_BACKEND", "s3"), ("PERSIST_COMPRESSION", "gzip")];
    let others = ["storage_url", "backend", "compression", "gcs_bucket", "gcs_prefix"];
    let rest = settings().filter(|setting| !others.contains(&setting.name));
    all.extend(rest.map(|setting| (setting.variables[0], samples(setting)[0])));
    assert_eq!(from_vars(&all).unwrap(), by_hand);
}

#[test]
fn names_follow_one_rule() {
    for setting in settings() {
        let own = format!("PERSIST_{}", setting.name.replace('.', "_").to_uppercase());
        let expected = if own == "PERSIST_STORAGE_URL" { own.clone() } else { own };
        assert_eq!(setting.variables[0], expected, "{}", setting.name);
        assert!(!setting.meaning.is_empty() && !setting.default.is_empty(), "{}", setting.name);
    }
    let mut names: Vec<&str> = SETTINGS
        .iter()
        .flat_map(|setting| setting.variables.iter().chain(setting.generic))
        .copied()
        .collect();
    let count = names.len();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), count, "one variable, one setting");
}
