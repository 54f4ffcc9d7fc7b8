use std::{error::Error as _, io, time::Duration};

use crate::{Error, ErrorKind, Key};

#[test]
fn one_line_names_backend_operation_key_and_request() {
    let key = Key::new("agents/42").unwrap();
    let error = Error::new(ErrorKind::AccessDenied, "no permission to write; grant s3:PutObject")
        .with_source(io::Error::other("403"))
        .with_backend("s3")
        .with_operation("put")
        .with_key(&key)
        .with_request_id("R1");
    assert_eq!(
        error.to_string(),
        r#"s3: put "agents/42": no permission to write; grant s3:PutObject (request id R1)"#
    );
    assert_eq!(error.source().unwrap().to_string(), "403");
}

#[test]
fn the_advice_is_a_part_of_the_message_that_can_be_left_out() {
    let error = Error::new(ErrorKind::Corrupt, "\"a; b\" is damaged").with_advice("take a; not b");
    assert_eq!(error.message(), "\"a; b\" is damaged; take a; not b");
    assert_eq!(error.to_string(), error.message());
    assert_eq!(error.what(), "\"a; b\" is damaged");
    assert_eq!(Error::new(ErrorKind::Io, "a; b").what(), "a; b");
}

#[test]
fn survives_the_way_through_io_error() {
    let error =
        Error::new(ErrorKind::Corrupt, "bad").with_backend("local").with_retry_after(Duration::from_secs(3));
    let io: io::Error = error.into();
    assert_eq!(io.kind(), io::ErrorKind::InvalidData);
    let back = Error::from(io);
    assert_eq!((back.kind(), back.backend()), (ErrorKind::Corrupt, Some("local")));
    assert_eq!(back.retry_after(), Some(Duration::from_secs(3)));
}

#[test]
fn the_kind_of_an_io_error_that_callers_act_on_stays() {
    use io::ErrorKind::{
        AlreadyExists, BrokenPipe, Interrupted, NotFound, Other, StorageFull, UnexpectedEof, WouldBlock,
    };
    let there_and_back = |kind| io::Error::from(Error::from(io::Error::from(kind))).kind();
    for kind in [BrokenPipe, StorageFull] {
        assert_eq!(there_and_back(kind), kind);
    }
    for kind in [NotFound, AlreadyExists, UnexpectedEof, Interrupted, WouldBlock] {
        assert_eq!(there_and_back(kind), Other, "{kind:?}");
    }
    let of_a_pipe = Error::new(ErrorKind::Corrupt, "bad").with_source(io::Error::from(BrokenPipe));
    assert_eq!(io::Error::from(of_a_pipe).kind(), io::ErrorKind::InvalidData);
}

#[test]
fn innermost_operation_and_outermost_key_win() {
    let (inner, outer) = (Key::new("ns/a").unwrap(), Key::new("a").unwrap());
    let error = Error::new(ErrorKind::NotFound, "gone").with_operation("get").with_key(&inner);
    let error = error.with_operation("load").with_key(&outer);
    assert_eq!(error.to_string(), r#"get "a": gone"#);
}

#[test]
fn only_passing_kinds_are_retryable_by_default() {
    for kind in [ErrorKind::RateLimited, ErrorKind::Unavailable, ErrorKind::Timeout] {
        assert!(Error::new(kind, "x").retryable(), "{kind}");
    }
    for kind in [ErrorKind::NotFound, ErrorKind::Conflict, ErrorKind::Corrupt, ErrorKind::Io] {
        assert!(!Error::new(kind, "x").retryable(), "{kind}");
    }
    assert!(!Error::new(ErrorKind::Timeout, "x").with_retryable(false).retryable());
}

#[test]
fn a_missing_file_of_the_callers_own_is_no_missing_snapshot() {
    fn resume() -> crate::Result<Vec<u8>> {
        Ok(std::fs::read("/there/is/no/such/prompt.txt")?)
    }
    let error = resume().unwrap_err();
    assert_eq!((error.kind(), error.retryable()), (ErrorKind::Io, false));
    let cause = error.source().and_then(|cause| cause.downcast_ref::<io::Error>()).unwrap();
    assert_eq!(cause.kind(), io::ErrorKind::NotFound);
    for kind in [io::ErrorKind::AlreadyExists, io::ErrorKind::PermissionDenied, io::ErrorKind::TimedOut] {
        let error = Error::from(io::Error::from(kind));
        assert_eq!((error.kind(), error.retryable()), (ErrorKind::Io, false), "{kind:?}");
    }
}

#[test]
fn a_chain_has_every_cause() {
    let inner = Error::new(ErrorKind::Io, "closed").with_source(io::Error::other("reset"));
    let error = Error::new(ErrorKind::Unavailable, "no answer").with_source(inner).with_backend("s3");
    assert_eq!(error.chain(), "s3: no answer: closed: reset");
}

/// `main`, `unwrap` and tests print it.
#[test]
fn debug_is_one_line_with_the_kind_and_the_causes() {
    let error = Error::new(ErrorKind::NotFound, "there is none").with_source("because").with_backend("local");
    assert_eq!(format!("{error:?}"), "not_found: local: there is none: because");
    assert_eq!(format!("{error:#?}"), format!("{error:?}"));
    let lines = Error::new(ErrorKind::Io, "no answer").with_source("\u{1b}[1mtwo\nlines");
    assert_eq!(format!("{lines:?}"), "io: no answer: \\u{1b}[1mtwo\\nlines");
    let twice = Error::from(io::Error::other("reset"));
    assert_eq!(
        format!("{:?}", Error::new(ErrorKind::Io, "no answer").with_source(twice)),
        "io: no answer: reset"
    );
}
