//! How much the port ranges of a file ask for. They are added up before anything is made for each port: a line of a file
//! can ask for sixty-five thousand sockets, and a file has many lines.

use super::placed::Placed;
use super::route::Draft;
use crate::model::{Fault, PortRanges, Protocol};

/// The most ports of all ranges together: as many as one address has. Each is a socket, with some 4 KiB.
const MOST_PORTS: usize = 65_536;
/// The most upstreams of all ports of ranges together: each port keeps its own view of its route's upstreams, with some
/// 200 bytes each.
const MOST_UPSTREAMS: usize = 262_144;

/// Notes where the ranges become too wide.
pub(super) fn check(drafts: &[&Draft], faults: &mut Vec<Placed>) {
    let (mut ports, mut upstreams) = (0_usize, 0_usize);
    for draft in drafts.iter().filter(|draft| !has_one_socket(draft)) {
        for listen in draft.listen.iter().filter(|listen| listen.value.count() > 1) {
            let width = usize::from(listen.value.count());
            ports += width;
            upstreams += width * draft.upstream.len();
            let fault = if ports > MOST_PORTS {
                Fault::new(
                    format!(
                        "with `{}` the port ranges of the file have more than {MOST_PORTS} ports",
                        listen.value
                    ),
                    "each port is a socket of its own: make the ranges narrower, or write port_ranges = \"rule\"",
                )
            } else if upstreams > MOST_UPSTREAMS {
                Fault::new(
                    format!(
                        "with `{}` the port ranges of the file have more than {MOST_UPSTREAMS} upstreams, counted for each port",
                        listen.value
                    ),
                    "make the range narrower, or the list of upstreams shorter",
                )
            } else {
                continue;
            };
            faults.push(Placed::new(listen.at.clone(), fault));
            return;
        }
    }
}

/// Whether each of its ranges is one socket.
fn has_one_socket(draft: &Draft) -> bool {
    (draft.policy.protocol, draft.policy.port_ranges) == (Protocol::Tcp, PortRanges::Rule)
}

#[cfg(test)]
mod tests {
    use crate::config::compile;

    fn headline(ranges: &[&str], upstreams: usize) -> Option<String> {
        let upstreams: Vec<String> = (0..upstreams).map(|n| format!("\"10.0.0.1:{}\"", n + 1)).collect();
        let route = |range: &&str| {
            format!("[[route]]\nlisten = \"{range}\"\nupstream = [{}]\n", upstreams.join(", "))
        };
        let text: String = ranges.iter().map(route).collect();
        compile("f", text.as_bytes()).err().map(|report| report.headline())
    }

    #[test]
    fn s8_the_widths_of_all_ranges_are_added_up() {
        assert_eq!(headline(&["10.9.0.1:1-65535", "10.9.0.2:80"], 1), None);
        assert_eq!(headline(&["10.9.0.1:1-32768", "10.9.0.2:1-32768"], 1), None);
        let wide = headline(&["10.9.0.1:1-32768", "10.9.0.2:1-32769"], 1).unwrap();
        assert!(
            wide.starts_with("f:5:10: with `10.9.0.2:1-32769` the port ranges of the file have more than"),
            "{wide}"
        );
    }

    #[test]
    fn s8_a_range_has_its_upstreams_once_for_each_port() {
        assert_eq!(headline(&["10.9.0.1:1-1024"], 256), None);
        let many = headline(&["10.9.0.1:1-1025"], 256).unwrap();
        assert!(many.contains("more than 262144 upstreams, counted for each port"), "{many}");
        // One port with many is no range.
        assert_eq!(headline(&["10.9.0.1:1"], 3000), None);
    }
}
