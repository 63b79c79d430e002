//! Layer 4: files on disk whose text runs, however they are saved.
//!
//! [`FollowedFile`] says what a reading means, and keeps what is pending; its owner compiles the text and puts it into
//! force. May log. Knows no route and no connection.

mod disk;
mod events;
mod folders;
mod followed_file;
mod followers;
mod loss;
mod mount;
mod pending;
mod reading;
mod schedule;
mod verdict;
mod watch;
mod watch_table;

pub use disk::{Content, Identity, LARGEST, read};
pub use events::FsEventSource;
pub use followed_file::{FollowedFile, Refused, Seen};
pub use followers::{Followers, Link};
pub use loss::Form;
pub use pending::Pending;
pub use reading::{FileState, How, Reading, Text, Writer};
pub use watch::{look, read_and_look};
