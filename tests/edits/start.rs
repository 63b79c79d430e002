//! The start: what is wrong then ends the program, with all of it told at once.

use std::fs;
use std::net::TcpListener;
use std::process::{Command, Output, Stdio};

use crate::harness::instance::*;

fn start(place: &Place) -> Output {
    let mut command = Command::new(PORTWAY);
    command.arg("run").arg("--config").arg(place.file()).stdin(Stdio::null());
    command.output().unwrap()
}

fn fails(place: &Place, code: i32, told: &[&str]) {
    let output = start(place);
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{text}");
    for told in told {
        assert!(text.contains(told), "no {told:?} in {text}");
    }
}

#[test]
fn a_wrong_file_is_shown_and_ends_with_2() {
    let place = Place::with("[[route]]\nlisten = 1\nupstream = \"127.0.0.1\"\n");
    let file = place.file().display().to_string();
    fails(&place, 2, &[&format!("{file}:2:10"), &format!("{file}:3:12"), "^"]);
    fs::write(place.file(), "").unwrap();
    fails(&place, 2, &["is empty"]);
    fs::remove_file(place.file()).unwrap();
    fails(&place, 2, &["no such file", "create it"]);
    tool("mkfifo", [place.file()]);
    fails(&place, 2, &["a pipe"]);
}

#[test]
fn an_access_log_into_the_file_itself_is_no_start() {
    let (port, a) = (Port::reserve(), Backend::named("a"));
    let place = Place::with("");
    let access = format!("\"{}\"", place.file().display());
    let text = file(&[("web", port.local(), &a)]).replace("\"off\"", &access);
    fs::write(place.file(), &text).unwrap();
    fails(&place, 1, &[":3:10", "the access log would be written into this file itself"]);
    assert_eq!(fs::read_to_string(place.file()).unwrap(), text);
}

#[test]
fn sockets_that_cannot_be_had_are_all_named_and_end_with_1() {
    let taken = [TcpListener::bind("127.0.0.1:0").unwrap(), TcpListener::bind("127.0.0.1:0").unwrap()];
    let a = Backend::named("a");
    let taken = taken.each_ref().map(|listener| listener.local_addr().unwrap().to_string());
    let place = Place::with(&file(&[
        ("one", taken[0].clone(), &a),
        ("two", taken[1].clone(), &a),
        // TEST-NET-1 (RFC 5737): no host has it.
        ("three", "192.0.2.1:7000".into(), &a),
    ]));
    let file = place.file().display().to_string();
    fails(&place, 1, &[&taken[0], &taken[1], "192.0.2.1:7000", "ss -ltnp", &format!("{file}:6:10")]);
}

#[test]
fn a_name_that_does_not_resolve_is_no_reason_not_to_start() {
    let port = Port::reserve();
    let text =
        format!("{HEAD}[[route]]\nlisten = \"{}\"\nupstream = \"no-such-host.invalid:80\"\n", port.local());
    let place = Place::with(&text);
    Portway::run(&place.file()).stop();
}

#[test]
fn the_file_is_found_by_the_environment() {
    let (port, a) = (Port::reserve(), Backend::named("a"));
    let place = Place::with(&file(&[("web", port.local(), &a)]));
    let portway = Portway::start(Command::new(PORTWAY).arg("run").env("PORTWAY_CONFIG", place.file()));
    assert_eq!(reached(port.number), "a");
    portway.stop();
}

#[test]
fn a_relative_path_is_watched() {
    let (port, a, b) = (Port::reserve(), Backend::named("a"), Backend::named("b"));
    let place = Place::with(&file(&[("web", port.local(), &a)]));
    let mut command = Command::new(PORTWAY);
    let mut portway =
        Portway::start(command.args(["run", "--config", "portway.toml"]).current_dir(place.folder()));
    place.save(&file(&[("web", port.local(), &b)]));
    portway.phase("reloaded");
    assert_eq!(reached(port.number), "b");
    portway.stop();
}
