//! What each family of policy keys says of itself.

use crate::config::place::Place;
use crate::config::placed::Placed;
use crate::config::table_schema::TableSchema;
use crate::model::Policy;

/// A key and its value, both as the file has them.
pub(in crate::config) type Entry = (&'static str, String);

/// A family of policy keys: all that the compiler knows of them stands in one file.
pub(in crate::config) struct Family {
    /// Its keys, with their docs.
    pub schema: fn() -> &'static TableSchema,
    /// Reads the keys of a table into a policy, which has what holds without them.
    pub read: fn(Place<'_>, &mut Policy, &mut Vec<Placed>),
    /// Each key with its value, in the order in which a person reads them.
    pub entries: fn(&Policy) -> Vec<Entry>,
    /// Keys that say something about connections only, or that do nothing for sessions yet.
    pub tcp_only: &'static [&'static str],
    /// Keys that say something about sessions only.
    pub udp_only: &'static [&'static str],
    /// Takes out of the policy of a route what its protocol cannot have. The table is that of the route.
    pub fit: Option<Fit>,
}

/// See [`Family::fit`].
pub(in crate::config) type Fit = fn(Place<'_>, &mut Policy, &mut Vec<Placed>);
