//! What stands in between says yes, sends elsewhere, or wants to know who asks; and a clock that is wrong.

use persist::{DeleteOptions, ErrorKind, PutOptions, SnapshotAdapter};

use crate::{
    bench::{Bench, key, noise},
    support::{proxy::Fault, s3::LARGE, s3_store::Upload},
};

/// As of a gateway that says so of every route that it does not have. Frameworks give all that they answer an
/// ETag.
#[tokio::test]
async fn content_where_s3_has_none_is_another_servers() {
    let (small, large) = (noise(1, 1000), noise(2, LARGE));
    let json = "application/json; charset=utf-8";
    for (nameless, media, in_chunks) in
        [(false, json, false), (true, "text/plain", false), (true, json, true)]
    {
        let bench = Bench::new().await;
        bench.strict.store().nameless = nameless;
        let headers = [("content-type", media), ("etag", "W/\"f-1\""), ("transfer-encoding", "chunked")];
        let yes = if in_chunks {
            Fault::answer_with(200, &headers, "b\r\n{\"ok\":true}\r\n0\r\n\r\n")
        } else {
            Fault::answer_with(200, &headers[..2], "{\"status\":\"ok\"}")
        };
        // For a moment.
        bench.proxy.fail(1, "PUT", "small", yes.clone());
        bench.put("small", &small, PutOptions::new()).await.unwrap();
        assert_eq!(bench.stored("small").as_ref(), Some(&small), "{media}");
        bench.proxy.fail(1, "PUT", "partNumber=2", yes.clone());
        bench.put("large", &large, PutOptions::new()).await.unwrap();
        assert!(bench.stored("large").as_ref() == Some(&large), "{media}");
        bench.proxy.fail(1, "DELETE", "large", yes.clone());
        bench.adapter.delete(&key("large"), DeleteOptions::new()).await.unwrap();
        assert_eq!(bench.stored("large"), None, "{media}");
        // For longer than there are attempts.
        let begun = Upload { key: "small".into(), begun: std::time::SystemTime::now(), ..Default::default() };
        bench.strict.store().uploads.insert("begun".into(), begun);
        let begun = bench.adapter.list_uploads("").await.unwrap().remove(0);
        bench.proxy.fail(99, "", "", yes);
        for error in [
            bench.put("new", &small, PutOptions::new()).await.unwrap_err(),
            bench.put("new", &small, PutOptions::new().create()).await.unwrap_err(),
            bench.adapter.delete(&key("small"), DeleteOptions::new()).await.unwrap_err(),
            bench.adapter.abort_upload(&begun).await.unwrap_err(),
        ] {
            assert_eq!((error.kind(), error.retryable()), (ErrorKind::Unavailable, true), "{error}");
            assert!(error.to_string().contains("is not S3's"), "{error}");
        }
        assert!(bench.stored("small").is_some() && bench.stored("new").is_none(), "{media}");
    }
}

/// What S3's own answers may look like: nothing in them, whatever they announce, or a document.
#[tokio::test]
async fn a_success_without_content_or_with_a_document_is_the_services() {
    let bench = Bench::new().await;
    bench.strict.store().nameless = true;
    for (media, body) in [
        ("application/json", ""),
        ("text/html; charset=utf-8", ""),
        ("application/xml", "<PutObjectResult></PutObjectResult>"),
    ] {
        let headers = [("content-type", media), ("etag", "\"0123\"")];
        bench.proxy.fail(1, "", "state", Fault::answer_with(200, &headers, body));
        bench.put("state", &noise(1, 100), PutOptions::new()).await.unwrap();
        bench.proxy.fail(1, "", "state", Fault::answer_with(200, &headers, body));
        bench.adapter.delete(&key("state"), DeleteOptions::new()).await.unwrap();
        assert_eq!(bench.stored("state"), None, "{media}");
    }
}

#[tokio::test]
async fn redirects_and_demands_of_what_is_between_are_named() {
    let bench = Bench::new().await;
    let (id, region) = (("x-amz-request-id", "R"), ("x-amz-bucket-region", "eu-west-1"));
    let location = ("location", "https://s3.example.com/state");
    for (status, headers, words) in [
        // An ingress that wants TLS, and a login page.
        (308, &[location][..], "requests elsewhere"),
        (301, &[location], "requests elsewhere"),
        (302, &[location], "requests elsewhere"),
        (303, &[location], "requests elsewhere"),
        (307, &[location], "requests elsewhere"),
        (407, &[], "HTTPS_PROXY"),
        // S3's own.
        (301, &[region], "set region to eu-west-1"),
        (301, &[id], "in another region"),
        (307, &[id, region], "set region to eu-west-1"),
    ] {
        bench.proxy.clear();
        bench.proxy.fail(9, "HEAD", "state", Fault::answer_with(status, headers, ""));
        let error = bench.adapter.head(&key("state")).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidConfig, "{status} {headers:?}: {error}");
        assert!(error.to_string().contains(words), "{status} {headers:?}: {error}");
        assert_eq!(bench.proxy.count("", ""), 1, "{status}");
    }
}

/// A machine that has just started or woken sets its clock in a moment, and the SDK learns the service's.
#[tokio::test]
async fn a_clock_that_is_set_meanwhile_is_waited_for() {
    let bench = Bench::new().await;
    let skewed = "<Error><Code>RequestTimeTooSkewed</Code><Message>scripted</Message></Error>";
    bench.proxy.fail(2, "PUT", "state", Fault::answer_with(403, &[], skewed));
    bench.put("state", &noise(1, 100), PutOptions::new()).await.unwrap();
    bench.proxy.fail(9, "PUT", "state", Fault::answer_with(403, &[], skewed));
    let error = bench.put("state", &noise(1, 100), PutOptions::new()).await.unwrap_err();
    assert_eq!((error.kind(), error.retryable()), (ErrorKind::Unauthenticated, true), "{error}");
    assert!(error.to_string().contains("this machine's clock is wrong"), "{error}");
}
