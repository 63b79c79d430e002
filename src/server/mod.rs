//! Layer 5: which listeners exist now.
//!
//! Starts listeners, carries out edits, and drains at the end. The only layer that changes what runs; it does so in one
//! task, one edit after the other: [`run`] is the life of the process, `edit` takes an edit in, `apply` carries it out.

pub mod access;
mod admin_socket;
mod apply;
mod beside;
mod bind_fault;
pub mod credentials;
mod credentials_follower;
mod descriptors;
mod drain;
mod dry_run;
mod edit;
pub mod handle;
pub mod history;
mod leaving;
pub mod lists;
mod log;
pub mod named_file;
pub mod notices;
mod open;
pub mod orphans;
mod parts;
pub mod run;
mod running;
mod signals;
mod systemd;
mod udp_listeners;
mod view;

pub use admin_socket::{AdminListener, AdminSocket};
pub use descriptors::ADMIN_CONNECTIONS;
pub use handle::Handle;
