//! What single statements of other programs become, word for word: bounds, and what lies one beyond.

use portway::config::{Program, import};

/// The routes that come of a text, without the head of comments.
fn becomes(program: Program, text: &str) -> String {
    let found =
        import("a file", text.as_bytes(), Some(program)).unwrap_or_else(|report| panic!("{report}")).text;
    let routes = found.find("[[route]]").unwrap_or_else(|| panic!("no route: {found}"));
    found[routes..].to_owned()
}

fn haproxy(server: &str) -> String {
    becomes(
        Program::Haproxy,
        &format!("listen web\n  bind :80\n  mode tcp\n  server a 10.0.0.1:80 {server}\n"),
    )
}

fn nginx(lines: &str) -> String {
    let text = format!(
        "stream {{ server {{ listen 80; proxy_pass 10.0.0.1:80; proxy_half_close on; {lines} }} }}\n"
    );
    becomes(Program::Nginx, &text)
}

#[test]
fn an_address_of_all_is_no_source() {
    let one = haproxy("source 10.0.0.9");
    assert!(one.contains("{ address = \"10.0.0.1:80\", source = \"10.0.0.9\" }"), "{one}");
    for all in ["source 0.0.0.0:0", "source 0.0.0.0", "source [::]"] {
        let found = haproxy(all);
        assert!(!found.contains("source") && found.contains("upstream = \"10.0.0.1:80\""), "{all}: {found}");
    }
    assert!(nginx("proxy_bind off;").contains("source       = \"off\""), "{}", nginx("proxy_bind off;"));
}

#[test]
fn a_weight_is_carried_over_up_to_the_largest() {
    let (largest, beyond) = (haproxy("weight 1000"), haproxy("weight 1001"));
    assert!(largest.contains("{ address = \"10.0.0.1:80\", weight = 1000 }"), "{largest}");
    assert!(!beyond.contains("weight =") && beyond.contains("`weight 1001`: it is no number"), "{beyond}");
}

#[test]
fn rules_for_others_than_those_of_a_later_one_do_not_contradict_it() {
    let apart = nginx("allow 10.9.0.0/16; deny 10.1.0.0/16; allow all;");
    assert!(apart.contains("deny         = \"10.1.0.0/16\"") && !apart.contains("enabled"), "{apart}");
    let within = nginx("allow 10.1.2.0/24; deny 10.1.0.0/16; allow all;");
    assert!(!within.contains("deny         =") && within.contains("enabled      = false"), "{within}");
}

#[test]
fn defaults_of_defaults_count_up_to_the_sixteenth() {
    let text = |says: usize| {
        let of = |n: usize| {
            let from = if n < 17 { format!(" from d{}", n + 1) } else { String::new() };
            let more = if n == says { "  timeout connect 7s\n" } else { "" };
            format!("defaults d{n}{from}\n  mode tcp\n{more}")
        };
        let defaults: String = (0..=17).rev().map(of).collect();
        format!("{defaults}listen web from d0\n  bind :80\n  server a 10.0.0.1:80\n")
    };
    for (says, counts) in [(0, true), (15, true), (16, false)] {
        let found = becomes(Program::Haproxy, &text(says));
        assert_eq!(found.contains("connect_timeout = \"7s\""), counts, "d{says}: {found}");
    }
}

#[test]
fn where_connections_leave_from_is_carried_over() {
    for (said, host, becomes) in [
        ("source 0.0.0.0 interface eth1", "10.0.0.1", "{ interface = \"eth1\" }"),
        ("source 0.0.0.0 usesrc clientip", "10.0.0.1", "\"client\""),
        ("source 10.0.0.9:0", "10.0.0.1", "\"10.0.0.9\""),
        ("source [2001:db8::9]:0", "[2001:db8::1]", "\"2001:db8::9\""),
    ] {
        let text = format!("listen web\n  bind :80\n  mode tcp\n  {said}\n  server a {host}:80\n");
        let found = self::becomes(Program::Haproxy, &text);
        assert!(found.contains(&format!("source   = {becomes}")), "{said}: {found}");
    }
    let other = "listen web\n  bind :80\n  mode tcp\n  source 0.0.0.0 mark eth1\n  server a 10.0.0.1:80\n";
    assert!(!becomes(Program::Haproxy, other).contains("source   ="), "{}", becomes(Program::Haproxy, other));
}

#[test]
fn a_variable_is_no_text() {
    let found = nginx("proxy_ssl on; proxy_ssl_name $host;");
    assert!(found.contains("tls          = { upstream = true }"), "{found}");
    assert!(found.contains("not carried over: proxy_ssl_name $host"), "{found}");
    let found = nginx("proxy_ssl on; proxy_ssl_name db.internal;");
    assert!(found.contains("tls          = { upstream = { server_name = \"db.internal\" } }"), "{found}");
}

#[test]
fn the_only_server_needs_no_name() {
    let alone = haproxy("weight 5");
    assert!(alone.contains("{ address = \"10.0.0.1:80\", weight = 5 }\n"), "{alone}");
}
