//! The files that patterns mean, and when others may.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use super::blocking::blocking;
use super::events::{FsEventSource, FsEvents};
use super::folders::{self, Place};
use super::schedule::{POLL, POLL_TOLD};
use crate::model::{Fault, Glob, glob};

/// How soon after a hint the folders are looked at: events come in bursts.
const SOON: Duration = Duration::from_millis(20);

/// The most names that are looked at. Whoever has more of them has not meant a folder of routes.
const MOST_NAMES: usize = 65_536;

/// What patterns mean.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// The paths of the files; as the patterns, they begin at the folder that was given.
    pub files: BTreeSet<PathBuf>,
    /// A folder that cannot be read, and why. (One that is not there has no files.)
    pub fault: Option<(PathBuf, Fault)>,
}

/// One look.
#[derive(Debug, Default)]
struct Look {
    found: Found,
    places: Vec<Place>,
    names: usize,
}

/// Finds the files that patterns mean. May block.
pub fn find(folder: &Path, globs: &[Glob]) -> Found {
    look(folder, globs).found
}

fn look(folder: &Path, globs: &[Glob]) -> Look {
    let mut look = Look::default();
    for glob in globs {
        look.walk(folder, PathBuf::new(), &glob.parts());
    }
    look
}

impl Look {
    /// Goes on from a folder, along the parts of a pattern that are left. `path`: how it came there.
    fn walk(&mut self, folder: &Path, path: PathBuf, parts: &[OsString]) {
        let literal = parts.iter().take_while(|part| !glob::is_pattern(part)).count();
        let (names, parts) = parts.split_at(literal);
        let path = names.iter().fold(path, |path, name| path.join(name));
        let mut here = folder.join(&path);
        if here.as_os_str().is_empty() {
            // The folder of a bare file name: the working directory.
            here.push(".");
        }
        let Some((pattern, parts)) = parts.split_first() else {
            folders::note_way(&here, &mut self.places);
            return self.note(&here, path);
        };
        folders::note_folder(&here, &mut self.places);
        let entries = match std::fs::read_dir(&here) {
            Ok(entries) => entries,
            Err(error) => return self.failed(here, &error),
        };
        for entry in entries.flatten() {
            self.names += 1;
            if self.names > MOST_NAMES {
                let cure = "give the files of routes a folder of their own";
                self.found.fault =
                    Some((here, Fault::new(format!("it has more than {MOST_NAMES} names"), cure)));
                return;
            }
            let name = entry.file_name();
            if !glob::fits(pattern, &name) {
                continue;
            }
            let path = path.join(&name);
            match parts.is_empty() {
                // A folder lists what its files are: only of links more has to be asked.
                true if entry.file_type().is_ok_and(|kind| kind.is_file()) => {
                    self.found.files.insert(path);
                }
                true => self.note(&folder.join(&path), path),
                false => self.walk(folder, path, parts),
            }
        }
    }

    /// Adds a file, if there is one.
    fn note(&mut self, at: &Path, path: PathBuf) {
        if std::fs::metadata(at).is_ok_and(|file| !file.is_dir()) {
            self.found.files.insert(path);
        }
    }

    fn failed(&mut self, folder: PathBuf, error: &io::Error) {
        if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) {
            return;
        }
        let cure = "let the user that runs Portway read the folder, and enter it";
        self.found.fault = Some((folder, Fault::new(format!("it cannot be read: {error}"), cure)));
    }
}

/// Follows what patterns mean.
#[derive(Debug)]
pub struct FollowedGlobs {
    folder: PathBuf,
    globs: Vec<Glob>,
    hints: FsEvents,
    /// When to look if no hint comes before.
    wake: Instant,
}

impl FollowedGlobs {
    /// Patterns that begin at this folder.
    pub fn new(folder: &Path, globs: Vec<Glob>, events: &FsEventSource) -> Self {
        FollowedGlobs { folder: folder.to_owned(), globs, hints: FsEvents::new(events), wake: Instant::now() }
    }

    /// Makes [`FollowedGlobs::next`] look now.
    pub fn ask(&mut self) {
        self.wake = Instant::now();
    }

    /// Looks once more when there may be something new, at once when called first. Dropping the future loses nothing.
    pub async fn next(&mut self) -> Found {
        loop {
            self.wait().await;
            self.hints.clear();
            let (folder, globs) = (self.folder.clone(), self.globs.clone());
            let looked = blocking(move || {
                let look = look(&folder, &globs);
                let local = look.places.iter().all(|place| place.folder.is_local());
                (look, local)
            });
            // If it panicked, nothing is known: the next look may tell.
            let looked = looked.await;
            let told = looked.map(|(look, local)| (self.hints.watch(look.places) && local, look.found));
            let at_rest = told.as_ref().is_some_and(|(told, _)| *told);
            self.wake = Instant::now() + if at_rest { POLL_TOLD } else { POLL };
            if let Some((_, found)) = told {
                return found;
            }
        }
    }

    async fn wait(&mut self) {
        loop {
            tokio::select! {
                biased;
                () = sleep_until(self.wake) => return,
                () = self.hints.next() => self.wake = self.wake.min(Instant::now() + SOON),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn patterns_mean_files_and_links_to_files() {
        let root = tempfile::tempdir().unwrap();
        for path in [
            "routes.d/b.toml",
            "routes.d/a.toml",
            "routes.d/.new.toml",
            "routes.d/a.txt",
            "x/y/one.toml",
            "plain.toml",
        ] {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "").unwrap();
        }
        fs::create_dir(root.path().join("routes.d/folder.toml")).unwrap();
        symlink("a.txt", root.path().join("routes.d/link.toml")).unwrap();
        symlink("nothing", root.path().join("routes.d/dangling.toml")).unwrap();
        let found = |globs: &[&str]| {
            let globs: Vec<Glob> = globs.iter().map(|glob| glob.parse().unwrap()).collect();
            let found = find(root.path(), &globs);
            assert_eq!(found.fault, None);
            found.files.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(found(&["routes.d/*.toml"]), "routes.d/a.toml routes.d/b.toml routes.d/link.toml");
        assert_eq!(
            found(&["x/*/*.toml", "plain.toml", "missing.toml", "no/*.toml"]),
            "plain.toml x/y/one.toml"
        );
        let absolute = root.path().join("x/y/*").display().to_string();
        assert_eq!(found(&[&absolute]), root.path().join("x/y/one.toml").display().to_string());
    }
}
