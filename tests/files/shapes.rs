//! What a report says of a line of syntax that is nearly right, of a value of another type, and of a header of another kind: its
//! first line, word for word.

use portway::config::compile;

const ROUTE: &str = "[[route]]\nlisten = \"8080\"\nupstream = \"app:80\"\n";

fn tells(text: &str, count: usize, line: &str) {
    let report = compile("f", text.as_bytes()).unwrap_err();
    let told = report.headline();
    let first = told.split(" (and ").next().unwrap();
    assert_eq!((report.count(), first), (count, line), "{text}");
}

/// The fault of a fourth line.
fn of_line(line: &str, told: &str) {
    tells(&format!("{ROUTE}{line}\n"), 1, &format!("f:4:{told}"));
}

#[test]
fn quotes_and_signs_are_taken_off_before_a_line_is_written_anew() {
    for (line, told) in [
        ("keepalive \"5s\"", "11: there is no `=` after the key; write keepalive = \"5s\""),
        ("keepalive '5s'", "11: there is no `=` after the key; write keepalive = \"5s\""),
        ("- keepalive: 5s;", "3: there is no `=` after the key; write keepalive = \"5s\""),
        ("let keepalive 5s", "5: there is no `=` after the key; write keepalive = \"5s\""),
    ] {
        of_line(line, told);
    }
}

#[test]
fn a_value_without_quotes_is_underlined_where_it_stands() {
    for (line, told) in [
        ("name =web", "7: `web` stands without quotes; write \"web\""),
        ("name =    web", "11: `web` stands without quotes; write \"web\""),
        ("  name\t=\tweb  # why", "10: `web` stands without quotes; write \"web\""),
        ("name = web # see // there; or so", "8: `web` stands without quotes; write \"web\""),
        ("name =", "6: `name` has no value; write name = \"value\", or remove the line"),
        ("name = # none", "6: `name` has no value; write name = \"value\", or remove the line"),
    ] {
        of_line(line, told);
    }
}

#[test]
fn what_stands_behind_a_line_is_no_comment_of_another_language_within_quotes() {
    let on = "the line goes on behind its end; put what stands here on a line of its own";
    for (line, column) in [
        ("name = \"a; b\" c", 15),
        ("name = 'a // b' c", 17),
        ("name = \"a\\\" ; b\" c", 18),
        ("keepalive = \"5s\" ]", 18),
    ] {
        of_line(line, &format!("{column}: {on}"));
    }
    of_line("name = \"a\" ; b", "12: a comment begins with `#`, not with `;`; write # b");
    of_line("name = \"a\" // b", "12: a comment begins with `#`, not with `//`; write # b");
    of_line("keepalive = \"5s\",", "17: a line ends without a comma; remove the `,`");
}

#[test]
fn a_value_of_another_type_is_told_from_what_the_key_takes() {
    let word = "write \"tcp\", \"udp\" or \"tcp+udp\"";
    let brackets = "remove the brackets around it: `[` and `]`";
    for (line, told) in [
        ("enabled = 1.5", "11: `enabled` takes `true` or `false`, not a number; write it like this: enabled = false".to_owned()),
        ("health = { rise = 1.5 }", "19: `rise` takes a whole number; write it like this: rise = 2".to_owned()),
        ("health = { rise = true }", "19: `rise` takes a whole number, not `true`; write it like this: rise = 2".to_owned()),
        ("protocol = 5", format!("12: `protocol` takes a word, not a number; {word}")),
        ("protocol = [\"udp\", \"TCP\"]", "12: `protocol` takes one word, which may be for several; write \"tcp+udp\"".to_owned()),
        ("protocol = [\"tcp\", 5]", format!("12: `protocol` takes a word, not a list; {word}")),
        ("protocol = [\"tcp\", \"sctp\"]", format!("12: `protocol` takes a word, not a list; {word}")),
        ("protocol = [\"tcp\"]", format!("12: `protocol` takes one value, not a list; {brackets}")),
        (
            "tls = []",
            "7: `tls` takes a table, not a list; write it like this: tls = { cert = \"app.pem\", key = \"app.key\" }"
                .to_owned(),
        ),
        ("tls = [\"off\"]", format!("7: `tls` takes one value, not a list; {brackets}")),
        ("tls = [{ upstream = true }]", format!("7: `tls` is a table, not a list; {brackets}")),
        ("keepalive = [{ a = 1 }]", format!("13: `keepalive` takes one value, not a list; {brackets}")),
        ("keepalive = [\"5s\", \"6s\"]", "13: `keepalive` takes text, not a list; write it like this: keepalive = \"60s\"".to_owned()),
        (
            "tls = 2026-01-01",
            "7: `tls` takes a table, not a date; write it like this: tls = { cert = \"app.pem\", key = \"app.key\" }".to_owned(),
        ),
        (
            "allow = 2026-01-01",
            "9: `allow` takes a list, not a date; write it like this: allow = [\"10.0.0.0/8\", \"2001:db8::/32\"]".to_owned(),
        ),
        (
            "allow = [\"10.0.0.0/8\", 2026-01-01]",
            "24: `allow` takes text, not a date; write it like this: allow = [\"10.0.0.0/8\", \"2001:db8::/32\"]".to_owned(),
        ),
    ] {
        of_line(line, &told);
    }
}

#[test]
fn a_number_is_no_text_and_a_word_no_number() {
    let duration = "is not a duration; write a number with its unit: \"250ms\", \"5s\", \"2m\", \"1h 30m\"";
    let count = "write a number from 1, or \"off\": max_connections = 100";
    for (line, told) in [
        ("connect_timeout = false", format!("19: `false` {duration}")),
        ("keepalive = true", format!("13: `true` {duration}")),
        ("keepalive = false", "13: `keepalive` cannot be `false`; write \"off\"".to_owned()),
        ("keepalive = 0", "13: the duration `0` has no unit; write \"off\"".to_owned()),
        ("connect_timeout = 0", "19: the duration `0` has no unit; write \"0s\"".to_owned()),
        ("keepalive = 5", "13: the duration `5` has no unit; write \"5s\"".to_owned()),
        ("keepalive = -5", format!("13: `-5` {duration}")),
        ("max_connections = \"0\"", "19: `max_connections` takes a number, not text; remove the quotes: max_connections = 0".to_owned()),
        ("max_connections = \"5\"", "19: `max_connections` takes a number, not text; remove the quotes: max_connections = 5".to_owned()),
        ("max_connections = \"-5\"", "19: `max_connections` takes a number, not text; remove the quotes: max_connections = -5".to_owned()),
        ("max_connections = -5", "19: `max_connections` cannot be -5; the most is 4294967295".to_owned()),
        ("max_connections = 4294967296", "19: `max_connections` cannot be 4294967296; the most is 4294967295".to_owned()),
        ("max_connections = 0", "19: with `max_connections = 0` no client could connect; write a number from 1; to keep all out, remove the route".to_owned()),
        ("max_connections = true", format!("19: `max_connections` cannot be `true`; {count}")),
        ("max_connections = \"many\"", format!("19: `max_connections` cannot be `many`; {count}")),
    ] {
        of_line(line, &told);
    }
}

#[test]
fn a_header_that_is_nearly_one_of_a_route_is_one() {
    let begins = "error: a route begins with `[[route]]`\n --> f:1:1\n";
    let (routes, site) =
        ("error: `routes` is not known here\n --> f:1:2\n", "error: `site` is not known here\n --> f:1:2\n");
    let (alone, named) = ("= help: write [[route]]\n", "[[route]]\n          name = \"site\"\n");
    for (text, count, fault, cure) in [
        ("[routes]\n", 3, routes, alone),
        ("[routes]\nname = \"x\"\n", 3, routes, alone),
        ("[routes.tls]\nupstream = true\n", 3, routes, alone),
        ("[site]\nlisten = \"8080\"\n", 2, site, named),
        ("[site]\nupstream = \"app:80\"\n", 2, site, named),
        ("[site]\nlisen = \"8080\"\nupstrem = \"app:80\"\n", 3, site, named),
        ("[route]\n", 3, begins, "= help: write [[route]] on a line of its own"),
        (
            "[route.tls]\nupstream = true\n",
            3,
            "error: a route begins with `[[route]]`\n --> f:1:2\n",
            "= help: write [[route]] on a line of its own",
        ),
    ] {
        let report = compile("f", text.as_bytes()).unwrap_err();
        let shown = report.render(false);
        assert!(report.count() == count && shown.contains(fault) && shown.contains(cure), "{text}{shown}");
    }
    // One key at the top belongs to a route that has the other one.
    for (line, key) in [("listen = \"8081\"", "listen"), ("upstream = \"app:81\"", "upstream")] {
        let told = format!(
            "f:1:1: `{key}` is not known here; `{key}` belongs to a route: put it below a line `[[route]]`"
        );
        tells(&format!("{line}\n{ROUTE}"), 1, &told);
    }
    let both =
        "f:1:1: `listen`, `upstream` and `keepalive` belong to a route; write [[route]] on a line above";
    tells("listen = \"8081\"\nupstream = \"app:81\"\nkeepalive = \"5s\"\n", 1, both);
}

#[test]
fn words_for_networks_are_written_as_the_key_has_them() {
    let list = "write [\"0.0.0.0/0\", \"::/0\"]";
    for (line, told) in [
        ("deny = \"nobody\"", "8: `nobody` is not a network; write deny = \"none\"".to_owned()),
        ("deny = [\"none\"]", "9: `none` is not a network; write deny = \"none\"".to_owned()),
        (
            "original_destination = \"nobody\"",
            "24: `nobody` is not a network; write original_destination = \"none\"".to_owned(),
        ),
        ("allow = \"any\"", "9: `any` is not a network; write allow = \"all\"".to_owned()),
        ("deny = \"any\"", format!("8: `any` is not a network; {list}")),
        ("original_destination = \"any\"", format!("24: `any` is not a network; {list}")),
    ] {
        of_line(line, &told);
    }
    let more = "allow = \"10.0.0.0/8\"\noriginal_destination = \"any\"\n";
    tells(&format!("{ROUTE}{more}"), 1, &format!("f:5:24: `any` is not a network; {list}"));
}

#[test]
fn a_time_at_its_bound_fits() {
    let fits = |line: &str| assert!(compile("f", format!("{ROUTE}{line}\n").as_bytes()).is_ok(), "{line}");
    fits("keepalive = \"32767s\"");
    fits("slow_start = \"1h\"");
    fits("health = { interval = \"2s\", timeout = \"2s\" }");
    let kernel = "the kernel counts keepalive in whole seconds; write";
    for (line, told) in [
        (
            "keepalive = \"32768s\"",
            "13: the keepalive time is too long for the kernel; the longest is \"32767s\"".to_owned(),
        ),
        ("keepalive = \"1500ms\"", format!("13: {kernel} \"2s\"")),
        ("keepalive = \"9s 1ms\"", format!("13: {kernel} \"10s\"")),
        ("slow_start = \"1h 1ms\"", "14: the slow start is too long; the longest is \"1h\"".to_owned()),
        (
            "when_down = \"reset 5s\"",
            "13: `when_down` cannot be `reset 5s`; write \"reset\", \"refuse\" or \"hold 10s\"".to_owned(),
        ),
        ("when_down = \"rset\"", "13: `when_down` cannot be `rset`; did you mean \"reset\"?".to_owned()),
    ] {
        let report = compile("f", format!("{ROUTE}{line}\n").as_bytes()).unwrap_err();
        let found = report.headline();
        assert!(report.count() == 1 && found.starts_with(&format!("f:4:{told}")), "{found}");
    }
}

#[test]
fn a_byte_that_is_not_utf_8_is_shown_alone() {
    for (byte, line) in [
        (0xe9, "f:2:9: the byte 0xE9 is not UTF-8 here; save the file as UTF-8 (in Latin-1 it would be `é`)"),
        (0xb0, "f:2:9: the byte 0xB0 is not UTF-8 here; save the file as UTF-8"),
    ] {
        let text = [b"[[route]]\nname = \"", &[byte][..], b"clair\"\n"].concat();
        let report = compile("f", &text).unwrap_err();
        assert_eq!(report.headline(), line);
        assert_eq!(report.render(false).matches('^').count(), 1, "{report}");
    }
}

/// A file of another kind is told from its beginning. One of ours is read to its end.
#[test]
fn a_large_text_is_read_whole_unless_its_beginning_is_full_of_faults() {
    let count = |text: &str| compile("f", text.as_bytes()).unwrap_err().count();
    let bad = "this line is of no key at all\n";
    assert_eq!(count(&bad.repeat(5000)), 5000);
    // More than is looked at first, and a fault behind it.
    let comments = "# a comment\n".repeat(25_000);
    for (before, all) in [(1, 2), (200, 201), (201, 201)] {
        let text = format!("{}{comments}{bad}", bad.repeat(before));
        assert_eq!(count(&text), all, "{before}");
    }
    // As much as is looked at first, to the byte.
    let line = format!("{}\n", "word ".repeat(13).trim_end());
    assert_eq!(line.len(), 65);
    let mut text = line.repeat(262_144 / line.len());
    text.push_str(&"x".repeat(262_144 - text.len()));
    assert_eq!((text.len(), count(&text)), (262_144, 262_144 / line.len() + 1));
}

/// serde gives a date as a table.
#[test]
fn no_key_takes_a_date() {
    for (key, column) in [
        ("name", 8),
        ("enabled", 11),
        ("keepalive", 13),
        ("max_connections", 19),
        ("health", 10),
        ("tls", 7),
        ("allow", 9),
        ("deny", 8),
        ("source", 10),
        ("bandwidth", 13),
        ("proxy_protocol", 18),
        ("protocol", 12),
        ("sni", 7),
    ] {
        let report = compile("f", format!("{ROUTE}{key} = 2026-01-01\n").as_bytes()).unwrap_err();
        let (line, place) = (report.headline(), format!("f:4:{column}: `{key}` takes "));
        assert!(report.count() == 1 && line.starts_with(&place) && line.contains(", not a date; "), "{line}");
    }
    for (text, place) in [
        ("[[route]]\nlisten = 2026-01-01\nupstream = \"app:80\"\n", "f:2:10: `listen` takes "),
        ("[[route]]\nlisten = [\"80\", 10:00:00]\nupstream = \"app:80\"\n", "f:2:17: `listen` takes "),
        ("[[route]]\nlisten = \"80\"\nupstream = [2026-01-01, \"app:80\"]\n", "f:3:13: `upstream` takes "),
        ("[[route]]\nlisten = \"80\"\nupstream = { address = 2026-01-01 }\n", "f:3:24: `address` takes "),
        (
            "[[route]]\nlisten = \"80\"\nupstream = \"app:80\"\nhealth = { steps = [{ expect = \"a\" }, 2026-01-01] }\n",
            "f:4:39: `steps` takes a table, ",
        ),
        (
            "[admin]\nlisten = \"unix:/run/a\"\ntoken = 2026-01-01\n[[route]]\nlisten = \"80\"\nupstream = \"app:80\"\n",
            "f:3:9: `token` takes ",
        ),
    ] {
        let report = compile("f", text.as_bytes()).unwrap_err();
        let line = report.headline();
        assert!(report.count() == 1 && line.starts_with(place) && line.contains(", not a date; "), "{line}");
    }
}
