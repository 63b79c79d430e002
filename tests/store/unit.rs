//! The unit of the puller.

use std::fs;

use super::signer::Signer;
use super::*;
use crate::harness::instance::lacks;
use crate::harness::until;

fn unit() -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/fleet/portway-pull.service"))
        .unwrap()
}

#[test]
fn the_unit_is_right() {
    if lacks(&["systemd-analyze"]) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("portway-pull.service");
    fs::write(&path, unit().replace("/usr/bin/portway", PORTWAY)).unwrap();
    let mut verify = Command::new("systemd-analyze");
    let verified = verify.args(["verify", "--man=no", "--recursive-errors=no"]).arg(&path).output().unwrap();
    let said = String::from_utf8_lossy(&verified.stderr);
    assert!(verified.status.success() && said.is_empty(), "{said}");
    let mut rate = Command::new("systemd-analyze");
    let rated = rate.args(["security", "--offline=true", "--threshold=15"]).arg(&path).output().unwrap();
    assert!(rated.status.success(), "{}", String::from_utf8_lossy(&rated.stdout));
}

/// Its command, with other paths.
#[test]
fn the_command_of_the_unit_pulls() {
    let a = Backend::named("a");
    let (fleet, signer) = (Fleet::new(&a), Signer::new(9));
    let root = fleet.place.root().to_str().unwrap().to_owned();
    fs::write(format!("{root}/edge.pub"), signer.public()).unwrap();
    fleet.publish(&a);
    fleet.store.put("/edge.toml.minisig", Answer::text(&signer.sign(&fleet.text(&a), "serial=1")));
    let unit = unit();
    let line = unit.lines().find_map(|line| line.strip_prefix("ExecStart=")).unwrap();
    let line = line
        .replace("/usr/bin/portway", PORTWAY)
        .replace("${FROM}", &fleet.store.url("/edge.toml"))
        .replace("/etc/portway", &root)
        .replace("/var/lib/portway", &root);
    let words: Vec<&str> = line.split(' ').collect();
    let mut child = Command::new(words[0]).args(&words[1..]).spawn().unwrap();
    let file = format!("{root}/portway.toml");
    until("the file is there", || fs::read_to_string(&file).is_ok_and(|text| text == fleet.text(&a)));
    until("its signature is, too", || fs::exists(format!("{file}.minisig")).unwrap());
    child.kill().unwrap();
    child.wait().unwrap();
}
