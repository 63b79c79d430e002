//! What a file says: by the compiler, by `check`, by every byte string of the corpora.

mod bombs;
mod check;
mod command_line;
mod corpus;
mod enabled;
mod golden;
mod keys;
mod misfits;
mod mistakes;
mod order;
mod paste;
