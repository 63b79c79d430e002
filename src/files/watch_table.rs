//! Which files want hints about which places, and which folders are watched for them.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use tokio::sync::mpsc::Sender;

use super::folders::{Folder, Place};
use super::reading::Writer;

/// The most names that are known to be open. More are no folder of routes: then none is known.
const MOST_OPEN: usize = 4096;

#[derive(Debug, Default)]
pub(super) struct WatchTable {
    /// Each folder once, under one of its paths: inotify identifies it by its inode.
    watched: Vec<Folder>,
    watchers: BTreeMap<u64, Watcher>,
    next: u64,
    /// How many folders the system still watches although nobody needs them.
    forgotten: usize,
    /// Why the watcher has failed. `None`: it has not since [`WatchTable::failure`] was called last.
    failed: Option<String>,
    /// Names, by their folders' identities, that are open for writing as far as events tell: for whoever wants to hear of one
    /// only after its writer has begun.
    open: BTreeSet<((u64, u64), OsString)>,
}

/// A file that wants hints, and the places that matter to it.
#[derive(Debug)]
struct Watcher {
    places: Vec<Place>,
    hints: Sender<()>,
    /// What the last event since the previous [`WatchTable::writer`] says about the writer.
    writer: Option<Writer>,
}

impl WatchTable {
    pub fn join(&mut self, hints: Sender<()>) -> u64 {
        self.next += 1;
        self.watchers.insert(self.next, Watcher { places: Vec::new(), hints, writer: None });
        self.next
    }

    /// What the last event since the previous call says about the writer.
    pub fn writer(&mut self, id: u64) -> Option<Writer> {
        self.watchers.get_mut(&id)?.writer.take()
    }

    pub fn leave(&mut self, id: u64) {
        self.watchers.remove(&id);
        self.forget_unneeded();
    }

    /// Sets the places that `id` wants hints about. Returns the folders that must be watched for it; `None`: these
    /// places were set before, and all of them are watched. `watcher`: whether there is a watcher that watches what
    /// this table says.
    pub fn change(&mut self, id: u64, places: Vec<Place>, watcher: bool) -> Option<Vec<PathBuf>> {
        if !watcher {
            self.forget_all();
        }
        let is_open = self.is_open(&places);
        let id = self.watchers.get_mut(&id)?;
        if id.places.is_empty() && is_open {
            id.writer.get_or_insert(Writer::Busy);
        }
        let is_watched = |place: &Place| self.watched.iter().any(|folder| folder.is_same(&place.folder));
        if id.places == places && places.iter().all(is_watched) {
            return None;
        }
        id.places = places;
        self.forget_unneeded();
        let mut new = Vec::new();
        for place in self.watchers.values().flat_map(|id| &id.places) {
            if !self.watched.iter().any(|folder| folder.is_same(&place.folder)) {
                new.push(place.folder.path.clone());
                self.watched.push(place.folder.clone());
            }
        }
        Some(new)
    }

    fn forget_unneeded(&mut self) {
        let WatchTable { watched, watchers, forgotten, .. } = self;
        let before = watched.len();
        let places = watchers.values().flat_map(|id| &id.places);
        watched.retain(|folder| places.clone().any(|place| place.folder.is_same(folder)));
        *forgotten += before - watched.len();
    }

    /// How many folders the watcher still watches although nobody needs them.
    pub fn forgotten(&self) -> usize {
        self.forgotten
    }

    /// Removes a folder that could not be watched.
    pub fn strike(&mut self, path: &Path) {
        self.watched.retain(|folder| folder.path != path);
    }

    /// Whether one of these names is open for writing.
    pub fn is_open(&self, places: &[Place]) -> bool {
        places.iter().any(|place| self.open.contains(&(place.folder.identity, place.name.clone())))
    }

    /// Notes that no folder is watched any more.
    pub fn forget_all(&mut self) {
        self.watched.clear();
        self.open.clear();
        self.forgotten = 0;
    }

    /// Sends a hint to all that have places in a folder.
    pub fn hint_of(&mut self, path: &Path) {
        let Some(folder) = self.watched.iter().find(|folder| folder.path == path) else { return };
        let identity = folder.identity;
        self.hint(None, |place| place.folder.identity == identity);
    }

    /// Sends hints for an event at this path, and notes what it tells of the writer.
    pub fn heard(&mut self, path: &Path, writer: Option<Writer>) {
        if self.watched.iter().any(|folder| folder.path == path) {
            // A watch ends with its folder, and with one above it: what was moved, or removed and made again, needs a new watch.
            let is_ended = |folder: &mut Folder| folder.path.starts_with(path);
            let ended: Vec<Folder> = self.watched.extract_if(.., is_ended).collect();
            self.hint(None, |place| ended.iter().any(|folder| place.folder.is_same(folder)));
        }
        let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else { return };
        if let Some(folder) = self.watched.iter().find(|folder| folder.path == parent) {
            let identity = folder.identity;
            self.note_writer(identity, name, writer);
            self.hint(writer, |place| place.has(name) && place.folder.identity == identity);
        }
    }

    fn note_writer(&mut self, folder: (u64, u64), name: &OsStr, writer: Option<Writer>) {
        match writer {
            Some(Writer::Busy) => {
                if self.open.len() >= MOST_OPEN {
                    self.open.clear();
                }
                self.open.insert((folder, name.to_owned()));
            }
            Some(Writer::Done | Writer::Renamed) => _ = self.open.remove(&(folder, name.to_owned())),
            Some(Writer::Unknown) | None => {}
        }
    }

    /// Notes that the watcher has failed, and sends a hint to all.
    pub fn fail(&mut self, why: String) {
        self.failed = Some(why);
        self.hint_all();
    }

    /// Why the watcher has failed, if it has since this was called last.
    pub fn failure(&mut self) -> Option<String> {
        self.failed.take()
    }

    /// Sends hints to all: events were lost.
    pub fn hint_all(&mut self) {
        self.open.clear();
        self.hint(Some(Writer::Unknown), |_| true);
    }

    fn hint(&mut self, writer: Option<Writer>, concerns: impl Fn(&Place) -> bool) {
        for id in self.watchers.values_mut().filter(|id| id.places.iter().any(&concerns)) {
            id.writer = writer.or(id.writer);
            // A full channel holds a hint already.
            let _ = id.hints.try_send(());
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::mpsc::{Receiver, channel};

    use super::*;

    fn place(path: &str, inode: u64, name: &str) -> Place {
        Place { folder: Folder { path: path.into(), identity: (1, inode) }, name: name.into() }
    }

    fn id(table: &mut WatchTable, places: Vec<Place>) -> (u64, Receiver<()>, Option<Vec<PathBuf>>) {
        let (sender, hints) = channel(1);
        let id = table.join(sender);
        let new = table.change(id, places, true);
        (id, hints, new)
    }

    fn paths(paths: &[&str]) -> Vec<PathBuf> {
        paths.iter().map(PathBuf::from).collect()
    }

    #[test]
    fn only_who_wants_to_hear_of_a_name_is_told() {
        let mut table = WatchTable::default();
        let (a_id, mut a, change) = id(&mut table, vec![place("/etc", 7, "a"), place("/etc/now", 8, "a")]);
        assert_eq!(change, Some(paths(&["/etc", "/etc/now"])));
        let (b_id, mut b, change) = id(&mut table, vec![place("/etc", 7, "b")]);
        assert_eq!(change, Some(paths(&[])));
        table.heard(Path::new("/etc/a"), None);
        assert_eq!((a.try_recv().is_ok(), b.try_recv().is_ok()), (true, false));
        table.heard(Path::new("/etc/b"), None);
        assert_eq!((a.try_recv().is_ok(), b.try_recv().is_ok()), (false, true));
        for elsewhere in ["/etc/c", "/other/a", "/", "/etc/now/b"] {
            table.heard(Path::new(elsewhere), None);
        }
        assert_eq!((a.try_recv().is_ok(), b.try_recv().is_ok()), (false, false));
        table.hint_all();
        assert_eq!((a.try_recv().is_ok(), b.try_recv().is_ok()), (true, true));
        // When a folder is watched anew, both look once more. A new name counts as new even if its folder is watched.
        // A folder that nobody needs any more is no longer watched; one that another needs is.
        table.hint_of(Path::new("/etc"));
        assert_eq!((a.try_recv().is_ok(), b.try_recv().is_ok()), (true, true));
        assert_eq!(table.change(b_id, vec![place("/etc", 7, "c")], true), Some(paths(&[])));
        assert_eq!(table.change(b_id, vec![place("/etc", 7, "c")], true), None);
        table.leave(b_id);
        assert_eq!((table.watched.len(), table.forgotten()), (2, 0));
        table.leave(a_id);
        assert_eq!((table.watched.len(), table.forgotten()), (0, 2));
    }

    #[test]
    fn who_wants_every_name_of_a_folder_is_told_of_each() {
        let mut table = WatchTable::default();
        let (_, mut all, _) =
            id(&mut table, vec![place("/etc", 7, "routes.d"), place("/etc/routes.d", 8, "")]);
        for (path, told) in
            [("/etc/routes.d/a", true), ("/etc/routes.d/b", true), ("/etc/a", false), ("/etc/routes.d", true)]
        {
            table.heard(Path::new(path), None);
            assert_eq!(all.try_recv().is_ok(), told, "{path}");
        }
    }

    #[test]
    fn r10_the_last_event_of_a_place_tells_of_the_writer() {
        let mut table = WatchTable::default();
        let (a, _hints, _) = id(&mut table, vec![place("/etc", 7, "..data"), place("/etc/one", 8, "a")]);
        let mut after = |events: &[(&str, Option<Writer>)]| {
            events.iter().for_each(|(path, writer)| table.heard(Path::new(path), *writer));
            table.writer(a)
        };
        let (busy, done) = (Some(Writer::Busy), Some(Writer::Done));
        assert_eq!(after(&[("/etc/one/a", busy), ("/etc/one/a", done), ("/etc/one/a", None)]), done);
        assert_eq!(after(&[]), None, "told once");
        assert_eq!(after(&[("/etc/one/a", done), ("/etc/one/a", busy), ("/etc/one/b", done)]), busy);
        // A ConfigMap: the link is swapped, and the folder before it goes.
        let renamed = Some(Writer::Renamed);
        assert_eq!(after(&[("/etc/..data", renamed), ("/etc/one/a", None), ("/etc/one", None)]), renamed);
        table.hint_all();
        assert_eq!(table.writer(a), Some(Writer::Unknown), "events were lost");
    }

    #[test]
    fn who_comes_after_a_writer_has_begun_hears_that_it_has() {
        let mut table = WatchTable::default();
        let _all = id(&mut table, vec![place("/etc", 7, "")]);
        let mut late = |events: &[(&str, Option<Writer>)]| {
            events.iter().for_each(|(path, writer)| table.heard(Path::new(path), *writer));
            let (late, ..) = id(&mut table, vec![place("/etc", 7, "a")]);
            (table.writer(late), table.is_open(&[place("/etc", 7, "a")]))
        };
        let (busy, done) = (Some(Writer::Busy), Some(Writer::Done));
        assert_eq!(late(&[("/etc/b", busy)]), (None, false));
        assert_eq!(late(&[("/etc/a", busy), ("/etc/b", done), ("/etc/a", None)]), (busy, true));
        assert_eq!(late(&[("/etc/a", done)]), (None, false));
        assert_eq!(late(&[("/etc/a", busy), ("/etc/a", Some(Writer::Renamed))]), (None, false));
        // More than any folder of routes has: nothing is known any more, and nothing grows.
        let many: Vec<String> = (0..MOST_OPEN).map(|n| format!("/etc/{n}")).collect();
        let many: Vec<_> = many.iter().map(|path| (path.as_str(), busy)).collect();
        assert_eq!(late(&[&[("/etc/a", busy)], many.as_slice()].concat()), (None, false));
    }

    #[test]
    fn a_folder_of_two_paths_is_watched_under_one() {
        let mut table = WatchTable::default();
        let (_, mut a, _) = id(&mut table, vec![place("/etc", 7, "a")]);
        let (_, mut b, change) = id(&mut table, vec![place("/mnt/etc", 7, "b")]);
        assert_eq!(change, Some(paths(&[])));
        table.heard(Path::new("/etc/b"), None);
        assert_eq!((a.try_recv().is_ok(), b.try_recv().is_ok()), (false, true));
    }

    #[test]
    fn a_folder_that_was_shaken_or_replaced_is_watched_again() {
        let mut table = WatchTable::default();
        let wanted = || vec![place("/etc/portway", 7, "a"), place("/etc/portway/routes.d", 6, "b")];
        let (at, mut hints, _) = id(&mut table, wanted());
        table.heard(Path::new("/etc/portway"), None);
        assert!(hints.try_recv().is_ok());
        let change = table.change(at, wanted(), true);
        assert_eq!(change, Some(paths(&["/etc/portway", "/etc/portway/routes.d"])));
        assert!(table.change(at, wanted(), true).is_none());
        let change = table.change(at, vec![place("/etc/portway", 8, "a")], true);
        assert_eq!((change, table.forgotten()), (Some(paths(&["/etc/portway"])), 2));
        // A watcher that was replaced watches nothing yet.
        let change = table.change(at, vec![place("/etc/portway", 8, "a")], false);
        assert_eq!(change, Some(paths(&["/etc/portway"])));
    }
}
