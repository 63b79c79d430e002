//! Edits of the file of a running Portway, from the outside: the real program, real files, and its log as the phases
//! that a test waits for.
mod bad;
mod load;
mod namespaces;
mod saves;
mod saving;
mod signals;
mod sockets;
mod start;
mod torn;
mod unix_sockets;
mod watching;
