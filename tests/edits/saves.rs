//! Every way to save a file.

use std::fs;
use std::path::Path;

use crate::harness::instance::*;

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Style {
    InPlace,
    Rename,
    Vim,
    Sed,
    Cp,
    Link,
    Kubernetes,
    FolderAgain,
    FolderMoved,
}

impl Style {
    pub const ALL: [Style; 9] = [
        Style::InPlace,
        Style::Rename,
        Style::Vim,
        Style::Sed,
        Style::Cp,
        Style::Link,
        Style::Kubernetes,
        Style::FolderAgain,
        Style::FolderMoved,
    ];

    /// Gives the file this text. `turn` is another number each time.
    pub fn save(self, place: &Place, text: &str, turn: usize) {
        let path = place.file();
        let new = place.root().join("new");
        fs::write(&new, text).unwrap();
        match self {
            Style::InPlace => fs::write(path, text).unwrap(),
            Style::Rename => place.save(text),
            Style::Vim => vim(&path, &new),
            // Reads the new text in after the first line, and deletes the old lines.
            Style::Sed => {
                tool("sed", ["-i", "-e", &format!("1r {}", new.display()), "-e", "d", path.to_str().unwrap()])
            }
            Style::Cp => tool("cp", [&new, &path]),
            Style::Link => {
                let target = place.root().join(format!("version-{turn}"));
                fs::write(&target, text).unwrap();
                replace_by_link(&target, &path);
            }
            Style::Kubernetes => kubernetes(place, text, turn),
            Style::FolderAgain => {
                fs::remove_dir_all(place.folder()).unwrap();
                fs::create_dir(place.folder()).unwrap();
                fs::write(path, text).unwrap();
            }
            Style::FolderMoved => {
                let next = place.root().join(format!("next-{turn}"));
                fs::create_dir(&next).unwrap();
                fs::write(next.join("portway.toml"), text).unwrap();
                fs::rename(place.folder(), place.root().join(format!("old-{turn}"))).unwrap();
                fs::rename(next, place.folder()).unwrap();
            }
        }
    }
}

/// Vim as it is outside /tmp, where it writes in place: by rename.
fn vim(path: &Path, new: &Path) {
    let read = format!("silent 0read {}", new.display());
    let commands = ["set backupskip=", "silent %d _", &read, "wq!"];
    let commands = commands.into_iter().flat_map(|command| ["-c", command]);
    tool("vim", ["-es", "-u", "NONE", "-N"].into_iter().chain(commands).chain([path.to_str().unwrap()]));
}

fn replace_by_link(target: &Path, link: &Path) {
    let new = link.with_file_name(".link");
    std::os::unix::fs::symlink(target, &new).unwrap();
    fs::rename(new, link).unwrap();
}

/// A ConfigMap: the file is a link through `..data`, itself a link that is swapped.
fn kubernetes(place: &Place, text: &str, turn: usize) {
    let folder = place.folder();
    let version = format!("..2026_{turn}");
    fs::create_dir(folder.join(&version)).unwrap();
    fs::write(folder.join(&version).join("portway.toml"), text).unwrap();
    let before = fs::read_link(folder.join("..data"));
    replace_by_link(Path::new(&version), &folder.join("..data"));
    if fs::read_link(place.file()).ok().as_deref() != Some(Path::new("..data/portway.toml")) {
        replace_by_link(Path::new("..data/portway.toml"), &place.file());
    }
    if let Ok(before) = before {
        fs::remove_dir_all(folder.join(before)).unwrap();
    }
}

fn arrives(style: Style) {
    let (port, a, b) = (Port::reserve(), Backend::named("a"), Backend::named("b"));
    let text = |backend: &Backend| file(&[("web", port.local(), backend)]);
    let place = Place::with(&text(&a));
    let mut portway = Portway::run(&place.file());
    assert_eq!(reached(port.number), "a");
    for turn in 1..=4 {
        let (name, backend) = if turn % 2 == 0 { ("a", &a) } else { ("b", &b) };
        style.save(&place, &text(backend), turn);
        let reloaded = portway.phase("reloaded");
        assert_eq!(reloaded["plan"], "changed web");
        assert_eq!(reloaded["generation"], turn + 1);
        assert_eq!(reached(port.number), name);
    }
    assert_eq!(portway.count("reloaded"), 4);
    portway.stop();
}

macro_rules! styles {
    ($($name:ident: $style:ident,)*) => {
        $(#[test]
        fn $name() {
            arrives(Style::$style);
        })*

        #[test]
        fn no_style_is_left_out() {
            assert_eq!([$(Style::$style),*], Style::ALL);
        }
    };
}

styles! {
    an_edit_in_place_arrives: InPlace,
    an_edit_by_rename_arrives: Rename,
    an_edit_with_vim_arrives: Vim,
    an_edit_with_sed_arrives: Sed,
    an_edit_with_cp_arrives: Cp,
    a_swapped_link_arrives: Link,
    a_config_map_arrives: Kubernetes,
    a_folder_made_again_is_watched_again: FolderAgain,
    a_folder_moved_into_place_is_watched: FolderMoved,
}

#[test]
fn an_edit_of_the_target_behind_several_links_arrives() {
    let (port, a, b) = (Port::reserve(), Backend::named("a"), Backend::named("b"));
    let place = Place::with("");
    let releases = place.root().join("releases");
    for (release, backend) in [("one", &a), ("two", &b)] {
        fs::create_dir_all(releases.join(release)).unwrap();
        fs::write(releases.join(release).join("p.toml"), file(&[("web", port.local(), backend)])).unwrap();
    }
    replace_by_link(Path::new("one"), &releases.join("current"));
    replace_by_link(&releases.join("current/p.toml"), &place.root().join("hop"));
    replace_by_link(Path::new("../hop"), &place.file());
    let mut portway = Portway::run(&place.file());
    assert_eq!(reached(port.number), "a");
    replace_by_link(Path::new("two"), &releases.join("current"));
    portway.phase("reloaded");
    assert_eq!(reached(port.number), "b");
    fs::write(releases.join("two/p.toml"), file(&[("web", port.local(), &a)])).unwrap();
    portway.phase("reloaded");
    assert_eq!(reached(port.number), "a");
    portway.stop();
}

#[test]
fn a_touch_and_a_comment_are_no_reload() {
    let (port, a) = (Port::reserve(), Backend::named("a"));
    let text = file(&[("web", port.local(), &a)]);
    let place = Place::with(&text);
    let mut portway = Portway::run(&place.file());
    tool("touch", [place.file()]);
    place.save(&text);
    // The comment comes last: when it has been looked at, so have the others.
    place.save(&format!("# hello\n{text}"));
    assert_eq!(portway.phase("nothing changed")["generation"], 1);
    assert_eq!(portway.count("reloaded"), 0);
    portway.stop();
}
