//! Certificates and keys in files: what is wrong with them, and what happens when they change.

use std::io::Write;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use super::pki::{self, Authority, Pair};
use crate::harness::EndOnDrop;
use crate::harness::instance::*;

const ROUTE: &str = "tls = { cert = \"app.pem\", key = \"app.key\" }\n";

/// What `portway check` says: its code, and all of its words.
fn check(file: &Path) -> (i32, String) {
    let check = Command::new(PORTWAY).arg("check").arg(file).output().unwrap();
    let words = [check.stdout, check.stderr].concat();
    (check.status.code().unwrap(), String::from_utf8(words).unwrap())
}

/// No line of the key's body, nor its beginning.
fn says_nothing_of(pair: &Pair, words: &str) {
    for line in pair.key.lines().filter(|line| !line.starts_with('-')) {
        assert!(!words.contains(&line[..line.len().min(6)]), "the key is in: {words}");
    }
}

/// What `portway check` says of a fault at this place of the file.
fn refused(place: &Place, name: &str, place_of: &str, wanted: &str) -> String {
    let (code, words) = check(&place.file());
    assert_eq!(code, 2, "{name}: {words}");
    let (message, cure) = wanted.split_once("; ").unwrap();
    // With the line in it, where the fault has one.
    let path = place.folder().join(name).display().to_string();
    let told = words
        .split_once(&format!("{path}:"))
        .map(|(_, rest)| rest.trim_start_matches(|c: char| c.is_ascii_digit() || c == ':'));
    assert!(told.is_some_and(|told| told.starts_with(&format!(" {message}"))), "{name}, {wanted}: {words}");
    assert!(words.contains(&format!("help: {cure}")), "{name}, {wanted}: {words}");
    assert!(words.contains(&format!("portway.toml:{place_of}\n")), "{name}, {wanted}: {words}");
    words
}

#[test]
fn what_does_not_fit_is_a_fault_at_its_path_with_its_cure() {
    let authority = Authority::new();
    let (pair, other) = (authority.pair("localhost"), authority.pair("localhost"));
    let backend = Backend::named("app");
    let tls = "tls = { cert = \"app.pem\", key = \"app.key\", client_ca = \"ca.pem\" }\n";
    let place = Place::with(&format!("{HEAD}{}", route("app", "127.0.0.1:1", &backend, tls)));
    let folder = place.folder();
    let put = |name: &str, text: &str| std::fs::write(folder.join(name), text).unwrap();
    let fine = || {
        pair.write(&folder, "app");
        put("ca.pem", &authority.pem());
        let chmod = Command::new("chmod").arg("600").arg(folder.join("app.key")).status().unwrap();
        assert!(chmod.success());
    };
    fine();
    assert_eq!(check(&place.file()).0, 0);
    let (cert, key, ca) = ("8:16", "8:33", "8:56");
    let half = &pair.key[..pair.key.len() / 2];
    let encrypted = pair.key.replace("PRIVATE KEY", "ENCRYPTED PRIVATE KEY");
    let cases: [(&str, Option<&str>, &str, &str); 11] = [
        ("app.pem", None, cert, "there is no such file; create it"),
        ("app.key", None, key, "there is no such file; create it"),
        ("app.pem", Some(""), cert, "there is no certificate in it; a certificate stands in PEM"),
        (
            "app.pem",
            Some(&pair.key),
            cert,
            "there is a key in it, and no certificate; give the certificate here",
        ),
        (
            "app.key",
            Some(&pair.cert),
            key,
            "there is a certificate in it, and no key; give the private key here",
        ),
        ("app.key", Some("no key"), key, "there is no private key in it; a key stands in PEM"),
        ("app.key", Some(half), key, "its PEM has a beginning, and no end; copy the file again"),
        (
            "app.key",
            Some(&encrypted),
            key,
            "the key is encrypted, and nobody is there to type its password; take",
        ),
        ("app.key", Some(&other.key), key, "the key does not belong to the certificate; give the key that"),
        ("ca.pem", Some("# none"), ca, "there is no certificate in it; a certificate stands in PEM"),
        ("ca.pem", None, ca, "there is no such file; create it"),
    ];
    for (name, text, place_of, wanted) in cases {
        fine();
        match text {
            Some(text) => put(name, text),
            None => std::fs::remove_file(folder.join(name)).unwrap(),
        }
        let words = refused(&place, name, place_of, wanted);
        says_nothing_of(&pair, &words);
    }
}

#[test]
fn what_is_no_fault_is_a_warning() {
    let authority = Authority::new();
    let backend = Backend::named("app");
    let place = Place::with(&format!("{HEAD}{}", route("app", "127.0.0.1:1", &backend, ROUTE)));
    let pair = authority.pair_until("localhost", 2024);
    pair.write(&place.folder(), "app");
    let (code, words) = check(&place.file());
    assert_eq!(code, 0, "{words}");
    assert!(words.contains("app.key: the private key is readable by all: let only Portway"), "{words}");
    assert!(words.contains("app.pem: the certificate expired ") && words.contains("days ago"), "{words}");
    says_nothing_of(&pair, &words);
}

/// The kubelet mounts a Secret with mode 0644 behind a link `..data`: there nobody can say chmod.
#[test]
fn m_the_key_of_a_secret_has_the_cure_of_a_secret() {
    let authority = Authority::new();
    let backend = Backend::named("app");
    let tls = "tls = { cert = \"tls/app.pem\", key = \"tls/app.key\" }\n";
    let place = Place::with(&format!("{HEAD}{}", route("app", "127.0.0.1:1", &backend, tls)));
    let secret = place.folder().join("tls");
    std::fs::create_dir_all(secret.join("..2026")).unwrap();
    authority.pair("localhost").write(&secret.join("..2026"), "app");
    std::os::unix::fs::symlink("..2026", secret.join("..data")).unwrap();
    for name in ["app.pem", "app.key"] {
        std::os::unix::fs::symlink(format!("..data/{name}"), secret.join(name)).unwrap();
    }
    let (code, words) = check(&place.file());
    assert_eq!(code, 0, "{words}");
    assert!(words.contains("set defaultMode: 0440 in the volume of the Secret, and fsGroup"), "{words}");
    assert!(!words.contains("chmod"), "{words}");
}

#[test]
fn a_new_pair_is_taken_over_under_load_without_a_failure_and_a_bad_one_is_not() {
    let authorities = [Authority::new(), Authority::new()];
    let backend = Backend::named("app");
    let port = Port::reserve();
    let place = Place::with(&format!("{HEAD}{}", route("app", &port.local(), &backend, ROUTE)));
    let folder = place.folder();
    authorities[0].pair("localhost").write(&folder, "app");
    let mut portway = Portway::run(&place.file());
    let trusts = [authorities[0].trust(), authorities[1].trust()];
    let (over, talks) = (AtomicBool::new(false), AtomicUsize::new(0));
    let shows = |which: usize| pki::begin(port.number, &trusts[which], "localhost").is_ok();
    std::thread::scope(|all| {
        for _ in 0..3 {
            all.spawn(|| {
                while !over.load(Ordering::Relaxed) {
                    // Whichever is in force: a failure is one of both, or of a connection that has begun.
                    let mut client = pki::begin(port.number, &trusts[0], "localhost")
                        .or_else(|_| pki::begin(port.number, &trusts[1], "localhost"))
                        .or_else(|_| pki::begin(port.number, &trusts[0], "localhost"))
                        .expect("neither certificate is shown");
                    assert_eq!(pki::talk(&mut client).expect("a connection failed"), "app");
                    talks.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        let _end = EndOnDrop(&over);
        let mut begun = pki::begin(port.number, &trusts[0], "localhost").unwrap();
        for turn in 1..=4 {
            authorities[turn % 2].pair("localhost").write(&folder, "app");
            portway.phase("certificate taken over");
            assert!(shows(turn % 2) && !shows((turn + 1) % 2), "turn {turn}");
        }
        // One that does not fit: the one before stays, and that is said once.
        std::fs::write(folder.join("app.key"), &authorities[1].pair("localhost").key).unwrap();
        let refused = portway.phase("certificate refused");
        let headline = refused["headline"].as_str().unwrap();
        let wanted =
            format!("{}: the key does not belong to the certificate; give", folder.join("app.key").display());
        assert!(headline.starts_with(&wanted), "{headline}");
        assert!(shows(0));
        pass(Duration::from_secs(5));
        assert_eq!(portway.count("certificate refused"), 1, "it is said again");
        let pair = authorities[1].pair("localhost");
        pair.write(&folder, "app");
        portway.phase("certificate taken over");
        assert!(shows(1));
        // Nobody who was there before has noticed.
        assert_eq!(pki::talk(&mut begun).unwrap(), "app");
        drop(begun);
        says_nothing_of(&pair, &portway.log());
    });
    let talks = talks.load(Ordering::Relaxed);
    assert!(talks > 100, "only {talks} connections");
    portway.stop();
}

/// A user has few inotify instances, often 128 for all programs (inotify(7)).
#[test]
fn many_certificates_are_watched_as_one() {
    let (authority, later) = (Authority::new(), Authority::new());
    let backend = Backend::named("app");
    let port = Port::reserve();
    let name = |at: usize| format!("app-{at}.example.com");
    let routes = (0..60).map(|at| {
        let tls = format!("tls = {{ cert = \"{at}.pem\", key = \"{at}.key\" }}\nsni = \"{}\"\n", name(at));
        route(&format!("app-{at}"), &port.local(), &backend, &tls)
    });
    let place = Place::with(&format!("{HEAD}{}", routes.collect::<String>()));
    let folder = place.folder();
    (0..60).for_each(|at| authority.pair(&name(at)).write(&folder, &at.to_string()));
    let mut portway = Portway::run(&place.file());
    assert_eq!(portway.descriptors().get("anon_inode:inotify"), Some(&1));
    for at in [0, 59] {
        let saved = Instant::now();
        later.pair(&name(at)).write(&folder, &at.to_string());
        portway.phase("certificate taken over");
        // By an event: the polls are 2 s and more apart.
        assert!(saved.elapsed() < Duration::from_millis(1500), "{:?}", saved.elapsed());
        let mut client = pki::begin(port.number, &later.trust(), &name(at)).unwrap();
        assert_eq!(pki::talk(&mut client).unwrap(), "app");
    }
    // The others were not touched.
    pki::begin(port.number, &authority.trust(), &name(30)).unwrap();
    assert_eq!(portway.count("certificate taken over"), 2);
    portway.stop();
}

#[test]
fn an_edit_that_names_a_bad_pair_changes_nothing() {
    let authority = Authority::new();
    let backend = Backend::named("app");
    let port = Port::reserve();
    let plain = format!("{HEAD}{}", route("app", &port.local(), &backend, ""));
    let place = Place::with(&plain);
    let mut portway = Portway::run(&place.file());
    authority.pair("localhost").write(&place.folder(), "app");
    let (pem, key) = (place.folder().join("app.pem"), place.folder().join("app.key"));
    std::fs::rename(&key, place.folder().join("later.key")).unwrap();
    place.save(&format!("{HEAD}{}", route("app", &port.local(), &backend, ROUTE)));
    let refused = portway.refused();
    let wanted = format!("8:33: the key {}: there is no such file; create it", key.display());
    assert!(refused.contains(&wanted), "{refused}");
    assert_eq!(reached(port.number), "app");
    // It heals by itself when the key comes.
    std::fs::rename(place.folder().join("later.key"), &key).unwrap();
    portway.phase("reloaded");
    let mut client = pki::begin(port.number, &authority.trust(), "localhost").unwrap();
    assert_eq!(pki::talk(&mut client).unwrap(), "app");
    assert!(pem.exists());
    drop(client);
    // Its files are watched no more.
    place.save(&plain);
    portway.phase("reloaded");
    portway.stop();
}

/// What a key file holds is shown nowhere, and a list of authorities that is shortened in place is in force at once: an
/// authority that was withdrawn is not trusted any more.
#[test]
fn what_is_written_in_place_is_judged_by_its_pem() {
    let (authority, withdrawn, backend) = (Authority::new(), Authority::new(), Backend::named("app"));
    let port = Port::reserve();
    let tls = "tls = { cert = \"app.pem\", key = \"app.key\", client_ca = \"ca.pem\" }\n";
    let place = Place::with(&format!("{HEAD}{}", route("app", &port.local(), &backend, tls)));
    let pair = authority.pair("localhost");
    pair.write(&place.folder(), "app");
    let ca = place.folder().join("ca.pem");
    std::fs::write(&ca, authority.pem() + &withdrawn.pem()).unwrap();
    let mut portway = Portway::run(&place.file());

    std::fs::write(&ca, authority.pem()).unwrap();
    portway.phase("certificate taken over");

    let key = place.folder().join("app.key");
    std::fs::write(&key, &pair.key[..pair.key.len() * 2 / 3]).unwrap();
    let refused = portway.phase("certificate refused").to_string();
    assert!(refused.contains("its PEM has a beginning, and no end"), "{refused}");
    says_nothing_of(&pair, &portway.log());
    std::fs::write(&key, &pair.key).unwrap();
    portway.phase("certificate healed");
    portway.stop();
}

/// R10: an authority is gone once the writer of its file has closed it, at once and with a warning, and not before.
#[test]
fn r10_a_bundle_that_is_being_written_loses_no_authority() {
    let (authority, second, backend) = (Authority::new(), Authority::new(), Backend::named("app"));
    let port = Port::reserve();
    let tls = "tls = { cert = \"app.pem\", key = \"app.key\", client_ca = \"ca.pem\" }\n";
    let place = Place::with(&format!("{HEAD}{}", route("app", &port.local(), &backend, tls)));
    authority.pair("localhost").write(&place.folder(), "app");
    let ca = place.folder().join("ca.pem");
    std::fs::write(&ca, authority.pem() + &second.pem()).unwrap();
    let mut portway = Portway::run(&place.file());
    let mut writer = std::fs::File::create(&ca).unwrap();
    writer.write_all(authority.pem().as_bytes()).unwrap();
    pass(Duration::from_secs(2));
    assert_eq!(portway.count("certificate"), 0, "{}", portway.log());
    drop(writer);
    let closed = Instant::now();
    portway.phase("certificate taken over");
    assert!(closed.elapsed() < Duration::from_secs(3), "{:?}", closed.elapsed());
    let warned = "the file ends after `block 1` now, and `block 2` is gone";
    assert_eq!(portway.count(warned), 1, "{}", portway.log());
    portway.stop();
}
