//! `allow` and `deny`.

use std::io::Write;

use super::peer::*;
use crate::harness::instance::*;

/// A file with one route and the access log on standard error.
fn with(port: &Port, backend: &Backend, more: &str) -> String {
    let head = HEAD.replace("\"off\"", "\"stderr\"");
    format!("{head}{}{more}", route("app", &port.local(), backend, ""))
}

#[test]
fn only_the_allowed_come_in_and_deny_wins() {
    let (port, backend) = (Port::reserve(), Backend::named("app"));
    let lists = "allow = [\"127.0.1.0/24\", \"127.0.2.7\"]\ndeny = \"127.0.1.128/25\"\n";
    let place = Place::with(&with(&port, &backend, lists));
    let mut portway = Portway::run(&place.file());
    for (address, may) in [
        ("127.0.1.0", true),
        ("127.0.1.127", true),
        ("127.0.1.128", false),
        ("127.0.1.255", false),
        ("127.0.2.7", true),
        ("127.0.2.8", false),
        ("127.0.0.1", false),
    ] {
        match may {
            true => assert_eq!(flow_from(address, port.number).unwrap().reached, "app", "{address}"),
            false => assert!(turned_away(address, port.number), "{address}"),
        }
    }
    // An edit is in force for the next client, and a connection goes on.
    let mut flow = flow_from("127.0.1.1", port.number).unwrap();
    place.save(&with(&port, &backend, "deny = \"127.0.1.0/24\"\n"));
    portway.phase("reloaded");
    assert!(turned_away("127.0.1.1", port.number));
    assert_eq!(flow_from("127.0.0.1", port.number).unwrap().reached, "app");
    flow.ping().unwrap();
    drop(flow);
    portway.stop();
}

#[test]
fn the_denied_are_counted_and_not_logged_one_by_one() {
    let (port, backend) = (Port::reserve(), Backend::named("app"));
    let place = Place::with(&with(&port, &backend, "deny = \"127.0.1.0/24\"\n"));
    let mut portway = Portway::run(&place.file());
    for host in 0..200 {
        assert!(turned_away(&format!("127.0.1.{host}"), port.number));
    }
    let told = portway.phase("denied a client");
    assert_eq!((&told["route"], &told["denied"]), (&"app".into(), &1.into()), "{told}");
    assert!(told["client"].as_str().unwrap().starts_with("127.0.1.0:"), "{told}");
    assert_eq!(reached(port.number), "app");
    portway.until("the one client is in the access log", |portway| {
        portway.seen.iter().filter(|line| line["outcome"].is_string()).count() == 1
    });
    assert_eq!(portway.count("denied a client"), 1);
    // What it has counted is said at the end.
    portway.signal(rustix::process::Signal::TERM);
    let summary = portway.phase("turned away in all");
    assert_eq!(summary["denied"], 200, "{summary}");
    portway.phase("stopped");
    assert_eq!(portway.seen.iter().filter(|line| line["outcome"].is_string()).count(), 1);
}

#[test]
fn a_denied_client_is_reset_whatever_it_has_sent() {
    let (port, backend) = (Port::reserve(), Backend::named("app"));
    let place = Place::with(&with(&port, &backend, "deny = \"127.0.1.0/24\"\n"));
    let portway = Portway::run(&place.file());
    let to = ([127, 0, 0, 1], port.number).into();
    for sent in [0, 1, 100_000] {
        let mut client = from("127.0.1.1", to).unwrap();
        // It may be reset on the way.
        drop(client.write_all(&vec![b'x'; sent]));
        assert!(is_reset(client) || sent > 0, "after {sent} bytes");
    }
    portway.stop();
}

#[test]
fn an_ipv4_client_is_matched_as_such_on_a_socket_of_both_families() {
    let (port, backend) = (Port::everywhere(), Backend::named("app"));
    let listen = port.number.to_string();
    for (lists, v4, v6) in [
        ("deny = \"127.0.0.0/8\"\n", false, true),
        ("allow = \"127.0.0.0/8\"\n", true, false),
        ("allow = \"::ffff:127.0.0.0/104\"\n", true, false),
        ("deny = \"::/0\"\n", true, false),
        ("allow = [\"::1\", \"127.0.0.1\"]\n", true, true),
    ] {
        let place = Place::with(&format!("{HEAD}{}", route("app", &listen, &backend, lists)));
        let portway = Portway::run(&place.file());
        let client = |ip: &str| from(ip, (ip.parse::<std::net::IpAddr>().unwrap(), port.number).into());
        for (ip, may) in [("127.0.0.1", v4), ("::1", v6)] {
            let reached = client(ip).and_then(Flow::greeted);
            assert_eq!(reached.is_ok(), may, "{ip} with {lists}");
        }
        portway.stop();
    }
}

#[test]
fn a_list_in_a_file_is_watched_and_a_bad_one_changes_nothing() {
    let (port, backend) = (Port::reserve(), Backend::named("app"));
    let place = Place::with(&with(&port, &backend, "deny = { file = \"lists/deny.txt\" }\n"));
    let lists = place.folder().join("lists");
    std::fs::create_dir(&lists).unwrap();
    let save = |text: &str| {
        std::fs::write(lists.join(".new"), text).unwrap();
        std::fs::rename(lists.join(".new"), lists.join("deny.txt")).unwrap();
    };
    save("# nobody\n");
    let mut portway = Portway::run(&place.file());
    assert_eq!(flow_from("127.0.1.1", port.number).unwrap().reached, "app");

    save("127.0.1.0/24\n");
    assert_eq!(portway.phase("list taken over")["ranges"], 1);
    assert!(turned_away("127.0.1.1", port.number));

    save("127.0.1.0/24\n127.0.2.0/240\n");
    let refused = portway.phase("list refused");
    let headline = refused["headline"].as_str().unwrap();
    assert!(headline.contains("deny.txt:2:1: `/240` is not a prefix length"), "{headline}");
    assert!(turned_away("127.0.1.1", port.number));

    // Gone, empty: neither opens the door.
    std::fs::remove_file(lists.join("deny.txt")).unwrap();
    portway.phase("list refused");
    save("");
    portway.phase("list refused");
    assert!(turned_away("127.0.1.1", port.number));

    save("# nobody again\n127.0.3.0/24");
    portway.phase("list taken over");
    assert_eq!(flow_from("127.0.1.1", port.number).unwrap().reached, "app");
    assert!(turned_away("127.0.3.1", port.number));

    // The route's own edit keeps the list, and one without it forgets it.
    place.save(&with(&port, &backend, "deny = { file = \"lists/deny.txt\" }\nkeepalive = \"30s\"\n"));
    portway.phase("reloaded");
    assert!(turned_away("127.0.3.1", port.number));
    place.save(&with(&port, &backend, ""));
    portway.phase("reloaded");
    assert_eq!(flow_from("127.0.3.1", port.number).unwrap().reached, "app");
    portway.stop();
}

#[test]
fn a_list_that_cannot_be_had_is_a_fault_at_its_place() {
    let (port, backend) = (Port::reserve(), Backend::named("app"));
    let good = with(&port, &backend, "");
    let place = Place::with(&good);
    let mut portway = Portway::run(&place.file());
    let bad = place.folder().join("bad.txt");
    std::fs::write(&bad, "10.0.0.0/8\n10.0.0.0/99\n").unwrap();
    for (file, expected) in [("none.txt", ":8:18: the list "), ("bad.txt", "bad.txt:2:1: `/99` is not")] {
        let text = with(&port, &backend, &format!("allow = {{ file = \"{file}\" }}\n"));
        place.save(&text);
        let headline = portway.refused();
        assert!(headline.contains(expected), "{headline}");
        assert_eq!(reached(port.number), "app");
        let check = std::process::Command::new(PORTWAY).arg("check").arg(place.file()).output().unwrap();
        let shown = String::from_utf8(check.stderr).unwrap();
        assert_eq!(check.status.code(), Some(2), "{shown}");
        assert!(shown.contains(expected.split(": ").next().unwrap()), "{shown}");
    }
    place.save(&good);
    portway.phase("fault healed");
    portway.stop();
}
