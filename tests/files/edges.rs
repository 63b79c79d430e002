//! What a report says where two readings of a text lie close together: its first line, word for word.

use portway::config::{compile, network_list};

const ROUTE: &str = "[[route]]\nlisten = \"8080\"\nupstream = \"app:80\"\n";

/// How many faults a text has, and the first line of its report without that number.
fn told(text: &str) -> (usize, String) {
    let report = compile("f", text.as_bytes()).unwrap_err();
    let line = report.headline();
    (report.count(), line.split(" (and ").next().unwrap().to_owned())
}

fn tells(text: &str, count: usize, line: &str) {
    assert_eq!(told(text), (count, line.to_owned()), "{text}");
}

#[test]
fn a_key_has_eighty_parts_at_most() {
    for (dots, refused) in [(79, false), (80, true), (81, true), (200, true)] {
        // The key is all that the text has.
        let text = format!("{}a = 1\n", "a.".repeat(dots));
        let (_, line) = told(&text);
        assert_eq!(line.contains("the key has more than 80 parts"), refused, "{dots}: {line}");
        let within = told(&format!("{ROUTE}{text}{text}")).1;
        assert_eq!(within.contains("the key has more than 80 parts"), refused, "{dots}: {within}");
    }
    assert!(told(&format!("{}\n", ".".repeat(80))).1.contains("the key has more than 80 parts"));
    // Dots of values and of comments are no parts of a key.
    let addresses = (1..=40).map(|n| format!("\"10.0.0.{n}:80\"")).collect::<Vec<_>>().join(", ");
    let text = format!("[[route]]\nlisten = \"8080\" # {}\nupstream = [{addresses}]\n", ".".repeat(100));
    assert_eq!(compile("f", text.as_bytes()).unwrap().table.routes["8080"].upstream.len(), 40);
}

#[test]
fn a_line_without_an_equals_sign_is_what_was_meant() {
    for (line, column, cure) in [
        ("route", 6, "write [[route]]"),
        ("route {", 7, "write [[route]]"),
        ("routes", 7, "write [[route]]"),
        ("keepalive", 10, "write keepalive = \"value\""),
        ("max_connections 5", 17, "write max_connections = 5"),
        ("maxconn 5", 9, "write max_connections = 5"),
        ("max_connections five", 17, "write max_connections = \"five\""),
        ("name 5", 6, "write name = \"5\""),
        ("idle_timeout: 5m", 15, "write idle_timeout = \"5m\""),
    ] {
        let expected = format!("f:4:{column}: there is no `=` after the key; {cure}");
        tells(&format!("{ROUTE}{line}\n"), 1, &expected);
    }
}

#[test]
fn a_block_of_comments_hides_what_stands_in_it_and_no_more() {
    let block = "/* first\nsecond\n*/\n";
    let lines =
        "a comment begins with `#`, not with `/*`; put # before each of its lines, in place of /* and */";
    tells(&format!("{ROUTE}{block}foo\n"), 2, &format!("f:4:1: {lines}"));
    tells(&format!("{block}foo\n{ROUTE}"), 2, &format!("f:1:1: {lines}"));
    tells(&format!("{ROUTE}{block}"), 1, &format!("f:4:1: {lines}"));
    // It never ends.
    tells(&format!("{ROUTE}/* first\nsecond\nfoo\n"), 1, &format!("f:4:1: {lines}"));
}

#[test]
fn the_first_line_that_says_something_tells_the_language() {
    for (text, place, name) in [
        ("{ \"a\": 1 }\n", "1:1", "JSON"),
        ("{\n}\n", "1:1", "JSON"),
        ("<?xml version=\"1.0\"?>\n<a/>\n", "1:1", "XML"),
        ("<!DOCTYPE html>\n", "1:1", "XML"),
        ("<html>\n", "1:1", "XML"),
        ("stream {\n", "1:1", "a file of nginx or Caddy"),
        ("worker_processes 5;\n", "1:1", "a file of nginx or Caddy"),
        ("# a\n; b\n// c\n\n  stream {\n", "5:3", "a file of nginx or Caddy"),
        ("global\n  maxconn 5\n", "1:1", "a file of HAProxy"),
        ("defaults\n\tmode tcp\n", "1:1", "a file of HAProxy"),
        ("listen web\n  bind :80\n", "1:1", "a file of HAProxy"),
        ("---\n", "1:1", "YAML"),
        ("routes:\n  a: b\n", "1:1", "YAML"),
        ("- a\n- b\n", "1:1", "YAML"),
    ] {
        let expected = format!(
            "f:{place}: this looks like {name}; the file is TOML; write \
             [[route]] listen = \"127.0.0.1:8080\" upstream = \"app.internal:3000\""
        );
        tells(text, 1, &expected);
    }
    // Nothing of another language is indented below these, or a header of TOML stands in the text.
    for (text, line) in [
        ("global\nmaxconn 5\n", "f:1:7: there is no `=` after the key; write global = \"value\""),
        ("listen 8080\nupstream app:80\n", "f:1:8: there is no `=` after the key; write listen = \"8080\""),
    ] {
        tells(text, 2, line);
    }
    for text in ["tls = {\n", "[route {\n", "name = web;\n", "name = web:\n", "[[route]]:\n"] {
        assert!(!told(text).1.contains("looks like"), "{text}: {}", told(text).1);
    }
    tells(
        &format!("keepalive:\n{ROUTE}"),
        1,
        "f:1:11: there is no `=` after the key; write keepalive = \"value\"",
    );
}

#[test]
fn quotes_are_to_blame_only_where_straight_ones_are_the_cure() {
    tells(
        &format!("{ROUTE}name = “web”\n"),
        1,
        "f:4:1: `“` is no quote of TOML: quotes are straight; write name = \"web\"",
    );
    // A line that is fine by itself has another fault.
    tells(
        "[[route]]\nname = '“a”'\nname = '“b”'\nlisten = \"8080\"\nupstream = \"app:80\"\n",
        1,
        "f:3:1: `name` is set twice; remove one of them",
    );
    // Straight ones would not do.
    tells(
        &format!("{ROUTE}name = “web” “x”\n"),
        1,
        "f:4:8: `“web” “x”` does not stand in straight quotes; write \"web” “x\"",
    );
    // Of a longer line each reading would take too long.
    let long = |length: usize| {
        let line = format!("name = “{}”", "a".repeat(length - "name = “”".len()));
        assert_eq!(line.len(), length);
        told(&format!("{ROUTE}{line}\n")).1
    };
    assert!(long(4096).starts_with("f:4:1: `“` is no quote of TOML"), "{}", long(4096));
    assert!(long(4097).contains("does not stand in straight quotes"), "{}", long(4097));
}

#[test]
fn a_table_is_a_route_by_its_name_or_by_what_stands_in_it() {
    let body = "listen = \"8080\"\nupstream = \"app:80\"\n";
    let (one, other) = (body, "listen = \"8081\"\nupstream = \"app:81\"\n");
    for (text, line) in [
        (format!("[site]\n{one}"), "f:1:2: `site` is not known here; write [[route]] name = \"site\""),
        (format!("[site]\nname = \"web\"\n{one}"), "f:1:2: `site` is not known here; write [[route]]"),
        (format!("[[site]]\n{one}"), "f:1:3: `site` is not known here; write [[route]] name = \"site\""),
        (
            format!("[[site]]\n{one}[[site]]\n{other}"),
            "f:1:3: `site` is not known here; write [[route]], here and in the other headers",
        ),
        (
            format!("[routes.web]\n{one}"),
            "f:1:9: the name of a route does not stand in its header; write [[route]] name = \"web\"",
        ),
        (
            format!("[routes.x]\nname = \"web\"\n{one}"),
            "f:1:9: the name of a route does not stand in its header; write [[route]]",
        ),
    ] {
        tells(&text, 1, line);
    }
    // It has only tables, and no name of a route's kind: what they are nobody knows.
    let (count, line) = told(&format!("[cluster.web]\n{one}[[route]]\n{other}"));
    assert_eq!(
        (count, line.starts_with("f:1:2: `cluster` is not known here; the keys are ")),
        (1, true),
        "{line}"
    );
}

#[test]
fn some_upstream_takes_new_connections() {
    let with = |upstream: &str| format!("[[route]]\nlisten = \"8080\"\nupstream = [{upstream}]\n");
    let (drained, weightless, usual) =
        ("{ address = \"a:1\", state = \"drain\" }", "{ address = \"b:1\", weight = 0 }", "\"c:1\"");
    let nobody = "f:3:25: no upstream of the route gets new connections; \
        remove `state` or `weight` from at least one; to take out the route write `enabled = false` in it";
    tells(&with(&format!("{drained}, {weightless}")), 1, nobody);
    tells(&with(weightless), 1, nobody);
    assert!(compile("f", with(&format!("{drained}, {usual}")).as_bytes()).is_ok());
    // What the other one is nobody knows yet.
    let (count, line) = told(&with(&format!("{drained}, \"c\"")));
    assert_eq!((count, line.starts_with("f:3:51: `c` has no port")), (1, true), "{line}");
    let backup = |name: &str| format!("{{ address = \"{name}:1\", backup = true }}");
    tells(
        &with(&backup("a")),
        1,
        "f:3:13: the only upstream of the route is a backup; remove `backup = true`",
    );
    tells(
        &with(&format!("{}, {}", backup("a"), backup("b"))),
        1,
        "f:3:13: every upstream of the route is a backup; remove `backup = true` from at least one",
    );
    assert!(compile("f", with(&format!("{}, {usual}", backup("a"))).as_bytes()).is_ok());
}

#[test]
fn a_source_that_is_no_address_may_be_an_interface() {
    let address = "write an address of this host, without a port: \"10.0.0.5\"";
    let client = "for the client's own address write \"client\"";
    for (source, cure) in [
        ("eth0", "of an interface write { interface = \"eth0\" }; for the client's own address \"client\""),
        (
            "abcdefghijklmno",
            "of an interface write { interface = \"abcdefghijklmno\" }; for the client's own address \"client\"",
        ),
        // Too long for one, and an address that is none.
        ("abcdefghijklmnop", address),
        ("10.0.0.256", address),
        ("10.0.0", address),
        ("10.0.0.5:80", address),
        ("", address),
        ("clientip", client),
        ("transparent", client),
        ("usesrc", client),
        ("$remote_addr", client),
    ] {
        let text = format!("{ROUTE}source = \"{source}\"\n");
        tells(&text, 1, &format!("f:4:10: `{source}` is no address; {cure}"));
    }
}

#[test]
fn lists_that_were_put_together_keep_their_places() {
    let found =
        network_list("l", "10.0.0.0/8\n\u{feff}192.0.2.0/24\n\u{feff}# c\u{feff}\r::1\r\n".as_bytes())
            .unwrap();
    for (ip, has) in [("10.1.2.3", true), ("192.0.2.9", true), ("::1", true), ("192.0.3.1", false)] {
        assert_eq!(found.contains(ip.parse().unwrap()), has, "{ip}");
    }
    for (text, place) in [
        ("10.0.0.0/8\r10.0.0.0/33\n", "l:2:1: "),
        ("10.0.0.0/8\r\n10.0.0.0/33\r\n", "l:2:1: "),
        ("10.0.0.0/8\n\u{feff}10.0.0.0/33\n", "l:2:4: "),
    ] {
        let line = network_list("l", text.as_bytes()).unwrap_err().headline();
        assert!(line.starts_with(place), "{text:?}: {line}");
    }
}

#[test]
fn a_path_is_one_line_of_text() {
    for (line, column) in [
        ("tls = { cert = \"a\\u0000b\", key = \"a.key\" }", 16),
        ("tls = { cert = \"a.pem\", key = \"a\\nb\" }", 31),
        ("allow = { file = \"/run/a\\n\" }", 18),
    ] {
        let expected = format!("f:4:{column}: the path has a NUL byte or a new line in it; remove it");
        tells(&format!("{ROUTE}{line}\n"), 1, &expected);
    }
    for (line, expected) in [
        (
            "tls = { cert = \"\", key = \"a.key\" }",
            "f:4:16: the path is empty; write the path of a file in PEM",
        ),
        ("allow = { file = \"\" }", "f:4:18: the path is empty; write the path of a file"),
    ] {
        tells(&format!("{ROUTE}{line}\n"), 1, expected);
    }
}

/// What else could be said of it follows from that mistake.
#[test]
fn one_mistake_in_a_table_is_one_fault() {
    for (line, place) in [
        ("source = { dscp = 64 }", "f:4:19: "),
        ("source = { mark = 0 }", "f:4:19: "),
        ("source = { interface = \"a/b\" }", "f:4:24: "),
        ("source = { address = \"10.0.0.0/8\" }", "f:4:22: "),
        ("source = { adress = \"10.0.0.5\" }", "f:4:12: "),
        ("source = {}", "f:4:10: "),
        ("original_destination = [\"10.0.0.0/8\", \"nonsense\"]", "f:4:39: "),
        ("original_destination = []", "f:4:24: "),
        ("original_destination = { fil = \"/run/a\" }", "f:4:26: "),
        ("original_destination = {}", "f:4:24: "),
        ("health = { interval = \"1s\", timeout = \"5s\", rise = 0 }", "f:4:52: "),
        ("health = { interval = \"1s\", timeout = \"5s\", ris = 1 }", "f:4:45: "),
        ("health = { send = \"PING\", expct = \"PONG\" }", "f:4:27: "),
        ("health = { send = \"PING\", expect = \"\" }", "f:4:36: "),
        ("tls = { crt = \"a.pem\", key = \"a.key\" }", "f:4:9: "),
        ("tls = { cert = \"a.pem\", keys = \"a.key\" }", "f:4:25: "),
        ("tls = { upstream = { server_nam = \"a\" } }", "f:4:22: "),
        ("tls = {}", "f:4:7: "),
        ("bandwidth = { upp = \"1 MiB/s\" }", "f:4:15: "),
        ("bandwidth = {}", "f:4:13: "),
        ("proxy_protocol = { acept = true, trusted = \"10.0.0.0/8\" }", "f:4:20: "),
        ("proxy_protocol = { accept = true, trused = \"10.0.0.0/8\" }", "f:4:35: "),
    ] {
        let (count, told) = told(&format!("{ROUTE}{line}\n"));
        assert_eq!((count, told.starts_with(place)), (1, true), "{line}: {told}");
    }
}
