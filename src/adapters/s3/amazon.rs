//! Which addresses are Amazon S3's own. Whatever else runs at Amazon, on its machines and behind its load
//! balancers, is a server to probe.

/// Whether a host is S3 by <https://docs.aws.amazon.com/general/latest/gr/s3.html>, a VPC endpoint of it
/// included. What is not certain is not: S3 passes a probe, and another server that is taken for S3 would be
/// trusted with conditions that it may ignore.
pub(super) fn is_s3(host: &str) -> bool {
    let host = host.to_ascii_lowercase();
    let Some(name) = host.strip_suffix(".amazonaws.com").or_else(|| host.strip_suffix(".amazonaws.com.cn"))
    else {
        return false;
    };
    // From the right, where names of others cannot reach: whatever stands in front is a bucket or an endpoint
    // of the service.
    let labels: Vec<&str> = name.split('.').collect();
    match labels[..] {
        [.., "s3", region, "vpce"] => is_region(region),
        [.., service, "dualstack", region] if is_region(region) => is_service(service),
        [.., service, region] if is_region(region) => is_service(service),
        [.., "s3-accelerate", "dualstack"] => true,
        [.., service] => is_service(service),
        [] => false,
    }
}

fn is_service(label: &str) -> bool {
    let named = ["s3", "s3-fips", "s3-accelerate", "s3-external-1", "s3-accesspoint", "s3-accesspoint-fips"];
    // The older forms, with the region in the same label.
    let region = label.strip_prefix("s3-").map(|rest| rest.strip_prefix("fips-").unwrap_or(rest));
    named.contains(&label) || region.is_some_and(is_region)
}

/// Such as `eu-west-1` and `us-gov-east-1`.
fn is_region(label: &str) -> bool {
    let parts: Vec<&str> = label.split('-').collect();
    let [area, middle @ .., number] = &parts[..] else { return false };
    let word = |text: &&str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_lowercase());
    area.len() == 2
        && word(area)
        && !middle.is_empty()
        && middle.iter().all(word)
        && !number.is_empty()
        && number.bytes().all(|b| b.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::is_s3;

    #[test]
    fn only_its_own_names_are_s3() {
        for host in [
            "s3.amazonaws.com",
            "S3.eu-west-1.AmazonAWS.com",
            "s3-eu-west-1.amazonaws.com",
            "s3-external-1.amazonaws.com",
            "s3.dualstack.ap-southeast-2.amazonaws.com",
            "s3-fips.us-gov-west-1.amazonaws.com",
            "s3-fips-us-gov-west-1.amazonaws.com",
            "s3-fips.dualstack.us-east-1.amazonaws.com",
            "s3-accelerate.amazonaws.com",
            "s3-accelerate.dualstack.amazonaws.com",
            "name-123456789012.s3-accesspoint.eu-west-1.amazonaws.com",
            "my.bucket.s3.eu-central-1.amazonaws.com",
            "s3.cn-north-1.amazonaws.com.cn",
            "bucket.vpce-1a2b3c4d-5e6f.s3.us-east-1.vpce.amazonaws.com",
        ] {
            assert!(is_s3(host), "{host}");
        }
        for host in [
            "garage-0123.elb.eu-west-1.amazonaws.com",
            "s3-0123.elb.eu-west-1.amazonaws.com",
            "s3-minio-0123.eu-west-1.elb.amazonaws.com",
            "s3.eu-west-1.elb.amazonaws.com",
            "ec2-3-120-1-2.eu-central-1.compute.amazonaws.com",
            "ec2-3-120-1-2.compute-1.amazonaws.com",
            "s3.execute-api.eu-west-1.amazonaws.com",
            "vpce-1a2b-5e6f.vpce-svc-0123.us-east-1.vpce.amazonaws.com",
            "bucket.s3-website-us-east-1.amazonaws.com",
            "bucket.s3-website.eu-central-1.amazonaws.com",
            "name-123456789012.s3-outposts.eu-west-1.amazonaws.com",
            "s3-minio.eu-west-1.amazonaws.com",
            "s3.eu-west-1.amazonaws.com.example.org",
            "s3.eu-west-1.amazonaws.com.",
            "amazonaws.com",
            ".amazonaws.com",
            "eu-west-1.amazonaws.com",
            "s3.example.org",
            "127.0.0.1",
            "",
        ] {
            assert!(!is_s3(host), "{host}");
        }
    }
}
