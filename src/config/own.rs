//! The keys of a route that `[defaults]` does not have.

use schemars::JsonSchema;
use serde::Deserialize;

use super::listeners::Listeners;
use super::table_schema::typed_table;
use super::upstreams::Upstreams;
use super::values::{List, Text};

/// One route: where it listens, and where it forwards to. Any policy key may stand here too.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Own {
    /// Unique; what logs and plans call the route. Without it: the first address of `listen`, of UDP with
    /// "/udp" after it.
    #[schemars(extend("examples" = ["postgres"]))]
    pub name: Option<Text>,
    /// Whether the route is served. `false`: its text is checked, and for the rest it is as if it were not there.
    #[schemars(extend("default" = true, "examples" = [false]))]
    pub enabled: Option<bool>,
    /// The address that clients connect to: "8080" (every interface, IPv4 and IPv6), "127.0.0.1:8080", "[::1]:8080",
    /// "0.0.0.0:7000-7009" or "unix:/path"; or a table with such an `address`.
    #[schemars(required, extend("examples" = ["127.0.0.1:8080"]))]
    pub listen: Option<Listeners>,
    /// Where the route forwards to: "name:5432", "10.0.0.7:5432", "[::1]:5432", a range of as many ports as `listen` has,
    /// or "unix:/path"; or a table with such an `address`. Of several, `balance` chooses.
    #[schemars(required, extend("examples" = ["db.internal:5432"]))]
    pub upstream: Option<Upstreams>,
    /// TLS server names that the route serves: "app.example.com", "*.example.com". Routes may then share an address; one
    /// without `sni` and `alpn` takes the rest, as "*" says.
    #[schemars(extend("default" = "*", "examples" = ["app.example.com"]))]
    pub sni: Option<List>,
    /// Protocols above TLS that the route serves: as `sni`. Both given: both must fit.
    #[schemars(extend("default" = "*", "examples" = ["h2"]))]
    pub alpn: Option<List>,
}

typed_table!(Own);
