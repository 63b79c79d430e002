//! Certificates that are odd and served all the same, beside HAProxy and nginx with the same files: clients judge.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use super::daemon::*;
use super::pki::{Authority, Pair};
use super::terminate::line_with;
use crate::harness::instance::*;

fn has_all() -> bool {
    can(
        "openssl, haproxy and nginx",
        ["openssl", "haproxy", "nginx", "curl"].iter().all(|program| has(program)),
    )
}

fn openssl(folder: &Path, args: &str) -> String {
    let output = Command::new("openssl").args(args.split(' ')).current_dir(folder).output().unwrap();
    assert!(output.status.success(), "openssl {args}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// A certificate of version 1 for `name`, as old private authorities have and make them: signed by itself, or by `issuer`.
fn version_1(folder: &Path, name: &str, issuer: Option<&str>) {
    std::fs::write(folder.join("bare.cnf"), "[req]\ndistinguished_name = dn\n[dn]\n").unwrap();
    openssl(
        folder,
        &format!(
            "req -new -newkey rsa:2048 -nodes -keyout {name}.key -out {name}.csr -subj /CN={name} -config bare.cnf"
        ),
    );
    let signer = match issuer {
        None => format!("-signkey {name}.key"),
        Some(issuer) => format!("-CA {issuer}.pem -CAkey {issuer}.key -CAcreateserial"),
    };
    openssl(folder, &format!("x509 -req -in {name}.csr {signer} -days 30 -out {name}.pem"));
    let text = openssl(folder, &format!("x509 -in {name}.pem -noout -text"));
    assert!(text.contains("Version: 1 "), "{text}");
}

fn read(folder: &Path, name: &str) -> String {
    std::fs::read_to_string(folder.join(name)).unwrap()
}

/// The certificates that a server shows, in their order.
fn shown(port: &Port) -> Vec<String> {
    let output = Command::new("openssl")
        .args(["s_client", "-showcerts", "-servername", "localhost", "-connect", &port.local()])
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let blocks = text.split("-----BEGIN CERTIFICATE-----").skip(1);
    blocks.map(|block| block.split("-----END").next().unwrap().replace('\n', "")).collect()
}

/// Portway, HAProxy and nginx with the same certificate and key, in this order.
fn three(
    place: &Place,
    ports: &[Port; 3],
    backend: &Backend,
    pair: &Pair,
    more: [&str; 3],
) -> (Portway, Daemon, Daemon) {
    let (folder, [ours, theirs, others]) = (place.folder(), ports);
    pair.write(&folder, "app");
    std::fs::write(folder.join("all.pem"), format!("{}{}", pair.key, pair.cert)).unwrap();
    let access = place.root().join("access.log");
    let tls = format!("tls = {{ cert = \"app.pem\", key = \"app.key\"{} }}\n", more[0]);
    let head = HEAD.replace("access = \"off\"", &format!("access = \"{}\"", access.display()));
    place.save(&format!("{head}{}", route("app", &ours.local(), backend, &tls)));
    let haproxy = haproxy(
        &folder,
        &format!(
            "listen app\n mode tcp\n bind {} ssl crt {}{}\n server s {}\n",
            theirs.local(),
            folder.join("all.pem").display(),
            more[1],
            backend.addr
        ),
        &[theirs],
    );
    let conf = format!(
        "stream {{ server {{ listen {} ssl; proxy_pass {}; ssl_certificate app.pem; ssl_certificate_key app.key; {} }} }}\n",
        others.local(),
        backend.addr,
        more[2]
    );
    let nginx = nginx(&folder, &conf, &[others]);
    (Portway::run(&place.file()), haproxy, nginx)
}

#[test]
fn r11_what_haproxy_and_nginx_show_is_shown() {
    if !has_all() {
        return;
    }
    let place = Place::with("");
    let folder = place.folder();
    version_1(&folder, "root", None);
    version_1(&folder, "between", Some("root"));
    version_1(&folder, "leaf", Some("between"));
    version_1(&folder, "alone", None);
    let [root, between, leaf, alone] =
        ["root", "between", "leaf", "alone"].map(|name| read(&folder, &format!("{name}.pem")));
    let [leaf_key, alone_key] = ["leaf.key", "alone.key"].map(|name| read(&folder, name));
    let modern = Authority::new();
    let pair = modern.pair("localhost");
    let backend = Backend::named("app");
    for (what, cert, key, certificates) in [
        ("of version 1, signed by itself", alone.clone(), &alone_key, 1),
        ("of version 1, in order", format!("{leaf}{between}{root}"), &leaf_key, 3),
        ("the root before what is between", format!("{leaf}{root}{between}"), &leaf_key, 3),
        ("a stranger in the middle", format!("{leaf}{alone}{between}"), &leaf_key, 3),
        ("twice the same", format!("{leaf}{leaf}{between}"), &leaf_key, 3),
        ("of version 3, with one of version 1 behind", format!("{}{root}", pair.cert), &pair.key, 2),
    ] {
        let ports = ports();
        let pair = Pair { cert, key: key.clone() };
        let (portway, haproxy, nginx) = three(&place, &ports, &backend, &pair, ["", "", ""]);
        let ours = shown(&ports[0]);
        assert_eq!(ours.len(), certificates, "{what}");
        assert_eq!(ours, shown(&ports[1]), "{what}: HAProxy shows others");
        assert_eq!(ours, shown(&ports[2]), "{what}: nginx shows others");
        let said = hears(&folder, &ports[0], &[]);
        assert!(said.contains("app"), "{what}: {said}");
        drop((haproxy, nginx));
        portway.stop();
    }
}

/// What a client hears that does not verify, with a certificate or without: the name of the backend, if it is served.
fn hears(folder: &Path, port: &Port, certificate: &[String]) -> String {
    let mut curl = Command::new("curl")
        .args(["--insecure", "--silent", "--no-buffer", "--http0.9", "--max-time", "30"])
        .args(certificate)
        .arg(format!("https://{}/", port.local()))
        .current_dir(folder)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(curl.stdout.take().unwrap()).read_line(&mut line).unwrap();
    // The backend never ends by itself.
    drop(curl.kill());
    curl.wait().unwrap();
    line
}

/// All three refuse a file whose first certificate is another one's; Portway says which one it is.
#[test]
fn r11_a_key_of_another_certificate_of_the_file_is_a_fault_that_says_so() {
    let authority = Authority::new();
    let pair = authority.pair("localhost");
    let backend = Backend::named("app");
    let tls = "tls = { cert = \"app.pem\", key = \"app.key\" }\n";
    let place = Place::with(&format!("{HEAD}{}", route("app", "127.0.0.1:1", &backend, tls)));
    let folder = place.folder();
    Pair { cert: format!("{}{}", authority.pem(), pair.cert), key: pair.key }.write(&folder, "app");
    let output = Command::new(PORTWAY).arg("check").arg(place.file()).output().unwrap();
    let words = String::from_utf8(output.stderr).unwrap();
    assert!(words.contains("the key belongs to certificate 2 of the file, not to the first"), "{words}");
    assert!(words.contains("help: put that certificate first"), "{words}");
}

/// An authority of version 1 is one, for all three. A client's own certificate of version 1 is verified by OpenSSL, and not by
/// rustls: it is refused with the reason.
#[test]
fn r11_clients_of_an_authority_of_version_1_are_served() {
    if !has_all() {
        return;
    }
    let place = Place::with("");
    let folder = place.folder();
    version_1(&folder, "devices", None);
    version_1(&folder, "old", Some("devices"));
    std::fs::write(folder.join("v3.cnf"), "basicConstraints = CA:FALSE\n").unwrap();
    openssl(
        &folder,
        "req -new -newkey rsa:2048 -nodes -keyout new.key -out new.csr -subj /CN=new -config bare.cnf",
    );
    openssl(
        &folder,
        "x509 -req -in new.csr -CA devices.pem -CAkey devices.key -CAcreateserial -days 30 -extfile v3.cnf -out new.pem",
    );
    let (server, backend, ports) = (Authority::new(), Backend::named("app"), ports());
    let ca = folder.join("devices.pem").display().to_string();
    let more = [
        ", client_ca = \"devices.pem\"".to_owned(),
        format!(" ca-file {ca} verify required"),
        format!("ssl_verify_client on; ssl_client_certificate {ca};"),
    ];
    let (portway, haproxy, nginx) =
        three(&place, &ports, &backend, &server.pair("localhost"), more.each_ref().map(String::as_str));
    let served = |name: &str| {
        let pair = ["--cert".to_owned(), format!("{name}.pem"), "--key".to_owned(), format!("{name}.key")];
        ports.each_ref().map(|port| hears(&folder, port, &pair).contains("app"))
    };
    assert_eq!(served("new"), [true, true, true]);
    assert_eq!(served("old"), [false, true, true]);
    let line = line_with(&place.root().join("access.log"), "X.509 version 1");
    assert!(line.contains("bad-tls"), "{line}");
    drop((haproxy, nginx));
    portway.stop();
}
