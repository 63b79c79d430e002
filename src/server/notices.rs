//! Warnings about certificates, keys and revocation lists that are usable all the same.

use std::collections::BTreeSet;
use std::fmt;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{SystemTime, UNIX_EPOCH};

use rustix::fs::{StatVfsMountFlags, statvfs};
use tracing::warn;

use super::parts::PartFile;
use crate::model::Part;
use crate::net::tls::dates::{self, Dated, Unmatched};
use crate::state::lock;

/// A warning about one file.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Notice {
    /// The file.
    pub file: PathBuf,
    about: About,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum About {
    /// Everybody can read the key; and how its mode is changed.
    OpenKey(&'static str),
    /// Others can read a token.
    OpenToken(&'static str),
    /// A certificate that is not valid yet.
    Early,
    /// A certificate that ends soon: its number in the file, from 1, and its last second.
    Ending(usize, i64),
    /// One that has ended.
    Ended(usize, i64),
    /// A revocation list of this authority whose successor is due then, soon.
    ListEnding(String, i64),
    /// One that is too old.
    ListEnded(String, i64),
    /// An authority without a revocation list, where others have one.
    NoList(String),
    /// A revocation list of somebody else than the authorities.
    OtherList(String),
}

/// A certificate with less time left than this is worth a warning, in seconds: 14 days.
const SOON: i64 = 14 * 86_400;

/// Seconds after 1970.
pub(super) fn now() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs().cast_signed())
}

impl Notice {
    /// What is unwise, and what to do about it.
    pub fn words(&self) -> (String, &'static str) {
        let now = now();
        match &self.about {
            About::OpenKey(cure) => ("the private key is readable by all".to_owned(), cure),
            About::OpenToken(cure) => ("others than Portway can read the token".to_owned(), cure),
            About::Early => {
                ("the certificate is not valid yet".to_owned(), "is the clock of this host right?")
            }
            About::Ending(number, until) => {
                (format!("{} expires in {}", which(*number), span(until - now)), "renew it in time")
            }
            About::Ended(number, until) => (
                format!("{} expired {} ago", which(*number), span(now - until)),
                "renew it: nobody accepts it",
            ),
            About::ListEnding(authority, until) => (
                format!("the next revocation list{} is due in {}", of(authority), span(until - now)),
                "put it here in time: without it its clients are refused",
            ),
            About::ListEnded(authority, until) => (
                format!("the next revocation list{} was due {} ago", of(authority), span(now - until)),
                "put it here: until then its clients are refused",
            ),
            About::NoList(authority) => (
                format!("there is no revocation list{}", of(authority)),
                "add it to `crl`: without it its clients are refused",
            ),
            About::OtherList(authority) => (
                format!("the revocation list{} is of no authority of `client_ca`", of(authority)),
                "is it the right one? It counts only where an authority between them has that name",
            ),
        }
    }
}

/// `number`: from 1.
fn which(number: usize) -> String {
    match number {
        1 => "the certificate".to_owned(),
        number => format!("certificate {number} of the file"),
    }
}

fn of(authority: &str) -> String {
    if authority.is_empty() { String::new() } else { format!(" of `{authority}`") }
}

fn span(seconds: i64) -> String {
    let (count, unit) = match seconds {
        ..7_200 => (seconds.max(0) / 60, "minute"),
        7_200..172_800 => (seconds / 3_600, "hour"),
        _ => (seconds / 86_400, "day"),
    };
    format!("{count} {unit}{}", if count == 1 { "" } else { "s" })
}

impl fmt::Display for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (what, cure) = self.words();
        write!(f, "{}: {what}: {cure}", self.file.display())
    }
}

/// What a file has that ends some day. Empty for keys and authorities: a client judges these, or nobody.
pub(super) fn dated(file: &PartFile) -> Vec<Dated> {
    match file.part {
        Part::Certificate => dates::certificates(&file.text),
        Part::Revocations => dates::revocations(&file.text),
        Part::Key | Part::Authority => Vec::new(),
    }
}

/// Warnings about these files, which are used together. May block.
pub(super) fn notices(files: &[PartFile]) -> Vec<Notice> {
    let now = now();
    let mut notices = Vec::new();
    for file in files {
        let mut note = |about| notices.push(Notice { file: file.path.clone(), about });
        if file.part == Part::Key && open_to_all(&file.path) {
            note(About::OpenKey(cure_of_mode(&file.path)));
        }
        for (index, Dated { name, from, until }) in dated(file).into_iter().enumerate() {
            let number = index + 1;
            match file.part {
                Part::Revocations if now >= until => note(About::ListEnded(name, until)),
                Part::Revocations if now >= until - lead(from, until) => note(About::ListEnding(name, until)),
                Part::Revocations => {}
                _ if now > until => note(About::Ended(number, until)),
                _ if now < from => note(About::Early),
                _ if now >= until - SOON => note(About::Ending(number, until)),
                _ => {}
            }
        }
    }
    unmatched(files, &mut notices);
    notices
}

/// How long before its end a revocation list is worth a warning: the last tenth of its time, since some are for hours and
/// some for months.
fn lead(from: i64, until: i64) -> i64 {
    (until - from).max(0) / 10
}

fn unmatched(files: &[PartFile], notices: &mut Vec<Notice>) {
    let of = |part| files.iter().filter(move |file| file.part == part);
    let Some(authorities) = of(Part::Authority).next() else { return };
    let lists: Vec<&[u8]> = of(Part::Revocations).map(|file| &*file.text).collect();
    if lists.is_empty() {
        return;
    }
    let Unmatched { authorities: without, lists: others } = dates::unmatched(&authorities.text, &lists);
    let of_authorities = |name| Notice { file: authorities.path.clone(), about: About::NoList(name) };
    notices.extend(without.into_iter().map(of_authorities));
    let paths: Vec<_> = of(Part::Revocations).map(|file| file.path.clone()).collect();
    let of_list = |(index, name): (usize, String)| {
        Some(Notice { file: paths.get(index)?.clone(), about: About::OtherList(name) })
    };
    notices.extend(others.into_iter().filter_map(of_list));
}

/// When the warnings about these files change by themselves, in seconds after 1970. `None`: never again.
pub(super) fn next_change(files: &[PartFile]) -> Option<i64> {
    let now = now();
    let moments = files.iter().flat_map(|file| {
        let is_list = file.part == Part::Revocations;
        dated(file).into_iter().flat_map(move |Dated { from, until, .. }| match is_list {
            true => [until - lead(from, until), until, until],
            false => [from, until - SOON, until + 1],
        })
    });
    moments.filter(|moment| *moment > now).min()
}

fn open_to_all(path: &Path) -> bool {
    std::fs::metadata(path).is_ok_and(|file| file.permissions().mode() & 0o004 != 0)
}

/// Warnings about the file of a token. May block.
pub(super) fn of_token(path: &Path) -> Vec<Notice> {
    let open = std::fs::metadata(path).is_ok_and(|file| {
        // A service that may not own the file reads it as a member of its group.
        let own = file.uid() == rustix::process::geteuid().as_raw();
        file.mode() & if own { 0o044 } else { 0o004 } != 0
    });
    let about = || About::OpenToken(cure_of_mode(path));
    open.then(|| Notice { file: path.to_owned(), about: about() }).into_iter().collect()
}

/// How the mode of a secret is changed, by where it comes from.
fn cure_of_mode(path: &Path) -> &'static str {
    let folder = path.parent().unwrap_or(Path::new(""));
    // The kubelet puts a Secret there, and sets modes by its own rules.
    if folder.join("..data").is_symlink() {
        return "set defaultMode: 0440 in the volume of the Secret, and fsGroup in the pod's securityContext";
    }
    let read_only = statvfs(path).is_ok_and(|mount| mount.f_flag.contains(StatVfsMountFlags::RDONLY));
    // Swarm and Compose mount secrets with mode 0444.
    if read_only || folder == Path::new("/run/secrets") {
        return "its mount is read-only: set the mode where it comes from (Docker: mode: 0400 of the secret, and its uid)";
    }
    "let only Portway read it (chmod 600)"
}

/// The paths of files.
pub(super) fn paths(files: &[PartFile]) -> impl Iterator<Item = &Path> + Clone {
    files.iter().map(|file| &*file.path)
}

/// The warnings that were logged and still hold. Shared by all who use a file: each is logged once.
#[derive(Clone, Debug, Default)]
pub(super) struct Logged(Arc<Mutex<BTreeSet<Notice>>>);

impl Logged {
    /// Logs those of the notices about `files` that are new.
    pub fn log<'p>(&self, files: impl Iterator<Item = &'p Path> + Clone, notices: &[Notice]) {
        let new: Vec<&Notice> = {
            let mut logged = lock(&self.0);
            // What is healed is logged again when it comes back.
            let is_here = |notice: &Notice| files.clone().any(|file| file == notice.file);
            logged.retain(|notice| !is_here(notice) || notices.contains(notice));
            notices.iter().filter(|notice| logged.insert((*notice).clone())).collect()
        };
        for notice in new {
            let (what, cure) = notice.words();
            warn!(file = %notice.file.display(), cure, "{what}");
        }
    }
}
