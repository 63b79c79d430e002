//! Each key of each table arrives as it was typed, whether a route says it or `[defaults]`, and in a text that has faults elsewhere.

use std::sync::Arc;

use portway::config::{RouteFile, admin_of, compile, policy_entries, process_of, routes_of};
use portway::model::{EntryState, Table};

fn table(text: &str) -> Table {
    compile("portway.toml", text.as_bytes()).unwrap_or_else(|report| panic!("{report}")).table
}

fn shown(entries: impl IntoIterator<Item = (&'static str, String)>) -> Vec<String> {
    entries.into_iter().map(|(key, value)| format!("{key} {value}")).collect()
}

/// A line of a route, and what the policy shows of it.
const OF_CONNECTIONS: &[(&str, &str)] = &[
    ("port_ranges = \"rule\"", "port_ranges rule"),
    ("connect_timeout = \"7s\"", "connect_timeout 7s"),
    ("idle_timeout = \"8s\"", "idle_timeout 8s"),
    ("half_close_timeout = \"9s\"", "half_close_timeout 9s"),
    ("max_age = \"10s\"", "max_age 10s"),
    ("keepalive = \"11s\"", "keepalive 11s"),
    ("keepalive = \"off\"", "keepalive off"),
    ("on_change = \"drain\"", "on_change drain"),
    ("drain_timeout = \"12s\"", "drain_timeout 12s"),
    ("drain_delay = \"13s\"", "drain_delay 13s"),
    ("relay = \"copy\"", "relay copy"),
    ("socket_buffers = \"128 KiB\"", "socket_buffers 128 KiB"),
    ("source = \"10.0.0.5\"", "source 10.0.0.5"),
    ("source = [\"2001:db8::5\", \"10.0.0.5\"]", "source 10.0.0.5, 2001:db8::5"),
    ("source = [\"[2001:db8::5]\", \"::ffff:10.0.0.5\"]", "source 10.0.0.5, 2001:db8::5"),
    ("source = \"client\"", "source client"),
    ("source = { dscp = 46 }", "source dscp ef"),
    (
        "source = { address = \"10.0.0.5\", interface = \"eth0.100\", dscp = \"af41\", mark = 7 }",
        "source 10.0.0.5, interface eth0.100, dscp af41, mark 7",
    ),
    ("balance = \"random-two\"", "balance random-two"),
    ("slow_start = \"14s\"", "slow_start 14s"),
    ("on_down = \"cut\"", "on_down cut"),
    ("on_vanish = \"drain\"", "on_vanish drain"),
    (
        "health = { interval = \"6s\", timeout = \"1s\", rise = 4, fall = 5, port = 81, send = \"PING\", expect = \"PONG\" }",
        "health every 6s, timeout 1s, rise 4, fall 5, port 81, send \"PING\", expect \"PONG\"",
    ),
    (
        "health = { steps = [{ expect = \"220\" }, { send = \"QUIT\" }] }",
        "health every 5s, timeout 2s, rise 2, fall 3, expect \"220\", send \"QUIT\"",
    ),
    // The timeout is no longer than the interval.
    ("health = { interval = \"1s\" }", "health every 1s, timeout 1s, rise 2, fall 3"),
    ("when_down = \"refuse\"", "when_down refuse"),
    ("when_down = \" hold  15s \"", "when_down hold 15s"),
    ("allow = [\"10.0.0.0/8\", \"192.0.2.1\"]", "allow 10.0.0.0/8, 192.0.2.1/32"),
    ("allow = { file = \"/run/nets\" }", "allow those of /run/nets"),
    ("deny = \"10.0.0.5-10.0.0.9\"", "deny 10.0.0.5-10.0.0.9"),
    ("max_connections = 16", "max_connections 16"),
    ("when_full = \"wait\"", "when_full wait"),
    ("max_connections_per_client = 17", "max_connections_per_client 17"),
    ("rate_per_client = \"18/m burst 2\"", "rate_per_client 18/m burst 2"),
    ("bandwidth = \"3 MiB/s\"", "bandwidth 3 MiB/s"),
    ("bandwidth = { up = \"1 MiB/s\", down = \"2 MiB/s\" }", "bandwidth 1 MiB/s up and 2 MiB/s down"),
    (
        "proxy_protocol = { accept = true, trusted = [\"10.0.0.0/8\", \"unix:\"], untrusted = \"plain\", timeout = \"19s\", send = \"v1\" }",
        "proxy_protocol accept from 10.0.0.0/8, unix: within 19s, others plain, send v1",
    ),
    (
        "tls = { cert = \"a.pem\", key = \"a.key\", client_ca = \"ca.pem\", crl = [\"r.pem\", \"s.pem\"] }",
        "tls cert = a.pem, key = a.key, client_ca = ca.pem, crl = r.pem, crl = s.pem",
    ),
    (
        "tls = { upstream = { ca = \"up.pem\", server_name = \"db.internal\", cert = \"c.pem\", key = \"c.key\" } }",
        "tls upstream = { ca = up.pem, server_name = db.internal, cert = c.pem, key = c.key }",
    ),
    ("sniff_timeout = \"20s\"", "sniff_timeout 20s"),
];

/// The same of a udp route.
const OF_SESSIONS: &[(&str, &str)] = &[
    ("connect_timeout = \"7s\"", "connect_timeout 7s"),
    ("idle_timeout = \"8s\"", "idle_timeout 8s"),
    ("on_vanish = \"keep\"", "on_vanish keep"),
    ("max_sessions = 21", "max_sessions 21"),
    ("max_replies = 22", "max_replies 22"),
    (
        "proxy_protocol = { send = \"v2\", datagrams = \"first\" }",
        "proxy_protocol send v2 with the first datagram",
    ),
];

/// The entries of the policy of the only route.
fn policy(text: &str) -> Vec<String> {
    let table = table(text);
    shown(policy_entries(&table.routes["a"].policy))
}

#[test]
fn a_policy_key_changes_what_it_names_and_nothing_else() {
    let route = "[[route]]\nname = \"a\"\nlisten = \"8080\"\nupstream = \"app:80\"\n";
    let mut wrong = Vec::new();
    for (lines, cases) in [("", OF_CONNECTIONS), ("protocol = \"udp\"\n", OF_SESSIONS)] {
        let usual = policy(&format!("{route}{lines}"));
        for (line, expected) in cases {
            for text in [format!("{route}{lines}{line}\n"), format!("[defaults]\n{line}\n{route}{lines}")] {
                let found = policy(&text);
                let changed: Vec<_> = found.iter().filter(|entry| !usual.contains(entry)).collect();
                if changed != [expected] {
                    wrong.push(format!("{text}{changed:?}"));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_route_has_the_last_word() {
    let text = "[defaults]\nkeepalive = \"1s\"\nmax_connections = 5\nsource = \"10.0.0.5\"\nallow = \"10.0.0.0/8\"\n\
        [[route]]\nname = \"a\"\nlisten = \"8080\"\nupstream = \"app:80\"\n\
        keepalive = \"2s\"\nmax_connections = \"off\"\nsource = \"off\"\nallow = \"all\"\n";
    let found = policy(text);
    for entry in ["keepalive 2s", "max_connections off", "source off", "allow all"] {
        assert!(found.iter().any(|found| found == entry), "{entry}: {found:?}");
    }
}

#[test]
fn an_upstream_has_what_its_table_says_and_the_usual_without() {
    let text = "[[route]]\nname = \"a\"\nlisten = \"8080\"\nsource = \"10.0.0.1\"\nupstream = [\n\
        { address = \"10.0.0.11:80\", weight = 2, backup = true, max_connections = 3, source = \"10.0.0.9\" },\n\
        { address = \"10.0.0.12:80\", state = \"drain\", source = \"off\" },\n\"10.0.0.13:80\"]\n";
    let table = table(text);
    let route = &table.routes["a"];
    let [full, drained, usual] = route.upstream.as_slice() else { panic!("{route:?}") };
    assert_eq!((full.spec.to_string().as_str(), full.weight, full.backup), ("10.0.0.11:80", 2, true));
    assert_eq!((full.state, full.max_connections), (EntryState::Ready, Some(3)));
    assert_eq!((drained.weight, drained.backup, drained.max_connections), (1, false, None));
    assert_eq!((drained.state, usual.state), (EntryState::Drain, EntryState::Ready));
    assert_eq!((usual.weight, usual.backup, usual.max_connections), (1, false, None));
    let sources = [full, drained, usual].map(|entry| route.source_of(entry).map(ToString::to_string));
    assert_eq!(sources, [Some("10.0.0.9".to_owned()), None, Some("10.0.0.1".to_owned())]);
}

#[test]
fn every_section_arrives() {
    let text = "[process]\nuser = \"www-data\"\n[log]\nlevel = \"debug\"\nformat = \"json\"\naccess = \"/var/log/a\"\n\
        [limits]\nmax_connections = 5\nmemory = \"1 GiB\"\npreread_memory = \"2 MiB\"\n[fleet]\nreplicas = 30\n\
        [edits]\nprobation = \"45s\"\n[admin]\nlisten = \"unix:/run/a\"\nmode = \"0640\"\ngroup = \"ops\"\n\
        token = { env = \"APP_TOKEN\" }\nread_token = \"kX3vW9qLr2TzP7sN\"\n\
        [[route]]\nlisten = { address = \"unix:/run/b\", mode = \"0600\", group = 33 }\nupstream = \"app:80\"\n";
    let table = table(text);
    assert_eq!(shown(table.process.entries()), ["user www-data"]);
    assert_eq!(shown(table.log.entries()), ["level debug", "format json", "access /var/log/a"]);
    assert_eq!(shown(table.limits.entries()), ["max_connections 5", "memory 1 GiB", "preread_memory 2 MiB"]);
    assert_eq!(shown(table.fleet.entries()), ["replicas 30"]);
    assert_eq!(shown(table.edits.entries()), ["probation 45s"]);
    assert_eq!(
        shown(table.admin.unwrap().entries()),
        ["listen unix:/run/a", "token that of $APP_TOKEN", "read_token set", "mode 0640", "group ops"]
    );
    let access: Vec<_> = table.sockets.into_iter().collect();
    assert_eq!(access.len(), 1);
    assert_eq!(
        (access[0].0.to_str(), shown(access[0].1.entries())),
        (Some("/run/b"), vec!["mode 0600".to_owned(), "group 33".to_owned()])
    );
}

#[test]
fn a_probation_that_is_off_is_said() {
    let probation = |lines: &str| {
        let route = "[[route]]\nlisten = \"8080\"\nupstream = \"app:80\"\n";
        shown(table(&format!("{lines}{route}")).edits.entries()).join("")
    };
    assert_eq!(probation(""), "probation not set");
    assert_eq!(probation("[edits]\n"), "probation not set");
    assert_eq!(probation("[edits]\nprobation = \"off\"\n"), "probation off");
    assert_eq!(probation("[edits]\nprobation = \"1s\"\n"), "probation 1s");
}

#[test]
fn what_is_whole_in_a_text_with_faults_is_known() {
    let text = b"[process]\nuser = \"www-data\"\n[admin]\nlisten = \"127.0.0.1:9180\"\n\
        [[route]]\nname = \"a\"\nlisten = \"8080\"\nupstream = \"app:80\"\nfoo = 1\n\
        [[route]]\nname = \"b\"\nlisten = \"8081\"\nupstream = \"app:81\"\nenabled = false\n\
        [[route]]\nname = \"c\"\nlisten = \"8082\"\nupstream = \"app:82\"\n";
    assert!(compile("portway.toml", text).is_err());
    assert_eq!(shown(process_of(text).entries()), ["user www-data"]);
    assert_eq!(admin_of(text).unwrap().listen.to_string(), "127.0.0.1:9180");
    let routes = routes_of(text);
    let names: Vec<_> = routes.iter().map(|route| (route.name.as_str(), route.upstream.len())).collect();
    assert_eq!(names, [("a", 1), ("c", 1)]);
    // Nothing is known of what is no text.
    let broken = [text.as_slice(), b"\xff"].concat();
    assert_eq!(shown(process_of(&broken).entries()), ["user none"]);
    assert!(admin_of(&broken).is_none() && routes_of(&broken).is_empty());
}

#[test]
fn a_file_counts_its_disabled_routes() {
    let route = |name: &str, more: &str| {
        format!(
            "[[route]]\nname = \"{name}\"\nlisten = \"unix:/run/{name}\"\nupstream = \"app:80\"\n{more}\n"
        )
    };
    let off = "enabled = false";
    for (text, all, disabled) in [
        (route("a", ""), 1, 0),
        (route("a", "") + &route("b", off), 2, 1),
        (route("a", off) + &route("b", "enabled = true") + &route("c", off), 3, 2),
    ] {
        let file = RouteFile::main("portway.toml", text.as_bytes()).unwrap();
        assert_eq!((file.routes().count(), file.disabled()), (all, disabled), "{text}");
    }
}

#[test]
fn routes_with_the_same_policy_share_it() {
    let route = |name: &str, more: &str| {
        format!(
            "[[route]]\nname = \"{name}\"\nlisten = \"unix:/run/{name}\"\nupstream = \"app:80\"\n{more}\n"
        )
    };
    let odd = "keepalive = \"5s\"";
    let text = route("a", "") + &route("b", "") + &route("c", odd) + &route("d", odd) + &route("e", "");
    let routes = table(&text).routes;
    let shared = |a: &str, b: &str| Arc::ptr_eq(&routes[a].policy, &routes[b].policy);
    assert!(shared("a", "b") && shared("c", "d") && !shared("b", "c") && !shared("d", "e"));
}
