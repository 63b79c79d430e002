//! `/metrics`: read by the reference parser, bounded by the file, and named as dashboards know it.

use std::collections::BTreeSet;
use std::io::Write;
use std::process::{Command, Stdio};

use super::asker::{Asker, head, start};
use super::plan::golden;
use crate::harness::instance::{Backend, Flow, Port, can, route};
use crate::harness::until;

/// Prometheus' own parser of Python, of either form; Debian's package python3-prometheus-client.
const PARSER: &str = "
import sys
form = sys.argv[1]
if form == 'openmetrics':
    from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse
else:
    from prometheus_client.parser import text_string_to_metric_families as parse
for family in parse(sys.stdin.read()):
    assert family.documentation.endswith('.'), family
    for sample in family.samples:
        print(sample.name, family.type, sorted(sample.labels.items()), sample.value)
";

fn python() -> Command {
    Command::new("/usr/bin/python3")
}

fn has_parser() -> bool {
    let found = python().args(["-c", "import prometheus_client.openmetrics"]).stderr(Stdio::null()).status();
    can("python3-prometheus-client", found.is_ok_and(|status| status.success()))
}

/// Every sample, as the parser reads it.
fn parsed(form: &str, text: &str) -> Vec<String> {
    let mut child =
        python().args(["-c", PARSER, form]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "the parser refuses\n{text}");
    String::from_utf8(output.stdout).unwrap().lines().map(ToOwned::to_owned).collect()
}

fn text(asker: &Asker) -> String {
    let answer = asker.ask("GET", "/metrics", "");
    assert_eq!(answer.status, 200);
    answer.body
}

fn value(text: &str, series: &str) -> f64 {
    let found = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    found.unwrap_or_else(|| panic!("no {series} in\n{text}")).parse().unwrap()
}

#[test]
fn both_forms_are_what_the_reference_parser_reads() {
    if !has_parser() {
        return;
    }
    let (port, backend) = (Port::reserve(), Backend::named("b"));
    let odd = route("odd \\\"name\\\" \\\\ ü", &port.local(), &backend, "");
    let (_place, proxy, asker) = start(&odd);
    Flow::open(port.number).ping().unwrap();
    until("it is counted", || asker.get("/v1/status")["traffic"]["closed"] == 1);
    let answer = asker.ask("GET", "/metrics", "");
    assert!(answer.head.contains("text/plain; version=0.0.4"), "{}", answer.head);
    let plain = parsed("plain", &answer.body);
    assert!(plain.iter().any(|sample| sample.contains("('route', 'odd \"name\" \\\\ ü')")), "{plain:?}");
    let open = asker.with("Host: x\r\nAccept: application/openmetrics-text; version=1.0.0\r\n");
    let answer = open.ask("GET", "/metrics", "");
    assert!(answer.head.contains("application/openmetrics-text; version=1.0.0"), "{}", answer.head);
    let open = parsed("openmetrics", &answer.body);
    let names = |samples: &[String]| -> BTreeSet<String> {
        samples.iter().map(|sample| sample.split(' ').next().unwrap().to_owned()).collect()
    };
    assert_eq!(names(&plain), names(&open));
    assert!(names(&open).len() > 30, "{open:?}");
    proxy.stop();
}

#[test]
fn figures_are_those_of_the_other_answers_and_names_are_known() {
    let (port, dead, backend) = (Port::reserve(), Port::reserve(), Backend::named("b"));
    let upstream = backend.addr.to_string();
    let text_of = format!(
        "[[route]]\nname = \"web\"\nlisten = \"{}\"\nbalance = \"first\"\nupstream = [\"{}\", \"{upstream}\"]\n",
        port.local(),
        dead.local()
    );
    let (_place, proxy, asker) = start(&text_of);
    for _ in 0..3 {
        Flow::open(port.number).round_trip(&[1; 1000]).unwrap();
    }
    until("they are counted", || asker.route("web")["traffic"]["closed"] == 3);
    let open = Flow::open(port.number);
    // The client has it before it is counted.
    until("the greeting is counted", || asker.route("web")["traffic"]["bytes_down"] == 3008);
    let text = text(&asker);
    assert_eq!(value(&text, "portway_route_connections{route=\"web\"}"), 1.0);
    assert_eq!(value(&text, "portway_route_connections_opened_total{route=\"web\"}"), 4.0);
    assert_eq!(value(&text, "portway_route_bytes_total{route=\"web\",direction=\"up\"}"), 3000.0);
    assert_eq!(value(&text, "portway_route_bytes_total{route=\"web\",direction=\"down\"}"), 3008.0);
    let closed =
        "portway_route_connections_closed_total{route=\"web\",outcome=\"client-closed\",blame=\"client\"}";
    assert_eq!(value(&text, closed), 3.0);
    assert_eq!(value(&text, "portway_route_connect_seconds_count{route=\"web\"}"), 3.0);
    assert_eq!(value(&text, "portway_route_connect_seconds_bucket{route=\"web\",le=\"+Inf\"}"), 3.0);
    assert_eq!(value(&text, "portway_route_duration_seconds_count{route=\"web\"}"), 3.0);
    assert!(value(&text, "portway_route_duration_seconds_sum{route=\"web\"}") > 0.0);
    let of = |name: &str, addr: &str| value(&text, &format!("{name}{{route=\"web\",upstream=\"{addr}\"}}"));
    assert_eq!((of("portway_upstream_up", &dead.local()), of("portway_upstream_up", &upstream)), (0.0, 1.0));
    assert_eq!(of("portway_upstream_connect_failures_total", &dead.local()), 3.0);
    assert_eq!(of("portway_upstream_connections_opened_total", &upstream), 4.0);
    assert_eq!(value(&text, "portway_config_generation"), 1.0);
    assert_eq!(value(&text, "portway_config_last_reload_success"), 1.0);
    assert_eq!(value(&text, "portway_config_stale"), 0.0);
    assert_eq!(value(&text, "portway_log_lines_lost_total"), 0.0);
    assert!(value(&text, "process_open_fds") <= value(&text, "process_max_fds"));
    let names: BTreeSet<&str> = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")).collect();
    golden("metrics.txt", &names.iter().map(|name| format!("{name}\n")).collect::<String>());
    drop(open);
    proxy.stop();
}

#[test]
fn the_series_of_a_route_go_with_it_and_clients_make_none() {
    let (one, two, backend) = (Port::reserve(), Port::reserve(), Backend::named("b"));
    let keep = route("keep", &one.local(), &backend, "");
    let (place, mut proxy, asker) = start(&(keep.clone() + &route("go", &two.local(), &backend, "")));
    Flow::open(one.number).ping().unwrap();
    let mut open = Flow::open(two.number);
    until("it is counted", || asker.route("keep")["traffic"]["closed"] == 1);
    let before = text(&asker);
    // More clients are no more series.
    for _ in 0..50 {
        Flow::open(one.number).ping().unwrap();
    }
    until("they are counted", || asker.route("keep")["traffic"]["closed"] == 51);
    assert_eq!(text(&asker).lines().count(), before.lines().count());
    place.save(&(head(&place) + &keep));
    proxy.phase("reloaded");
    // As long as it has a connection it is seen.
    assert_eq!(value(&text(&asker), "portway_route_connections{route=\"go\"}"), 1.0);
    open.ping().unwrap();
    drop(open);
    until("its series are gone", || !text(&asker).contains("\"go\""));
    assert_eq!(asker.get("/v1/status")["traffic"]["closed"], 52, "of all that was ever there");
    // A fault, and its end.
    place.save("nonsense");
    proxy.refused();
    let refused = text(&asker);
    assert_eq!(value(&refused, "portway_config_last_reload_success"), 0.0);
    assert_eq!(value(&refused, "portway_config_reloads_total{outcome=\"refused\"}"), 1.0);
    assert!(value(&refused, "portway_config_pending_seconds") >= 0.0);
    proxy.stop();
}
