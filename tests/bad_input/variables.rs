//! Variables.

use persist::{StorageBackend, StorageConfig, config::Sources};

use super::{compare, configuration::refused};

#[test]
fn each_bad_variable_has_its_answer() {
    compare(
        51,
        &[
            (
                "PERSIST_S3_ENDPOINT_URL=https://",
                "invalid_config: variable PERSIST_S3_ENDPOINT_URL (\"https://\"): its host or port cannot be; write for example `https://s3.example.com` or `http://127.0.0.1:9000`",
            ),
            (
                "PERSIST_S3_ENDPOINT_URL=http://[::1",
                "invalid_config: variable PERSIST_S3_ENDPOINT_URL (\"http://[::1\"): its host or port cannot be; write for example `https://s3.example.com` or `http://127.0.0.1:9000`",
            ),
            (
                "PERSIST_S3_ENDPOINT_URL=http://h:99999",
                "invalid_config: variable PERSIST_S3_ENDPOINT_URL (\"http://h:99999\"): its host or port cannot be; write for example `https://s3.example.com` or `http://127.0.0.1:9000`",
            ),
            (
                "PERSIST_S3_ENDPOINT_URL=http://a b",
                "invalid_config: variable PERSIST_S3_ENDPOINT_URL (\"http://a b\"): its host or port cannot be; write for example `https://s3.example.com` or `http://127.0.0.1:9000`",
            ),
            (
                "PERSIST_S3_ENDPOINT_URL=http://:9000",
                "invalid_config: variable PERSIST_S3_ENDPOINT_URL (\"http://:9000\"): its host or port cannot be; write for example `https://s3.example.com` or `http://127.0.0.1:9000`",
            ),
            (
                "PERSIST_S3_ENDPOINT_URL=http://[::g]:9000",
                "invalid_config: variable PERSIST_S3_ENDPOINT_URL (\"http://[::g]:9000\"): its host or port cannot be; write for example `https://s3.example.com` or `http://127.0.0.1:9000`",
            ),
            (
                "PERSIST_GCS_ENDPOINT_URL=https://",
                "invalid_config: variable PERSIST_GCS_ENDPOINT_URL (\"https://\"): its host or port cannot be; write for example `https://s3.example.com` or `http://127.0.0.1:9000`",
            ),
            (
                "PERSIST_GCS_ENDPOINT_URL=http://[::1",
                "invalid_config: variable PERSIST_GCS_ENDPOINT_URL (\"http://[::1\"): its host or port cannot be; write for example `https://s3.example.com` or `http://127.0.0.1:9000`",
            ),
            (
                "PERSIST_GCS_ENDPOINT_URL=http://h:99999",
                "invalid_config: variable PERSIST_GCS_ENDPOINT_URL (\"http://h:99999\"): its host or port cannot be; write for example `https://s3.example.com` or `http://127.0.0.1:9000`",
            ),
            (
                "PERSIST_GCS_ENDPOINT_URL=http://a b",
                "invalid_config: variable PERSIST_GCS_ENDPOINT_URL (\"http://a b\"): its host or port cannot be; write for example `https://s3.example.com` or `http://127.0.0.1:9000`",
            ),
            (
                "PERSIST_GCS_ENDPOINT_URL=http://:9000",
                "invalid_config: variable PERSIST_GCS_ENDPOINT_URL (\"http://:9000\"): its host or port cannot be; write for example `https://s3.example.com` or `http://127.0.0.1:9000`",
            ),
            (
                "PERSIST_GCS_ENDPOINT_URL=http://[::g]:9000",
                "invalid_config: variable PERSIST_GCS_ENDPOINT_URL (\"http://[::g]:9000\"): its host or port cannot be; write for example `https://s3.example.com` or `http://127.0.0.1:9000`",
            ),
            (
                "PERSIST_GCS_ENDPOINT_URL=::1:4443",
                "invalid_config: variable PERSIST_GCS_ENDPOINT_URL (\"::1:4443\"): its host or port cannot be; write for example `https://s3.example.com` or `http://127.0.0.1:9000`",
            ),
            (
                "PERSIST_S3_ENDPOINT_URL=127.0.0.1:9000",
                "invalid_config: variable PERSIST_S3_ENDPOINT_URL (\"127.0.0.1:9000\"): use a URL such as `https://s3.example.com`",
            ),
            (
                "PERSIST_BUCKET=s3://id:hunt/er2@b PERSIST_BACKEND=s3",
                "invalid_config: variable PERSIST_BUCKET (\"s3://…@b\"): this is a name, and that looks like a URL; the storage's own goes into PERSIST_STORAGE_URL",
            ),
            (
                "PERSIST_BUKCET=b",
                "invalid_config: there is no variable PERSIST_BUKCET; did you mean `PERSIST_BUCKET`? (`persist env` lists all)",
            ),
            (
                "PERSIST_STORAGE=s3://b",
                "invalid_config: there is no variable PERSIST_STORAGE; did you mean `PERSIST_STORAGE_URL`? (`persist env` lists all)",
            ),
            ("PERSIST_XYZ=1", "invalid_config: there is no variable PERSIST_XYZ (`persist env` lists all)"),
            (
                "PERSIST_S3_SECRET=hunter2",
                "invalid_config: there is no variable PERSIST_S3_SECRET; did you mean `PERSIST_S3_SECRET_ACCESS_KEY`? (`persist env` lists all)",
            ),
            (
                "PERSIST_BACKEND=redis",
                "invalid_config: variable PERSIST_BACKEND (\"redis\"): there is no such backend; use local, memory, s3 or gcs",
            ),
            (
                "PERSIST_BACKEND=S3",
                "invalid_config: variable PERSIST_BACKEND (\"S3\"): there is no such backend; use local, memory, s3 or gcs; did you mean `s3`?",
            ),
            (
                "PERSIST_BUCKET=b",
                "invalid_config: variable PERSIST_BUCKET (\"b\") names a bucket, but nothing names the backend; set PERSIST_BACKEND, or use a URL such as s3://bucket",
            ),
            (
                "PERSIST_BACKEND=local PERSIST_BUCKET=b",
                "invalid_config: variable PERSIST_BUCKET (\"b\") names a bucket, and variable PERSIST_BACKEND (\"local\") a backend without; remove one of them",
            ),
            (
                "PERSIST_GCS_BUCKET=b",
                "invalid_config: variable PERSIST_GCS_BUCKET (\"b\") is for one backend, but nothing names the backend; set PERSIST_BACKEND, or use a URL",
            ),
            (
                "PERSIST_STORAGE_URL=s3://one PERSIST_BUCKET=two",
                "invalid_config: variable PERSIST_STORAGE_URL (\"one\") and variable PERSIST_BUCKET (\"two\") disagree about `bucket`; remove one of them",
            ),
            (
                "PERSIST_STORAGE_URL=s3://one PERSIST_BACKEND=gcs",
                "invalid_config: variable PERSIST_STORAGE_URL (\"s3\") and variable PERSIST_BACKEND (\"gcs\") disagree about `backend`; remove one of them",
            ),
            (
                "PERSIST_COMPRESSION=lz4",
                "invalid_config: variable PERSIST_COMPRESSION (\"lz4\"): no codec \"lz4\"; use gzip, zstd or none",
            ),
            (
                "PERSIST_COMPRESSION=gzip:10",
                "invalid_config: variable PERSIST_COMPRESSION (\"gzip:10\"): level 10 for the codec gzip: use 1 (fast) to 9 (small)",
            ),
            (
                "PERSIST_COMPRESSION=gzip:x",
                "invalid_config: variable PERSIST_COMPRESSION (\"gzip:x\"): the level in \"gzip:x\" is not a number",
            ),
            (
                "PERSIST_COMPRESSION_LEVEL=99",
                "invalid_config: variable PERSIST_COMPRESSION_LEVEL (\"99\"): level 99 for the codec gzip: use 1 (fast) to 9 (small)",
            ),
            (
                "PERSIST_COMPRESSION_LEVEL=0",
                "invalid_config: variable PERSIST_COMPRESSION_LEVEL (\"0\"): level 0 for the codec gzip: use 1 (fast) to 9 (small)",
            ),
            (
                "PERSIST_COMPRESSION_LEVEL=best",
                "invalid_config: variable PERSIST_COMPRESSION_LEVEL (\"best\"): use a whole number, 1 to 9 for gzip, 1 to 19 for zstd",
            ),
            (
                "PERSIST_COMPRESSION=none PERSIST_COMPRESSION_LEVEL=3",
                "invalid_config: variable PERSIST_COMPRESSION_LEVEL (\"3\"): level 3 for the codec none: it has no levels, leave it out",
            ),
            (
                "PERSIST_RETRY_ATTEMPTS=-1",
                "invalid_config: variable PERSIST_RETRY_ATTEMPTS (\"-1\"): use a whole number from 1 to 100",
            ),
            (
                "PERSIST_RETRY_DEADLINE=forever",
                "invalid_config: variable PERSIST_RETRY_DEADLINE (\"forever\"): use seconds such as `30`, or `500ms`, `2m`, `1h`; more than 0, at most 24h",
            ),
            (
                "PERSIST_GCS_TIMEOUT=0",
                "invalid_config: variable PERSIST_GCS_TIMEOUT (\"0\"): use seconds such as `30`, or `500ms`, `2m`, `1h`; more than 0, at most 24h",
            ),
            (
                "PERSIST_GCS_ENCRYPTION_KEY=\u{20}",
                "invalid_config: variable PERSIST_GCS_ENCRYPTION_KEY: it is empty; give a value or leave it out",
            ),
            (
                "PERSIST_S3_ANONYMOUS=perhaps",
                "invalid_config: variable PERSIST_S3_ANONYMOUS (\"perhaps\"): use `true` or `false`",
            ),
            (
                "PERSIST_S3_PARALLEL=1000",
                "invalid_config: variable PERSIST_S3_PARALLEL (\"1000\"): use a whole number from 1 to 64",
            ),
            (
                "PERSIST_S3_ENCRYPTION=rot13",
                "invalid_config: variable PERSIST_S3_ENCRYPTION (\"rot13\"): use `AES256` or `aws:kms`",
            ),
            (
                "PERSIST_S3_CHECKSUMS=always",
                "invalid_config: variable PERSIST_S3_CHECKSUMS (\"always\"): use `full_object` or `when_supported` or `when_required`",
            ),
            (
                "PERSIST_LOCAL_PATH=file:///states",
                "invalid_config: variable PERSIST_LOCAL_PATH (\"file:///states\"): this is a path, and that looks like a URL; put URLs into PERSIST_STORAGE_URL",
            ),
            (
                "PERSIST_LOCAL_PATH=~root/states",
                "invalid_config: variable PERSIST_LOCAL_PATH (\"~root/states\"): only a shell knows what `~` and `$` are; write the whole path",
            ),
            (
                "PERSIST_LOCAL_PATH=$HOME/states",
                "invalid_config: variable PERSIST_LOCAL_PATH (\"$HOME/states\"): only a shell knows what `~` and `$` are; write the whole path",
            ),
            (
                "PERSIST_LOCAL_PATH=\"/data/states\"",
                "invalid_config: variable PERSIST_LOCAL_PATH (\"\\\"/data/states\\\"\"): a quotation mark is a part of it, since no shell removed it; write the path alone",
            ),
            (
                "PERSIST_LOCAL_PATH=\u{20}/data",
                "invalid_config: variable PERSIST_LOCAL_PATH (\" /data\"): a blank is before or behind it; write the path alone",
            ),
            (
                "PERSIST_NAMESPACE=../other",
                "invalid_config: variable PERSIST_NAMESPACE (\"../other\"): the segment `..` is not allowed; write the key without it",
            ),
            (
                "PERSIST_PREFIX=/absolute",
                "invalid_config: variable PERSIST_PREFIX (\"/absolute\"): it starts with `/`; keys are relative to the storage, remove the `/`",
            ),
            (
                "PERSIST_BACKEND=postgres://u:hunter2@host/db",
                "invalid_config: variable PERSIST_BACKEND (\"postgres:…\"): there is no such backend; use local, memory, s3 or gcs",
            ),
            (
                "PERSIST_PREFIX=s3://u:hunter2@bucket",
                "invalid_config: variable PERSIST_PREFIX (\"s3://…@bucket\"): it has an empty segment (`//`); remove one `/`",
            ),
            (
                "STORAGE_BACKEND=redis",
                "invalid_config: variable STORAGE_BACKEND (\"redis\"): there is no such backend; use local, memory, s3 or gcs; if it is meant for another program, set PERSIST_BACKEND",
            ),
        ],
        |text| {
            let pairs = text.split(" PERSIST_").enumerate().map(|(index, pair)| {
                let (name, value) = pair.split_once('=').unwrap();
                let name = if index == 0 { name.to_string() } else { format!("PERSIST_{name}") };
                (name, value.to_string())
            });
            let sources = Sources::new().environment(pairs.collect::<Vec<_>>());
            // Where nothing is wrong with the location, it must not be the developer's own.
            let memory = |config: StorageConfig| match config {
                config if config.backend == StorageBackend::Local => {
                    config.with_backend(StorageBackend::Memory)
                }
                config => config,
            };
            refused(sources.and_then(|sources| sources.resolve()).map(memory))
        },
    );
}
