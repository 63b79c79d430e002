//! `[process]`.

use schemars::JsonSchema;
use serde::Deserialize;

use super::listeners::{NameOrNumber, parsed};
use super::place::{self, Place};
use super::placed::Placed;
use super::table_schema::typed_table;
use crate::model::ProcessSettings;

/// `[process]`: what the process is to the system.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Process {
    /// Whom a start as root becomes, before it opens anything: a name of /etc/passwd, or a number. Of root's rights it keeps
    /// that to ports below 1024. An edit of it takes effect at the next start.
    #[schemars(extend("examples" = ["portway"]))]
    user: Option<NameOrNumber>,
}

typed_table!(Process);

/// Reads the table.
pub(super) fn read(place: Place<'_>, faults: &mut Vec<Placed>) -> ProcessSettings {
    let typed: Process = place::read(place, faults);
    let user = typed.user.and_then(|typed| parsed(place, "user", &typed.0, faults));
    ProcessSettings { user }
}
