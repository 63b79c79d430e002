//! Layer 5: which listeners exist now.
//!
//! Starts listeners, carries out edits, and drains at the end. The only layer that changes what runs; it does so in one
//! task, one edit after the other: [`run`] is the life of the process, `edit` takes an edit in, `apply` carries it out.

pub mod access;
mod admin_socket;
mod adopting;
mod apply;
mod beside;
pub mod by_hand;
pub mod check;
mod concern;
mod counting_on;
pub mod credentials;
mod credentials_follower;
mod descriptors;
mod drain;
mod dry_run;
mod edit;
mod followed_list;
mod handed_sockets;
mod handed_state;
pub mod handle;
mod handover;
mod heap;
pub mod history;
mod include_edit;
pub mod include_set;
mod included_file;
mod included_folders;
mod includes;
mod leaving;
pub mod lists;
mod log;
mod log_target;
mod memory;
mod moving;
pub mod named_file;
mod next_process;
pub mod notices;
pub mod old_process;
mod open;
pub mod orphans;
mod parts;
mod predecessor;
mod probation;
mod process;
pub mod pull;
mod reload;
mod roll_back;
pub mod run;
mod running;
mod signals;
mod sources;
pub mod start;
mod stopping;
pub mod successor;
mod summary;
mod systemd;
#[cfg(test)]
mod tests;
mod together;
pub mod tokens;
mod udp_listeners;
mod upgrade;
pub mod upgrade_order;
pub mod user;
mod view;

pub use admin_socket::{AdminListener, AdminSocket};
pub use descriptors::ADMIN_CONNECTIONS;
pub use handle::Handle;
pub use memory::MemoryUse;
