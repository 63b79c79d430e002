//! A file of the corpus with addresses of this machine: what it listens on gets a port of its own, what it forwards to a backend.
//! Left out is what this machine lacks: logs, users, interfaces, checks of protocols that the backends do not speak.

use std::collections::BTreeMap;

use super::stage::Stage;
use crate::harness::instance::Port;

/// A file that can run here.
pub struct Rewritten {
    pub text: String,
    /// The ports by what the file has for them, and how often it was there.
    pub ports: BTreeMap<String, Port>,
}

/// What is made of a file.
struct Rewriter<'s> {
    stage: &'s mut Stage,
    ports: BTreeMap<String, Port>,
}

impl Rewriter<'_> {
    fn listen(&mut self, text: &str) -> String {
        let number = self.ports.keys().filter(|key| key.split('#').next() == Some(text)).count();
        let port = Port::reserve();
        let local = port.local();
        self.ports.insert(format!("{text}#{number}"), port);
        local
    }

    fn upstream(&mut self, text: &str) -> String {
        format!("127.0.0.1:{}", self.stage.port(text))
    }
}

fn rewritten(stage: &mut Stage, run: impl FnOnce(&mut Rewriter<'_>) -> String) -> Rewritten {
    let mut rewriter = Rewriter { stage, ports: BTreeMap::new() };
    let text = run(&mut rewriter);
    Rewritten { text, ports: rewriter.ports }
}

/// The `stream` block, or all where there is none.
pub fn nginx(text: &str, stage: &mut Stage) -> Rewritten {
    rewritten(stage, |rewriter| {
        let plain: String =
            text.lines().map(|line| line.split('#').next().unwrap().to_owned() + "\n").collect();
        let inside = match plain.find("stream {") {
            Some(at) => block(&plain[at + "stream {".len()..]),
            None => &plain,
        };
        let mut out = String::from("stream {\n");
        let mut blocks: Vec<String> = Vec::new();
        for statement in statements(inside) {
            let words: Vec<&str> = statement[..statement.len() - 1].split_whitespace().collect();
            let last = statement.chars().last().unwrap();
            let name = words.first().copied().unwrap_or_default();
            let dropped =
                ["access_log", "error_log", "log_format", "resolver", "resolver_timeout", "include"];
            // Without an answer that is waited for, nginx ends a session before one comes.
            let unanswered = name == "proxy_responses" && words.get(1) == Some(&"0");
            if dropped.contains(&name) || name.starts_with("js_") || unanswered {
                continue;
            }
            let in_map = blocks.last().is_some_and(|block| block == "map" || block == "split_clients");
            let mut words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
            match (name, last) {
                ("listen", _) => words[1] = rewriter.listen(&words[1].clone()),
                ("server" | "proxy_pass", ';') if words[1].contains(':') => {
                    words[1] = rewriter.upstream(&words[1].clone());
                }
                _ if in_map && words.len() == 2 && words[1].contains(':') => {
                    words[1] = rewriter.upstream(&words[1].clone());
                }
                _ => {}
            }
            out += &format!("{}{last}\n", words.join(" "));
            match last {
                '{' => blocks.push(name.to_owned()),
                '}' => drop(blocks.pop()),
                _ => {}
            }
        }
        out + "}\n"
    })
}

/// Up to the brace that closes it.
fn block(text: &str) -> &str {
    let mut depth = 1;
    for (at, c) in text.char_indices() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return &text[..at];
        }
    }
    text
}

/// Statements with the character that ends them.
fn statements(text: &str) -> Vec<String> {
    let (mut all, mut one, mut quote) = (Vec::new(), String::new(), None);
    for c in text.chars() {
        match (quote, c) {
            (None, '"' | '\'') => quote = Some(c),
            (Some(open), c) if open == c => quote = None,
            _ => {}
        }
        one.push(c);
        if quote.is_none() && matches!(c, ';' | '{' | '}') {
            all.push(std::mem::take(&mut one).trim().to_owned());
        }
    }
    all
}

/// The sections of TCP.
pub fn haproxy(text: &str, stage: &mut Stage) -> Rewritten {
    const LEFT_OUT: [&str; 8] = [
        "log",
        "http-check",
        "tcp-check",
        "option httpchk",
        "option httplog",
        "chroot",
        "stats",
        "errorfile",
    ];
    rewritten(stage, |rewriter| {
        let mut out = String::new();
        let mut kept = false;
        let sections: Vec<&str> = text.split("\n\n").collect();
        for section in sections {
            let header =
                section.lines().find(|line| !line.starts_with([' ', '#']) && !line.is_empty()).unwrap_or("");
            let http = section.contains("mode http") || section.contains("from http-");
            kept = if header.is_empty() { kept } else { !http };
            if !kept || ["global", "resolvers", "peers"].contains(&header.split(' ').next().unwrap()) {
                continue;
            }
            for line in section.lines() {
                let bare = line.trim();
                let check = bare.starts_with("option")
                    && (bare.contains("-check") || bare.contains("-chk") || bare.contains("smtpchk"));
                if check || LEFT_OUT.iter().any(|word| bare.starts_with(word)) || bare.contains("banned.lst")
                {
                    continue;
                }
                let mut words: Vec<String> = bare.split_whitespace().map(str::to_owned).collect();
                for key in ["interface", "source", "port"] {
                    if let Some(at) = words.iter().position(|word| word == key).filter(|at| *at > 1) {
                        words.drain(at..at + 2);
                    }
                }
                match words.first().map(String::as_str) {
                    Some("bind") => words[1] = rewriter.listen(&words[1].clone()),
                    Some("server") => words[2] = rewriter.upstream(&words[2].clone()),
                    _ => {}
                }
                let indent = if line.starts_with([' ', '\t']) { "    " } else { "" };
                out += &format!("{indent}{}\n", words.join(" "));
            }
            out.push('\n');
        }
        out
    })
}

/// The rules, without their log. One for all stands first: rinetd 0.73 forgets the first rule of a file without one.
pub fn rinetd(text: &str, stage: &mut Stage) -> Rewritten {
    rewritten(stage, |rewriter| {
        let mut out = String::from("deny 192.0.2.255\n");
        for line in text.lines() {
            let words: Vec<&str> = line.split_whitespace().collect();
            match words.as_slice() {
                ["logfile" | "logcommon" | "pidlogfile", ..] => {}
                [word, ..] if word.starts_with('#') => {}
                [from, port, to, other, rest @ ..] => {
                    let word = |port: &str| {
                        port.split_once('/').map_or(String::new(), |(_, word)| format!("/{word}"))
                    };
                    let listen = rewriter.listen(&format!("{from} {port}"));
                    let upstream = rewriter.upstream(&format!("{to} {}", other.split('/').next().unwrap()));
                    // No source address of another machine, and no word that rinetd 0.73 does not know yet.
                    let known = |word: &&str| !word.contains("src=") && !word.contains("keepalive=");
                    let rest: Vec<&str> = rest.iter().copied().filter(known).collect();
                    out += &format!(
                        "{}{} {}{} {}\n",
                        listen.replace(':', " "),
                        word(port),
                        upstream.replace(':', " "),
                        word(other),
                        rest.join(" ")
                    );
                }
                _ => out += &format!("{line}\n"),
            }
        }
        out
    })
}
