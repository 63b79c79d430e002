//! Layer 2: the text of a file becomes a [`Table`](crate::model::Table), or a [`Report`] of every fault in it.
//!
//! Pure: text in, values out. No file is opened here, nothing is logged, no clock is read. [`Plan`] is the way from
//! one table to another; the server applies it and `portway plan` prints it.
//!
//! The way of a text: bytes → a document with a place for each value (`document`) → what was typed, table by table
//! (`place`, `values`) → what it means (`read`, `keys`, `route`) → what the routes mean together (`cross`, `shared`) → a
//! file of routes (`route_file`) → with others (`join`) or alone (`compile`) a table. A fault on the way is noted with its
//! place, and reading goes on.

mod admin;
mod compile;
mod concern;
mod cross;
mod document;
mod edits;
mod entries;
mod fleet;
mod headers;
mod import;
mod include;
mod join;
mod keys;
mod line;
mod list;
mod listeners;
mod log;
mod or_table;
mod other_languages;
mod own;
mod parse;
mod picture;
mod place;
mod placed;
mod plan;
mod process;
mod process_limits;
mod read;
mod report;
mod route;
mod route_file;
mod route_files;
mod rules;
mod schema;
mod secrets;
mod sections;
mod selector;
mod several;
mod shared;
mod suggest;
mod syntax;
mod table_schema;
mod token;
mod unknown;
mod upstreams;
mod values;
mod widths;

pub use compile::{Compiled, ValueFault, admin_of, compile, process_of, routes_of};
pub use concern::{Concern, left};
pub use import::{Fate, Imported, Program, Statement, import};
pub use join::{Misfit, join};
pub use keys::entries as policy_entries;
pub use list::network_list;
pub use plan::{Binding, Delta, Plan, access_changes, key_changes};
pub use report::Report;
pub use route_file::RouteFile;
pub use route_files::RouteFiles;
pub use rules::rules;
pub use schema::schema;
pub use sections::{Section, sections};
pub use suggest::nearest;
pub use token::token;
