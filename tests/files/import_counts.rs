//! The statements of another program's file that concern layer 4, counted without its parser: line by line.

use std::collections::BTreeMap;

use portway::config::Program;

/// How many begin on each line.
pub fn of(program: Program, text: &str) -> BTreeMap<usize, usize> {
    match program {
        Program::Nginx => nginx(text),
        Program::Haproxy => haproxy(text),
        Program::Rinetd => lines(text).map(|(line, _)| (line, 1)).collect(),
        Program::Realm => realm(text),
        Program::Compose => compose(text),
    }
}

/// The lines that say something, from 1.
fn lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let all = text.lines().enumerate().map(|(number, line)| (number + 1, line));
    all.filter(|(_, line)| !line.trim().is_empty() && !line.trim().starts_with('#'))
}

/// What stands in `stream`, or all where there is none, but not what stands in blocks of variables.
fn nginx(text: &str) -> BTreeMap<usize, usize> {
    let mut found = BTreeMap::new();
    let (mut blocks, mut words): (Vec<String>, Option<(usize, String)>) = (Vec::new(), None);
    let main = text.contains("events");
    for (line, said) in lines(text) {
        let said = said.split(" # ").next().unwrap();
        let mut quote = None;
        for c in said.chars().chain(['\n']) {
            match (quote, c) {
                (None, '"' | '\'') => quote = Some(c),
                (Some(open), c) if open == c => quote = None,
                _ => {}
            }
            match c {
                ';' | '{' if quote.is_none() => {
                    let (line, statement) = words.take().unwrap_or_default();
                    let name = statement.split_whitespace().next().unwrap_or_default().to_owned();
                    let inside = !main || blocks.iter().any(|block| block == "stream");
                    let variables = blocks.iter().any(|block| block == "split_clients");
                    if inside && !variables && !(c == '{' && name == "stream") {
                        *found.entry(line).or_default() += 1;
                    }
                    if c == '{' {
                        blocks.push(name);
                    }
                }
                '}' if quote.is_none() => drop(blocks.pop()),
                c if c.is_whitespace() && words.is_none() => {}
                c => words.get_or_insert_with(|| (line, String::new())).1.push(c),
            }
        }
    }
    found
}

/// Sections of TCP, and what of `global` is about connections.
fn haproxy(text: &str) -> BTreeMap<usize, usize> {
    let mut found = BTreeMap::new();
    let mut section = "";
    let http: Vec<&str> =
        text.split("\n\n").filter(|part| part.contains("mode http") || part.contains("from http-")).collect();
    let is_http = |header: &str| http.iter().any(|part| part.lines().any(|line| line == header));
    for (line, said) in lines(text) {
        let begins = !said.starts_with([' ', '\t']);
        if begins {
            section = said;
        }
        let first = said.split_whitespace().next().unwrap();
        let counts = match section.split_whitespace().next().unwrap() {
            "global" => ["maxconn", "stats"].contains(&first) && !said.contains("stats timeout"),
            "defaults" | "frontend" | "backend" | "listen" => !is_http(section),
            // One word on each of them.
            _ => begins,
        };
        if counts {
            *found.entry(line).or_default() += 1;
        }
    }
    found
}

fn realm(text: &str) -> BTreeMap<usize, usize> {
    let keys = [
        "listen",
        "remote",
        "extra_remotes",
        "balance",
        "through",
        "interface",
        "listen_interface",
        "listen_transport",
        "remote_transport",
        "use_udp",
        "no_tcp",
        "tcp_timeout",
        "udp_timeout",
        "tcp_keepalive",
        "send_proxy",
        "accept_proxy",
        "send_mptcp",
        "accept_mptcp",
        "ipv6_only",
        "send_proxy_version",
        "accept_proxy_timeout",
        "tcp_keepalive_probe",
    ];
    let mut found = BTreeMap::new();
    for (line, said) in lines(text) {
        let bare = |c: char| !(c.is_alphanumeric() || c == '_' || c == '"');
        let words: Vec<&str> =
            said.split(['=', ':']).map(|part| part.trim_end().rsplit(bare).next().unwrap()).collect();
        let count = words.iter().filter(|word| keys.contains(&word.trim_matches('"'))).count();
        if count > 0 {
            *found.entry(line).or_default() += count;
        }
    }
    found
}

/// Entries of `ports`, in a block or on one line.
fn compose(text: &str) -> BTreeMap<usize, usize> {
    let mut found = BTreeMap::new();
    let mut ports = None;
    for (line, said) in lines(text) {
        let indent = said.len() - said.trim_start().len();
        for (at, _) in said.match_indices("ports: [") {
            let list = &said[at..];
            let list = &list[..list.find(']').unwrap()];
            *found.entry(line).or_default() +=
                list.matches(", ").count() + 1 - list.matches(", published").count();
        }
        match ports {
            Some(above) if said.trim_start().starts_with("- ") && indent >= above => {
                *found.entry(line).or_default() += 1
            }
            Some(above) if indent > above => {}
            _ => ports = None,
        }
        if said.trim() == "ports:"
            && !text.lines().nth(line - 2).is_some_and(|above| above.contains("json-file"))
        {
            ports = Some(indent);
        }
        if said.contains("network_mode: host") {
            *found.entry(line).or_default() += 1;
        }
    }
    found
}
