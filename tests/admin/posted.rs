//! Texts that are posted over TCP: whoever has a token learns nothing of the host's files through them.

use super::asker::{Asker, portway, start};
use crate::harness::instance::{Backend, HEAD, Place, Port, Portway, route};

const TOKEN: &str = "s3cret-0123456789abcdef";
const SECRET: &str = "root:$6$saltsalt$hashhashhash:19000:0:99999:7:::\n";

#[test]
fn s9_a_posted_text_reads_no_file_that_the_running_one_does_not_name() {
    let (port, admin, backend) = (Port::reserve(), Port::reserve(), Backend::named("one"));
    let place = Place::with("");
    let at = |name: &str| place.root().join(name).display().to_string();
    std::fs::write(at("shadow"), SECRET).unwrap();
    std::fs::write(at("denied"), "192.0.2.0/24\n").unwrap();
    let listen = admin.local();
    let head = format!("{HEAD}[admin]\nlisten = \"{listen}\"\ntoken = \"{TOKEN}\"\n");
    let text = |more: &str| head.clone() + &route("web", &port.local(), &backend, more);
    let running = format!("deny = {{ file = \"{}\" }}\n", at("denied"));
    place.save(&text(&running));
    let proxy = Portway::run(&place.file());
    let asker =
        Asker::tcp(admin.number).with(&format!("Host: {listen}\r\nAuthorization: Bearer {TOKEN}\r\n"));
    let not_tried = |text: &str| {
        let answer = asker.ask("POST", "/v1/plan", text);
        assert_eq!(answer.status, 200, "{answer:?}");
        for word in ["root", "hash", "99999", "no such file", "denied:"] {
            assert!(!answer.body.contains(word), "{word}: {answer:?}");
        }
        answer.json()["not_tried"].clone()
    };
    // What runs is in force, and needs no look.
    assert_eq!(not_tried(&text(&running)), serde_json::json!([]));
    // A file that is there, one that is not, a folder: all alike.
    for name in ["shadow", "nowhere", "etc"] {
        for list in ["allow", "deny"] {
            let named = at(name);
            let asked = not_tried(&text(&format!("{list} = {{ file = \"{named}\" }}\n")));
            assert_eq!(asked, serde_json::json!([named]), "{list}");
        }
    }
    let tls = format!(
        "tls = {{ cert = \"{0}\", key = \"{0}\", client_ca = \"{1}\" }}\n",
        at("shadow"),
        at("denied")
    );
    assert_eq!(not_tried(&text(&tls)), serde_json::json!([at("denied"), at("shadow")]));
    // A list that runs is no certificate, nor a socket.
    let sockets = text("")
        + &format!("[[route]]\nlisten = \"unix:{}\"\nupstream = \"unix:{}\"\n", at("new.sock"), at("shadow"));
    assert_eq!(not_tried(&sockets), serde_json::json!([format!("unix:{}", at("new.sock"))]));
    let probed = asker.ask("POST", "/v1/plan", &sockets).json()["upstreams"][0].clone();
    assert_eq!((probed["result"].as_str(), probed["took"].as_f64()), (Some("not-tried"), None), "{probed}");
    assert!(!std::path::Path::new(&at("new.sock")).exists());
    // The command says what was left out.
    std::fs::write(at("asked.toml"), text(&format!("deny = {{ file = \"{}\" }}\n", at("shadow")))).unwrap();
    let printed = portway(&place.file(), &["plan", &at("asked.toml")]);
    assert!(printed.out.contains(&format!("not tried: {}", at("shadow"))), "{printed:?}");
    proxy.stop();
}

/// Who may connect to the endpoint's Unix socket is trusted with all.
#[test]
fn s9_over_the_unix_socket_files_are_looked_at() {
    let (port, backend) = (Port::reserve(), Backend::named("one"));
    let (place, proxy, asker) = start(&route("web", &port.local(), &backend, ""));
    let list = place.root().join("list");
    std::fs::write(&list, "192.0.2.0/24\nnonsense\n").unwrap();
    let text = super::asker::head(&place)
        + &route("web", &port.local(), &backend, &format!("deny = {{ file = \"{}\" }}\n", list.display()));
    let answer = asker.ask("POST", "/v1/plan", &text);
    assert!(answer.status == 422 && answer.body.contains("list:2:1"), "{answer:?}");
    proxy.stop();
}
