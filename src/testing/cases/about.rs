//! What an adapter says of itself.

use crate::{
    GetOptions,
    testing::{Failure, Outcome, Suite},
};

/// How many snapshots are saved before an adapter shows itself.
const DEBUG_SAVES: usize = 8;
/// The most bytes of an adapter's `Debug`, and those of all these snapshots together.
const DEBUG_LONGEST: usize = 16 << 10;
const DEBUG_USER: &str = "shown-user-";

pub(crate) async fn display_is_one_line_without_secrets(suite: &Suite) -> Outcome {
    let shown = suite.adapter.to_string();
    check!(!shown.trim().is_empty(), "Display says nothing: it should be the location");
    check!(!shown.contains(char::is_control), "Display is not one line: {shown:?}");
    if let Some((_, rest)) = shown.split_once("://") {
        let host = rest.split('/').next().unwrap_or_default();
        check!(!host.contains('@'), "Display names a user, perhaps with a password");
    }
    let mut keys = Vec::new();
    for number in 0..DEBUG_SAVES {
        let user = format!("{DEBUG_USER}{number}");
        suite.put(&suite.key(&format!("{user}/state"))?, vec![b'7'; DEBUG_LONGEST / DEBUG_SAVES]).await?;
        keys.push(user);
    }
    let debug = format!("{:?}", suite.adapter);
    // Not the text: it may show credentials as well.
    check!(!keys.iter().any(|user| debug.contains(user)), "Debug shows keys, which are ids of users");
    let long = debug.len();
    check!(long <= DEBUG_LONGEST, "Debug has {long} bytes: it should be short, and show no content");
    let missing = suite.adapter.get(&suite.key("missing")?, GetOptions::new()).await;
    let Err(error) = missing else { return Err(Failure::new("get of a missing key worked")) };
    for secret in &suite.secrets {
        let places = [
            ("Display", shown.clone()),
            ("Debug", debug.clone()),
            ("an error", error.to_string()),
            ("an error's Debug", format!("{error:?}")),
        ];
        for (place, text) in places {
            // Not the text: failures are printed.
            check!(!text.contains(secret.as_str()), "{place} shows a credential");
        }
    }
    Ok(())
}
