//! What a file says: by the compiler, by `check`, by every byte string of the corpora.

mod bindings;
mod bombs;
mod bounds;
mod check;
mod command_line;
mod concern;
mod corpus;
mod enabled;
mod golden;
mod header;
mod hello;
mod import;
mod import_counts;
mod import_exact;
mod import_found;
mod import_haproxy;
mod import_haproxy_parts;
mod import_haproxy_rules;
mod import_haproxy_switch;
mod includes;
mod keys;
mod misfits;
mod mistakes;
mod networks;
mod order;
mod paste;
