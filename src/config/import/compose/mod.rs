//! Docker Compose: each published port of a service becomes a route to that service. Reference: docs.docker.com, Compose file,
//! "ports".

mod ports;

use ports::Port;

use super::misread::Misread;
use super::program::Program;
use super::sheet::{Route, Said, Sheet, Upstream};
use super::tree::{Entry, Node};
use super::values::{listen, quote, upstream};
use super::yaml;

/// Where the names of services lead.
const NAMES: &str = "Upstreams are services, by name: run Portway as a service of the same project, publish the ports there, and \
    take `ports` out of the others.";

/// Reads a file.
pub(super) fn read(text: &str) -> Result<Sheet, Misread> {
    let root = yaml::parse(text)?;
    let mut sheet = Sheet::of(Program::Compose);
    // Files of the first version have no `services`.
    let services = root.get("services").unwrap_or(&root);
    if let Some(include) = root.entries().iter().find(|entry| entry.key == "include") {
        sheet.note(&Said::new(include.line, "include"), "other files are not read: import them, too");
    }
    services.entries().iter().for_each(|service| take(service, &mut sheet));
    if !sheet.routes.is_empty() {
        sheet.remark(NAMES);
    }
    Ok(sheet)
}

fn take(service: &Entry, sheet: &mut Sheet) {
    let said = |entry: &Entry| Said::new(entry.line, &format!("{}: {}", entry.key, entry.node.show()));
    for entry in service.node.entries() {
        match (entry.key.as_str(), entry.node.text()) {
            ("network_mode", Some("host")) => {
                sheet.note(&said(entry), "its ports are those of the host: nothing forwards to them");
            }
            ("extends", _) => sheet.note(&said(entry), "other services are not read: write its `ports` here"),
            ("expose", _) => sheet.same(&said(entry)),
            _ => {}
        }
    }
    let Some(ports) = service.node.get("ports") else { return };
    let mut made = Vec::new();
    for item in ports.items() {
        let said = Said::new(item.line, &format!("{}: {}", service.key, item.show()));
        match port(item).and_then(|port| Ok((route(service, &port, &said)?, port))) {
            Ok((route, port)) => {
                sheet.carried(&said);
                if !port.notes.is_empty() {
                    sheet.note(&said, format!("the file has no variables: {}", port.notes.join(", ")));
                }
                join(&mut made, route);
            }
            Err(why) => sheet.note(&said, why),
        }
    }
    let several = made.len() > 1;
    for mut route in made {
        if several && let Some(listen) = route.listen.first() {
            let port = listen.rsplit_once(':').map_or(listen.as_str(), |(_, port)| port);
            route.name = format!("{}-{port}", service.key);
        }
        sheet.add(route);
    }
}

fn port(item: &Node) -> Result<Port, String> {
    match item.text() {
        Some(text) => ports::short(text),
        None => ports::long(item),
    }
}

fn route(service: &Entry, port: &Port, said: &Said) -> Result<Route, String> {
    let mut route = Route::new(said);
    route.name.clone_from(&service.key);
    let address = match port.host.as_str() {
        "" => port.published.clone(),
        host => super::values::joined(host, &port.published),
    };
    route.listen.push(listen(&address)?);
    route.upstream.push(Upstream::at(upstream(&format!("{}:{}", service.key, port.target))?));
    if port.udp {
        route.udp();
    }
    Ok(route)
}

/// Both protocols of one port are one route.
fn join(made: &mut Vec<Route>, route: Route) {
    let udp = |route: &Route| route.fields.get("protocol") == Some("\"udp\"");
    let other = made.iter_mut().find(|other| {
        other.listen == route.listen && other.upstream == route.upstream && udp(other) != udp(&route)
    });
    match other {
        Some(other) => {
            other.fields.set("protocol", quote("tcp+udp"));
            other.remark(format!("line {}: {}", route.said.line, route.said.text));
        }
        None => made.push(route),
    }
}
