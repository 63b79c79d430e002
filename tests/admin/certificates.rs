//! The files that a route names, as status, metrics and the log show them: what is pending, and what ends soon.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rcgen::{CertificateParams, DnType, KeyPair};

use super::asker::{Asker, head, portway};
use crate::harness::instance::*;
use crate::harness::until;

const TLS: &str = "tls = { cert = \"app.pem\", key = \"app.key\" }\n";
const DAY: Duration = Duration::from_secs(86_400);

/// A certificate that signs itself and ends after this time, its key, and its last second.
fn certificate(name: &str, lasts: Duration) -> (String, String, u64) {
    let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    params.distinguished_name.push(DnType::CommonName, name);
    let ends = SystemTime::now() + lasts;
    (params.not_before, params.not_after) = (rcgen::date_time_ymd(2000, 1, 1), ends.into());
    let key = KeyPair::generate().unwrap();
    let made = params.self_signed(&key).unwrap();
    (made.pem(), key.serialize_pem(), ends.duration_since(UNIX_EPOCH).unwrap().as_secs())
}

/// Saves by rename, readable by its owner alone.
fn save(place: &Place, name: &str, text: &str) {
    use std::os::unix::fs::PermissionsExt;
    let new = place.folder().join(".new-file");
    std::fs::write(&new, text).unwrap();
    std::fs::set_permissions(&new, std::fs::Permissions::from_mode(0o600)).unwrap();
    std::fs::rename(new, place.folder().join(name)).unwrap();
}

fn metrics(asker: &Asker) -> String {
    asker.ask("GET", "/metrics", "").body
}

/// The value of the one series that begins so.
fn value(text: &str, series: &str) -> f64 {
    let mut found = text.lines().filter(|line| line.starts_with(series));
    let (line, second) = (found.next(), found.next());
    assert!(second.is_none(), "{series} is there twice:\n{text}");
    let line = line.unwrap_or_else(|| panic!("no {series} in\n{text}"));
    line.rsplit_once(' ').unwrap().1.parse().unwrap()
}

/// A proxy whose routes are `more`, with these files beside its own.
fn started(more: &str, files: &[(&str, &str)]) -> (Place, Portway, Asker) {
    let place = Place::with("");
    files.iter().for_each(|(name, text)| save(&place, name, text));
    place.save(&(head(&place) + more));
    let portway = Portway::run(&place.file());
    let asker = Asker::unix(&place);
    (place, portway, asker)
}

#[test]
fn o7_a_key_that_does_not_fit_is_pending_until_it_does() {
    let (port, backend) = (Port::reserve(), Backend::named("app"));
    let (one, two) = (certificate("one", 90 * DAY), certificate("two", 90 * DAY));
    let routes = route("app", &port.local(), &backend, TLS);
    let (place, mut proxy, asker) = started(&routes, &[("app.pem", &one.0), ("app.key", &one.1)]);
    let [cert, key] = ["app.pem", "app.key"].map(|name| place.folder().join(name).display().to_string());
    let pending = |file: &str| format!("portway_file_pending_seconds{{file=\"{file}\"}}");
    let before = metrics(&asker);
    assert_eq!((value(&before, &pending(&cert)), value(&before, &pending(&key))), (0.0, 0.0));
    assert_eq!(asker.get("/v1/status")["pending_files"], serde_json::json!([]));

    save(&place, "app.pem", &two.0);
    proxy.phase("certificate refused");
    until("it is pending", || asker.get("/v1/status")["pending_files"][0].is_object());
    let status = asker.get("/v1/status");
    let shown = &status["pending_files"][0];
    assert_eq!(
        (shown["file"].as_str(), status["pending_files"][1].is_null()),
        (Some(&*cert), true),
        "{status}"
    );
    let headline = shown["pending"]["headline"].as_str().unwrap();
    assert!(headline.contains("app.key: the key does not belong to the certificate"), "{headline}");
    assert!(status["pending"].is_null(), "the file itself is what runs: {status}");
    let said = portway(&place.file(), &["status"]).out;
    assert!(said.contains(&format!("{cert} is not in force since ")), "{said}");
    assert!(said.contains("help: give the key that the certificate was made for"), "{said}");
    let now = metrics(&asker);
    assert!(value(&now, &pending(&cert)) > 0.0, "{now}");
    assert_eq!(value(&now, &pending(&key)), 0.0);
    // What is in force is the one before.
    let until_one =
        format!("portway_certificate_not_after_seconds{{file=\"{cert}\",number=\"1\",name=\"one\"}}");
    assert_eq!(value(&now, &until_one), one.2 as f64);

    save(&place, "app.key", &two.1);
    proxy.phase("certificate taken over");
    until("nothing is pending", || asker.get("/v1/status")["pending_files"] == serde_json::json!([]));
    let after = metrics(&asker);
    assert_eq!(value(&after, &pending(&cert)), 0.0);
    assert_eq!(value(&after, &until_one.replace("one", "two")), two.2 as f64);
    proxy.stop();
}

#[test]
fn o7_a_list_with_a_bad_line_is_pending_until_it_is_mended() {
    let (port, backend) = (Port::reserve(), Backend::named("app"));
    let routes = route("app", &port.local(), &backend, "deny = { file = \"deny.txt\" }\n");
    let (place, mut proxy, asker) = started(&routes, &[("deny.txt", "192.0.2.1\n")]);
    save(&place, "deny.txt", "192.0.2.1\n192.0.2.256\n");
    proxy.phase("list refused");
    until("it is pending", || asker.get("/v1/status")["pending_files"][0].is_object());
    let status = asker.get("/v1/status");
    let report = status["pending_files"][0]["pending"]["report"].as_str().unwrap();
    assert!(report.contains("deny.txt:2:1") && report.contains("^^^^^^^^^^^"), "{report}");
    save(&place, "deny.txt", "192.0.2.1\n192.0.2.25\n");
    proxy.phase("list taken over");
    until("nothing is pending", || asker.get("/v1/status")["pending_files"] == serde_json::json!([]));
    proxy.stop();
}

/// Two routes with the same certificate and different protocols: one warning in the log, one in status.
#[test]
fn o7_a_certificate_that_ends_within_two_weeks_is_a_warning_once() {
    let (one, two, backend) = (Port::reserve(), Port::reserve(), Backend::named("app"));
    let alpn = format!("{TLS}alpn = \"h2\"\n");
    let routes = route("one", &one.local(), &backend, TLS) + &route("two", &two.local(), &backend, &alpn);
    let (leaf, behind) = (certificate("leaf", 90 * DAY), certificate("behind", 10 * DAY));
    let chain = leaf.0.clone() + &behind.0;
    let (place, mut proxy, asker) = started(&routes, &[("app.pem", &chain), ("app.key", &leaf.1)]);
    let warnings = |asker: &Asker| asker.get("/v1/status")["warnings"].as_array().unwrap().clone();
    let found = warnings(&asker);
    assert_eq!(found.len(), 1, "{found:?}");
    let message = found[0]["message"].as_str().unwrap();
    assert!(
        message == "certificate 2 of the file expires in 9 days" || message.ends_with("in 10 days"),
        "{message}"
    );
    assert_eq!(proxy.count("certificate 2 of the file expires in"), 1);
    let said = portway(&place.file(), &["status"]).out;
    let cert = place.folder().join("app.pem").display().to_string();
    assert!(said.contains(&format!("warning      {cert}: certificate 2 of the file expires in ")), "{said}");
    let text = metrics(&asker);
    let series =
        |number: u8| format!("portway_certificate_not_after_seconds{{file=\"{cert}\",number=\"{number}\"");
    assert_eq!((value(&text, &series(1)), value(&text, &series(2))), (leaf.2 as f64, behind.2 as f64));
    // Renewed: nothing is left of it.
    save(&place, "app.pem", &leaf.0);
    proxy.phase("certificate taken over");
    until("the warning is gone", || warnings(&asker).is_empty());
    proxy.stop();
}

/// It comes while Portway runs: the certificate of this test has its last two weeks before it in some seconds.
#[test]
fn o7_the_warning_comes_when_its_time_has_come() {
    let (port, backend) = (Port::reserve(), Backend::named("app"));
    let made = certificate("soon", 14 * DAY + Duration::from_secs(8));
    let routes = route("app", &port.local(), &backend, TLS);
    let (_place, mut proxy, asker) = started(&routes, &[("app.pem", &made.0), ("app.key", &made.1)]);
    let is_warned = || asker.get("/v1/status")["warnings"][0].is_object();
    let early = is_warned();
    // On a slow machine the start has taken longer than that.
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    assert!(!early || now + 14 * 86_400 >= made.2, "it is warned too early");
    proxy.until("the warning is logged", |proxy| proxy.count("the certificate expires in 1") == 1);
    until("status has it", is_warned);
    proxy.stop();
}

#[test]
fn o7_a_revocation_list_has_its_date_too() {
    let (port, backend) = (Port::reserve(), Backend::named("app"));
    let made = certificate("app", 90 * DAY);
    let tls = TLS.replace(" }", ", client_ca = \"ca.pem\", crl = \"crl.pem\" }");
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    params.distinguished_name.push(DnType::CommonName, "devices");
    let authority = rcgen::CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let ends = SystemTime::now() + DAY;
    let list = rcgen::CertificateRevocationListParams {
        this_update: (SystemTime::now() - 29 * DAY).into(),
        next_update: ends.into(),
        crl_number: 1_u64.into(),
        issuing_distribution_point: None,
        revoked_certs: Vec::new(),
        key_identifier_method: rcgen::KeyIdMethod::Sha256,
    };
    let list = list.signed_by(&authority).unwrap().pem().unwrap();
    let files =
        [("app.pem", &*made.0), ("app.key", &made.1), ("ca.pem", &authority.pem()), ("crl.pem", &list)];
    let (place, mut proxy, asker) = started(&route("app", &port.local(), &backend, &tls), &files);
    let path = place.folder().join("crl.pem").display().to_string();
    let ends = ends.duration_since(UNIX_EPOCH).unwrap().as_secs();
    let series = format!(
        "portway_revocation_list_next_update_seconds{{file=\"{path}\",number=\"1\",name=\"devices\"}}"
    );
    assert_eq!(value(&metrics(&asker), &series), ends as f64);
    // In the last tenth of its time.
    assert_eq!(proxy.count("the next revocation list of `devices` is due in 2"), 1, "{}", proxy.log());
    // A list of another authority in its place: pending, as every file is.
    save(&place, "crl.pem", "-----BEGIN X509 CRL-----\n");
    proxy.phase("certificate refused");
    until("it is pending", || asker.get("/v1/status")["pending_files"][0]["file"] == *path);
    proxy.stop();
}
