//! Folders of included files that come, go and are reached by links: events tell of what happens there, before a poll does.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use super::includes::{INCLUDE, Several, ports};
use crate::harness::instance::*;

/// Two changes, one after the other: a poll, which comes every 10 s, may find the first in time, but not both.
fn soon(several: &mut Several, mut change: impl FnMut(&Several, usize), plans: [&str; 2]) {
    for (turn, plan) in plans.into_iter().enumerate() {
        let saved = Instant::now();
        change(several, turn);
        assert_eq!(several.reloaded(), plan);
        assert!(saved.elapsed() < Duration::from_secs(5), "{plan} after {:?}", saved.elapsed());
    }
}

/// A proxy whose main file is given without its folder.
fn run_inside(place: Place) -> Several {
    let mut command = Command::new(PORTWAY);
    command.current_dir(place.folder()).args(["run", "--config"]).arg(place.file().file_name().unwrap());
    Several { portway: Portway::start(&mut command), place }
}

#[test]
fn the_first_files_of_a_folder_are_found_by_events() {
    let elsewhere = |folder: &Path| folder.with_file_name("elsewhere");
    type Make<'m> = &'m dyn Fn(&Path);
    let (nothing, plain): (Make, Make) = (&|_| {}, &|folder| fs::create_dir(folder).unwrap());
    let link: Make = &|folder| {
        fs::create_dir(elsewhere(folder)).unwrap();
        symlink("elsewhere", folder).unwrap();
    };
    for (before, after) in [(plain, nothing), (link, nothing), (nothing, plain), (nothing, link)] {
        for relative in [true, false] {
            let ([one, two], app) = (ports(), Backend::named("app"));
            let texts = [route("one", &one.local(), &app, ""), route("two", &two.local(), &app, "")];
            let place = Place::with(&format!("{INCLUDE}{HEAD}"));
            let folder = place.folder().join("routes.d");
            before(&folder);
            let mut several = match relative {
                true => run_inside(place),
                false => Several { portway: Portway::run(&place.file()), place },
            };
            after(&folder);
            let names = ["one.toml", "two.toml"];
            soon(&mut several, |of, turn| of.save(names[turn], &texts[turn]), ["added one", "added two"]);
            let edit = |of: &Several, turn: usize| {
                of.save(names[turn], &(texts[turn].clone() + "keepalive = \"30s\"\n"))
            };
            soon(&mut several, edit, ["changed one", "changed two"]);
            several.portway.stop();
        }
    }
}

/// Moves a folder away and back: at once, or so that it is noticed in between.
fn moved(several: &mut Several, folder: &Path, at_once: bool) {
    let away = several.place.folder().join("away");
    fs::rename(folder, &away).unwrap();
    if !at_once {
        several.portway.refused();
    }
    fs::rename(&away, folder).unwrap();
    if !at_once {
        several.portway.phase("fault healed");
    }
}

/// Also one with folders below: whoever moves a folder moves what is in it.
#[test]
fn a_folder_that_was_moved_away_and_back_is_followed_by_events() {
    for (globs, moves, folder) in
        [("routes.d/*.toml", "routes.d", "routes.d"), ("sites/*/*/*.toml", "sites/a", "sites/a/routes")]
    {
        for (relative, at_once) in [(true, true), (true, false), (false, true), (false, false)] {
            let (ports, app) = (ports::<3>(), Backend::named("app"));
            let text =
                |number: usize, more: &str| route(&format!("r{number}"), &ports[number].local(), &app, more);
            let place = Place::with(&format!("include = \"{globs}\"\n{HEAD}"));
            let (moves, folder) = (place.folder().join(moves), place.folder().join(folder));
            fs::create_dir_all(&folder).unwrap();
            let mut several = match relative {
                true => run_inside(place),
                false => Several { portway: Portway::run(&place.file()), place },
            };
            let save = |number: usize, more: &str| {
                fs::write(folder.join(format!("{number}.toml")), text(number, more)).unwrap();
            };
            save(0, "");
            assert_eq!(several.reloaded(), "added r0");
            moved(&mut several, &moves, at_once);
            soon(&mut several, |_, turn| save(turn + 1, ""), ["added r1", "added r2"]);
            let edit = |_: &Several, turn: usize| save(0, ["keepalive = \"30s\"\n", ""][turn]);
            soon(&mut several, edit, ["changed r0", "changed r0"]);
            several.portway.stop();
        }
    }
}
