//! Layer 4: files on disk whose text runs, however they are saved.
//!
//! [`FollowedFile`] says what a reading means, and keeps what is pending; its owner compiles the text and puts it into
//! force. May log. Knows no route and no connection.

mod blocking;
mod disk;
mod events;
mod folders;
mod followed_file;
mod followed_globs;
mod followers;
mod loss;
mod mount;
mod pending;
mod reading;
mod replace;
mod schedule;
mod verdict;
mod watch;
mod watch_table;

pub use blocking::blocking;
pub use disk::{Content, Identity, LARGEST, read};
pub use events::FsEventSource;
pub use followed_file::{FollowedFile, Refused, Seen};
pub use followed_globs::{FollowedGlobs, Found, find};
pub use followers::{Followers, Link};
pub use loss::Form;
pub use pending::{LastGood, Pending};
pub use reading::{FileState, How, Reading, Text, Writer};
pub use replace::replace;
pub use schedule::QUIET;
pub use verdict::taken_away;
pub use watch::{look, read_and_look};
