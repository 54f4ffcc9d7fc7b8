//! Whom the clouds' connections trust, and what is said where they do not.

use std::{error::Error, io, sync::OnceLock};

use rustls::{CertificateError, RootCertStore};

use crate::ErrorKind::{self, InvalidConfig, Unavailable};

/// The certificates of the system, or those of `SSL_CERT_FILE` and `SSL_CERT_DIR`: read once for each
/// process. Slim containers have none.
pub(crate) fn system_roots() -> &'static RootCertStore {
    static ROOTS: OnceLock<RootCertStore> = OnceLock::new();
    ROOTS.get_or_init(|| {
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        roots
    })
}

/// What is wrong with the server's certificate, if that is why a connection was not made, and the kind of that
/// error: a clock that is not set yet, a certificate that is about to be replaced, or an address that was just
/// given to another are outages.
pub(crate) fn untrusted(error: &(dyn Error + 'static)) -> Option<(ErrorKind, &'static str)> {
    let mut cause = Some(error);
    while let Some(inner) = cause {
        if let Some(rustls::Error::InvalidCertificate(reason)) = inner.downcast_ref() {
            return Some(advice(reason));
        }
        // An io error hides the one that it was made of: its source is that one's source.
        cause = match inner.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
            Some(hidden) => Some(hidden),
            None => inner.source(),
        };
    }
    None
}

fn advice(reason: &CertificateError) -> (ErrorKind, &'static str) {
    use CertificateError::*;
    match reason {
        Expired | ExpiredContext { .. } | NotValidYet | NotValidYetContext { .. } => (
            Unavailable,
            "the server's certificate has expired or is not valid yet, or this machine's clock is wrong",
        ),
        NotValidForName | NotValidForNameContext { .. } => (
            Unavailable,
            "the server's certificate is for another name; check the endpoint, and what stands in between",
        ),
        // The second: the CA was made anew under its old name, and the old one is trusted.
        UnknownIssuer | BadSignature => (
            InvalidConfig,
            "the server's certificate is not trusted; install ca-certificates, or, where a proxy opens TLS or the server has a \
             certificate of its own, name its CA in SSL_CERT_FILE",
        ),
        _ => (
            InvalidConfig,
            "the server's certificate cannot be used, and trusting its CA would not help (`CaUsedAsEndEntity`: make one with \
             `basicConstraints=CA:FALSE`)",
        ),
    }
}
