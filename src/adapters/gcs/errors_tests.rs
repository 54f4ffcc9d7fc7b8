use reqwest::header::HeaderValue;

use super::*;

const OBJECT: Asked = Asked {
    conditional: false,
    of_session: false,
    of_listing: false,
    anonymous: false,
    emulator: false,
    server_marks: false,
};
const SESSION: Asked = Asked { of_session: true, ..OBJECT };
const EMULATOR: Asked = Asked { emulator: true, ..OBJECT };

const FRONT: &str = "<!DOCTYPE html><html lang=en><title>Error 404 (Not Found)!!1</title>";
const PAGE: &str = "<html>default backend - 404</html>";
const JSON: &str = r#"{"error":{"code":404,"message":"No such object: b/k"}}"#;
const WORDS: [&str; 3] = ["No such object: b/k", "The specified bucket does not exist.", JSON];

fn said(body: &str, asked: Asked) -> Failure {
    failure(StatusCode::NOT_FOUND, &HeaderMap::new(), body.as_bytes(), asked)
}

/// The text is what Skipper, and gateways in Go or Express, say of a route that they do not have.
#[test]
fn a_404_without_googles_words_is_an_outage() {
    for (asked, bodies) in [
        (OBJECT, &["", "Not Found\n", FRONT, PAGE, r#"{"error":"Not Found"}"#][..]),
        (SESSION, &[PAGE, r#"{"error":"Not Found"}"#]),
        (EMULATOR, &[FRONT, PAGE, r#"{"error":"Not Found"}"#]),
        // A server that marks its answers has marked that it is gone.
        (Asked { server_marks: true, ..SESSION }, &["", "Not Found\n", PAGE]),
        (Asked { server_marks: true, ..EMULATOR }, &["", "Not Found\n", PAGE]),
        // Of older emulators alone.
        (OBJECT, &[r#"{"code":404,"message":"Object b/k does not exist."}"#]),
    ] {
        for body in bodies {
            let failure = said(body, asked);
            assert_eq!(failure.error.kind(), ErrorKind::Unavailable, "{asked:?} {body:?}");
            assert!(failure.error.retryable() && failure.doubtful, "{asked:?} {body:?}");
        }
    }
}

#[test]
fn a_404_in_googles_words_counts() {
    for (asked, bodies) in [
        (OBJECT, &[][..]),
        (SESSION, &["", "Not Found\n", FRONT]),
        (Asked { server_marks: true, ..SESSION }, &[FRONT]),
        (EMULATOR, &["", "Not Found\n", r#"{"code":404,"message":"Object b/k does not exist."}"#]),
    ] {
        for body in bodies.iter().chain(&WORDS) {
            let failure = said(body, asked);
            assert_eq!(failure.error.kind(), ErrorKind::NotFound, "{asked:?} {body:?}");
            assert!(!failure.error.retryable() && !failure.doubtful, "{asked:?} {body:?}");
        }
    }
    assert!(said(JSON, OBJECT).no_object() && !said(WORDS[1], OBJECT).no_object());
    let headers = HeaderMap::from_iter([(
        reqwest::header::HeaderName::from_static("x-guploader-uploadid"),
        HeaderValue::from_static("id"),
    )]);
    for body in ["", "Not Found\n", FRONT, PAGE] {
        let failure = failure(StatusCode::NOT_FOUND, &headers, body.as_bytes(), OBJECT);
        assert!(failure.no_object(), "{body:?}");
    }
}

/// As an emulator says it.
#[test]
fn a_listing_that_finds_nothing_has_no_bucket() {
    let body = r#"{"error":{"code":404,"message":"Not Found","errors":[{"reason":"notFound"}]}}"#;
    for (asked, of_bucket) in [(Asked { of_listing: true, ..EMULATOR }, true), (EMULATOR, false)] {
        let error = said(body, asked).error;
        assert_eq!((error.kind(), error.is_of_bucket()), (ErrorKind::NotFound, of_bucket), "{error}");
        assert_eq!(error.to_string().contains("no such bucket"), of_bucket, "{error}");
    }
}
