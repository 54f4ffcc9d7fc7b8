//! URLs.

use persist::{StorageConfig, config::split_key};

use super::{answer, compare};

/// What comes of a configuration that must not open.
pub(crate) fn refused(config: persist::Result<StorageConfig>) -> String {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    match config.and_then(|config| runtime.block_on(config.open())) {
        Ok(store) => format!("opened {store}"),
        Err(error) => answer(&error),
    }
}

#[test]
fn each_bad_url_has_its_answer() {
    compare(
        41,
        &[
            ("", "invalid_config: the storage URL: it is empty; give a URL or a path"),
            (
                "ftp://host/x",
                "invalid_config: the storage URL: no backend has the scheme `ftp`; use file, memory, s3 or gs",
            ),
            (
                "s4://bucket",
                "invalid_config: the storage URL: no backend has the scheme `s4`; use file, memory, s3 or gs; did you mean `s3`?",
            ),
            (
                "https://bucket.s3.amazonaws.com/",
                "invalid_config: the storage URL: no backend has the scheme `https`; use file, memory, s3 or gs",
            ),
            ("s3:/bucket", "invalid_config: the storage URL: write s3://BUCKET/prefix, with `//`"),
            (
                "s3//bucket",
                "invalid_config: the storage URL: write s3://, with a `:`; a folder of that name is ./s3",
            ),
            (
                "GS//bucket/prefix?endpoint_url=http://host",
                "invalid_config: the storage URL: write gs://, with a `:`; a folder of that name is ./gs",
            ),
            ("S3", "invalid_config: the storage URL: a URL begins with s3://; a folder of that name is ./S3"),
            (
                "memory",
                "invalid_config: the storage URL: a URL begins with memory://; a folder of that name is ./memory",
            ),
            ("s3://", "invalid_config: the storage URL: it names no bucket; write s3://BUCKET/prefix"),
            ("s3:///prefix", "invalid_config: the storage URL: it names no bucket; write s3://BUCKET/prefix"),
            (
                "s3://buc ket",
                "invalid_config: the storage URL: bucket \"buc ket\": buckets have letters, digits and `-_.` in their names",
            ),
            (
                "s3://b/a//c",
                "invalid_config: the storage URL: its path cannot be a prefix: it has an empty segment (`//`); remove one `/`",
            ),
            (
                "s3://b/a/../c",
                "invalid_config: the storage URL: its path cannot be a prefix: the segment `..` is not allowed; write the key without it",
            ),
            ("s3://b/%00", "invalid_config: the storage URL: it contains a control character"),
            (
                "s3://b/100%",
                "invalid_config: the storage URL: it has a `%` that is not followed by two hexadecimal digits of UTF-8; write a percent sign as %25",
            ),
            (
                "s3://b/%ff",
                "invalid_config: the storage URL: it has a `%` that is not followed by two hexadecimal digits of UTF-8; write a percent sign as %25",
            ),
            (
                "s3://b/a#b",
                "invalid_config: the storage URL: a `#` would start a fragment, which storage URLs do not have; write it as %23",
            ),
            (
                "s3://b\n/x",
                "invalid_config: the storage URL: it contains a control character, perhaps a line break",
            ),
            (
                "s3://host:9000/b",
                "invalid_config: the storage URL: a bucket has no port; another server is the parameter `endpoint_url`",
            ),
            (
                "s3://id:hunter2@b/x",
                "invalid_config: the storage URL: it contains credentials; give them by variables, `persist env` lists them",
            ),
            (
                "s3://b?regoin=x",
                "invalid_config: the storage URL: s3 has no parameter `regoin`; did you mean `region`?",
            ),
            ("s3://b?project=x", "invalid_config: the storage URL: s3 has no parameter `project`"),
            ("gs://b?region=x", "invalid_config: the storage URL: gcs has no parameter `region`"),
            (
                "s3://b?region",
                "invalid_config: the storage URL: the parameter `region` has no value; write NAME=VALUE",
            ),
            (
                "s3://b?region=x&region=y",
                "invalid_config: the storage URL: the parameter `region` is there twice",
            ),
            (
                "s3://b?secret_access_key=hunter2",
                "invalid_config: the storage URL: the parameter `secret_access_key` is a secret; URLs end up in logs, use its variable instead",
            ),
            (
                "s3://b?endpoint_url=localhost",
                "invalid_config: parameter endpoint_url of the storage URL (\"localhost\"): use a URL such as `https://s3.example.com`",
            ),
            (
                "s3://b?endpoint_url=http://u:hunter2@host",
                "invalid_config: parameter endpoint_url of the storage URL (\"http://…@host\"): leave user name and password out of the address; credentials have settings of their own",
            ),
            (
                "s3://b?part_size=1MiB",
                "invalid_config: parameter part_size of the storage URL (\"1MiB\"): use bytes, or `8MiB`; 5MiB to 5GiB",
            ),
            (
                "gs://b?chunk_size=300000",
                "invalid_config: parameter chunk_size of the storage URL (\"300000\"): use a multiple of 256KiB",
            ),
            (
                "gs://b?timeout=soon",
                "invalid_config: parameter timeout of the storage URL (\"soon\"): use seconds such as `30`, or `500ms`, `2m`, `1h`; more than 0, at most 24h",
            ),
            (
                "memory://?retry.attempts=0",
                "invalid_config: parameter retry.attempts of the storage URL (\"0\"): use a whole number from 1 to 100",
            ),
            ("memory://name", "invalid_config: the storage URL: memory has no name or path; write memory://"),
            ("file://", "invalid_config: the storage URL: it names no folder; write file:///path"),
            (
                "file://host/path",
                "invalid_config: the storage URL: a file URL has three slashes: file:///path",
            ),
            (
                "~/states",
                "invalid_config: the storage URL (\"~/states\"): only a shell knows what `~` and `$` are; write the whole path",
            ),
            (
                "az://container?account=x",
                "unsupported: the backend azure is planned, as the feature `azure`, but not written yet; use local, memory, s3 or gcs",
            ),
            (
                "sqlite:/tmp/x.db",
                "unsupported: the backend sqlite is planned, as the feature `sqlite`, but not written yet; use local, memory, s3 or gcs",
            ),
            (
                "postgres://user:hunter2@host/db",
                "unsupported: the backend postgres is planned, as the feature `postgres`, but not written yet; use local, memory, s3 or gcs",
            ),
            (
                "mysql://user:hunter2@host/db",
                "unsupported: the backend mysql is planned, as the feature `mysql`, but not written yet; use local, memory, s3 or gcs",
            ),
        ],
        |url| refused(StorageConfig::from_url(url)),
    );
}

/// Written into the code, they come past the checks of variables.
#[cfg(all(feature = "s3", feature = "gcs"))]
#[test]
fn each_bad_server_address_has_its_answer() {
    use persist::{GcsConfig, S3Config};
    const S3: &str = "invalid_config: endpoint_url: write it as http://host:port or https://host";
    let s3 = |address: &str| {
        StorageConfig::s3_with_bucket("b".into())
            .with_s3(S3Config::default().with_endpoint_url(address).with_anonymous(true))
    };
    compare(
        7,
        &[
            ("", S3),
            ("https://", S3),
            ("http://[::1", S3),
            ("http://h:99999", S3),
            ("http://a b", S3),
            ("127.0.0.1:9000", S3),
            ("ftp://host", S3),
        ],
        |address| refused(Ok(s3(address))),
    );
    compare(
        5,
        &[
            (
                "https://",
                "invalid_config: endpoint \"https://\" is not a URL; use for example http://127.0.0.1:4443",
            ),
            (
                "http://[::1",
                "invalid_config: endpoint \"http://[::1\" is not a URL; use for example http://127.0.0.1:4443",
            ),
            (
                "http://h:99999",
                "invalid_config: endpoint \"http://h:99999\" is not a URL; use for example http://127.0.0.1:4443",
            ),
            (
                "http://a b",
                "invalid_config: endpoint \"http://a b\" is not a URL; use for example http://127.0.0.1:4443",
            ),
            (
                "ftp://host",
                "invalid_config: endpoint \"ftp://host\" is not an http or https URL; use for example http://127.0.0.1:4443",
            ),
        ],
        |address| {
            let gcs = GcsConfig::default().with_endpoint_url(address).with_anonymous(true);
            refused(Ok(StorageConfig::gcs_with_bucket("bucket".into()).with_gcs(gcs)))
        },
    );
}

#[cfg(not(any(feature = "s3", feature = "gcs", feature = "zstd")))]
#[test]
fn each_backend_that_is_not_in_this_build_has_its_answer() {
    compare(
        3,
        &[
            (
                "s3://bucket",
                "unsupported: the backend s3 is not compiled in; build persist with `--features s3`",
            ),
            (
                "gs://bucket",
                "unsupported: the backend gcs is not compiled in; build persist with `--features gcs`",
            ),
            (
                "memory://?compression=zstd",
                "unsupported: the codec zstd is not compiled in; build persist with `--features zstd`",
            ),
        ],
        |url| refused(StorageConfig::from_url(url)),
    );
}

#[test]
fn each_bad_url_of_a_snapshot_has_its_answer() {
    compare(
        18,
        &[
            ("s3:/bucket/k", "invalid_input: the URL of the snapshot: write s3://BUCKET/prefix, with `//`"),
            ("GS:/bucket/k", "invalid_input: the URL of the snapshot: write gs://BUCKET/prefix, with `//`"),
            (
                "s3:///x",
                "invalid_input: the URL of the snapshot: it names no bucket; write s3://BUCKET/prefix",
            ),
            (
                "s3://id:hunter2@b/x",
                "invalid_input: the URL of the snapshot: it contains credentials; give them by variables, `persist env` lists them",
            ),
            (
                "s3://id:hunt/er2@b/x",
                "invalid_input: the URL of the snapshot: it contains credentials; give them by variables, `persist env` lists them",
            ),
            (
                "s3://host:9000/user@example.com/x",
                "invalid_input: the URL of the snapshot: a bucket has no port; another server is the parameter `endpoint_url`",
            ),
            (
                "s3://bu cket/x",
                "invalid_input: the URL of the snapshot: bucket \"bu cket\": buckets have letters, digits and `-_.` in their names",
            ),
            ("s3://b/x?nope=1", "invalid_input: the URL of the snapshot: s3 has no parameter `nope`"),
            (
                "s3://b/x?u:p=1",
                "invalid_input: the URL of the snapshot: s3 has no such parameter; write `&` in values as %26",
            ),
            (
                "s3://b/x?u:p",
                "invalid_input: the URL of the snapshot: a parameter has no value; write NAME=VALUE",
            ),
            (
                "memory://host/x",
                "invalid_input: the URL of the snapshot: memory has no name or path; write memory://",
            ),
            (
                "s3://bucket",
                "invalid_input: the URL of the snapshot: it names a storage but no snapshot in it; add the key to its path",
            ),
            (
                "s3://bucket/",
                "invalid_input: the URL of the snapshot: it names a storage but no snapshot in it; add the key to its path",
            ),
            (
                "s3://bucket/a//b",
                "invalid_input: key \"a//b\": it has an empty segment (`//`); remove one `/`",
            ),
            (
                "ftp://host/a",
                "invalid_input: the URL of the snapshot: no backend has the scheme `ftp`; use file, memory, s3 or gs",
            ),
            (
                "file:///folder/",
                "invalid_input: the URL of the snapshot: it names a storage but no snapshot in it; add the key to its path",
            ),
            (
                "file://host/a",
                "invalid_input: the URL of the snapshot: a file URL has three slashes: file:///path",
            ),
            (
                "gs://bucket/%zz",
                "invalid_input: the URL of the snapshot: it has a `%` that is not followed by two hexadecimal digits of UTF-8; write a percent sign as %25",
            ),
        ],
        |url| answer(&split_key(url).unwrap_err()),
    );
}
