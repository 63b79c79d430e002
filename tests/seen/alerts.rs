//! deploy/prometheus: a real Prometheus with the shipped scrape settings and rules raises each alert once, on a real Portway
//! that has everything that can be wrong at once.

use std::collections::BTreeSet;
use std::process::Command;
use std::time::{Duration, SystemTime};

use rcgen::{
    CertificateParams, CertificateRevocationListParams, IsCa, Issuer, KeyIdMethod, KeyPair, KeyUsagePurpose,
    SerialNumber,
};

use super::prometheus::{Prometheus, get, is_here};
use crate::harness::instance::*;
use crate::harness::sender::from;

const DAY: Duration = Duration::from_secs(86_400);

fn shipped(name: &str) -> String {
    std::fs::read_to_string(format!("{}/deploy/prometheus/{name}", env!("CARGO_MANIFEST_DIR"))).unwrap()
}

/// The names of the alerts in the rules.
fn alerts() -> BTreeSet<String> {
    let rules = shipped("portway.rules.yml");
    rules.lines().filter_map(|line| line.trim().strip_prefix("- alert: ")).map(str::to_owned).collect()
}

/// An authority that ends in ten days, with its key, and a revocation list of it that is out of date.
pub fn authority() -> (String, String, String) {
    let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    (params.not_before, params.not_after) =
        (rcgen::date_time_ymd(2000, 1, 1), (SystemTime::now() + 10 * DAY).into());
    params.is_ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    params.key_usages =
        vec![KeyUsagePurpose::CrlSign, KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
    let key = KeyPair::generate().unwrap();
    let made = params.self_signed(&key).unwrap();
    let list = CertificateRevocationListParams {
        this_update: rcgen::date_time_ymd(2020, 1, 1),
        next_update: rcgen::date_time_ymd(2020, 2, 1),
        crl_number: SerialNumber::from(1),
        issuing_distribution_point: None,
        revoked_certs: Vec::new(),
        key_identifier_method: KeyIdMethod::Sha256,
    };
    let key_text = key.serialize_pem();
    let list = list.signed_by(&Issuer::new(params, key)).unwrap().pem().unwrap();
    (made.pem(), key_text, list)
}

/// Writes a file that its owner alone may read.
pub fn save(place: &Place, name: &str, text: &str) {
    use std::os::unix::fs::PermissionsExt;
    let path = place.folder().join(name);
    std::fs::write(&path, text).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).unwrap();
}

/// A file in which everything is wrong that can be.
fn text(admin: &Port, ports: &[Port; 4], backend: &Backend) -> String {
    let [open, dead, tls, limited] = ports;
    let gone = Port::reserve();
    let dead_route = format!(
        "[[route]]\nname = \"dead\"\nlisten = \"{}\"\nupstream = \"{}\"\nhealth = {{ interval = \"1s\" }}\n",
        dead.local(),
        gone.local()
    );
    format!(
        "[log]\nformat = \"json\"\naccess = \"/dev/full\"\n[admin]\nlisten = \"{}\"\n{}{dead_route}{}",
        admin.local(),
        route("open", &open.local(), backend, "")
            + &route("limited", &limited.local(), backend, "max_connections_per_client = 1\n"),
        route(
            "tls",
            &tls.local(),
            backend,
            "tls = { cert = \"app.pem\", key = \"app.key\", client_ca = \"app.pem\", crl = \"app.crl\" }\n"
        ),
    )
}

/// The shipped settings, in a hurry: what lasts minutes lasts seconds.
fn settings(place: &Place, admin: &Port, unreachable: &Port) -> String {
    let hurried = |text: String| {
        text.replace("for: 1m", "for: 1s").replace("for: 30s", "for: 1s").replace("> 120", "> 1")
    };
    std::fs::write(place.root().join("portway.rules.yml"), hurried(shipped("portway.rules.yml"))).unwrap();
    let targets = format!("\"{}\", \"{}\"", admin.local(), unreachable.local());
    let scrape = shipped("scrape.yml").replace("\"127.0.0.1:9180\"", &targets);
    assert!(scrape.contains(&targets), "{scrape}");
    scrape.replace("scrape_interval: 15s", "scrape_interval: 500ms\n  evaluation_interval: 500ms")
}

#[test]
fn each_alert_is_raised_by_what_it_is_for() {
    if !is_here() || lacks(&["prlimit"]) {
        return;
    }
    let [admin, unreachable] = [Port::reserve(), Port::reserve()];
    let (ports, backend) = ([0; 4].map(|_| Port::reserve()), Backend::named("app"));
    let place = Place::with(&text(&admin, &ports, &backend));
    let (cert, key, list) = authority();
    for (name, text) in [("app.pem", &cert), ("app.key", &key), ("app.crl", &list)] {
        save(&place, name, text);
    }
    let mut command = Command::new("prlimit");
    command.args(["--nofile=256", PORTWAY, "run", "--config"]).arg(place.file());
    let mut portway = Portway::start(&mut command);

    // Nine tenths of the places are taken.
    let mut held: Vec<Flow> = Vec::new();
    portway.until("nine tenths of the places are taken", |_| {
        held.extend(Flow::try_open(ports[0].number));
        let metrics = get(&admin.local(), "/metrics");
        let of = |name: &str| -> f64 {
            let found = metrics.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
            found.unwrap().parse().unwrap()
        };
        of("portway_open_connections") >= 0.9 * of("portway_max_connections")
    });
    // Others still come in: one of them twice, which is once too often.
    let limited = ports[3].local().parse().unwrap();
    held.push(Flow::greeted(from("127.0.0.3", limited).unwrap()).unwrap());
    // The file and a certificate are not in force.
    place.save("[[route]]\n");
    save(&place, "app.pem", "none");
    let settings = settings(&place, &admin, &unreachable);
    let prometheus = Prometheus::start(place.root(), &settings);
    portway.until("Prometheus has begun", |_| prometheus.has_begun());
    let expected = alerts();
    assert!(expected.len() >= 10, "{expected:?}");
    let mut raised = BTreeSet::new();
    portway.until(&format!("all of {expected:?} are raised"), |_| {
        // Counters are raised by what comes after Prometheus: one more that is turned away, one more line that is lost.
        assert!(from("127.0.0.3", limited).and_then(Flow::greeted).is_err());
        drop(from("127.0.0.4", ports[0].local().parse().unwrap()));
        let answer = prometheus.answer("ALERTS{alertstate=\"firing\"}");
        for alert in answer["data"]["result"].as_array().into_iter().flatten() {
            raised.insert(alert["metric"]["alertname"].as_str().unwrap().to_owned());
        }
        raised == expected
    });
    drop(prometheus);
    drop(held);
    portway.stop();
}
