//! `portway pull`: the puller as a process of its own.

use std::process::Output;

use super::*;
use crate::harness::instance::reached;

fn pull_once(args: &[&str]) -> Output {
    Command::new(PORTWAY).args(["pull", "--once"]).args(args).output().unwrap()
}

#[track_caller]
fn ends(output: &Output, code: i32, said: &str) {
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{stderr}");
    assert!(stderr.contains(said), "no `{said}` in: {stderr}");
}

#[test]
fn a_single_look_says_by_its_code_what_came_of_it() {
    let a = Backend::named("a");
    let mut fleet = Fleet::new(&a);
    let file = fleet.place.folder().join("pulled.toml");
    let to = file.to_str().unwrap().to_owned();
    let url = fleet.store.url("/edge.toml");
    let once = || pull_once(&["--from", &url, "--to", &to]);
    ends(&once(), 1, "no such text");
    assert!(!file.exists());
    fleet.publish(&a);
    ends(&once(), 0, "the file is written");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), fleet.text(&a));
    let again = once();
    ends(&again, 0, "no --key");
    assert!(!String::from_utf8_lossy(&again.stderr).contains("written"));
    fleet.store.put("/edge.toml", Answer::text("[[route]]\nlisten = \"1\"\nupstrem = \"a:1\"\n"));
    ends(&once(), 1, "the text:3:1: ");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), fleet.text(&a));
    fleet.store.go_away();
    ends(&once(), 1, "refused");
}

#[test]
fn a_proxy_that_follows_the_file_takes_in_what_is_pulled() {
    let (a, b) = (Backend::named("a"), Backend::named("b"));
    let fleet = Fleet::new(&a);
    let file = fleet.place.file();
    let mut portway = Portway::run(&file);
    let url = fleet.store.url("/edge.toml");
    let mut pull = Command::new(PORTWAY);
    let mut pull =
        pull.args(["pull", "--every", "100ms", "--from", &url, "--to"]).arg(&file).spawn().unwrap();
    fleet.publish(&b);
    portway.phase("reloaded");
    assert_eq!(reached(fleet.port.number), "b");
    pull.kill().unwrap();
    pull.wait().unwrap();
    portway.stop();
}

#[test]
fn what_is_wrong_on_the_command_line_is_said_before_anything_is_asked() {
    let place = Place::with("");
    let at = |name: &str, text: &str| {
        let path = place.folder().join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let (to, junk) = (at("to.toml", ""), at("junk.pub", "-----BEGIN PUBLIC KEY-----\nMCow\n"));
    let url = "https://store.example/edge.toml";
    for (args, said) in [
        (vec!["--from", "store.example/edge.toml"], "has no scheme"),
        (vec!["--from", "ftp://store.example/edge.toml"], "scheme that is not known"),
        (vec!["--from", "http://store.example/edge.toml"], "--key"),
        (vec!["--from", "https://ann:secret@store.example/"], "--token-file"),
        (vec!["--from", url, "--key", &junk], "no public key of minisign"),
        (vec!["--from", url, "--key", "/nonexistent.pub"], "there is no such file"),
        (vec!["--from", url, "--ca", &to], "no certificate"),
        (vec!["--from", url, "--client-cert", &junk], "--client-key"),
        (vec!["--from", url, "--every", "1ms"], "100ms"),
        (vec!["--from", "etcds://store.example/k", "--token-file", &junk], "bearer token"),
    ] {
        let output = pull_once(&[args.as_slice(), &["--to", &to]].concat());
        ends(&output, 2, said);
        assert!(!String::from_utf8_lossy(&output.stderr).contains("secret"), "{args:?}");
    }
}
