//! What an adapter says of itself.

use crate::{
    GetOptions,
    testing::{Failure, Outcome, Suite},
};

pub(crate) async fn display_is_one_line_without_secrets(suite: &Suite) -> Outcome {
    let shown = suite.adapter.to_string();
    check!(!shown.trim().is_empty(), "Display says nothing: it should be the location");
    check!(!shown.contains(char::is_control), "Display is not one line: {shown:?}");
    if let Some((_, rest)) = shown.split_once("://") {
        let host = rest.split('/').next().unwrap_or_default();
        check!(!host.contains('@'), "Display names a user, perhaps with a password");
    }
    let missing = suite.adapter.get(&suite.key("missing")?, GetOptions::new()).await;
    let Err(error) = missing else { return Err(Failure::new("get of a missing key worked")) };
    for secret in &suite.secrets {
        let places = [
            ("Display", shown.clone()),
            ("Debug", format!("{:?}", suite.adapter)),
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
