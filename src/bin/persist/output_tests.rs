use super::*;

/// The table of kinds in `docs/errors.md` says what the code does.
#[test]
fn the_page_of_errors_has_every_kind_with_its_exit_code() {
    let page = include_str!("../../../docs/errors.md");
    let cells = |line: &str| line.split('|').map(|cell| cell.trim().to_string()).collect::<Vec<_>>();
    let rows: Vec<Vec<String>> = page.lines().filter(|line| line.starts_with("| `")).map(cells).collect();
    let kinds = [
        ErrorKind::NotFound,
        ErrorKind::AlreadyExists,
        ErrorKind::Conflict,
        ErrorKind::NotModified,
        ErrorKind::Unauthenticated,
        ErrorKind::AccessDenied,
        ErrorKind::InvalidConfig,
        ErrorKind::InvalidInput,
        ErrorKind::Unsupported,
        ErrorKind::RateLimited,
        ErrorKind::Unavailable,
        ErrorKind::Timeout,
        ErrorKind::Corrupt,
        ErrorKind::Io,
        ErrorKind::Internal,
    ];
    assert_eq!(rows.len(), kinds.len());
    for (kind, row) in kinds.into_iter().zip(&rows) {
        assert_eq!(row[1], format!("`{kind}`"));
        let passes = if persist::Error::new(kind, "").retryable() { "yes" } else { "no" };
        assert_eq!((row[3].as_str(), row[4].clone()), (passes, exit_code(kind).to_string()), "{kind}");
    }
}

#[test]
fn sizes_for_people() {
    for (bytes, text) in [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.0 kB"),
        (999_949, "999.9 kB"),
        (999_950, "1.0 MB"),
        (u64::MAX, "18446.7 PB"),
    ] {
        assert_eq!(human(bytes), text);
    }
}

/// A storage's connections break as well, and that is a failure.
#[test]
fn only_a_pipe_of_the_output_was_closed_by_its_reader() {
    let broken = || io::Error::from(io::ErrorKind::BrokenPipe);
    let failed = || persist::Error::new(ErrorKind::Io, "writing").with_source(broken());
    assert!(is_closed_pipe(&written(Err(broken())).unwrap_err()));
    assert!(is_closed_pipe(&unwritten(failed())));
    assert!(!is_closed_pipe(&anyhow::Error::new(failed().with_backend("s3"))));
    assert!(!is_closed_pipe(&anyhow::Error::new(failed().with_key(&Key::new("a").unwrap()))));
    let gone = persist::Error::new(ErrorKind::Unavailable, "no connection").with_source(broken());
    assert!(!is_closed_pipe(&anyhow::Error::new(gone)));
    let other = io::Error::from(io::ErrorKind::StorageFull);
    assert!(!is_closed_pipe(&written(Err(other)).unwrap_err()));
}
