//! Whom connections trust: certificates of the system or of `SSL_CERT_FILE`, on both clouds. `cert.pem` and
//! `key.pem` are of these tests alone.
#![cfg(all(feature = "gcs", feature = "s3", feature = "cli"))]
#![allow(clippy::unwrap_used)]

use std::{
    io::{Read, Write},
    net::TcpListener,
    path::Path,
    process::Output,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use persist::{ErrorKind, StorageConfig};
use rustls::{
    ServerConfig, ServerConnection, Stream,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};

const CERTIFICATE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/tls/cert.pem");
const KEY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/tls/key.pem");

/// A server that refuses everything, once a connection to it is made; and how many were tried.
fn server(tls: bool) -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http{}://{}", if tls { "s" } else { "" }, listener.local_addr().unwrap());
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            vec![CertificateDer::from_pem_file(CERTIFICATE).unwrap()],
            PrivateKeyDer::from_pem_file(KEY).unwrap(),
        );
    let config = Arc::new(config.unwrap());
    let made = Arc::new(AtomicUsize::new(0));
    let count = made.clone();
    thread::spawn(move || {
        while let Ok((mut socket, _)) = listener.accept() {
            count.fetch_add(1, Ordering::SeqCst);
            let config = config.clone();
            thread::spawn(move || {
                if tls {
                    let mut connection = ServerConnection::new(config).unwrap();
                    refuse(&mut Stream::new(&mut connection, &mut socket));
                } else {
                    refuse(&mut socket);
                }
            });
        }
    });
    (url, made)
}

fn refuse(stream: &mut (impl Read + Write)) {
    let mut request = [0; 16 * 1024];
    // A client that trusts nobody has gone.
    if stream.read(&mut request).is_ok_and(|len| len > 0) {
        let answer = b"HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
        stream.write_all(answer).unwrap();
        stream.flush().unwrap();
    }
}

/// `persist ls` of both clouds in two attempts, with the certificates of this file alone.
fn ls(endpoint: &str, certificates: &Path) -> [Output; 2] {
    let nothing = tempfile::tempdir().unwrap();
    let storages = [
        format!("s3://bucket?endpoint_url={endpoint}&anonymous=true"),
        format!("gs://bucket?endpoint_url={endpoint}&anonymous=true"),
    ];
    storages.map(|storage| {
        let mut command = assert_cmd::Command::new(env!("CARGO_BIN_EXE_persist"));
        command.env_clear().env("SSL_CERT_FILE", certificates).env("SSL_CERT_DIR", nothing.path());
        command.env("PERSIST_RETRY_ATTEMPTS", "2").env("HOME", nothing.path()).args([
            "--storage",
            &storage,
            "ls",
        ]);
        command.output().unwrap()
    })
}

#[test]
fn without_any_certificate_plain_http_works_and_tls_says_what_is_missing() {
    let none = tempfile::NamedTempFile::new().unwrap();
    for output in ls(&server(false).0, none.path()) {
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(said.contains("403"), "{said}");
    }
    for output in ls(&server(true).0, none.path()) {
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(said.contains("SSL_CERT_FILE"), "{said}");
    }
}

#[test]
fn what_is_named_in_ssl_cert_file_is_trusted() {
    for output in ls(&server(true).0, Path::new(CERTIFICATE)) {
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(said.contains("403"), "{said}");
    }
}

/// An address that was just given to another, or a certificate that is about to be replaced.
#[test]
fn a_certificate_for_another_name_is_an_outage() {
    let (endpoint, connections) = server(true);
    for output in ls(&endpoint.replace("127.0.0.1", "localhost"), Path::new(CERTIFICATE)) {
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.code() == Some(6) && said.contains("for another name"), "{said}");
    }
    assert_eq!(connections.load(Ordering::SeqCst), 4, "each was tried again");
}

/// It is the first that is seen behind a proxy that opens TLS, and no wait helps.
#[tokio::test]
async fn an_untrusted_certificate_is_told_at_once() {
    for cloud in ["s3", "gs"] {
        let (endpoint, made) = server(true);
        let url = format!("{cloud}://bucket?endpoint_url={endpoint}&anonymous=true");
        let error = match StorageConfig::from_url(&url).unwrap().open().await {
            Ok(store) => store.head(&persist::Key::new("k").unwrap()).await.unwrap_err(),
            Err(error) => error,
        };
        assert_eq!((error.kind(), error.retryable()), (ErrorKind::InvalidConfig, false), "{error}");
        assert!(error.to_string().contains("SSL_CERT_FILE"), "{error}");
        assert_eq!(made.load(Ordering::SeqCst), 1, "{error}");
    }
}
