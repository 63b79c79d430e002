//! What a person looks for and finds: the client of a backend's connection (O1), the matter with a route (O5), a mistyped
//! name (O10).

use std::net::TcpListener;

use serde_json::{Value, json};

use super::asker::{Asker, head, portway, start};
use super::by_hand::{fine, pool, upstream};
use super::concern::udp_port;
use crate::harness::instance::{Backend, Flow, Place, Port, Portway};
use crate::harness::until;

#[test]
fn o10_a_name_that_nothing_has_is_an_error_with_a_cure() {
    let (port, a) = (Port::reserve(), Backend::named("a"));
    let (place, proxy, asker) = start(&pool(&port, &[&a], ""));
    let wrong = a.addr.to_string() + "9";
    let calls: [&[&str]; 10] = [
        &["kill", "--route", "wbe"],
        &["connections", "--route", "wbe"],
        &["drain", "wbe"],
        &["disable", "wbe"],
        &["enable", "wbe"],
        &["weight", "wbe", "--upstream", "x:1", "1"],
        &["kill", "--upstream", &wrong],
        &["connections", "--upstream", &wrong],
        &["drain", "web", "--upstream", &wrong],
        &["weight", "web", "--upstream", &wrong, "1"],
    ];
    for (at, call) in calls.into_iter().enumerate() {
        let said = portway(&place.file(), call);
        assert_eq!((said.code, said.out.as_str()), (2, ""), "{call:?}: {said:?}");
        let cure =
            if at < 6 { "did you mean `web`".to_owned() } else { format!("did you mean `{}`", a.addr) };
        assert!(said.err.contains(&cure), "{call:?}: {}", said.err);
    }
    let nobody = portway(&place.file(), &["kill", "--route", "postgres"]);
    assert!(nobody.code == 2 && nobody.err.contains("`portway routes` lists them"), "{nobody:?}");
    // A route without connections is no mistake.
    let none = portway(&place.file(), &["kill", "--route", "web"]);
    assert_eq!((none.code, none.out.as_str()), (0, "0 connections reset\n"));
    assert_eq!(asker.ask("POST", "/v1/kill", "{\"filter\":{\"route\":\"wbe\"}}").status, 404);
    proxy.stop();
}

/// Starts a proxy whose access log goes to a file.
fn logged(routes: &str, format: &str) -> (Place, Portway, Asker) {
    let place = Place::with("");
    let log = place.root().join("access.log");
    let head = head(&place).replace("access = \"off\"", &format!("access = \"{}\"", log.display()));
    place.save(&(head.replace("format = \"json\"", &format!("format = \"{format}\"")) + routes));
    let portway = Portway::run(&place.file());
    let asker = Asker::unix(&place);
    (place, portway, asker)
}

/// A backend knows its client by the address that Portway has dialled from: it leads to the client.
#[test]
fn o1_the_address_that_the_upstream_sees_leads_to_the_client() {
    let (port, datagrams) = (Port::reserve(), udp_port());
    let server = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let dns = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let text = format!(
        "[[route]]\nname = \"db\"\nlisten = \"{0}\"\nupstream = \"{1}\"\n\
         [[route]]\nname = \"dns\"\nprotocol = \"udp\"\nlisten = \"127.0.0.1:{3}\"\nupstream = \"{2}\"\n",
        port.local(),
        server.local_addr().unwrap(),
        dns.local_addr().unwrap(),
        datagrams
    );
    let (place, proxy, asker) = logged(&text, "json");
    let client = std::net::TcpStream::connect(("127.0.0.1", port.number)).unwrap();
    let (seen, of_upstream) = server.accept().unwrap();
    let asks = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    asks.send_to(b"?", ("127.0.0.1", datagrams)).unwrap();
    let (_, of_dns) = dns.recv_from(&mut [0; 8]).unwrap();
    let of = |route: &str| asker.connections(&format!("route={route}")).pop().unwrap_or_default();
    until("both are there", || of("db")["local"].is_string() && of("dns")["local"].is_string());
    for (route, seen, client) in
        [("db", of_upstream, client.local_addr().unwrap()), ("dns", of_dns, asks.local_addr().unwrap())]
    {
        let row = of(route);
        assert_eq!(
            (&row["local"], &row["client"]),
            (&json!(seen.to_string()), &json!(client.to_string())),
            "{route}"
        );
    }
    let table = fine(portway(&place.file(), &["connections"]));
    assert!(table.contains("LOCAL") && table.contains(&of_upstream.to_string()), "{table}");
    asker.post("/v1/kill", &json!({ "filter": { "route": "dns" } }));
    drop((client, seen));
    until("both have ended", || asker.connections("").is_empty());
    let log = place.root().join("access.log");
    proxy.stop();
    let lines = std::fs::read_to_string(log).unwrap();
    for seen in [of_upstream, of_dns] {
        assert!(lines.contains(&format!("\"local\":\"{seen}\"")), "{lines}");
    }
}

#[test]
fn o5_the_shell_shows_what_is_the_matter() {
    let (port, two, dead, a) = (Port::reserve(), Port::reserve(), Port::reserve(), Backend::named("a"));
    let text = format!(
        "[[route]]\nname = \"web\"\nlisten = \"{}\"\nupstream = \"{}\"\nhealth = {{ interval = \"100ms\", fall = 1 }}\n",
        port.local(),
        dead.local()
    ) + &format!(
        "[[route]]\nname = \"app\"\nlisten = \"{}\"\nupstream = \"localhost:{}\"\n",
        two.local(),
        a.addr.port()
    );
    let (place, proxy, asker) = start(&text);
    let file = place.file();
    until("the check has failed", || asker.route("web")["state"] == "down");
    let flow = Flow::open(two.number);
    let status = fine(portway(&file, &["status"]));
    let rows: Vec<&str> = status.lines().collect();
    let at = rows.iter().position(|row| row.starts_with("web ")).unwrap();
    assert!(rows[at].contains("DOWN") && rows[at + 1].contains("connection refused"), "{status}");
    let whole: Value = serde_json::from_str(&fine(portway(&file, &["status", "--json"]))).unwrap();
    assert_eq!(
        (&whole["route_list"][1]["name"], &whole["routes"]["down"]),
        (&json!("web"), &json!(1)),
        "{whole}"
    );
    let routes = fine(portway(&file, &["routes"]));
    assert!(routes.contains("connection refused"), "{routes}");
    let upstreams = fine(portway(&file, &["upstreams", "--rate=50ms"]));
    let down = upstreams.lines().find(|line| line.contains(&dead.local())).unwrap();
    assert!(down.contains("DOWN") && down.contains("FAILS"), "{upstreams}");
    assert!(upstreams.contains("connection refused") && upstreams.contains("NEW/s"), "{upstreams}");
    let named = format!("  {}", a.addr);
    assert!(upstreams.lines().any(|line| line.contains(&named) && line.contains("up")), "{upstreams}");
    assert!(upstream(&asker, &dead.local())["addresses"][0]["since"].is_number());
    let groups = fine(portway(&file, &["connections", "--by", "client", "--sort", "up"]));
    assert!(groups.starts_with("CLIENT") && groups.contains("127.0.0.1     1"), "{groups}");
    drop(flow);
    proxy.stop();
}

#[test]
fn a_route_names_each_upstream_that_is_down_and_counts_the_rest() {
    let (port, dead) = (Port::reserve(), [(); 5].map(|()| Port::reserve()));
    let list: Vec<String> = dead.iter().map(|port| format!("\"{}\"", port.local())).collect();
    let text = format!(
        "[[route]]\nname = \"web\"\nlisten = \"{}\"\nupstream = [{}]\nhealth = {{ interval = \"100ms\", fall = 1 }}\n",
        port.local(),
        list.join(", ")
    );
    let (place, proxy, asker) = start(&text);
    let all = || asker.route("web")["more_reasons"].as_array().unwrap().len() == 4;
    until("all of them are down", all);
    let routes = fine(portway(&place.file(), &["routes"]));
    let notes: Vec<&str> = routes.lines().skip(2).map(str::trim).collect();
    let named = dead[..4].iter().map(|port| format!("{}: connection refused", port.local()));
    let rest = "and 1 more: `portway upstreams --route web`".to_owned();
    assert_eq!(notes, named.chain([rest]).collect::<Vec<_>>(), "{routes}");
    proxy.stop();
}

/// The state is that of several checks in a row: what the last one has found may be the opposite.
#[test]
fn an_upstream_shows_what_its_last_check_has_found_and_how_far_it_is() {
    let (port, late, early) = (Port::reserve(), Port::reserve(), Port::reserve());
    let listen = |port: &Port| TcpListener::bind(("127.0.0.1", port.number)).unwrap();
    let gone = listen(&early);
    let text = format!(
        "[[route]]\nname = \"web\"\nlisten = \"{}\"\nupstream = [\"{}\", \"{}\"]\n\
         health = {{ interval = \"100ms\", rise = 100, fall = 100 }}\n",
        port.local(),
        late.local(),
        early.local()
    );
    let (place, proxy, asker) = start(&text);
    let shows = |port: &Port, words: &[&str]| {
        until(&format!("{words:?} is shown"), || {
            let shown = fine(portway(&place.file(), &["upstreams"]));
            let row = shown.lines().find(|line| line.contains(&port.local())).unwrap_or_default().to_owned();
            words.iter().all(|word| row.contains(word))
        });
    };
    let check = |port: &Port| upstream(&asker, &port.local())["addresses"][0]["check"].clone();
    shows(&late, &["DOWN", "FAILS: connection refused, ", " ago"]);
    shows(&early, &["up", "ok ", " ms, ", " ago"]);
    let found = check(&late);
    assert_eq!(
        (&found["up"], &found["last_ok"], &found["against"]),
        (&json!(false), &json!(false), &json!(0))
    );
    let open = listen(&late);
    drop(gone);
    shows(&late, &["DOWN", "passes ", " of 100, ", " ago"]);
    shows(&early, &["up", "fails ", " of 100: connection refused, ", " ago"]);
    let found = check(&early);
    assert_eq!(
        (&found["up"], &found["last_ok"], &found["needed"]),
        (&json!(true), &json!(false), &json!(100))
    );
    assert!(found["against"].as_u64() > Some(0) && found["reason"] == "connection refused", "{found}");
    // A check that nobody accepts would keep its socket for a while.
    drop(open);
    proxy.stop();
}

/// A name of a route or of an upstream, as a shell asks for it.
#[test]
fn names_are_those_of_what_runs_and_nothing_where_nobody_runs() {
    let (port, a) = (Port::reserve(), Backend::named("a"));
    let (place, proxy, _) = start(&pool(&port, &[&a], ""));
    assert_eq!(fine(portway(&place.file(), &["names", "routes"])), "web\n");
    assert_eq!(fine(portway(&place.file(), &["names", "upstreams"])), format!("{}\n", a.addr));
    proxy.stop();
    let nobody = portway(&place.file(), &["names", "routes"]);
    assert_eq!((nobody.code, nobody.out.as_str(), nobody.err.as_str()), (0, "", ""));
}
