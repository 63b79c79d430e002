//! Edits that say what nobody meant: a table of a hundred kinds, and how each is found. And edits that are good, of which none is
//! undone.

mod alarms;
mod cases;
mod clients;
mod mistakes;
mod protocols;
mod servers;
