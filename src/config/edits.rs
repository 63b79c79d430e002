//! `[edits]`.

use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;

use super::place::{self, Place};
use super::placed::Placed;
use super::read::Spans;
use super::table_schema::typed_table;
use super::values::SpanOrOff;
use crate::model::{EditsSettings, ProbationTime};

/// `[edits]`: how edits of the file are taken.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Edits {
    /// For how long the routes that an edit changes are watched. If at least half of their connections come to nothing, and
    /// before it were far fewer, what ran before runs again, and the file is pending until another edit or `portway reload
    /// --keep`. At least "1s"; "off", the default: an edit stays, whatever becomes of it. With `run --from` the default is "30s".
    #[schemars(extend("examples" = ["30s"]))]
    probation: Option<SpanOrOff>,
}

typed_table!(Edits);

/// Reads the table.
pub(super) fn read(place: Place<'_>, faults: &mut Vec<Placed>) -> EditsSettings {
    let typed: Edits = place::read(place, faults);
    let probation = Spans { place, faults }.or_off("probation", typed.probation, Duration::from_secs(1));
    let probation = match probation {
        None => ProbationTime::NotSet,
        Some(None) => ProbationTime::Off,
        Some(Some(time)) => ProbationTime::Lasts(time),
    };
    EditsSettings { probation }
}
