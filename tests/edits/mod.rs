//! Edits of the file of a running Portway, from the outside: the real program, real files, and its log as the phases
//! that a test waits for.
mod bad;
mod include_beside;
mod include_folders;
mod include_moves;
mod include_saves;
pub mod includes;
mod load;
mod namespaces;
pub mod probation;
mod saves;
mod saving;
mod signals;
mod socket_names;
mod sockets;
mod start;
mod torn;
mod unix_sockets;
mod watching;
