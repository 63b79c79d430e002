//! `tls`, as it is typed.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;
use serde::de::{Error, SeqAccess};

use super::Text;
use super::clients::{OrTable, Typed};

/// `tls`: where it ends here, and where it begins here.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct Tls {
    /// A file (PEM) with the certificate that clients are shown, and after it those between it and an authority that they
    /// know. Absolute, or from the folder of this file. It is watched, as all files here.
    #[schemars(extend("examples" = ["/etc/portway/app.pem"]))]
    pub cert: Option<Text>,
    /// A file (PEM) with its private key.
    #[schemars(extend("examples" = ["/etc/portway/app.key"]))]
    pub key: Option<Text>,
    /// A file (PEM) with the authorities of which clients must have a certificate. Without it clients need none.
    #[schemars(extend("examples" = ["/etc/portway/clients.pem"]))]
    pub client_ca: Option<Text>,
    /// Whether TLS is spoken to the upstream, which is always verified: true, or a table.
    #[schemars(extend("examples" = [true]))]
    pub upstream: Option<OrTable<Whether, UpstreamTls>>,
}

/// `tls.upstream` as a table.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct UpstreamTls {
    /// A file (PEM) with the authorities of which the upstream must have its certificate. Without it: those of the system.
    #[schemars(extend("examples" = ["/etc/portway/internal-ca.pem"]))]
    pub ca: Option<Text>,
    /// The name that the upstream is asked for, and that its certificate must have. Without it: that of `upstream`.
    #[schemars(extend("examples" = ["db.internal"]))]
    pub server_name: Option<Text>,
    /// A file (PEM) with the certificate that the upstream is shown, if it asks for one.
    #[schemars(extend("examples" = ["/etc/portway/client.pem"]))]
    pub cert: Option<Text>,
    /// A file (PEM) with its private key.
    #[schemars(extend("examples" = ["/etc/portway/client.key"]))]
    pub key: Option<Text>,
}

/// `true` or `false`.
#[derive(Clone, Debug)]
pub(in crate::config) struct Whether(pub Text);

impl JsonSchema for Whether {
    fn schema_name() -> Cow<'static, str> {
        "Whether".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "boolean" })
    }
}

impl Typed for Whether {
    fn one(text: Text) -> Self {
        Whether(text)
    }

    fn many<'de, A: SeqAccess<'de>>(_: A) -> Result<Self, A::Error> {
        Err(A::Error::custom("a list"))
    }
}
