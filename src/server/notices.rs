//! Warnings about certificates and keys that are usable all the same.

use std::fmt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use tracing::warn;

use super::parts::PartFile;
use crate::model::Part;
use crate::net::tls::validity;

/// A warning about one file: what is unwise, and what to do about it.
#[derive(Clone, Debug)]
pub(super) struct Notice {
    file: PathBuf,
    what: String,
    cure: &'static str,
}

impl fmt::Display for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}: {}", self.file.display(), self.what, self.cure)
    }
}

/// A certificate with fewer days left than this is worth a warning.
const SOON_OVER: i64 = 7;

/// Warnings about these files. May block.
pub(super) fn notices(files: &[PartFile]) -> Vec<Notice> {
    let mut notices = Vec::new();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs().cast_signed());
    for file in files {
        let mut note = |what: String, cure| notices.push(Notice { file: file.path.clone(), what, cure });
        match file.part {
            Part::Key if open_to_all(&file.path) => {
                note("the private key is readable by all".to_owned(), "let only Portway read it (chmod 600)");
            }
            Part::Certificate => {
                let Some((from, to)) = validity(&file.text) else { continue };
                let days = (to - now).div_euclid(86_400);
                if now > to {
                    note(
                        format!("the certificate expired {} days ago", -days - 1),
                        "renew it: nobody accepts it",
                    );
                } else if now < from {
                    note("the certificate is not valid yet".to_owned(), "is the clock of this host right?");
                } else if days < SOON_OVER {
                    note(format!("the certificate expires in {days} days"), "renew it in time");
                }
            }
            _ => {}
        }
    }
    notices
}

fn open_to_all(path: &Path) -> bool {
    std::fs::metadata(path).is_ok_and(|file| file.permissions().mode() & 0o004 != 0)
}

pub(super) fn log(notices: &[Notice]) {
    for Notice { file, what, cure } in notices {
        warn!(file = %file.display(), cure, "{what}");
    }
}
