//! What needs an own mount namespace: single files that are mounted, file systems that come, go and are full.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use crate::harness::instance::*;

/// Starts Portway in its own mount namespace, after `setup` (a shell script; `$D` is the place's root).
fn in_namespace(place: &Place, setup: &str) -> Portway {
    let script = format!("set -e; {setup}; exec {PORTWAY} run --config \"$D/etc/portway.toml\"");
    let mut command = Command::new("unshare");
    Portway::start(
        command.args(["-m", "--propagation", "private", "sh", "-c", &script]).env("D", place.root()),
    )
}

/// The file as the process sees it.
fn inside(portway: &Portway, place: &Place) -> PathBuf {
    PathBuf::from(format!("/proc/{}/root", portway.pid())).join(place.folder().strip_prefix("/").unwrap())
}

#[test]
fn a_single_mounted_file_that_was_replaced_outside_is_noticed() {
    if lacks_root() {
        return;
    }
    let (port, a, b) = (Port::reserve(), Backend::named("a"), Backend::named("b"));
    let text = |backend| file(&[("web", port.local(), backend)]);
    let place = Place::with("");
    let outside = place.root().join("outside.toml");
    fs::write(&outside, text(&a)).unwrap();
    let mut portway = in_namespace(&place, "mount --bind \"$D/outside.toml\" \"$D/etc/portway.toml\"");
    assert_eq!(portway.count("this one file is mounted by itself"), 1, "{}", portway.log());
    // In place the edit arrives.
    fs::write(&outside, text(&b)).unwrap();
    portway.phase("reloaded");
    assert_eq!(reached(port.number), "b");
    // By rename it cannot.
    fs::write(place.root().join("new"), text(&a)).unwrap();
    fs::rename(place.root().join("new"), &outside).unwrap();
    portway.phase("the file was replaced outside");
    assert_eq!(reached(port.number), "b");
    portway.hang_up();
    portway.phase("nothing changed");
    assert_eq!(portway.count("the file was replaced outside"), 1);
    portway.stop();
}

#[test]
fn a_mounted_file_that_was_renamed_outside_is_noticed() {
    if lacks_root() {
        return;
    }
    let (port, a) = (Port::reserve(), Backend::named("a"));
    let place = Place::with("");
    let outside = place.root().join("outside.toml");
    fs::write(&outside, file(&[("web", port.local(), &a)])).unwrap();
    let mut portway = in_namespace(&place, "mount --bind \"$D/outside.toml\" \"$D/etc/portway.toml\"");
    // An editor that keeps a backup: the inode has a name still, but not this one.
    fs::rename(&outside, place.root().join("outside.toml~")).unwrap();
    fs::write(&outside, file(&[("web", port.local(), &a)])).unwrap();
    portway.phase("the file was replaced outside");
    portway.stop();
}

#[test]
fn a_file_system_that_is_unmounted_and_mounted_again() {
    if lacks_root() {
        return;
    }
    let (port, a, b) = (Port::reserve(), Backend::named("a"), Backend::named("b"));
    let text = |backend| file(&[("web", port.local(), backend)]);
    let place = Place::with("");
    fs::write(place.root().join("first"), text(&a)).unwrap();
    let mut portway =
        in_namespace(&place, "mount -t tmpfs none \"$D/etc\"; cp \"$D/first\" \"$D/etc/portway.toml\"");
    let pid = portway.pid().to_string();
    let folder = place.folder();
    let folder = folder.to_str().unwrap();
    let enter = |args: &[&str]| tool("nsenter", [&["-m", "-t", &*pid], args].concat());
    enter(&["umount", folder]);
    // The file below the mount is empty.
    assert!(portway.refused().contains("is empty"), "{}", portway.log());
    enter(&["mount", "-t", "tmpfs", "-o", "size=64k", "none", folder]);
    portway.refused();
    fs::write(inside(&portway, &place).join("portway.toml"), text(&b)).unwrap();
    portway.phase("reloaded");
    assert_eq!(reached(port.number), "b");

    // A save for which there is no space is a file that is cut off.
    let full = fs::write(inside(&portway, &place).join("filler"), vec![0; 1 << 20]);
    assert_eq!(full.unwrap_err().kind(), std::io::ErrorKind::StorageFull);
    let long = format!("{}{}", "# a comment\n".repeat(10_000), text(&b));
    drop(fs::write(inside(&portway, &place).join("portway.toml"), long).unwrap_err());
    portway.refused();
    assert_eq!(reached(port.number), "b");
    fs::remove_file(inside(&portway, &place).join("filler")).unwrap();
    fs::write(inside(&portway, &place).join("portway.toml"), text(&b)).unwrap();
    portway.phase("fault healed");
    portway.stop();
}
