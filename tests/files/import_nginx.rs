//! What statements of nginx become, one by one.

use portway::config::Program;

use super::import_found::{Found, found};

const KNOWN: [&str; 4] = [
    "[[route]]",
    "listen = \"0.0.0.0:80\"",
    "upstream = \"10.0.0.1:80\"",
    "idle_timeout = \"10m\" # nginx's default",
];

fn nginx(text: &str) -> Found {
    found(Program::Nginx, text)
}

/// A server with these statements, in a `stream` with those.
fn server(inside: &str, outside: &str) -> Found {
    nginx(&format!("stream {{ {outside} server {{ listen 80; proxy_pass 10.0.0.1:80; {inside} }} }}\n"))
}

/// Statements of a server, the keys that come of them, and what is not carried over.
fn become_keys(cases: &[(&str, &str, &str)]) {
    for (inside, keys, named) in cases {
        let found = server(inside, "");
        assert_eq!(found.beside(&KNOWN), *keys, "{inside}");
        found.must_name(named, inside);
    }
}

#[test]
fn times_and_rates() {
    let none = "its value has no counterpart here";
    let [year, word, two, zero, slow] = [
        "proxy_timeout 366d",
        "proxy_timeout x",
        "proxy_timeout 1 2",
        "proxy_connect_timeout 0",
        "proxy_upload_rate 99",
    ]
    .map(|said| format!("{said} {none}"));
    become_keys(&[
        ("proxy_timeout 365d;", "idle_timeout = \"11months 30days 3h 50m 24s\"", ""),
        ("proxy_timeout 366d;", "", &year),
        ("proxy_timeout 0;", "idle_timeout = \"off\"", ""),
        ("proxy_timeout x;", "", &word),
        ("proxy_timeout 1 2;", "", &two),
        ("proxy_connect_timeout 5s;", "connect_timeout = \"5s\"", ""),
        ("proxy_connect_timeout 0;", "", &zero),
        ("preread_timeout 3s;", "sniff_timeout = \"3s\"", ""),
        ("ssl_handshake_timeout 3s;", "sniff_timeout = \"3s\"", ""),
        ("proxy_download_rate 1g;", "bandwidth = { down = \"1 GiB/s\" }", ""),
        ("proxy_upload_rate 2M;", "bandwidth = { up = \"2 MiB/s\" }", ""),
        ("proxy_upload_rate 100;", "bandwidth = { up = \"100 B/s\" }", ""),
        ("proxy_upload_rate 0;", "bandwidth = { up = \"off\" }", ""),
        ("proxy_upload_rate 99;", "", &slow),
    ]);
}

#[test]
fn where_connections_leave_from() {
    let none = |said: &str| format!("proxy_bind {said} its value has no counterpart here");
    become_keys(&[
        ("proxy_bind 10.0.0.9;", "source = \"10.0.0.9\"", ""),
        ("proxy_bind off;", "source = \"off\"", ""),
        ("proxy_bind $remote_addr transparent;", "source = \"client\"", ""),
        ("proxy_bind 10.0.0.9 transparent;", "", &none("10.0.0.9 transparent")),
        ("proxy_bind $remote_addr x;", "", &none("$remote_addr x")),
        ("proxy_bind $remote_addr;", "", &none("$remote_addr")),
        ("proxy_bind $x transparent;", "", &none("$x transparent")),
    ]);
}

#[test]
fn what_portway_does_anyway_and_what_it_cannot() {
    become_keys(&[
        ("proxy_next_upstream on; tcp_nodelay on; proxy_socket_keepalive on;", "", ""),
        ("tcp_nodelay off;", "", "tcp_nodelay off nothing is held back to fill packets"),
        ("bogus x;", "", "bogus x Portway does not know it: look whether the route needs it"),
        ("return x;", "", "return x Portway answers nothing itself"),
        ("error_log /x;", "", ""),
    ]);
    let found =
        server("proxy_timeout 2m;", "error_log /x; tcp_nodelay off; proxy_timeout 1m; map_hash_max_size 3;");
    assert_eq!(found.beside(&KNOWN), "idle_timeout = \"2m\"");
    for fate in
        ["Apart error_log /x", "Named tcp_nodelay off", "Same proxy_timeout 1m", "Same map_hash_max_size 3"]
    {
        assert!(found.fates.iter().any(|one| one == fate), "{fate}: {:?}", found.fates);
    }
    let found = nginx(
        "daemon off; include x; events { } http { } stream { server { listen 80; proxy_pass 10.0.0.1:80; } }",
    );
    found.must_name("http Portway forwards connections and looks at no request", "http");
    found.must_name("include x other files are not read: import them, too", "include");
    for fate in ["Apart daemon off", "Apart events", "Carried stream", "Carried server"] {
        assert!(found.fates.iter().any(|one| one == fate), "{fate}: {:?}", found.fates);
    }
}

#[test]
fn half_closed_connections_are_pointed_out_unless_all_servers_keep_them() {
    let remark = "nginx ends both directions of a connection once one side has sent FIN";
    let (on, off) = ("proxy_half_close on;", "proxy_half_close off;");
    for (inside, outside, more, says) in [
        ("", "", "", true),
        (off, "", "", true),
        (on, "", "", false),
        ("", on, "", false),
        (off, on, "", true),
        (on, off, "", false),
        (on, "", "server { listen 81; proxy_pass 10.0.0.1:81; }", true),
        (on, "", "server { listen 81; proxy_pass 10.0.0.1:81; proxy_half_close on; }", false),
    ] {
        let found = server(inside, &format!("{outside} {more}"));
        assert_eq!(found.comments.contains(remark), says, "{inside} {outside} {more}");
    }
    let datagrams = nginx("server { listen 80 udp; proxy_pass 10.0.0.1:80; }");
    assert!(!datagrams.comments.contains(remark));
}

#[test]
fn who_may_connect() {
    let network = |said: &str| format!("{said} it is no network");
    let first =
        "deny 10.0.0.1 here the first rule that fits decides, and an earlier one lets some of these in";
    become_keys(&[
        ("allow 10.0.0.1; deny all;", "allow = \"10.0.0.1\"", ""),
        ("deny 10.0.0.1/32; deny ::1/128;", "deny = [\"10.0.0.1\", \"::1\"]", ""),
        ("deny 10.9.9.9/0;", "deny = \"0.0.0.0/0\"", ""),
        ("deny 2001:db8::1/0;", "deny = \"::/0\"", ""),
        ("deny 10.9.9.9/255.255.0.0;", "deny = \"10.9.0.0/16\"", ""),
        ("deny 10.0.0.0/255.0.255.0;", "enabled = false", &network("deny 10.0.0.0/255.0.255.0")),
        ("deny 10.0.0.0/33;", "enabled = false", &network("deny 10.0.0.0/33")),
        ("deny ::/129;", "enabled = false", &network("deny ::/129")),
        ("deny bogus;", "enabled = false", &network("deny bogus")),
        ("allow 10.0.0.1; deny 10.0.0.1;", "enabled = false", first),
        ("deny unix:;", "", "deny unix: who comes through a Unix socket is let in by the `mode` of its file"),
    ]);
    let all = "allow 10.0.0.1; deny all;";
    for (inside, keys) in
        [("", "allow = \"10.0.0.1\""), ("deny 10.0.0.1;", "deny = \"10.0.0.1\""), ("allow all;", "")]
    {
        assert_eq!(
            server(inside, all).beside(&KNOWN),
            keys,
            "{inside}: a server has all of them, or its own"
        );
    }
}

#[test]
fn limits_count_by_client_or_by_route() {
    for (key, count, keys, why) in [
        ("$binary_remote_addr", "5", "max_connections_per_client = 5", ""),
        ("$remote_addr", "5", "max_connections_per_client = 5", ""),
        ("$server_port", "5", "max_connections = 5", ""),
        ("$server_addr", "5", "max_connections = 5", ""),
        ("$server_name", "5", "max_connections = 5", ""),
        ("$server_name", "0", "", "it is no number"),
        ("$x", "5", "", "it counts by `$x`: `max_connections` counts by route"),
    ] {
        let found = server(&format!("limit_conn z {count};"), &format!("limit_conn_zone {key} zone=z:1m;"));
        assert_eq!(found.beside(&KNOWN), keys, "{key}");
        found.must_name(
            &if why.is_empty() { String::new() } else { format!("limit_conn z {count} {why}") },
            key,
        );
    }
    let found =
        server("", "limit_conn_zone $x zone=z:1m; upstream u { server 10.0.0.1:1; } map $a $b { c d; }");
    for block in [
        "limit_conn_zone $x zone=z:1m no server uses `z`",
        "upstream u no server uses `u`",
        "map $a $b no server uses `$b`",
    ] {
        found.must_name(block, block);
    }
    assert!(found.fates.contains(&"Same server 10.0.0.1:1".to_owned()), "{:?}", found.fates);
}

#[test]
fn tls_of_the_upstream() {
    let why = "nginx did not verify the upstream's certificate; this route does. If it is not for the name of \
               `upstream`, or of an authority of your own: tls = { upstream = { ca = \"ca.pem\", server_name = ";
    let unverified = |said: &str| format!("{said} {why}");
    let versions = |said: &str| {
        format!("proxy_ssl_protocols {said} TLS 1.2 and 1.3 are spoken, both, and no older ones")
    };
    let tls = "tls = { upstream = true }";
    for (inside, keys, named, says) in [
        ("proxy_ssl on;", tls, unverified("proxy_ssl on"), true),
        ("proxy_ssl on; proxy_ssl_verify off;", tls, unverified("proxy_ssl_verify off"), true),
        ("proxy_ssl on; proxy_ssl_verify on;", tls, String::new(), false),
        ("proxy_ssl off; proxy_ssl_protocols TLSv1.1; proxy_ssl_verify off;", "", String::new(), false),
        ("proxy_ssl_certificate a; proxy_ssl_name x;", "", String::new(), false),
        ("proxy_ssl on; proxy_ssl_protocols TLSv1.2 TLSv1.3;", tls, unverified("proxy_ssl on"), true),
        ("proxy_ssl on; proxy_ssl_protocols TLSv1.3;", tls, versions("TLSv1.3"), true),
        ("proxy_ssl on; proxy_ssl_protocols TLSv1.2 TLSv1.1;", tls, versions("TLSv1.2 TLSv1.1"), true),
        ("proxy_ssl on; proxy_ssl_protocols TLSv1.1 TLSv1.3;", tls, versions("TLSv1.1 TLSv1.3"), true),
        (
            "proxy_ssl on; proxy_ssl_protocols TLSv1.1 TLSv1.2 TLSv1.3;",
            tls,
            versions("TLSv1.1 TLSv1.2 TLSv1.3"),
            true,
        ),
    ] {
        let found = server(inside, "");
        assert_eq!(found.beside(&KNOWN), keys, "{inside}");
        found.must_name(&named, inside);
        assert_eq!(found.comments.contains(why), says, "{inside}");
    }
    let found = server("proxy_ssl off; proxy_ssl_protocols TLSv1.1; proxy_ssl_verify off;", "");
    for fate in ["Same proxy_ssl off", "Same proxy_ssl_protocols TLSv1.1", "Same proxy_ssl_verify off"] {
        assert!(found.fates.iter().any(|one| one == fate), "{fate}: {:?}", found.fates);
    }
}

#[test]
fn tls_of_the_clients() {
    let own = "ssl_certificate a; ssl_certificate_key b;";
    let of = |words: &str, more: &str| {
        nginx(&format!("server {{ listen 80 {words}; {more} proxy_pass 10.0.0.1:80; }}"))
    };
    let keys = |more: &str| format!("tls = {{ cert = \"a\", key = \"b\"{more} }}");
    let who = "clients must have a certificate (`client_ca`), or are asked for none";
    for (more, keys, named) in [
        ("", keys(""), String::new()),
        ("ssl_alpn h2 http/1.1;", format!("{}; alpn = [\"h2\", \"http/1.1\"]", keys("")), String::new()),
        ("ssl_protocols TLSv1.2 TLSv1.3;", keys(""), String::new()),
        (
            "ssl_protocols TLSv1.2;",
            keys(""),
            "ssl_protocols TLSv1.2 TLS 1.2 and 1.3 are spoken, both".to_owned(),
        ),
        ("ssl_client_certificate ca; ssl_crl c;", keys(""), String::new()),
        ("ssl_verify_client off; ssl_client_certificate ca; ssl_crl c;", keys(""), String::new()),
        (
            "ssl_verify_client on; ssl_client_certificate ca; ssl_crl c;",
            keys(", client_ca = \"ca\", crl = \"c\""),
            String::new(),
        ),
        ("ssl_verify_client on; ssl_trusted_certificate ca;", keys(", client_ca = \"ca\""), String::new()),
        (
            "ssl_verify_client optional; ssl_client_certificate ca;",
            keys(""),
            format!("ssl_verify_client optional {who}"),
        ),
    ] {
        let found = of("ssl", &format!("{own} {more}"));
        assert_eq!(found.beside(&KNOWN), keys, "{more}");
        found.must_name(&named, more);
        let plain = of("", &format!("{own} {more}"));
        assert_eq!(plain.beside(&KNOWN), "", "{more}");
        plain.must_name("", more);
    }
    // An included file may have it: without one the clients' TLS would be passed on.
    let found = of("ssl", "include ssl.conf;");
    assert_eq!(found.beside(&KNOWN), "enabled = false");
    found.must_name(
        "listen 80 ssl `ssl` without `ssl_certificate`: write tls = { cert = \"app.pem\"",
        "include",
    );
    // Only of the address that has it.
    let found = of("ssl", "listen 81;");
    found.must_name("listen 80 ssl `ssl` without `ssl_certificate`: write tls", "listen 81");
    assert!(!found.comments.contains("listen 81 `ssl` without"), "{}", found.comments);
}
