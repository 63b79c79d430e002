//! What a check says and hears: `option tcp-check` with its steps, and those of protocols that are a few words.

use super::lines::Line;
use super::sides::Side;
use crate::config::import::sheet::{Route, Sheet};
use crate::config::import::values::{count, haproxy_time, quote, span};

/// Writes what checks say, where servers are checked.
pub(super) fn take(back: &Side<'_>, route: &mut Route, sheet: &mut Sheet) {
    let names = [
        "option tcp-check",
        "option redis-check",
        "option smtpchk",
        "option httpchk",
        "tcp-check",
        "http-check",
        "timeout check",
    ];
    if !route.fields.has("health") {
        names.iter().flat_map(|name| back.named(name)).for_each(|line| sheet.same(&line.said));
        return;
    }
    for line in back.named("timeout check") {
        let interval = route.fields.get("health.interval").map(|text| text.trim_matches('"').to_owned());
        let interval =
            interval.and_then(|text| crate::model::units::duration(&text, std::time::Duration::ZERO).ok());
        match haproxy_time(line.arg(0)).map(|time| time.min(interval.unwrap_or(time))).and_then(span) {
            Some(time) => {
                route.fields.set("health.timeout", time);
                sheet.carried(&line.said);
            }
            None => route.note(&line.said, "it is no duration"),
        }
    }
    words(back, route, sheet);
    let mut steps = Vec::new();
    back.named("option tcp-check").for_each(|line| sheet.same(&line.said));
    for line in back.named("tcp-check") {
        match step(line, route) {
            Ok(step) => {
                sheet.carried(&line.said);
                steps.extend(step);
            }
            Err(why) => route.note(&line.said, why),
        }
    }
    match steps.as_slice() {
        [] => {}
        [Step::Send(send)] => route.fields.set("health.send", send),
        [Step::Send(send), Step::Expect(expect)] => {
            route.fields.set("health.send", send);
            route.fields.set("health.expect", expect);
        }
        steps => route.fields.set("health.steps", list(steps)),
    }
}

/// A step of a check, its text as TOML.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Step {
    Send(String),
    Expect(String),
}

fn list(steps: &[Step]) -> String {
    let steps: Vec<String> = steps
        .iter()
        .map(|step| match step {
            Step::Send(text) => format!("{{ send = {text} }}"),
            Step::Expect(text) => format!("{{ expect = {text} }}"),
        })
        .collect();
    format!("[{}]", steps.join(", "))
}

/// A text on one line, as TOML.
fn text(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            '\r' => out.push_str("\\r"),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            c if c.is_control() => out.push_str(&format!("\\u{:04X}", u32::from(c))),
            c => out.push(c),
        }
    }
    out + "\""
}

/// A line of `tcp-check`.
fn step(line: &Line, route: &mut Route) -> Result<Option<Step>, String> {
    let words: Vec<&str> = line.args().iter().map(String::as_str).collect();
    match words.as_slice() {
        ["connect"] | ["comment", ..] | ["connect", "default"] => Ok(None),
        ["connect", "port", port] => {
            route.fields.set("health.port", count(port).ok_or("its port is no number")?);
            Ok(None)
        }
        ["send", said, ..] => Ok(Some(Step::Send(text(said)))),
        ["send-binary", hex, ..] => Ok(Some(Step::Send(quote(&format!("hex:{hex}"))))),
        ["expect", rest @ ..] => {
            let rest: Vec<&str> = rest.iter().copied().skip_while(|word| !EXPECTS.contains(word)).collect();
            match rest.as_slice() {
                ["string", said, ..] => Ok(Some(Step::Expect(text(said)))),
                ["rstring", said, ..] => Ok(Some(Step::Expect(text(&format!("regex:{said}"))))),
                ["binary", hex, ..] => Ok(Some(Step::Expect(quote(&format!("hex:{hex}"))))),
                _ => {
                    Err("an answer is waited for as text, as bytes, or as a pattern (\"regex:...\")"
                        .to_owned())
                }
            }
        }
        _ => Err("a check connects, sends and waits for answers, one after the other".to_owned()),
    }
}

const EXPECTS: [&str; 4] = ["string", "rstring", "binary", "!"];

/// Checks that are a few words of a protocol.
fn words(back: &Side<'_>, route: &mut Route, sheet: &mut Sheet) {
    for line in back.named("option redis-check") {
        route.fields.set("health.send", text("PING\r\n"));
        route.fields.set("health.expect", quote("+PONG"));
        sheet.carried(&line.said);
    }
    for line in back.named("option smtpchk") {
        let hello = match line.args() {
            [] => "HELO localhost".to_owned(),
            words => words.join(" "),
        };
        let (expect, send) = (|said: &str| Step::Expect(quote(said)), |said: &str| Step::Send(text(said)));
        let steps =
            [expect("220 "), send(&format!("{hello}\r\n")), expect("250"), send("QUIT\r\n"), expect("221 ")];
        route.fields.set("health.steps", list(&steps));
        sheet.carried(&line.said);
    }
    for line in back.named("option httpchk") {
        let words: Vec<&str> = line.args().iter().map(String::as_str).collect();
        let (method, uri, version) = match words.as_slice() {
            [] => ("OPTIONS", "/", "HTTP/1.0"),
            [uri] => ("OPTIONS", *uri, "HTTP/1.0"),
            [method, uri] => (*method, *uri, "HTTP/1.0"),
            [method, uri, rest @ ..] => (*method, *uri, rest.first().copied().unwrap_or("HTTP/1.0")),
        };
        let more = words.get(3..).unwrap_or_default().join(" ");
        let host = if version == "HTTP/1.1" && more.is_empty() {
            "Host: localhost\r\nConnection: close\r\n"
        } else {
            ""
        };
        let more = if more.is_empty() { more } else { format!("{}\r\n", more.trim_start_matches("\r\n")) };
        route.fields.set("health.send", text(&format!("{method} {uri} {version}\r\n{more}{host}\r\n")));
        route.fields.set("health.expect", text("regex:^HTTP/1\\.[01] [23]"));
        sheet.carried(&line.said);
    }
    for line in back.named("http-check") {
        match line.args().iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
            ["expect", "status", code] if code.bytes().all(|b| b.is_ascii_digit()) => {
                route.fields.set("health.expect", text(&format!("regex:^HTTP/1\\.[01] {code}")));
                sheet.carried(&line.said);
            }
            ["expect", "string", said] => {
                route.fields.set("health.expect", text(said));
                sheet.carried(&line.said);
            }
            _ => {
                route.note(&line.said, "write the request into `send`, and what its answer has into `expect`")
            }
        }
    }
}
