//! What several places say together, where it is more than "the stronger wins".

use persist::{Codec, StorageBackend, StorageConfig, config::Sources};

use super::{from_vars, vars};

struct Files(tempfile::TempDir);

impl Files {
    fn new(text: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("persist.toml"), text).unwrap();
        Files(folder)
    }

    /// `--storage`, variables and this file.
    fn with(&self, url: Option<&str>, variables: &[(&str, &str)]) -> persist::Result<StorageConfig> {
        let layers = match url {
            Some(url) => Sources::new().url(url, "--storage")?,
            None => Sources::new(),
        };
        layers.environment(vars(variables))?.file(&self.0.path().join("persist.toml"))?.resolve()
    }
}

fn message(result: persist::Result<StorageConfig>) -> String {
    result.unwrap_err().message().into()
}

const FILE: &str =
    "[storage]\nstorage_url = \"s3://file/p\"\nnamespace = \"team\"\n[storage.s3]\nregion = \"r\"\n";

#[test]
fn a_url_replaces_the_whole_location_of_weaker_places_and_nothing_else() {
    let config = Files::new(FILE).with(Some("gs://url"), &[("PERSIST_PREFIX", "q")]).unwrap();
    assert_eq!((config.backend, config.bucket.as_deref()), (StorageBackend::Gcs, Some("url")));
    assert_eq!((config.prefix, config.namespace.as_deref()), (None, Some("team")));
    let config = Files::new(FILE).with(Some("/data"), &[("PERSIST_BUCKET", "b")]).unwrap();
    assert_eq!((config.backend, config.bucket), (StorageBackend::Local, None));
}

/// A copy to Amazon must not end up on another storage's server.
#[test]
fn parameters_of_a_url_that_is_not_used_say_nothing_about_another() {
    let url = "s3://states/p?endpoint_url=http://127.0.0.1:1&region=r&namespace=n&compression=none";
    let variables = [("PERSIST_STORAGE_URL", url)];
    let none = Files::new("");
    let used = none.with(None, &variables).unwrap();
    assert_eq!(used.s3.endpoint_url.as_deref(), Some("http://127.0.0.1:1"));
    let config = none.with(Some("s3://backup/x"), &variables).unwrap();
    assert_eq!(config, StorageConfig::from_url("s3://backup/x").unwrap());
    let in_file = Files::new(&format!("[storage]\nstorage_url = \"{url}\"\n"));
    assert_eq!(in_file.with(Some("s3://backup/x"), &[]).unwrap(), config);
    // A setting of its own is about every storage.
    let own = [variables[0], ("PERSIST_S3_ENDPOINT_URL", "http://127.0.0.1:1")];
    let config = none.with(Some("s3://backup/x"), &own).unwrap();
    assert_eq!((config.s3.endpoint_url.as_deref(), config.s3.region), (Some("http://127.0.0.1:1"), None));
}

#[test]
fn without_a_url_each_setting_is_taken_by_itself() {
    let config = Files::new(FILE).with(None, &[("PERSIST_BUCKET", "b"), ("AWS_REGION", "env")]).unwrap();
    assert_eq!((config.bucket.as_deref(), config.prefix.as_deref()), (Some("b"), Some("p")));
    assert_eq!(config.s3.region.as_deref(), Some("env"));
}

/// A bucket belongs to its service: that of this name at another one may be somebody else's.
#[test]
fn a_bucket_out_of_a_url_is_not_looked_for_at_another_service() {
    let files = Files::new(FILE);
    let config = files.with(None, &[("PERSIST_BACKEND", "gcs")]).unwrap();
    assert_eq!((config.backend, config.bucket.as_ref()), (StorageBackend::Gcs, None));
    assert_eq!((config.prefix, config.namespace.as_deref()), (None, Some("team")));
    let local = files.with(None, &[("PERSIST_BACKEND", "local")]).unwrap();
    assert_eq!((local.backend, local.prefix.as_ref()), (StorageBackend::Local, None));
    let named = files.with(None, &[("PERSIST_BACKEND", "gcs"), ("PERSIST_BUCKET", "b")]).unwrap();
    assert_eq!((named.bucket.as_deref(), named.prefix), (Some("b"), None));
    // Nor is what is weaker than the URL.
    assert_eq!(
        files.with(None, &[("PERSIST_BACKEND", "gcs"), ("STORAGE_BUCKET", "b")]).unwrap().bucket,
        None
    );
    let same = files.with(None, &[("PERSIST_BACKEND", "s3")]).unwrap();
    assert_eq!((same.bucket.as_deref(), same.prefix.as_deref()), (Some("file"), Some("p")));
    // What stands beside the URL for the other service is for it.
    let both = Files::new("[storage]\nstorage_url = \"s3://file/p\"\ngcs_bucket = \"own\"\n");
    let config = both.with(None, &[("PERSIST_BACKEND", "gcs")]).unwrap();
    assert_eq!((config.bucket.as_deref(), config.prefix), (Some("own"), None));
}

#[test]
fn a_url_and_what_it_leaves_open_go_together() {
    let config = from_vars(&[("PERSIST_STORAGE_URL", "s3://b"), ("PERSIST_PREFIX", "p")]).unwrap();
    assert_eq!((config.bucket.as_deref(), config.prefix.as_deref()), (Some("b"), Some("p")));
    let same = [("PERSIST_STORAGE_URL", "gs://b"), ("PERSIST_BUCKET", "b"), ("PERSIST_BACKEND", "gs")];
    assert_eq!(from_vars(&same).unwrap(), StorageConfig::gcs_with_bucket("b".into()));
}

#[test]
fn contradictions_in_one_place_name_both() {
    let both = [("PERSIST_STORAGE_URL", "s3://one"), ("PERSIST_BUCKET", "two")];
    assert_eq!(
        message(from_vars(&both)),
        "variable PERSIST_STORAGE_URL (\"one\") and variable PERSIST_BUCKET (\"two\") disagree about `bucket`; remove one of them"
    );
    for pair in [
        [("PERSIST_STORAGE_URL", "s3://b"), ("PERSIST_BACKEND", "gcs")],
        [("PERSIST_STORAGE_URL", "gs://b"), ("PERSIST_GCS_BUCKET", "c")],
        [("PERSIST_STORAGE_URL", "s3://b/p"), ("PERSIST_PREFIX", "q")],
        [("PERSIST_STORAGE_URL", "/data"), ("PERSIST_LOCAL_PATH", "/other")],
        [("PERSIST_STORAGE_URL", "s3://b?region=x"), ("PERSIST_S3_REGION", "y")],
        [("PERSIST_STORAGE_URL", "memory://?compression=none"), ("PERSIST_COMPRESSION", "gzip")],
        [("PERSIST_COMPRESSION", "gzip:9"), ("PERSIST_COMPRESSION_LEVEL", "3")],
    ] {
        let message = message(from_vars(&pair));
        assert!(pair.iter().all(|(name, _)| message.contains(name)), "{message}");
    }
    let text = "[storage]\nstorage_url = \"s3://one\"\nbucket = \"two\"\n";
    let message = message(Files::new(text).with(None, &[]));
    assert!(message.contains("key storage_url of") && message.contains("key bucket of"), "{message}");
}

#[test]
fn names_that_others_use_give_way_to_persists_own() {
    let backend = ("PERSIST_BACKEND", "s3");
    let bucket = |pairs: &[(&str, &str)]| from_vars(pairs).unwrap().bucket;
    assert_eq!(bucket(&[backend, ("AWS_S3_BUCKET", "aws")]).as_deref(), Some("aws"));
    assert_eq!(
        bucket(&[backend, ("AWS_S3_BUCKET", "aws"), ("PERSIST_BUCKET", "own")]).as_deref(),
        Some("own")
    );
    assert_eq!(
        bucket(&[("PERSIST_STORAGE_URL", "s3://own"), ("AWS_S3_BUCKET", "aws")]).as_deref(),
        Some("own")
    );
    assert_eq!(bucket(&[backend, ("STORAGE_BUCKET", "any")]).as_deref(), Some("any"));
    // They are for another backend or another program, and no reason to stop.
    for name in ["AWS_S3_BUCKET", "GCS_BUCKET", "STORAGE_BUCKET"] {
        assert_eq!(from_vars(&[(name, "b")]).unwrap(), StorageConfig::default(), "{name}");
    }
    let other = [("STORAGE_BACKEND", "redis"), ("PERSIST_STORAGE_URL", "/data")];
    assert_eq!(from_vars(&other).unwrap(), StorageConfig::local("/data"));
    let generic = [("STORAGE_BACKEND", "local"), ("STORAGE_BASE_PATH", "/data")];
    assert_eq!(from_vars(&generic).unwrap(), StorageConfig::local("/data"));
}

/// Other programs' variables have other programs' values.
#[test]
fn what_is_not_for_this_backend_or_this_program_is_passed_over() {
    let others = [
        ("GOOGLE_APPLICATION_CREDENTIALS", "~/k.json"),
        ("STORAGE_EMULATOR_HOST", "http://user:password@host"),
        ("STORAGE_BACKEND", "redis"),
        ("STORAGE_PREFIX", "/media"),
        ("STORAGE_BASE_PATH", "s3://media"),
    ];
    for own in
        [("PERSIST_STORAGE_URL", "/data"), ("PERSIST_BACKEND", "memory"), ("PERSIST_LOCAL_PATH", "/data")]
    {
        for other in others {
            let alone = from_vars(&[own]).unwrap();
            assert_eq!(from_vars(&[own, other]).unwrap(), alone, "{other:?}");
            assert_eq!(Files::new("").with(Some("/data"), &[other]).unwrap(), StorageConfig::local("/data"));
        }
    }
    // For a backend that is not used, where nothing else is said.
    assert_eq!(from_vars(&others[..2]).unwrap(), StorageConfig::default());
    // Where nothing says where snapshots go, it may be a slip: they must not go elsewhere unnoticed.
    for (name, value) in &others[2..] {
        let message = message(from_vars(&[(name, value)]));
        let own = name.replace("STORAGE_BASE", "PERSIST_LOCAL").replace("STORAGE", "PERSIST");
        assert!(message.ends_with(&format!("if it is meant for another program, set {own}")), "{message}");
    }
    let gcs = ("PERSIST_BACKEND", "gcs");
    assert!(message(from_vars(&[gcs, others[0]])).contains("set PERSIST_GCS_CREDENTIALS_PATH"));
}

#[test]
fn a_bucket_without_a_backend_that_has_buckets_is_refused() {
    for name in ["PERSIST_BUCKET", "PERSIST_S3_BUCKET", "PERSIST_GCS_BUCKET", "PERSIST_GCS_PREFIX"] {
        let message = message(from_vars(&[(name, "b")]));
        assert!(message.contains(name) && message.contains("set PERSIST_BACKEND"), "{message}");
    }
    let message = message(from_vars(&[("PERSIST_BACKEND", "local"), ("PERSIST_BUCKET", "b")]));
    assert!(message.contains("PERSIST_BACKEND") && message.contains("PERSIST_BUCKET"), "{message}");
    // A weaker place's bucket is a remnant of its backend.
    assert_eq!(Files::new(FILE).with(None, &[("PERSIST_BACKEND", "memory")]).unwrap().bucket, None);
}

#[test]
fn credentials_are_taken_from_one_place() {
    let file =
        "[storage.s3]\nsecret_access_key = \"s\"\nsession_token = \"t\"\n[storage.gcs]\nanonymous = true\n";
    let variables = [("PERSIST_S3_ACCESS_KEY_ID", "id"), ("GOOGLE_APPLICATION_CREDENTIALS", "/key.json")];
    let config = Files::new(file).with(None, &variables).unwrap();
    assert_eq!((config.s3.secret_access_key, config.s3.session_token), (None, None));
    assert!(!config.gcs.anonymous && config.gcs.credentials_path.is_some());
    // Who says that nothing is anonymous names no credentials.
    let file = "[storage.s3]\naccess_key_id = \"i\"\nsecret_access_key = \"s\"\n[storage.gcs]\ncredentials_path = \"/k\"\n";
    let flags = |value| [("PERSIST_S3_ANONYMOUS", value), ("PERSIST_GCS_ANONYMOUS", value)];
    let config = Files::new(file).with(None, &flags("false")).unwrap();
    assert!(config.s3.access_key_id.is_some() && config.s3.secret_access_key.is_some());
    assert!(config.gcs.credentials_path.is_some());
    let config = Files::new(file).with(None, &flags("true")).unwrap();
    assert_eq!((config.s3.secret_access_key, config.gcs.credentials_path), (None, None));
    assert!(config.s3.anonymous && config.gcs.anonymous);
}

#[test]
fn an_emulator_gets_no_credentials_that_happen_to_be_there() {
    let ambient = ("GOOGLE_APPLICATION_CREDENTIALS", "/key.json");
    let path = |pairs: &[(&str, &str)]| from_vars(pairs).unwrap().gcs.credentials_path;
    assert_eq!(path(&[ambient, ("STORAGE_EMULATOR_HOST", "127.0.0.1:4443")]), None);
    assert!(path(&[ambient]).is_some());
    assert!(path(&[ambient, ("PERSIST_GCS_ENDPOINT_URL", "https://storage.example.com")]).is_some());
    assert!(path(&[ambient, ("PERSIST_GCS_ENDPOINT_URL", "HTTPS://storage.example.com")]).is_some());
    for (host, is_googles) in [
        ("storage-x.p.googleapis.com", true),
        ("storage.googleapis.com:443", true),
        ("http://storage.googleapis.com", false),
    ] {
        assert_eq!(path(&[ambient, ("PERSIST_GCS_ENDPOINT_URL", host)]).is_some(), is_googles, "{host}");
    }
    let named = ("PERSIST_GCS_CREDENTIALS_PATH", "/key.json");
    assert!(path(&[named, ("STORAGE_EMULATOR_HOST", "127.0.0.1:4443")]).is_some());
}

#[test]
fn a_level_goes_with_its_codec() {
    let file = Files::new("[storage]\ncompression = \"zstd\"\ncompression_level = 19\n");
    let codec = |variables: &[(&str, &str)]| file.with(None, variables).unwrap().codec;
    assert_eq!(codec(&[]), Some(Codec::Zstd { level: 19 }));
    assert_eq!(codec(&[("PERSIST_COMPRESSION_LEVEL", "12")]), Some(Codec::Zstd { level: 12 }));
    assert_eq!(codec(&[("PERSIST_COMPRESSION", "gzip")]), Some(Codec::Gzip { level: 6 }));
    assert_eq!(codec(&[("PERSIST_COMPRESSION", "none")]), Some(Codec::None));
}

#[test]
fn what_is_empty_is_not_set() {
    let empty = [("PERSIST_BUCKET", ""), ("PERSIST_STORAGE_URL", ""), ("AWS_REGION", "")];
    assert_eq!(from_vars(&empty).unwrap(), StorageConfig::default());
    assert_eq!(Files::new("[storage]\nbucket = \"\"\n").with(None, &[]).unwrap(), StorageConfig::default());
    assert_eq!(Files::new("").with(None, &[]).unwrap(), StorageConfig::default());
}

#[test]
fn the_file_is_named_or_lies_in_the_users_configuration() {
    let folder = tempfile::tempdir().unwrap();
    let home = folder.path().join("persist");
    std::fs::create_dir(&home).unwrap();
    std::fs::write(home.join("persist.toml"), "[storage]\nnamespace = \"home\"\n").unwrap();
    let named = folder.path().join("named.toml");
    std::fs::write(&named, "[storage]\nnamespace = \"named\"\n").unwrap();
    let variables =
        [("XDG_CONFIG_HOME", folder.path().to_str().unwrap()), ("PERSIST_CONFIG", named.to_str().unwrap())];
    let resolve =
        |variables: &[(&str, &str)], path: Option<&std::path::Path>| -> persist::Result<Option<String>> {
            let layers = Sources::new().environment(vars(variables)).unwrap().configuration_file(path)?;
            Ok(layers.resolve()?.namespace)
        };
    if !cfg!(any(windows, target_os = "macos")) {
        assert_eq!(resolve(&variables[..1], None).unwrap().as_deref(), Some("home"));
    }
    assert_eq!(resolve(&variables, None).unwrap().as_deref(), Some("named"));
    assert_eq!(resolve(&variables[..1], Some(named.as_path())).unwrap().as_deref(), Some("named"));
    let flag = folder.path().join("flag.toml");
    std::fs::write(&flag, "[storage]\nnamespace = \"flag\"\n").unwrap();
    assert_eq!(resolve(&variables, Some(flag.as_path())).unwrap().as_deref(), Some("flag"));
    assert_eq!(resolve(&[], None).unwrap(), None);
    let missing = resolve(&[], Some(&folder.path().join("missing.toml")));
    assert_eq!(missing.unwrap_err().kind(), persist::ErrorKind::InvalidConfig);
    // A link to a mount that is not there yet: the file would have said where snapshots go.
    #[cfg(all(unix, not(target_os = "macos")))]
    {
        std::fs::remove_file(home.join("persist.toml")).unwrap();
        assert_eq!(resolve(&variables[..1], None).unwrap(), None);
        std::os::unix::fs::symlink("/nonexistent/persist.toml", home.join("persist.toml")).unwrap();
        let error = resolve(&variables[..1], None).unwrap_err();
        assert_eq!(error.kind(), persist::ErrorKind::InvalidConfig);
        assert!(error.message().contains("persist.toml cannot be read"), "{error}");
        let none = [variables[0], ("PERSIST_CONFIG", "/dev/null")];
        assert_eq!(resolve(&none, None).unwrap(), None);
    }
}

/// Not wherever a process happens to run.
#[test]
fn relative_paths_of_a_file_begin_in_its_folder() {
    for (text, below) in [
        ("local_path = \"states\"", "states"),
        ("storage_url = \"./states\"", "./states"),
        ("storage_url = \"file:states\"\nlocal_path = \"states\"", "states"),
    ] {
        let files = Files::new(&format!("[storage]\n{text}\n"));
        let folder = files.0.path().join(below);
        assert_eq!(files.with(None, &[]).unwrap(), StorageConfig::local(folder), "{text}");
    }
    let files = Files::new("[storage.gcs]\ncredentials_path = \"key.json\"\n");
    let config = files.with(Some("gs://b"), &[]).unwrap();
    assert_eq!(config.gcs.credentials_path, Some(files.0.path().join("key.json")));
    // What is no path does not become one.
    let message = message(Files::new("[storage]\nlocal_path = \"~/states\"\n").with(None, &[]));
    assert!(message.contains("(\"~/states\"): only a shell"), "{message}");
    let whole = Files::new("[storage]\nlocal_path = \"/data\"\n").with(None, &[]).unwrap();
    assert_eq!(whole, StorageConfig::local("/data"));
}

#[test]
fn a_snapshots_own_url_is_complete() {
    let layers = |url| {
        let variables = vars(&[("PERSIST_NAMESPACE", "n"), ("PERSIST_PREFIX", "p"), ("AWS_REGION", "r")]);
        Sources::new().snapshot_url(url).unwrap().environment(variables).unwrap().resolve().unwrap()
    };
    let config = layers("s3://b");
    assert_eq!((config.namespace, config.prefix, config.s3.region.as_deref()), (None, None, Some("r")));
    assert_eq!(layers("s3://b?namespace=m").namespace.as_deref(), Some("m"));
}

#[cfg(feature = "yaml")]
#[test]
fn a_file_in_yaml_says_the_same() {
    let toml = "[storage]\nbucket = \"b\"\nbackend = \"s3\"\ncompression_level = 9\n[storage.s3]\nanonymous = true\n";
    let yaml = "storage:\n  bucket: b\n  backend: s3\n  compression_level: 9\n  prefix:\n  s3:\n    anonymous: true\n  gcs:\n";
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("persist.yaml");
    std::fs::write(&path, yaml).unwrap();
    let config = StorageConfig::from_file(&path).unwrap();
    assert_eq!(config, Files::new(toml).with(None, &[]).unwrap());
    assert!(config.s3.anonymous && config.codec == Some(Codec::Gzip { level: 9 }));
}

/// For the services `persist` and `persist-minio` of a namespace, every pod of it has these.
#[test]
fn the_services_of_kubernetes_are_passed_over() {
    for name in ["PERSIST", "PERSIST_MINIO", "PERSIST_S3_BUCKET"] {
        for (rest, value) in [
            ("SERVICE_HOST", "10.0.0.11"),
            ("SERVICE_PORT", "9000"),
            ("SERVICE_PORT_WEB_API", "9000"),
            ("PORT", "tcp://10.0.0.11:9000"),
            ("PORT_9000_TCP", "tcp://10.0.0.11:9000"),
            ("PORT_9000_TCP_ADDR", "10.0.0.11"),
            ("PORT_9000_UDP_PORT", "9000"),
            ("PORT_9000_SCTP_PROTO", "sctp"),
        ] {
            let variable = format!("{name}_{rest}");
            let found = from_vars(&[(&variable, value)]).unwrap();
            assert_eq!(found, StorageConfig::default(), "{variable}");
            let own = persist::config::SETTINGS.iter().flat_map(|setting| setting.variables);
            assert!(
                !own.into_iter().any(|own| own.ends_with(&format!("_{rest}"))),
                "{variable} is a setting"
            );
        }
    }
    for (variable, value) in [
        ("PERSIST_S3_PORT", "9000"),
        ("PERSIST_S3_PORT", "http://127.0.0.1:9000"),
        ("PERSIST_PORT_TCP", "tcp://10.0.0.11:9000"),
        ("PERSIST_PORT_80_TCP_NAME", "x"),
        ("PERSIST_SERVICE", "x"),
    ] {
        let wrong = message(from_vars(&[(variable, value)]));
        assert!(wrong.contains(variable), "{wrong}");
    }
}
