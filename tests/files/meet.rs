//! Routes of one file that meet, and those that only seem to.

use portway::config::compile;

fn route(name: &str, listen: &str, upstream: &str, more: &str) -> String {
    format!("[[route]]\nname = \"{name}\"\nlisten = \"{listen}\"\nupstream = \"{upstream}\"\n{more}\n")
}

fn fine(text: &str) {
    if let Err(report) = compile("f", text.as_bytes()) {
        panic!("{text}\n{report}");
    }
}

/// The messages of all faults, without their pictures.
fn told(text: &str) -> Vec<String> {
    let report = compile("f", text.as_bytes()).unwrap_err().render(false);
    let messages = report.lines().filter_map(|line| line.strip_prefix("error: "));
    messages.map(str::to_owned).collect()
}

#[test]
fn a_route_forwards_to_itself_where_its_own_listener_takes_the_connection() {
    for (listen, upstream) in [
        ("80", "127.0.0.1:80"),
        ("80", "[::1]:80"),
        ("0.0.0.0:80", "127.0.0.2:80"),
        ("80", "localhost:80"),
        ("[::1]:80", "LocalHost:80"),
        ("10.0.0.1:80", "10.0.0.1:80"),
        ("unix:/run/a", "unix:/run/a"),
    ] {
        assert_eq!(
            told(&route("a", listen, upstream, "")),
            ["the route forwards to itself"],
            "{listen} {upstream}"
        );
    }
    for (listen, upstream) in [
        ("80", "127.0.0.1:81"),
        // Another host may have this address.
        ("80", "10.0.0.1:80"),
        ("80", "app:80"),
        ("80", "localhost.example:80"),
        ("[::1]:80", "127.0.0.1:80"),
        ("[::]:80", "127.0.0.1:80"),
        ("unix:/run/a", "unix:/run/b"),
    ] {
        fine(&route("a", listen, upstream, ""));
    }
}

#[test]
fn routes_that_lead_to_each_other_are_a_circle_unless_a_client_may_go_elsewhere() {
    let (there, back) = (route("a", "80", "127.0.0.1:81", ""), route("b", "81", "127.0.0.1:80", ""));
    assert_eq!(told(&format!("{there}{back}")), ["the routes `a` and `b` forward in a circle"]);
    let chosen = route("a", "80", "127.0.0.1:81", "sni = \"a.example\"");
    assert_eq!(told(&format!("{chosen}{back}")), ["the routes `a` and `b` forward in a circle"]);
    fine(&format!("{chosen}{back}{}", route("rest", "80", "app:80", "")));
    // Names are of other hosts, and so are addresses that are not listened on.
    fine(&format!("{}{}", route("a", "80", "app:81", ""), route("b", "81", "app:80", "")));
    fine(&format!("{}{}", route("a", "80", "10.0.0.1:81", ""), route("b", "81", "10.0.0.1:80", "")));
    // A range may be left at another port than it was entered.
    let range = route("a", "80-82", "127.0.0.1:90-92", "");
    fine(&format!("{range}{}", route("b", "90-92", "127.0.0.1:80-82", "")));
    fine(&format!("{range}{}", route("b", "90", "127.0.0.1:80", "")));
}

#[test]
fn of_a_circle_eight_routes_are_named() {
    let circle = |count: usize| {
        let one = |n: usize| {
            let (listen, upstream) = (9000 + n, 9000 + (n + 1) % count);
            route(&format!("r{n}"), &format!("127.0.0.1:{listen}"), &format!("127.0.0.1:{upstream}"), "")
        };
        told(&(0..count).map(one).collect::<String>()).join("")
    };
    assert_eq!(circle(8), "the routes `r0`, `r1`, `r2`, `r3`, `r4`, `r5`, `r6` and `r7` forward in a circle");
    assert_eq!(
        circle(9),
        "the routes `r0`, `r1`, `r2`, `r3`, `r4`, `r5`, `r6` and `r7`, ... forward in a circle"
    );
}

#[test]
fn an_overlap_names_the_widest_listener_that_came_first() {
    let text = "[[route]]\nlisten = [\"127.0.0.1:80-90\", \"127.0.0.1:85-90\", \"127.0.0.1:90\", \"127.0.0.1:91\"]\nupstream = \"app:80\"\n";
    assert_eq!(
        told(text),
        [
            "`127.0.0.1:85-90` overlaps `127.0.0.1:80-90` in ports 85-90",
            "`127.0.0.1:90` overlaps `127.0.0.1:80-90` in port 90"
        ]
    );
}

#[test]
fn routes_that_share_an_address_may_say_what_has_no_use_there() {
    let other = route("b", "8443", "app:81", "");
    for fine_line in ["when_full = \"wait\"", "max_connections = 5", "when_down = \"reset\""] {
        fine(&format!(
            "{}{other}",
            route("a", "8443", "app:80", &format!("sni = \"a.example\"\n{fine_line}"))
        ));
    }
    let waits =
        route("a", "8443", "app:80", "sni = \"a.example\"\nwhen_full = \"wait\"\nmax_connections = 5");
    let told = told(&format!("{waits}{other}"));
    assert_eq!(told, ["`when_full = \"wait\"` cannot be used where `sni` or `alpn` choose the route"]);
}

#[test]
fn a_route_whose_clients_wait_says_so_itself_or_by_defaults() {
    let chosen = route("a", "8443", "app:80", "sni = \"a.example\"");
    let ssh = |more: &str| route("b", "8443", "app:22", more);
    let waits = "a client of SSH is silent until the server speaks, and would wait here for `sniff_timeout`";
    assert_eq!(told(&format!("{chosen}{}", ssh(""))), [waits]);
    fine(&format!("[defaults]\nsniff_timeout = \"1s\"\n{chosen}{}", ssh("")));
    let said = "sniff_timeout = \"1s\"";
    fine(&format!("{}{}", route("a", "8443", "app:80", &format!("sni = \"a.example\"\n{said}")), ssh(said)));
}

#[test]
fn single_ports_and_ranges_of_one_socket_are_not_added_up() {
    let wide = route("a", "10.9.0.1:1-65535", "app:80", "");
    let singles = route("b", "10.9.0.2:80", "app:80", "") + &route("c", "10.9.0.3:80", "app:80", "");
    fine(&format!("{wide}{singles}"));
    let rule = "port_ranges = \"rule\"";
    let led =
        route("d", "10.9.0.4:1-65535", "app:80", rule) + &route("e", "10.9.0.5:1-65535", "app:80", rule);
    fine(&format!("{wide}{led}"));
    // Of UDP each port has its socket.
    let both = route("d", "10.9.0.4:1-2", "app:80", &format!("protocol = \"tcp+udp\"\n{rule}"));
    let told = told(&format!("{wide}{both}"));
    assert_eq!(told, ["with `10.9.0.4:1-2` the port ranges of the file have more than 65536 ports"]);
}

#[test]
fn a_check_and_an_original_destination_meet_only_in_one_route() {
    let original = |more: &str| {
        route(
            "a",
            "10.0.0.1:80",
            "original-destination",
            &format!("original_destination = \"10.0.0.0/8\"\n{more}"),
        )
    };
    fine(&format!("[defaults]\nhealth = {{ interval = \"5s\" }}\n{}", original("")));
    fine(&original("health = \"off\""));
    assert_eq!(
        told(&original("health = { interval = \"5s\" }")),
        ["`health` cannot check `original-destination`"]
    );
}
