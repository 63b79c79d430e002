//! What other programs tell apart stays apart after `portway import`: sockets of one proxy, clients of one address, servers of one
//! backend. Where it cannot, nobody gets what was meant for others.

use portway::config::{Imported, Program, compile, import};

fn imported(program: Program, text: &str) -> Imported {
    let found = import("a file", text.as_bytes(), Some(program)).unwrap_or_else(|report| panic!("{report}"));
    let compiled = compile("routes.toml", found.text.as_bytes());
    assert!(compiled.is_ok(), "{}\n{}", compiled.unwrap_err(), found.text);
    found
}

fn haproxy(text: &str) -> Imported {
    imported(Program::Haproxy, text)
}

fn nginx(inside: &str) -> Imported {
    imported(Program::Nginx, &format!("stream {{\nproxy_timeout 1m;\n{inside}\n}}\n"))
}

/// The keys of each route that says `listen` so, one below the other, without comments and without spaces before `=`.
fn keys(found: &Imported) -> Vec<String> {
    let routes = found.text.split("\n[[route]]\n").skip(1);
    let bare = |line: &str| {
        let line = line.split("  # ").next().unwrap().trim_end();
        match line.split_once(" = ") {
            Some((key, value)) => format!("{} = {value}", key.trim_end()),
            None => line.to_owned(),
        }
    };
    let lines = |route: &str| -> Vec<String> {
        let lines = route.lines().filter(|line| !line.starts_with('#') && !line.is_empty());
        lines.map(bare).filter(|line| !line.starts_with("idle_timeout")).collect()
    };
    routes.map(|route| lines(route).join("\n")).collect()
}

/// The names of the routes that serve somebody.
fn on(found: &Imported) -> Vec<String> {
    let table = compile("routes.toml", found.text.as_bytes()).unwrap().table;
    table.routes.keys().map(ToString::to_string).collect()
}

fn has(found: &Imported, words: &str) -> bool {
    let plain: Vec<&str> = found.text.lines().map(|line| line.trim_start_matches('#').trim()).collect();
    plain.join(" ").contains(words)
}

#[test]
fn sockets_of_one_haproxy_proxy_become_a_route_for_each_way_to_begin() {
    let found = haproxy(
        "listen mqtt\n bind :8883 ssl crt /etc/x.pem\n bind :1883\n bind :1884 accept-proxy\n bind :1885\n \
         server a 10.0.0.1:1883\n",
    );
    assert_eq!(
        keys(&found),
        [
            "name = \"mqtt\"\nlisten = \"0.0.0.0:8883\"\nupstream = \"10.0.0.1:1883\"\n\
             tls = { cert = \"/etc/x.pem\", key = \"/etc/x.pem\" }",
            "name = \"mqtt-2\"\nlisten = [\"0.0.0.0:1883\", \"0.0.0.0:1885\"]\nupstream = \"10.0.0.1:1883\"",
            "name = \"mqtt-3\"\nlisten = \"0.0.0.0:1884\"\nupstream = \"10.0.0.1:1883\"\n\
             proxy_protocol = { accept = true, trusted = [\"0.0.0.0/0\", \"::/0\"] }",
        ],
        "{}",
        found.text
    );
    assert_eq!((found.named(), found.routes, found.off.len()), (0, 3, 0));
}

#[test]
fn what_one_socket_lacks_switches_off_its_own_route_only() {
    let found = haproxy("listen db\n bind :1 interface eth1\n bind :2\n server a 10.0.0.1:3\n");
    assert_eq!(
        (on(&found), found.off.clone()),
        (vec!["db-2".to_owned()], vec!["db".to_owned()]),
        "{}",
        found.text
    );
    assert!(has(&found, "bind :1 interface eth1 `interface eth1`: a socket listens"), "{}", found.text);
}

#[test]
fn a_limit_of_a_frontend_with_several_routes_says_what_it_counts() {
    let found = haproxy("listen db\n bind :1\n bind :2 accept-proxy\n maxconn 5\n server a 10.0.0.1:3\n");
    let line = "max_connections = 5  # of each route; HAProxy counts those of the whole frontend\n";
    assert!(found.text.contains(line), "{}", found.text);
}

#[test]
fn sockets_of_one_nginx_server_become_a_route_for_each_way_to_begin() {
    let found = nginx(
        "server { listen 8883 ssl; listen 1883; listen 1884 proxy_protocol; listen [::]:1883;\n set_real_ip_from 10.0.0.0/8;\n\
         ssl_certificate x.pem; ssl_certificate_key x.key; proxy_pass 10.0.0.1:1883; }",
    );
    assert_eq!(
        keys(&found),
        [
            "listen = \"0.0.0.0:8883\"\nupstream = \"10.0.0.1:1883\"\ntls = { cert = \"x.pem\", key = \"x.key\" }",
            "listen = \"1883\"\nupstream = \"10.0.0.1:1883\"",
            "listen = \"0.0.0.0:1884\"\nupstream = \"10.0.0.1:1883\"\n\
             proxy_protocol = { accept = true, trusted = \"10.0.0.0/8\" }",
        ],
        "{}",
        found.text
    );
}

const SNI: &str = "frontend in\n bind :443\n tcp-request inspect-delay 5s\n use_backend app if { req_ssl_sni -i app.example.com }\n \
                   use_backend wild if { req_ssl_sni -m end .example.com }\n use_backend other if { req_ssl_sni -i other.example.net }\n \
                   default_backend fallback\n";
const BACKENDS: &str = "backend app\n server a 10.0.0.1:443\nbackend wild\n server a 10.0.0.2:443\n\
                        backend other\n server a 10.0.0.4:443\nbackend fallback\n server a 10.0.0.3:443\n";

#[test]
fn a_limit_of_routes_that_a_hello_chooses_resets_who_is_one_too_many() {
    let found = haproxy(&format!("defaults\n mode tcp\n maxconn 3000\n{SNI}{BACKENDS}"));
    assert_eq!(on(&found), ["app", "fallback", "other", "wild"], "{}", found.text);
    assert_eq!((found.named(), found.off.len()), (0, 0), "{}", found.text);
    let line = "when_full       = \"reset\"  # with HAProxy a client waits; where a TLS hello chooses the route, nobody knows yet \
                for which\n";
    assert!(found.text.contains(line), "{}", found.text);
    // The protocol of a route that ends TLS chooses, too.
    let found = haproxy("listen a\n bind :443 ssl crt a.pem alpn h2\n maxconn 5\n server a 10.0.0.1:80\n");
    assert_eq!(on(&found), ["a"], "{}", found.text);
    assert!(found.text.contains("when_full       = \"reset\""), "{}", found.text);
}

#[test]
fn clients_of_a_route_that_is_off_come_to_no_other() {
    // No address of a server of it can be carried over.
    let broken = BACKENDS.replacen("10.0.0.1:443", "${APP}:443", 1);
    let found = haproxy(&format!("{SNI}{broken}"));
    assert_eq!((on(&found), found.routes), (vec!["other".to_owned()], 4), "{}", found.text);
    assert_eq!(found.off, ["app", "wild", "fallback"]);
    let why = "it is switched off, because clients of `app`, which is off, would come to it: mend that one, then remove `enabled`";
    assert!(has(&found, why), "{}", found.text);
    // Of the rest nobody would come elsewhere.
    let broken = BACKENDS.replacen("10.0.0.3:443", "${APP}:443", 1);
    let found = haproxy(&format!("{SNI}{broken}"));
    assert_eq!((on(&found).len(), found.off.clone()), (3, vec!["fallback".to_owned()]), "{}", found.text);
}

#[test]
fn a_backend_that_is_disabled_in_haproxy_leaves_its_clients_to_nobody() {
    let disabled = BACKENDS.replacen("backend wild\n", "backend wild\n disabled\n", 1);
    let found = haproxy(&format!("{SNI}{disabled}"));
    assert_eq!(
        (on(&found), found.off.clone()),
        (vec!["app".to_owned(), "other".to_owned()], vec!["wild".to_owned(), "fallback".to_owned()]),
        "{}",
        found.text
    );
}

#[test]
fn clients_of_a_line_that_is_not_carried_over_come_to_no_later_one() {
    let lost = " use_backend old if { req_ssl_sni -m reg ^old[0-9] }\n use_backend wild";
    let found = haproxy(&format!("{}{BACKENDS}", SNI.replacen(" use_backend wild", lost, 1)));
    assert_eq!((on(&found), found.off.len()), (vec!["app".to_owned()], 3), "{}", found.text);
    assert!(
        has(
            &found,
            "it is switched off, because clients of line 5 would come to it: look at that line, then remove `enabled`"
        ),
        "{}",
        found.text
    );
    // Who has no server of his own left gets nothing here, and nobody else's.
    let named = " acl down nbsrv(fallback) lt 1\n use_backend wild if down\n default_backend";
    let inline = " use_backend wild if { nbsrv(fallback) lt 1 }\n default_backend";
    for spare in [named, inline] {
        let found = haproxy(&format!("{}{BACKENDS}", SNI.replacen(" default_backend", spare, 1)));
        assert_eq!((on(&found).len(), found.off.len()), (4, 0), "{}", found.text);
    }
}

#[test]
fn the_first_line_that_fits_decides_as_with_haproxy() {
    let text = |first: &str, second: &str| {
        format!(
            "frontend in\n bind :443\n use_backend app if {{ {first} }}\n use_backend other if {{ {second} }}\n default_backend fallback\n{BACKENDS}"
        )
    };
    let of = |first: &str, second: &str| haproxy(&text(first, second));
    let same = of("req_ssl_sni -m end .example.com", "req_ssl_sni www.example.com b.example.net");
    assert!(keys(&same)[1].contains("sni = \"b.example.net\""), "{}", same.text);
    let never = of("req_ssl_sni -m end .example.com", "req_ssl_sni www.example.com");
    assert_eq!(on(&never), ["app", "fallback"], "{}", never.text);
    assert!(has(&never, "a line before it serves all of these names"), "{}", never.text);
    // Here the name decides before the protocol.
    let protocol = of("req.ssl_alpn acme-tls/1", "req_ssl_sni www.example.com");
    assert_eq!(on(&protocol), ["app", "app-2", "fallback", "other"], "{}", protocol.text);
    assert!(
        keys(&protocol)[1].contains("sni = \"www.example.com\"\nalpn = \"acme-tls/1\""),
        "{}",
        protocol.text
    );
    let all = haproxy(&format!(
        "frontend in\n bind :443\n use_backend app\n use_backend other if {{ req_ssl_sni a.example }}\n default_backend fallback\n{BACKENDS}"
    ));
    assert_eq!(on(&all), ["in"], "{}", all.text);
}

#[test]
fn a_map_without_upstream_blocks_makes_names() {
    let map = |lines: &str| {
        nginx(&format!(
            "map $ssl_preread_server_name $b {{ {lines} default 127.0.0.1:9447; }}\n\
             server {{ listen 443; ssl_preread on; proxy_pass $b; }}"
        ))
    };
    let lines = "app.example.com 127.0.0.1:9444; *.shop.example.com 127.0.0.1:9445;";
    let found = map(&format!("hostnames; {lines} shop.example.com 127.0.0.1:9446;"));
    assert_eq!(
        on(&found),
        ["app.example.com", "default", "shop.example.com", "shop.example.com-2"],
        "{}",
        found.text
    );
    assert_eq!(found.named(), 0, "{}", found.text);
    // Without the word nginx takes a mask word by word.
    let found = map(lines);
    assert_eq!(on(&found), ["app.example.com", "default"], "{}", found.text);
    assert!(
        !found.text.contains("sni           = \"*.shop")
            && has(&found, "*.shop.example.com 127.0.0.1:9445 without `hostnames`"),
        "{}",
        found.text
    );
    assert_eq!((found.named(), found.off.len()), (1, 0), "{}", found.text);
    // Who asks for nothing has a line, and who asks for something else has none.
    let found = nginx(
        "map $ssl_preread_server_name $b { a.example 127.0.0.1:1; \"\" 127.0.0.1:2; } server { listen 443; proxy_pass $b; }",
    );
    assert!(
        on(&found) == ["a.example", "default"] && has(&found, "without `default` nginx closes"),
        "{}",
        found.text
    );
    // An empty value is nobody: so is a route that is not there.
    let closed = |line: &str| {
        let rest = "default 127.0.0.1:9;";
        let rest = if line.starts_with("default") { "" } else { rest };
        nginx(&format!(
            "map $ssl_preread_server_name $b {{ a.example 127.0.0.1:1; b.example 127.0.0.1:2; {line} {rest} }}\n\
             server {{ listen 443; proxy_pass $b; }}"
        ))
    };
    let found = closed("default \"\";");
    assert_eq!((on(&found).len(), found.named(), found.routes), (2, 0, 2), "{}", found.text);
    let found = closed("bad.example \"\";");
    assert_eq!(
        (on(&found).len(), found.off.clone()),
        (2, vec!["bad.example".to_owned(), "default".to_owned()]),
        "{}",
        found.text
    );
    // Whom a pattern means would come to the rest.
    let found = map(&format!("hostnames; {lines} ~^mail 127.0.0.1:9448;"));
    assert_eq!((on(&found).len(), found.off.clone()), (2, vec!["default".to_owned()]), "{}", found.text);
}

#[test]
fn servers_that_want_other_bytes_get_no_clients() {
    let servers = |servers: &str| haproxy(&format!("listen db\n bind :1\n{servers}"));
    for (text, upstream) in [
        (
            " server a 10.0.0.1:5\n server c 10.0.0.3:5 ssl verify none\n",
            "  \"10.0.0.1:5\",\n  { address = \"10.0.0.3:5\", state = \"drain\" },",
        ),
        (
            " server a 10.0.0.1:5 send-proxy\n server c 10.0.0.3:5 send-proxy-v2\n server d 10.0.0.4:5 send-proxy\n",
            "  \"10.0.0.1:5\",\n  { address = \"10.0.0.3:5\", state = \"drain\" },\n  \"10.0.0.4:5\",",
        ),
        // What is a spare says nothing for the others.
        (
            " server a 10.0.0.1:5 ssl backup\n server c 10.0.0.3:5\n",
            "  { address = \"10.0.0.1:5\", backup = true, state = \"drain\" },\n  \"10.0.0.3:5\",",
        ),
        // Defaults hold from their line on, and a server can say the opposite.
        (
            " server a 10.0.0.1:5\n default-server ssl send-proxy\n server c 10.0.0.3:5 no-ssl no-send-proxy\n",
            "  \"10.0.0.1:5\",\n  \"10.0.0.3:5\",",
        ),
        (
            " server a 10.0.0.1:5\n server c 10.0.0.3:5 namespace red\n server d 10.0.0.4:5 socks4 10.0.0.9:1080\n",
            "  \"10.0.0.1:5\",\n  { address = \"10.0.0.3:5\", state = \"drain\" },\n  { address = \"10.0.0.4:5\", state = \"drain\" },",
        ),
    ] {
        let found = servers(text);
        assert!(
            keys(&found)[0].contains(&format!("upstream = [\n{upstream}\n]")),
            "{text}\n{:?}\n{}",
            keys(&found),
            found.text
        );
    }
    let found = servers(" server a 10.0.0.1:5\n server c 10.0.0.3:5 ssl verify none\n");
    let why = "server c 10.0.0.3:5 ssl verify none its `tls` is not that of the others: a route has one for all its upstreams; \
               so it gets no clients (`state`)";
    assert!(has(&found, why), "{}", found.text);
    let found = servers(" server a 10.0.0.1:5 check check-ssl\n");
    assert!(has(&found, "`check-ssl`: a check is plain"), "{}", found.text);
    // Other checks reach the same server.
    let found = servers(" server a 10.0.0.1:5 check\n server c 10.0.0.3:5\n");
    assert!(!found.text.contains("drain") && found.named() == 1, "{}", found.text);
}

#[test]
fn statements_that_refuse_or_lead_elsewhere_switch_their_route_off() {
    for line in [
        "tcp-request connection silent-drop if { dst 192.0.2.1 }",
        "tcp-request content set-dst-port int(9)",
        "tcp-request connection expect-netscaler-cip layer4",
        "use-server a if { req_ssl_sni a.example }",
    ] {
        let found = haproxy(&format!("listen db\n bind :1\n server a 10.0.0.1:5\n {line}\n"));
        assert_eq!(
            (on(&found).len(), found.off.clone()),
            (0, vec!["db".to_owned()]),
            "{line}: {}",
            found.text
        );
    }
    for line in ["tcp-request content set-var(sess.a) src", "tcp-request content capture req.len len 5"] {
        let found = haproxy(&format!("listen db\n bind :1\n server a 10.0.0.1:5\n {line}\n"));
        assert_eq!((on(&found), found.named()), (vec!["db".to_owned()], 1), "{line}: {}", found.text);
    }
    for line in ["js_access main.access;", "js_filter main.filter;", "js_preread main.preread;"] {
        let found = nginx(&format!("server {{ listen 80; proxy_pass 10.0.0.1:80; {line} }}"));
        assert_eq!(
            (on(&found).len(), found.off.clone()),
            (0, vec!["0.0.0.0:80".to_owned()]),
            "{line}: {}",
            found.text
        );
    }
}

#[test]
fn a_socket_that_ends_tls_keeps_out_whom_it_kept_out() {
    for words in ["crt a/ ", "crt a.pem strict-sni", "crt a.pem verify required", "crt a.pem namespace red"] {
        let found = haproxy(&format!("listen db\n bind :1 ssl {words}\n server a 10.0.0.1:5\n"));
        assert_eq!(on(&found).len(), 0, "{words}: {}", found.text);
    }
    let found = haproxy("listen db\n bind :1 ssl crt a.pem crt b.pem\n server a 10.0.0.1:5\n");
    assert!(
        found.text.contains("cert = \"a.pem\"") && has(&found, "`crt b.pem`: a route has one"),
        "{}",
        found.text
    );
}

/// Exit code and standard error.
fn run(text: &str) -> (i32, String) {
    let place = tempfile::tempdir().unwrap();
    let file = place.path().join("haproxy.cfg");
    std::fs::write(&file, text).unwrap();
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_portway"));
    let output = command.current_dir(place.path()).args(["import", "haproxy.cfg"]).output().unwrap();
    (output.status.code().unwrap(), String::from_utf8(output.stderr).unwrap())
}

#[test]
fn standard_error_names_the_routes_that_are_off() {
    let lost = "haproxy.cfg: 2 statements are not carried over; comments have them\n";
    let broken =
        BACKENDS.replacen("10.0.0.1:443", "${APP}:443", 1).replacen("10.0.0.4:443", "${OTHER}:443", 1);
    let (code, err) = run(&format!("{SNI}{broken}"));
    assert_eq!(code, 3);
    assert!(err.ends_with("not carried over; comments have them\nhaproxy.cfg: 4 of 4 routes are off: app, wild, other, fallback\n"), "{err}");
    let rest = BACKENDS.replacen("10.0.0.3:443", "${APP}:443", 1);
    assert_eq!(
        run(&format!("{SNI}{rest}")),
        (3, format!("{lost}haproxy.cfg: 1 of 4 routes is off: fallback\n"))
    );
    let one = "listen db\n bind :1\n disabled\n server a 10.0.0.1:5\n";
    assert_eq!(run(one), (0, "haproxy.cfg: its only route is off: db\n".to_owned()));
    let many: String =
        (1..13).map(|n| format!("listen l{n}\n bind :{n}\n disabled\n server a 10.0.0.1:5\n")).collect();
    assert_eq!(
        run(&many).1,
        "haproxy.cfg: 12 of 12 routes are off: l1, l2, l3, l4, l5, l6, l7, l8, l9, l10 and 2 more\n"
    );
}
