//! `crl`: clients whose certificate is revoked, lists that are too old, missing or of somebody else; beside HAProxy and nginx.

use std::path::Path;
use std::process::Command;

use super::daemon::*;
use super::pki::{self, Authority, Pair};
use super::terminate::line_with;
use crate::harness::instance::*;

const TLS: &str =
    "tls = { cert = \"app.pem\", key = \"app.key\", client_ca = \"ca.pem\", crl = \"crl.pem\" }\n";

/// A route whose clients need a certificate that is not revoked. Its access log is a file.
struct World {
    place: Place,
    port: Port,
    server: Authority,
    backend: Backend,
}

impl World {
    fn new(tls: &str) -> World {
        let (place, port, server) = (Place::with(""), Port::reserve(), Authority::new());
        let backend = Backend::named("app");
        let access = place.root().join("access.log");
        let head = HEAD.replace("access = \"off\"", &format!("access = \"{}\"", access.display()));
        place.save(&format!("{head}{}", route("app", &port.local(), &backend, tls)));
        server.pair("localhost").write(&place.folder(), "app");
        World { place, port, server, backend }
    }

    /// Writes a file by rename.
    fn put(&self, name: &str, text: impl AsRef<[u8]>) {
        put(&self.place.folder(), name, text.as_ref());
    }

    fn is_served(&self, pair: &Pair) -> bool {
        is_served(&self.port, &self.server, pair)
    }

    /// The client is refused, and the access log says why.
    fn refuses(&self, pair: &Pair, why: &str) {
        assert!(!self.is_served(pair), "served, and not refused: {why}");
        let line = line_with(&self.place.root().join("access.log"), why);
        assert!(line.contains("bad-tls"), "{line}");
    }

    fn check(&self) -> (i32, String) {
        let check = Command::new(PORTWAY).arg("check").arg(self.place.file()).output().unwrap();
        (check.status.code().unwrap(), String::from_utf8([check.stdout, check.stderr].concat()).unwrap())
    }
}

fn put(folder: &Path, name: &str, text: &[u8]) {
    let new = folder.join(".new");
    std::fs::write(&new, text).unwrap();
    std::fs::rename(new, folder.join(name)).unwrap();
}

fn is_served(port: &Port, server: &Authority, pair: &Pair) -> bool {
    let config = server.trust_as(pair);
    pki::begin(port.number, &config, "localhost").is_ok_and(|mut client| pki::talk(&mut client).is_ok())
}

#[test]
fn r3_a_revoked_client_is_refused_as_soon_as_the_list_is_there() {
    let world = World::new(TLS);
    let devices = Authority::new();
    let [lost, kept] = [7, 8].map(|serial| devices.pair_numbered("device", serial));
    world.put("ca.pem", devices.pem());
    world.put("crl.pem", devices.revokes(&[7], 2099).0);
    let mut portway = Portway::run(&world.place.file());
    world.refuses(&lost, "its certificate is revoked (tls.crl)");
    let config = world.server.trust_as(&kept);
    let mut open = pki::begin(world.port.number, &config, "localhost").unwrap();
    assert_eq!(pki::talk(&mut open).unwrap(), "app");

    world.put("crl.pem", devices.revokes(&[8], 2099).0);
    portway.phase("certificate taken over");
    // Not by its ticket either.
    assert!(
        !pki::begin(world.port.number, &config, "localhost").is_ok_and(|mut it| pki::talk(&mut it).is_ok())
    );
    assert!(!world.is_served(&kept) && world.is_served(&lost));
    // Who is in stays.
    std::io::Write::write_all(&mut open, b"still here\n").unwrap();
    std::io::Read::read_exact(&mut open, &mut [0; 11]).unwrap();
    drop(open);

    // A bad one changes nothing, and says so.
    world.put("crl.pem", "no list\n");
    let refused = portway.phase("certificate refused")["headline"].as_str().unwrap().to_owned();
    assert!(refused.contains("crl.pem: there is no revocation list in it"), "{refused}");
    assert!(!world.is_served(&kept) && world.is_served(&lost));
    portway.stop();
}

#[test]
fn r3_lists_come_in_several_files_and_in_der() {
    let world = World::new(&TLS.replace("\"crl.pem\"", "[\"one.crl\", \"two.crl\"]"));
    let (one, two) = (Authority::new(), Authority::new());
    world.put("ca.pem", one.pem() + &two.pem());
    world.put("one.crl", one.revokes(&[1], 2099).1);
    world.put("two.crl", two.revokes(&[2], 2099).0.replace('\n', "\r\n"));
    let (code, words) = world.check();
    assert!(code == 0 && !words.contains("revocation"), "{words}");
    let portway = Portway::run(&world.place.file());
    for (authority, revoked) in [(&one, 1), (&two, 2)] {
        let pairs = [1, 2].map(|serial| authority.pair_numbered("device", serial));
        assert_eq!(pairs.map(|pair| world.is_served(&pair)), [revoked != 1, revoked != 2]);
    }
    portway.stop();
}

#[test]
fn r3_a_list_that_does_not_cover_its_clients_is_a_warning_and_refuses_them() {
    let world = World::new(TLS);
    let (covered, bare, stranger) = (Authority::new(), Authority::new(), Authority::new());
    world.put("ca.pem", covered.pem() + &bare.pem());
    world.put("crl.pem", covered.revokes(&[], 2020).0 + &stranger.revokes(&[], 2099).0);
    let (code, words) = world.check();
    assert_eq!(code, 0, "{words}");
    for wanted in [
        format!("ca.pem: there is no revocation list of `{}`", bare.name()),
        format!("crl.pem: the revocation list of `{}` is of no authority of `client_ca`", stranger.name()),
        format!("crl.pem: the next revocation list of `{}` was due ", covered.name()),
    ] {
        assert!(words.contains(&wanted), "{wanted}: {words}");
    }
    let portway = Portway::run(&world.place.file());
    world.refuses(&covered.pair("device"), "the revocation list of its authority was due to be replaced");
    world.refuses(&bare.pair("device"), "no list of tls.crl says whether its certificate is revoked");
    portway.stop();
}

#[test]
fn r3_what_is_no_list_is_a_fault_with_its_line() {
    let world = World::new(TLS);
    let devices = Authority::new();
    world.put("ca.pem", devices.pem());
    let list = devices.revokes(&[], 2099).0;
    let line = list.lines().count() + 1;
    for (text, at, wanted) in [
        (devices.pem(), String::new(), "there is no revocation list in it"),
        (format!("{list}{}", &list[..list.len() / 2]), format!(":{line}"), "a beginning, and no end"),
        (format!("{list}{}", VERSION_1), format!(":{line}"), "is of version 1"),
        (
            format!("{list}-----BEGIN X509 CRL-----\nMAMCAQE=\n-----END X509 CRL-----\n"),
            format!(":{line}"),
            "is not one that can be read",
        ),
    ] {
        world.put("crl.pem", text);
        let (code, words) = world.check();
        let place = format!("the revocation list {}{at}: ", world.place.folder().join("crl.pem").display());
        assert!(code == 2 && words.contains(&place) && words.contains(wanted), "{place}{wanted}: {words}");
    }
}

/// A list without extensions, as `openssl ca -gencrl` makes it where `crlnumber` is commented out.
const VERSION_1: &str = "-----BEGIN X509 CRL-----
MIGTMDwwCgYIKoZIzj0EAwIwDjEMMAoGA1UEAwwDb2xkFw0yNjExMjkwMjIxNDNa
GA8yMTI2MTEwNTAyMjE0M1owCgYIKoZIzj0EAwIDRwAwRAIgOh9FppRAkD2y9FwS
23g+JnNhBVch+UISaFDpfBNnOeMCIDYaJonYh6t+jru5Q7vTtgBQJQzWlPyLfW86
2ZUFc8V0
-----END X509 CRL-----
";

/// The same files, the same clients, and the same answers as HAProxy and nginx.
#[test]
fn r3_haproxy_and_nginx_refuse_the_same_clients() {
    if !can("haproxy and nginx", has("haproxy") && has("nginx")) {
        return;
    }
    let world = World::new(TLS);
    let (devices, bare) = (Authority::new(), Authority::new());
    let clients = [devices.pair_numbered("a", 7), devices.pair_numbered("b", 8), bare.pair("c")];
    let folder = world.place.folder();
    std::fs::write(folder.join("all.pem"), [read(&folder, "app.key"), read(&folder, "app.pem")].concat())
        .unwrap();
    for (what, list, served) in [
        ("one revoked", devices.revokes(&[7], 2099).0, [false, true, false]),
        ("a list too old", devices.revokes(&[7], 2020).0, [false, false, false]),
        ("both with a list", devices.revokes(&[], 2099).0 + &bare.revokes(&[], 2099).0, [true, true, true]),
    ] {
        world.put("ca.pem", devices.pem() + &bare.pem());
        world.put("crl.pem", list);
        let [theirs, others] = ports();
        let path = |name: &str| folder.join(name).display().to_string();
        let haproxy = haproxy(
            &folder,
            &format!(
                "listen app\n mode tcp\n bind {} ssl crt {} ca-file {} crl-file {} verify required\n server s {}\n",
                theirs.local(),
                path("all.pem"),
                path("ca.pem"),
                path("crl.pem"),
                world.backend.addr
            ),
            &[&theirs],
        );
        let nginx = nginx(
            &folder,
            &format!(
                "stream {{ server {{ listen {} ssl; proxy_pass {}; ssl_certificate app.pem; ssl_certificate_key app.key; \
                 ssl_verify_client on; ssl_client_certificate ca.pem; ssl_crl crl.pem; }} }}\n",
                others.local(),
                world.backend.addr
            ),
            &[&others],
        );
        let portway = Portway::run(&world.place.file());
        for (who, port) in [("Portway", &world.port), ("HAProxy", &theirs), ("nginx", &others)] {
            let answers = clients.each_ref().map(|pair| is_served(port, &world.server, pair));
            assert_eq!(answers, served, "{what}: {who}");
        }
        drop((haproxy, nginx));
        portway.stop();
    }
}

fn read(folder: &Path, name: &str) -> String {
    std::fs::read_to_string(folder.join(name)).unwrap()
}
