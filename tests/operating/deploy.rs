//! The unit files.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::harness::{BINARY, lacks};

#[test]
fn the_units_are_right() {
    if lacks("the_units_are_right", &["systemd-analyze"], false) {
        return;
    }
    let version = Command::new("systemd-analyze").arg("--version").output().unwrap().stdout;
    let version = String::from_utf8(version).unwrap();
    let version: u32 = version.split(' ').nth(1).unwrap().parse().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let deploy = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy");
    for unit in ["portway.service", "portway.socket"] {
        let mut text = fs::read_to_string(deploy.join(unit)).unwrap();
        // `verify` looks for the program.
        text = text.replace("/usr/bin/portway", BINARY);
        if version < 253 {
            text = text.replace("Type=notify-reload", "Type=notify");
        }
        fs::write(folder.path().join(unit), text).unwrap();
    }
    let verified = Command::new("systemd-analyze")
        .args(["verify", "--man=no", "--recursive-errors=no"])
        .args(["portway.service", "portway.socket"].map(|unit| folder.path().join(unit)))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&verified.stderr);
    assert!(verified.status.success() && said.is_empty(), "{said}");
}
