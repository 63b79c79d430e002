//! `[admin]` as it is typed.

use schemars::JsonSchema;
use serde::Deserialize;

use super::Text;

/// `[admin]`: where a running proxy can be looked at, and told what to do. Without it: nowhere.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct Admin {
    /// "unix:/path" (mode 0600: who may open it may do everything), a loopback address with its port, or with a `token` any
    /// address.
    #[schemars(required, extend("examples" = ["unix:/run/portway/admin.sock"]))]
    pub listen: Option<Text>,
    /// Who shows it may read and change. Without it changing needs a Unix socket. At least 16 characters.
    #[schemars(extend("examples" = ["kX3vW9qLr2TzP7sN"]))]
    pub token: Option<Text>,
    /// Who shows it may read. Without it reading needs the `token`, and on a loopback address nothing.
    #[schemars(extend("examples" = ["b8HjM4yQc6RfD1gK"]))]
    pub read_token: Option<Text>,
}
