//! The files that a main file includes, read as they are now: at the start, and for whoever only looks.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::included_file::RunningText;
use crate::config::{Compiled, Misfit, Report, RouteFile, RouteFiles, join};
use crate::files::{self, find, look};
use crate::model::Fault;

/// The most files that are included.
pub(super) const MOST_FILES: usize = 4096;

/// The most bytes that the included files have together: four times what one file may have.
pub(super) const MOST_BYTES: usize = 64 << 20;

/// The fault of patterns that mean too many files.
pub(super) fn too_many(files: usize) -> Fault {
    Fault::new(
        format!("`include` finds {files} files, and {MOST_FILES} are included at most"),
        "put more routes into each, or make the patterns narrower",
    )
}

/// The fault of a file with which the included files are too large.
pub(super) fn too_large(bytes: usize) -> Fault {
    Fault::new(
        format!(
            "with this file the included ones have {} MiB, and 64 MiB are included at most",
            bytes.div_ceil(1 << 20)
        ),
        "is it a file of routes, and needed?",
    )
}

/// The included files of a main file that compile and fit together, and what is wrong with the others.
pub(super) struct IncludeSet {
    pub compiled: Compiled,
    /// The files that `include` means, those with faults as well.
    pub found: BTreeSet<PathBuf>,
    /// The text of each file in `compiled`.
    pub texts: BTreeMap<PathBuf, RunningText>,
    pub faults: Vec<Report>,
}

/// Reads the included files of a main file. May block.
pub(super) fn read(main: RouteFile) -> Result<IncludeSet, Report> {
    let (globs, mut files) = (main.include().to_vec(), RouteFiles::new(main));
    let (mut texts, mut faults) = (BTreeMap::new(), Vec::new());
    let found = if globs.is_empty() { files::Found::default() } else { find(files.folder(), &globs) };
    if let Some((folder, fault)) = found.fault {
        let message = format!("the folder {}: {}", folder.display(), fault.message);
        faults.push(files.main().include_fault(Fault::new(message, fault.help)));
    }
    if found.files.len() > MOST_FILES {
        faults.push(files.main().include_fault(too_many(found.files.len())));
    }
    // The main file has the first places, the others follow in the order of their paths.
    let newest = files.main().text().len() + 1;
    let (mut next, mut bytes) = (newest, 0);
    for path in found.files.iter().take(MOST_FILES) {
        let at = files.folder().join(path);
        match read_one(&at, path, &mut bytes) {
            Ok((mut file, text)) => {
                next = file.move_to(next);
                files.insert(path.clone(), Arc::new(file));
                texts.insert(path.clone(), text);
            }
            Err(report) => faults.push(report),
        }
    }
    let (compiled, misfits) = join_fitting(files, newest)?;
    texts.retain(|path, _| compiled.files().included().contains_key(path));
    faults.extend(misfits.into_iter().map(|misfit| misfit.report));
    Ok(IncludeSet { compiled, found: found.files, texts, faults })
}

/// Reads and compiles one file. `bytes`: how many all have so far.
fn read_one(at: &Path, path: &Path, bytes: &mut usize) -> Result<(RouteFile, RunningText), Report> {
    let (name, state) = (at.display().to_string(), look(at));
    let text = files::read(at).map_err(|fault| Report::about_file(&name, fault))?.bytes;
    if *bytes + text.len() > MOST_BYTES {
        return Err(Report::about_file(&name, too_large(*bytes + text.len())));
    }
    *bytes += text.len();
    let file = RouteFile::included(&name, &text, path)?;
    Ok((file, RunningText { text: text.into(), state }))
}

/// Joins those that fit together, and says what is wrong with the others. Fails if the main file is one of them.
pub(super) fn join_fitting(mut files: RouteFiles, newest: usize) -> Result<(Compiled, Vec<Misfit>), Report> {
    let mut all = Vec::new();
    loop {
        let misfits = match join(files.clone(), newest) {
            Ok(compiled) => return Ok((compiled, all)),
            Err(misfits) => misfits,
        };
        let before = files.included().len();
        files.remove_all(|file| misfits.iter().any(|misfit| misfit.name == file.name()));
        let of_main = misfits.iter().any(|misfit| misfit.name == files.main().name());
        all.extend(misfits);
        if of_main || files.included().len() == before {
            return Err(joined(all));
        }
    }
}

/// The table of a main file with all that it includes, or every fault of all of them. May block.
pub fn compile_all(main: RouteFile) -> Result<Compiled, Report> {
    let IncludeSet { compiled, faults, .. } = read(main)?;
    faults.into_iter().reduce(Report::and).map_or(Ok(compiled), Err)
}

/// The patterns that mean no file, each as a warning in one line.
pub fn meaning_nothing(files: &RouteFiles) -> impl Iterator<Item = String> {
    let globs = files.main().include().iter();
    let nothing = globs.filter(|glob| !files.included().keys().any(|path| glob.matches(path)));
    nothing.map(|glob| format!("{}: `include` finds no file for \"{glob}\"", files.main().name()))
}

/// The text of a main file, and those of the files that it includes, as far as they can be read. May block.
pub(super) fn texts(path: &Path, text: Vec<u8>) -> Vec<Vec<u8>> {
    let folder = path.parent().unwrap_or(Path::new(""));
    let globs = RouteFile::main("", &text).map(|main| main.include().to_vec()).unwrap_or_default();
    let found = if globs.is_empty() { files::Found::default() } else { find(folder, &globs) };
    let included =
        found.files.iter().take(MOST_FILES).filter_map(|path| files::read(&folder.join(path)).ok());
    let included: Vec<Vec<u8>> = included.map(|content| content.bytes).collect();
    std::iter::once(text).chain(included).collect()
}

/// The path of an included file from the folder of the main one, if the patterns mean it; whether it runs or not.
pub fn path_in(files: &RouteFiles, at: &Path) -> Option<PathBuf> {
    // Of a bare file name it is the working directory, and "" has no absolute path.
    let folder = std::path::absolute(files.folder().join(".")).ok()?;
    let at = std::path::absolute(at).ok()?;
    let globs = files.main().include();
    let from_folder = at.strip_prefix(&folder).map(Path::to_owned).ok();
    let mut paths = from_folder.into_iter().chain([at]);
    paths.find(|path| globs.iter().any(|glob| glob.matches(path)))
}

/// What a text would be in the place of the included file at this path: with the other files as they run.
pub fn compile_in_place(running: &RouteFiles, path: PathBuf, text: &[u8]) -> Result<Compiled, Report> {
    let name = running.folder().join(&path).display().to_string();
    let mut file = RouteFile::included(&name, text, &path)?;
    let mut files = running.clone();
    let newest = files.next_place();
    file.move_to(newest);
    files.insert(path, Arc::new(file));
    join(files, newest).map_err(joined)
}

/// What a text would be in the place of the main file, with the included files as they run.
pub fn compile_with_running(running: &RouteFiles, mut main: RouteFile) -> Result<Compiled, Report> {
    let newest = running.next_place();
    main.move_to(newest);
    join(running.with_main(main), newest).map_err(joined)
}

/// The reports of all.
pub fn joined(misfits: Vec<Misfit>) -> Report {
    misfits.into_iter().map(|misfit| misfit.report).reduce(Report::and).unwrap_or_default()
}
