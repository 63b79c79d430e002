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
mod import_apart;
mod import_counts;
mod import_exact;
mod includes;
mod keys;
mod misfits;
mod mistakes;
mod networks;
mod order;
mod paste;
