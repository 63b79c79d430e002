//! The files of routes of one proxy: the main one, and those that it includes.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::route_file::RouteFile;

/// The main file, and those that it includes.
#[derive(Clone, Debug)]
pub struct RouteFiles {
    main: Arc<RouteFile>,
    /// By their paths, which begin at the folder of the main file.
    included: BTreeMap<PathBuf, Arc<RouteFile>>,
}

impl RouteFiles {
    /// A main file alone.
    pub fn new(main: RouteFile) -> RouteFiles {
        RouteFiles { main: Arc::new(main), included: BTreeMap::new() }
    }

    /// The main file.
    pub fn main(&self) -> &RouteFile {
        &self.main
    }

    /// The included files, by their paths from the folder of the main file.
    pub fn included(&self) -> &BTreeMap<PathBuf, Arc<RouteFile>> {
        &self.included
    }

    /// Puts an included file in the place of the one at its path, or adds it.
    pub fn insert(&mut self, path: PathBuf, file: Arc<RouteFile>) {
        self.included.insert(path, file);
    }

    /// Takes a file out.
    pub fn remove(&mut self, path: &Path) {
        self.included.remove(path);
    }

    /// Takes out the included files for which this is so.
    pub fn remove_all(&mut self, is_so: impl Fn(&RouteFile) -> bool) {
        self.included.retain(|_, file| !is_so(file));
    }

    /// The first place behind those of all files.
    pub fn next_place(&self) -> usize {
        self.all().map(|file| file.places().end).max().unwrap_or_default()
    }

    /// The same files with another main one, as far as that includes them.
    #[must_use]
    pub fn with_main(&self, main: impl Into<Arc<RouteFile>>) -> RouteFiles {
        let main = main.into();
        let mut included = self.included.clone();
        included.retain(|path, _| main.includes(path));
        RouteFiles { main, included }
    }

    /// Whether others have the same file at a path, or none as well; as the main one: `None`.
    pub fn share(&self, others: &RouteFiles, path: Option<&Path>) -> bool {
        let of = |files: &RouteFiles| match path {
            Some(path) => files.included.get(path).map(Arc::as_ptr),
            None => Some(Arc::as_ptr(&files.main)),
        };
        of(self) == of(others)
    }

    /// The names of all routes.
    pub fn names(&self) -> HashSet<&str> {
        self.all().flat_map(|file| file.routes()).map(|route| &*route.name).collect()
    }

    /// How many bytes the included files have.
    pub fn included_bytes(&self) -> usize {
        self.included.values().map(|file| file.text().len()).sum()
    }

    /// The folder of the main file.
    pub fn folder(&self) -> &Path {
        Path::new(self.main.name()).parent().unwrap_or(Path::new(""))
    }

    /// In which included file each route stands, by the name of the route.
    pub fn by_route(&self) -> HashMap<String, String> {
        let of = |file: &Arc<RouteFile>| {
            let name = file.name().to_owned();
            file.routes().map(|route| (route.name.clone(), name.clone())).collect::<Vec<_>>()
        };
        self.included.values().flat_map(of).collect()
    }

    /// Every file, in the order of their paths.
    pub(super) fn all(&self) -> impl Iterator<Item = &Arc<RouteFile>> {
        std::iter::once(&self.main).chain(self.included.values())
    }

    /// Every file, the one that came last first: a fault that nobody has seen yet is most likely there.
    pub(super) fn newest_first(&self) -> Vec<&RouteFile> {
        let mut all: Vec<&RouteFile> = self.all().map(|file| &**file).collect();
        all.sort_by_key(|file| Reverse(file.places().start));
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_taken_out_by_what_they_are() {
        let file = |name: &str, port: u16| {
            let text = format!("[[route]]\nlisten = \"{port}\"\nupstream = \"app:80\"\n");
            Arc::new(RouteFile::included(name, text.as_bytes(), Path::new(name)).unwrap())
        };
        let main = RouteFile::main("main.toml", b"include = \"*.toml\"\n").unwrap();
        let mut files = RouteFiles::new(main);
        for (name, port) in [("/a.toml", 8001), ("/b.toml", 8002), ("/c.toml", 8003)] {
            files.insert(name.into(), file(name, port));
        }
        files.remove_all(|file| file.name() == "/b.toml");
        let left: Vec<&Path> = files.included().keys().map(PathBuf::as_path).collect();
        assert_eq!(left, [Path::new("/a.toml"), Path::new("/c.toml")]);
    }
}
