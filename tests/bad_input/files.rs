//! Configuration files, and settings in code.

use persist::{StorageBackend, StorageConfig};

use super::{compare, configuration::refused, is_empty};

#[test]
fn each_bad_file_has_its_answer() {
    let folder = tempfile::tempdir().unwrap();
    let (below, path) = (folder.path().join("below"), folder.path().join("persist.toml"));
    std::fs::create_dir(&below).unwrap();
    compare(
        25,
        &[
            (
                "[storage\nbackend = 1",
                "invalid_config: FILE: it is not TOML: line 1: unclosed table, expected `]`",
            ),
            (
                "[storage.s3]\nsecret_access_key = hunter2",
                "invalid_config: FILE: it is not TOML: line 2: string values must be quoted, expected literal string",
            ),
            (
                "[storage]\nbucket = \"hunter2",
                "invalid_config: FILE: it is not TOML: line 2: invalid basic string, expected `\"`",
            ),
            (
                "[storage]\nbucket = \"a\"\nbucket = \"b\"",
                "invalid_config: FILE: it is not TOML: line 3: duplicate key",
            ),
            (
                "bucket = \"b\"",
                "invalid_config: FILE: there is no table or key `bucket`; everything stands in [storage]",
            ),
            (
                "[stroage]\nbucket = \"b\"",
                "invalid_config: FILE: there is no table or key `stroage`; everything stands in [storage]; did you mean `storage`?",
            ),
            ("storage = 1", "invalid_config: FILE: `storage` must be a table of settings"),
            (
                "[storage]\nbukcet = \"b\"",
                "invalid_config: FILE: there is no key `bukcet` in [storage]; did you mean `bucket`?",
            ),
            (
                "[storage]\nurl = \"s3://b\"",
                "invalid_config: FILE: there is no key `url` in [storage]; did you mean `storage_url`?",
            ),
            (
                "[storage]\nregion = \"x\"",
                "invalid_config: FILE: there is no key `region` in [storage]; did you mean `s3.region`?",
            ),
            (
                "[storage.s3]\nendpoint = \"x\"",
                "invalid_config: FILE: there is no key `s3.endpoint` in [storage]; did you mean `s3.endpoint_url`?",
            ),
            (
                "[storage.azure]\naccount = \"x\"",
                "invalid_config: FILE: there is no key `azure` in [storage]",
            ),
            (
                "[storage]\nbackend = [\"s3\"]",
                "invalid_config: FILE: the key `backend` takes a text, a number or true/false",
            ),
            (
                "[storage]\nprefix = 1979-05-27",
                "invalid_config: FILE: the key `prefix` takes a text, a number or true/false",
            ),
            (
                "[storage]\nnamespace = 1.10",
                "invalid_config: FILE: the key `namespace` takes a text; write it in quotes",
            ),
            (
                "[storage.s3]\nprofile = true",
                "invalid_config: FILE: the key `s3.profile` takes a text; write it in quotes",
            ),
            (
                "[storage.s3]\nsecret_access_key = 12345678901234567890123",
                "invalid_config: FILE: line 2: the number is too large; write it in quotes if it is a text",
            ),
            (
                "[storage.retry]\ndeadline = inf",
                "invalid_config: FILE: the key `retry.deadline` takes a text, a number or true/false",
            ),
            (
                "[storage]\nidle_timeout = nan",
                "invalid_config: FILE: the key `idle_timeout` takes a text, a number or true/false",
            ),
            (
                "[storage]\nmax_bytes = -inf",
                "invalid_config: FILE: the key `max_bytes` takes a text, a number or true/false",
            ),
            ("[storage]\ns3 = \"x\"", "invalid_config: FILE: `storage.s3` must be a table of settings"),
            (
                "[storage.retry]\nattempts = 1.5",
                "invalid_config: key retry.attempts of FILE (\"1.5\"): use a whole number from 1 to 100",
            ),
            (
                "[storage]\nstorage_url = \"s3://a\"\nbucket = \"b\"",
                "invalid_config: key bucket of FILE (\"b\") and key storage_url of FILE (\"a\") disagree about `bucket`; remove one of them",
            ),
            (
                "[storage]\nconfig = \"other.toml\"",
                "invalid_config: FILE: there is no key `config` in [storage]",
            ),
            ("\u{0}\u{1}", "invalid_config: FILE: it is not TOML: line 1: key with no value, expected `=`"),
        ],
        |text| {
            std::fs::write(&path, text).unwrap();
            refused(StorageConfig::from_file(&path)).replace(&format!("{}", path.display()), "FILE")
        },
    );
    std::fs::write(&path, vec![b'#'; 2 << 20]).unwrap();
    let large = refused(StorageConfig::from_file(&path)).replace(&format!("{}", path.display()), "FILE");
    assert_eq!(large, "invalid_config: FILE: it has more than 1 MiB; is it the configuration?");
    std::fs::write(&path, b"[storage]\nbucket = \"\xff\"").unwrap();
    let binary = refused(StorageConfig::from_file(&path)).replace(&format!("{}", path.display()), "FILE");
    assert_eq!(
        binary,
        "invalid_config: the configuration file FILE cannot be read <- stream did not contain valid UTF-8"
    );
    let yaml = folder.path().join("persist.yaml");
    std::fs::write(&yaml, "storage:\n  bucket: [hunter2\n").unwrap();
    let answer = refused(StorageConfig::from_file(&yaml)).replace(&format!("{}", yaml.display()), "FILE");
    let expected = if cfg!(feature = "yaml") {
        "invalid_config: FILE: it is not YAML: look at line 2 and before"
    } else {
        "invalid_config: FILE: this build reads TOML only; write persist.toml, or enable the feature `yaml`"
    };
    assert_eq!(answer, expected);
    assert!(is_empty(&below));
}

/// What YAML makes of texts without quotes is another namespace, bucket or key.
#[cfg(feature = "yaml")]
#[test]
fn texts_that_yaml_reads_as_something_else() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("persist.yaml");
    compare(
        7,
        &[
            ("namespace: no", "invalid_config: FILE: the key `namespace` takes a text; write it in quotes"),
            ("bucket: on", "invalid_config: FILE: the key `bucket` takes a text; write it in quotes"),
            ("prefix: y", "invalid_config: FILE: the key `prefix` takes a text; write it in quotes"),
            (
                "namespace: 012345678901",
                "invalid_config: FILE: the key `namespace` takes a text; write it in quotes",
            ),
            (
                "local_path: 0x10",
                "invalid_config: FILE: the key `local_path` takes a text; write it in quotes",
            ),
            (
                "s3: {secret_access_key: 12345678901234567890123}",
                "invalid_config: FILE: the key `s3.secret_access_key` takes a text; write it in quotes",
            ),
            ("retry: {deadline: .inf}", "invalid_config: FILE: it is not YAML: look at line 2 and before"),
        ],
        |text| {
            std::fs::write(&path, format!("storage:\n  {text}\n")).unwrap();
            refused(StorageConfig::from_file(&path)).replace(&format!("{}", path.display()), "FILE")
        },
    );
}

#[test]
fn each_bad_setting_in_code_has_its_answer() {
    let folder = tempfile::tempdir().unwrap();
    let store = folder.path().join("folder/store");
    let (file, link) = (folder.path().join("file"), folder.path().join("link"));
    std::fs::create_dir(folder.path().join("folder")).unwrap();
    std::fs::write(&file, "").unwrap();
    std::os::unix::fs::symlink("not there", &link).unwrap();
    let local = || StorageConfig::local(&store);
    let config = |what: &str| match what {
        "prefix" => local().with_prefix("a/../b"),
        "namespace" => local().with_namespace("a\nb"),
        "bucket for local" => local().with_bucket("b"),
        "not written" => local().with_backend(StorageBackend::Azure),
        "empty path" => StorageConfig::local(""),
        "a file" => StorageConfig::local(&file),
        "a link to nothing" => StorageConfig::local(&link),
        "below a link to nothing" => StorageConfig::local(link.join("a/b/")),
        _ => unreachable!(),
    };
    compare(
        8,
        &[
            (
                "prefix",
                "invalid_config: prefix \"a/../b\": the segment `..` is not allowed; write the key without it",
            ),
            (
                "namespace",
                "invalid_config: namespace \"a\\nb\": it has the control character U+000A; remove it",
            ),
            (
                "bucket for local",
                "invalid_config: bucket \"b\" is named, but the backend is local; set it to s3 or gcs",
            ),
            (
                "not written",
                "unsupported: the backend azure is planned, as the feature `azure`, but not written yet; use local, memory, s3 or gcs",
            ),
            (
                "empty path",
                "invalid_config: the path of the storage is empty; name a directory, such as `./snapshots`",
            ),
            (
                "a file",
                "invalid_config: FOLDER/file is no directory; name one, or a path where one can be made",
            ),
            (
                "a link to nothing",
                "invalid_config: FOLDER/link is a link to what is not there; mount that or make it, or name another directory",
            ),
            (
                "below a link to nothing",
                "invalid_config: FOLDER/link is a link to what is not there; mount that or make it, or name another directory",
            ),
        ],
        |what| refused(Ok(config(what))).replace(&folder.path().display().to_string(), "FOLDER"),
    );
    assert!(is_empty(&folder.path().join("folder")));
}
