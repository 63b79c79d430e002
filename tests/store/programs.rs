//! Stores that people have: etcd, nginx.

use std::ops::RangeInclusive;
use std::process::{Child, Stdio};
use std::time::{Duration, SystemTime};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};

use super::*;
use crate::harness::instance::{PATIENCE, lacks, reached};
use crate::harness::tls::Pems;
use crate::harness::{comes_true, until};

/// The years of a certificate that no clock of a test is outside of.
const ALWAYS: RangeInclusive<i32> = 1975..=4096;

/// A program, ended with the test.
struct Program(Child);

impl Drop for Program {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

fn start(command: &mut Command) -> Program {
    Program(command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap())
}

/// etcd with its data in a folder: it may stop, and start again.
struct Etcd {
    client: Port,
    peer: Port,
    folder: tempfile::TempDir,
    program: Option<Program>,
}

impl Etcd {
    fn start() -> Etcd {
        let folder = tempfile::tempdir().unwrap();
        let mut etcd = Etcd { client: Port::reserve(), peer: Port::reserve(), folder, program: None };
        etcd.starts();
        etcd
    }

    fn starts(&mut self) {
        let (client, peer) =
            (format!("http://{}", self.client.local()), format!("http://{}", self.peer.local()));
        let mut command = Command::new("etcd");
        command.arg("--data-dir").arg(self.folder.path().join("data"));
        command.args(["--listen-client-urls", &client, "--advertise-client-urls", &client]);
        command.args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer]);
        command.args(["--initial-cluster", &format!("default={peer}"), "--unsafe-no-fsync=true"]);
        command.current_dir(self.folder.path());
        self.program = Some(start(&mut command));
        assert!(comes_true(PATIENCE, || self.control(&["endpoint", "health"])), "etcd does not start");
    }

    fn control(&self, args: &[&str]) -> bool {
        let mut command = Command::new("etcdctl");
        command.env("ETCDCTL_API", "3").args(["--endpoints", &format!("http://{}", self.client.local())]);
        let status = command.args(args).stdout(Stdio::null()).stderr(Stdio::null()).status();
        status.unwrap().success()
    }

    fn put(&self, key: &str, value: &str) {
        assert!(self.control(&["put", "--", key, value]));
    }

    fn delete(&self, key: &str) {
        assert!(self.control(&["del", key]));
    }
}

#[test]
fn a_key_of_etcd_is_watched() {
    if lacks(&["etcd", "etcdctl"]) {
        return;
    }
    let (a, b) = (Backend::named("a"), Backend::named("b"));
    let (mut etcd, fleet, nobody) = (Etcd::start(), Fleet::new(&a), Port::reserve());
    etcd.put("edge/routes", &fleet.text(&a));
    // The first endpoint does not answer.
    let url = format!("etcd://{},{}/edge/routes", nobody.local(), etcd.client.local());
    let mut portway = Portway::start(&mut run_from(&fleet.place.file(), &url));
    let confirmed = |_: &mut Portway| fleet.status()["age"].as_f64().is_some_and(|age| age < 60.0);
    portway.until("it has asked", confirmed);
    etcd.put("edge/routes", &fleet.text(&b));
    taken(&mut portway);
    assert_eq!(reached(fleet.port.number), "b");
    // A key beside it is no change, and a key that vanishes takes nothing away.
    etcd.put("edge/routes2", "junk");
    etcd.delete("edge/routes");
    assert!(portway.phase(REFUSED)["why"].as_str().unwrap().contains("no such text"));
    assert_eq!((reached(fleet.port.number).as_str(), fleet.on_disk()), ("b", fleet.text(&b)));
    etcd.put("edge/routes", &fleet.text(&a));
    taken(&mut portway);
    // Away, with a change meanwhile that nobody sees; the history is compacted, too.
    etcd.program = None;
    portway.phase(AWAY);
    assert_eq!(reached(fleet.port.number), "a");
    etcd.starts();
    etcd.put("edge/routes", &fleet.text(&b));
    taken(&mut portway);
    assert_eq!(reached(fleet.port.number), "b");
    etcd.program = None;
    fleet.stop(portway);
}

#[test]
fn what_etcd_has_may_be_signed() {
    if lacks(&["etcd", "etcdctl"]) {
        return;
    }
    let (a, b) = (Backend::named("a"), Backend::named("b"));
    let (mut etcd, fleet, signer) = (Etcd::start(), Fleet::new(&a), signer::Signer::new(3));
    let key = fleet.place.root().join("edge.pub");
    std::fs::write(&key, signer.public()).unwrap();
    let publish = |to: &Backend, comment: &str| {
        etcd.put("edge", &fleet.text(to));
        etcd.put("edge.minisig", &signer.sign(&fleet.text(to), comment));
    };
    publish(&b, "serial=5");
    let url = format!("etcd://{}/edge", etcd.client.local());
    let mut command = run_from(&fleet.place.file(), &url);
    let mut portway = Portway::start(command.arg("--key").arg(&key));
    assert_eq!(taken(&mut portway).written["serial"], 5);
    publish(&a, "serial=4");
    assert!(portway.phase(REFUSED)["why"].as_str().unwrap().contains("serial 4 is not above 5"));
    publish(&a, "serial=6");
    assert_eq!(taken(&mut portway).written["serial"], 6);
    assert_eq!(reached(fleet.port.number), "a");
    etcd.program = None;
    fleet.stop(portway);
}

/// An authority of certificates. OpenSSL asks that it and they have two names.
struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    fn new() -> Authority {
        let mut authority = CertificateParams::new(Vec::new()).unwrap();
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        authority.distinguished_name.push(DnType::CommonName, "authority of the store");
        Authority(CertifiedIssuer::self_signed(authority, KeyPair::generate().unwrap()).unwrap())
    }

    /// Writes it, and a certificate of it with its key that is valid in these years.
    fn certificate(&self, folder: &Path, years: RangeInclusive<i32>) -> [String; 3] {
        let key = KeyPair::generate().unwrap();
        let mut cert = CertificateParams::new(["localhost".to_owned()]).unwrap();
        cert.not_before = rcgen::date_time_ymd(*years.start(), 1, 1);
        cert.not_after = rcgen::date_time_ymd(*years.end(), 1, 1);
        let cert = cert.signed_by(&key, &self.0).unwrap();
        Pems { ca: self.0.pem(), cert: cert.pem(), key: key.serialize_pem() }
            .write(folder)
            .map(|path| path.display().to_string())
    }
}

/// nginx, which serves the folder `www` by TLS.
fn nginx(root: &Path, port: &Port, more: &str) -> Program {
    let folder = root.display();
    let conf = format!(
        "daemon off; master_process off; pid {folder}/pid; error_log {folder}/error.log; user root; events {{}}\n\
         http {{ access_log {folder}/access.log; client_body_temp_path {folder}/t1; proxy_temp_path {folder}/t2;\n\
         fastcgi_temp_path {folder}/t3; uwsgi_temp_path {folder}/t4; scgi_temp_path {folder}/t5;\n\
         server {{ listen {} ssl; root {folder}/www; {more} }} }}\n",
        port.local()
    );
    std::fs::write(root.join("nginx.conf"), conf).unwrap();
    let nginx = start(Command::new("nginx").arg("-c").arg(root.join("nginx.conf")).arg("-p").arg(root));
    until("nginx listens", || std::net::TcpStream::connect(port.local()).is_ok());
    nginx
}

/// With its ETag, behind TLS with an authority of our own, and a certificate that it asks for.
#[test]
fn nginx_is_a_store() {
    if lacks(&["nginx"]) {
        return;
    }
    let (a, b) = (Backend::named("a"), Backend::named("b"));
    let (fleet, port) = (Fleet::new(&a), Port::reserve());
    let root = fleet.place.root();
    let [ca, cert, key] = Authority::new().certificate(root, ALWAYS);
    let www = root.join("www");
    std::fs::create_dir(&www).unwrap();
    // Its ETag is the second and the size: within one second texts must differ in size.
    let publish = |to: &Backend, more: &str| {
        std::fs::write(www.join("new"), fleet.text(to) + more).unwrap();
        std::fs::rename(www.join("new"), www.join("edge.toml")).unwrap();
    };
    publish(&b, "");
    let more = format!(
        "ssl_certificate {cert}; ssl_certificate_key {key}; ssl_client_certificate {ca}; ssl_verify_client on;\n\
         location /plain {{ return 302 http://localhost/edge.toml; }}\n\
         location / {{ if ($http_authorization != \"Bearer secret\") {{ return 403; }} }}"
    );
    let _nginx = nginx(root, &port, &more);
    let token = root.join("token");
    std::fs::write(&token, "wrong\n").unwrap();
    let mut command = run_from(&fleet.place.file(), &format!("https://localhost:{}/edge.toml", port.number));
    command.args(["--ca", &ca, "--client-cert", &cert, "--client-key", &key, "--token-file"]).arg(&token);
    let mut portway = Portway::start(&mut command);
    assert!(portway.phase(AWAY)["why"].as_str().unwrap().contains("403"), "{}", portway.log());
    std::fs::write(&token, "secret\n").unwrap();
    taken(&mut portway);
    assert_eq!(reached(fleet.port.number), "b");
    let answers = |status: &str| {
        std::fs::read_to_string(root.join("access.log")).unwrap().matches(&format!("\" {status} ")).count()
    };
    portway.until("its ETag is known", |_| answers("304") > 2);
    assert_eq!(answers("200"), 1);
    publish(&a, "# The second.\n");
    taken(&mut portway);
    // Whoever does not know the authority does not believe it; and no redirect leads out of TLS.
    let once = |path: &str, more: &[&str]| {
        let url = format!("https://localhost:{}{path}", port.number);
        let mut pull = Command::new(PORTWAY);
        pull.args(["pull", "--once", "--from", &url, "--to"]).arg(root.join("to.toml")).args(more);
        let output = pull.output().unwrap();
        assert_eq!(output.status.code(), Some(1));
        assert!(!root.join("to.toml").exists());
        String::from_utf8(output.stderr).unwrap()
    };
    let said = once("/edge.toml", &[]);
    assert!(said.contains("certificate"), "{said}");
    let said = once("/plain", &["--ca", &ca, "--client-cert", &cert, "--client-key", &key]);
    assert!(said.contains("redirects from https to"), "{said}");
    fleet.stop_beside(portway);
}

/// By the clock of a node that is years behind the store's certificate is not valid yet, by one that is years ahead it has
/// expired: to the node it is one and the same whose clock is wrong.
#[test]
fn a_clock_that_is_wrong_stops_no_node() {
    if lacks(&["nginx"]) {
        return;
    }
    let (a, b) = (Backend::named("a"), Backend::named("b"));
    let (fleet, port) = (Fleet::new(&a), Port::reserve());
    // Written by the clock of another year.
    let year = Duration::from_secs(365 * 86_400);
    let on_disk = std::fs::File::options().write(true).open(fleet.place.file()).unwrap();
    on_disk.set_modified(SystemTime::now() + year).unwrap();
    let www = fleet.place.root().join("www");
    std::fs::create_dir(&www).unwrap();
    std::fs::write(www.join("edge.toml"), fleet.text(&b)).unwrap();
    let authority = Authority::new();
    let store = |years| {
        let [_, cert, key] = authority.certificate(fleet.place.root(), years);
        nginx(fleet.place.root(), &port, &format!("ssl_certificate {cert}; ssl_certificate_key {key};"))
    };
    let early = store(4000..=4096);
    let mut command = run_from(&fleet.place.file(), &format!("https://localhost:{}/edge.toml", port.number));
    let mut portway = Portway::start(command.arg("--ca").arg(fleet.place.root().join("ca.pem")));
    let told = portway.phase(AWAY)["why"].as_str().unwrap().to_owned();
    assert!(told.contains("valid only in") && told.contains("clock"), "{told}");
    assert_eq!((reached(fleet.port.number).as_str(), fleet.on_disk()), ("a", fleet.text(&a)));
    let age = fleet.status()["age"].as_f64();
    assert!(age.is_some_and(|age| age < 3_600.0), "{age:?}");
    drop(early);
    let good = store(ALWAYS);
    taken(&mut portway);
    drop(good);
    let late = store(1975..=1980);
    portway.until("it is told", |_| fleet.status()["away"]["why"].to_string().contains("expired"));
    assert_eq!((reached(fleet.port.number).as_str(), fleet.on_disk()), ("b", fleet.text(&b)));
    drop(late);
    fleet.stop_beside(portway);
}
