//! What an import makes of a whole file: names, comments, routes that meet, files that it cannot carry over.

use portway::config::{Program, compile, import};

use super::import_found::found;

const LISTEN: &str = "listen web\n bind :80\n server a 10.0.0.1:80\n";

#[test]
fn a_route_that_meets_another_keeps_its_keys_and_is_switched_off() {
    let other =
        |more: &str| format!("listen other\n bind 127.0.0.1:80\n maxconn 5\n server b 10.0.0.2:80\n{more}");
    let text = format!("{LISTEN}{}", other(""));
    let meets = found(Program::Haproxy, &text);
    let keys = "[[route]]; name = \"web\"; listen = \"0.0.0.0:80\"; upstream = \"10.0.0.1:80\"; [[route]]; \
                name = \"other\"; listen = \"127.0.0.1:80\"; upstream = \"10.0.0.2:80\"; max_connections = 5; \
                when_full = \"wait\"; enabled = false";
    assert_eq!(meets.beside(&[]), keys);
    meets.must_name("listen other it is switched off, because it meets another route:", &text);
    // One that is switched off already stands as it is.
    let found = found(Program::Haproxy, &format!("{LISTEN}{}", other(" disabled\n")));
    assert!(found.beside(&[]).ends_with("enabled = false; max_connections = 5; when_full = \"wait\""));
}

#[test]
fn keys_that_all_have_are_written_once() {
    let route = |name: &str, port: u16, lines: &str| {
        format!("listen {name}\n bind :{port}\n timeout connect 3s\n{lines} server a 10.0.0.1:80\n")
    };
    let text =
        route("a", 80, " balance source\n") + &route("b", 81, " disabled\n") + &route("c", 82, " disabled\n");
    let known = ["[[route]]", "upstream = \"10.0.0.1:80\""];
    assert_eq!(
        found(Program::Haproxy, &text).beside(&known),
        "[defaults]; connect_timeout = \"3s\"; name = \"a\"; listen = \"0.0.0.0:80\"; balance = \"source-hash\"; \
         name = \"b\"; listen = \"0.0.0.0:81\"; enabled = false; name = \"c\"; listen = \"0.0.0.0:82\"; enabled = false"
    );
    let refused = "listen r\n bind :83\n timeout connect 3s\n server a 10.0.0.1:80 backup\n";
    assert!(!found(Program::Haproxy, &(route("a", 80, "") + refused)).beside(&[]).contains("[defaults]"));
    // What may differ by protocol stands where it is, and one route has nobody to share with.
    let off = route("b", 81, " disabled\n") + &route("c", 82, " disabled\n");
    let found = found(Program::Haproxy, &off).beside(&known);
    assert_eq!(found.matches("enabled = false").count(), 2, "{found}");
    assert!(
        !super::import_found::found(Program::Haproxy, &route("a", 80, "")).beside(&[]).contains("[defaults]")
    );
}

#[test]
fn each_name_is_given_once() {
    let text =
        |ports: &str| format!("services:\n  web:\n    ports: [{ports}]\n  web-80:\n    ports: [\"83:83\"]\n");
    let names = |ports: &str| {
        let keys = found(Program::Compose, &text(ports)).beside(&[]);
        keys.split("; ").filter_map(|key| key.strip_prefix("name = ")).map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(names("\"80:80\", \"127.0.0.1:81:81\""), ["\"web-80\"", "\"web-81\"", "\"web-80-2\""]);
    assert_eq!(names("\"80:80\", \"80:81/udp\""), ["\"web-80\"", "\"web-80-udp\"", "\"web-80-2\""]);
    assert_eq!(
        names("\"127.0.0.1:80:80\", \"127.0.0.2:80:80\", \"127.0.0.3:80:80/udp\", \"127.0.0.4:80:80/udp\""),
        ["\"web-80\"", "\"web-80-2\"", "\"web-80-udp\"", "\"web-80-3\"", "\"web-80-4\""]
    );
}

#[test]
fn upstreams_stand_on_one_line_of_a_hundred_characters() {
    let text = |last: &str| {
        let server = |host: &str| format!("server {host}:80; ");
        let hosts: String = ["aaaaaaaaaaaaaaaaaaaa", "bbbbbbbbbbbbbbbbbbbb", "cccccccccccccccccccc", last]
            .map(server)
            .concat();
        format!("upstream u {{ {hosts} }} server {{ listen 80; proxy_pass u; }}")
    };
    // Three of 25 characters with their quotes, `, ` between all, and brackets.
    let (fits, longer) = ("d".repeat(100 - 3 * 25 - 8 - 5), "d".repeat(100 - 3 * 25 - 8 - 4));
    let line = |last: &str| {
        let import = import("a file", text(last).as_bytes(), Some(Program::Nginx)).unwrap();
        import.text.lines().find(|line| line.starts_with("upstream")).unwrap().to_owned()
    };
    assert_eq!(line(&fits).split_once("= ").unwrap().1.len(), 100);
    assert_eq!(line(&longer).split_once("= ").unwrap().1, "[");
}

#[test]
fn comments_are_wrapped_at_a_hundred_characters() {
    let said = |words: &str| {
        let text = format!("{LISTEN} bogus {words}\n");
        import("a file", text.as_bytes(), Some(Program::Haproxy)).unwrap().text
    };
    let fixed = "line 4, not carried over: bogus ";
    let whole = said(&format!("a {}", "b".repeat(100 - fixed.len() - 2)));
    assert!(
        whole.lines().any(|line| line.starts_with(&format!("# {fixed}a bbb")) && line.len() == 102),
        "{whole}"
    );
    let cut = said(&format!("a {}", "b".repeat(101 - fixed.len() - 2)));
    assert!(cut.contains(&format!("# {fixed}a\n# bbb")), "{cut}");
    // A word that is longer than a line is not cut, and what controls a terminal is not shown.
    let long = said(&format!("{} \u{1b}[31mred", "b".repeat(150)));
    assert!(
        long.contains(&format!("# line 4, not carried over: bogus\n# {}\n# [31mred\n", "b".repeat(150))),
        "{long}"
    );
}

#[test]
fn the_head_counts_what_is_not_carried_over() {
    let head = |lines: &str| found(Program::Haproxy, &format!("global\n{lines}{LISTEN}")).comments;
    let begins = "From a file, a file of HAProxy, by `portway import`. ";
    for (lines, says) in [
        (" maxconn 7\n", "All of it is carried over. line 3: listen web"),
        (
            " daemon\n",
            "All of it is carried over. About HAProxy itself, without a place here: line 2. line 3: ",
        ),
        (
            " daemon\n nbthread 4\n",
            "All of it is carried over. About HAProxy itself, without a place here: lines 2, 3.",
        ),
        (
            " lua-load x\n",
            "1 statement is not carried over: a comment has it, with its line and the reason. line 2, ",
        ),
        (
            " lua-load x\n lua-load y\n",
            "2 statements are not carried over: a comment has each, with its line and the reason. line 2, not carried \
             over: lua-load x line 3, not carried over: lua-load y Portway runs no scripts line 4: listen web",
        ),
    ] {
        let found = head(lines);
        assert!(found.starts_with(&format!("{begins}{says}")), "{found}");
    }
}

#[test]
fn settings_that_portway_does_not_take_stand_as_a_comment() {
    let text = "access_log /dev/log; server { listen 80; proxy_pass 10.0.0.1:80; }";
    let found = found(Program::Nginx, text);
    assert!(!found.beside(&[]).contains("[log]"));
    let why = "Portway does not take `[log] access = \"/dev/log\"`: `/dev/log` is no file, and Portway has no syslog; \
               write \"stderr\"";
    assert!(found.comments.contains(why), "{}", found.comments);
    compile("routes.toml", import("a file", text.as_bytes(), None).unwrap().text.as_bytes()).unwrap();
}

#[test]
fn a_file_of_which_no_route_comes_says_why() {
    let report =
        |text: &str, program| import("a file", text.as_bytes(), Some(program)).unwrap_err().render(false);
    let refused = report("\n listen web\n bind :80\n server a 10.0.0.1:80 backup\n", Program::Haproxy);
    let message = "error: there is nothing in this file of HAProxy that Portway could forward\n";
    assert!(refused.starts_with(message), "{refused}");
    assert!(refused.contains("= help: line 2, listen web: "), "{refused}");
    for (program, text, help) in [
        (
            Program::Nginx,
            "http { }",
            "Portway takes `server` blocks of `stream`; what is in `http` stays with nginx",
        ),
        (
            Program::Haproxy,
            "global\n",
            "Portway takes `listen` and `frontend` sections of `mode tcp` that have a `bind`",
        ),
        (Program::Realm, "x = 1", "Portway takes `[[endpoints]]` with `listen` and `remote`"),
        (Program::Rinetd, "logcommon", "Portway takes lines such as `0.0.0.0 80 10.0.0.5 8080`"),
        (Program::Compose, "services: {}", "Portway takes the `ports` of services"),
    ] {
        let found = report(text, program);
        assert!(found.contains(&format!("= help: {help}\n")), "{found}");
    }
}

#[test]
fn a_line_that_cannot_be_read_is_underlined() {
    let text = "# c\n\n0.0.0.0 80 10.0.0.1 80\n  x y  \n0.0.0.0 81 10.0.0.1 81\n";
    let report = import("a file", text.as_bytes(), Some(Program::Rinetd)).unwrap_err().render(false);
    assert!(report.contains("--> a file:4:1\n"), "{report}");
    assert!(
        report.contains("\n4 |   x y  \n  | ^^^^^\n") || report.contains("\n4 |   x y\n  | ^^^^^\n"),
        "{report}"
    );
    let text = "global\n daemon\nlisten web\n bind 'x\n";
    let report = import("a file", text.as_bytes(), Some(Program::Haproxy)).unwrap_err().render(false);
    assert!(
        report.contains("--> a file:4:7\n") && report.contains("\n4 |  bind 'x\n  |       ^\n"),
        "{report}"
    );
    let report = import("a file", b"x y\n bind :80\n", Some(Program::Haproxy)).unwrap_err().render(false);
    assert!(report.contains("--> a file:1:1\n") && report.contains("\n1 | x y\n  | ^^^\n"), "{report}");
}
