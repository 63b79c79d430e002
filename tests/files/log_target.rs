//! Where the access log may not go: into a file that Portway reads.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, Stdio};

/// A folder with every kind of file that the main one names.
fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    fs::create_dir(at("sub")).unwrap();
    fs::write(at("more.toml"), "[[route]]\nlisten = \"8081\"\nupstream = \"app:80\"\n").unwrap();
    fs::write(at("nets.txt"), "192.0.2.0/24\n").unwrap();
    fs::write(at("token"), "kX3vW9qLr2TzP7sN\n").unwrap();
    for name in ["app.pem", "app.key", "main.toml"] {
        fs::write(at(name), "").unwrap();
    }
    fs::hard_link(at("main.toml"), at("hard.log")).unwrap();
    symlink("main.toml", at("soft.log")).unwrap();
    symlink("nets.txt", at("list.log")).unwrap();
    folder
}

/// What `check` says of the main file with this access log.
fn said(folder: &Path, access: &str) -> String {
    let text = format!(
        "include = \"more*.toml\"\n[log]\naccess = \"{access}\"\n\
         [admin]\nlisten = \"127.0.0.1:9180\"\ntoken = {{ file = \"token\" }}\n\
         [[route]]\nlisten = \"8080\"\nupstream = \"app:80\"\ndeny = {{ file = \"nets.txt\" }}\n\
         [[route]]\nlisten = \"8443\"\nupstream = \"app:80\"\ntls = {{ cert = \"app.pem\", key = \"app.key\" }}\n"
    );
    // In place: its other names stay.
    fs::write(folder.join("main.toml"), text).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_portway"));
    let output =
        command.args(["check", "main.toml"]).current_dir(folder).stdin(Stdio::null()).output().unwrap();
    String::from_utf8(output.stderr).unwrap()
}

#[test]
fn the_access_log_goes_into_no_file_that_is_read() {
    let folder = folder();
    let whole = folder.path().join("main.toml").display().to_string();
    for (access, what) in [
        ("main.toml", "this file itself"),
        ("./main.toml", "this file itself"),
        ("sub/../main.toml", "this file itself"),
        (&whole, "this file itself"),
        ("hard.log", "this file itself"),
        ("soft.log", "this file itself"),
        ("more.toml", "a file of `include`"),
        ("./more-of-it.toml", "a file of `include`"),
        ("nets.txt", "a list of networks"),
        ("list.log", "a list of networks"),
        ("app.pem", "a certificate or a key"),
        ("app.key", "a certificate or a key"),
        ("./token", "a token"),
    ] {
        let said = said(folder.path(), access);
        let fault = format!("error: the access log would be written into {what}\n --> main.toml:3:10\n");
        assert!(said.contains(&fault), "{access}: {said}");
        assert!(said.contains("= help: write another path: \"access.log\""), "{access}: {said}");
    }
    for access in ["access.log", "sub/main.toml", "more.log", "no/more.toml", "stderr", "./app.pem2"] {
        let said = said(folder.path(), access);
        assert!(!said.contains("access log"), "{access}: {said}");
    }
}
