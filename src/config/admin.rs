//! `[admin]`: from what was typed to what it means; and how its secrets stay out of every picture.

use super::file;
use super::report::Placed;
use super::route::{At, Draft, address};
use super::section::{self, Place};
use crate::model::{AdminSettings, Fault, ListenSpec, Protocol, Secret};

/// A shorter secret could be guessed.
const SHORTEST: usize = 16;

/// Reads the section. With the place of its `listen`.
pub(super) fn read(place: Place<'_>, faults: &mut Vec<Placed>) -> Option<(AdminSettings, At<ListenSpec>)> {
    section::unknown_keys(place, faults);
    let typed: file::Admin = section::read(place, place.section, faults);
    let token = secret(place, "token", typed.token, faults);
    let read_token = secret(place, "read_token", typed.read_token, faults);
    if !place.table.contains_key("listen") && !section::is_misspelt(place, "listen") {
        let fault = Fault::new(
            "`[admin]` has no `listen`",
            "add a line like this: listen = \"unix:/run/portway/admin.sock\"",
        );
        faults.push(Placed::new(place.header(), fault));
    }
    let listen: At<ListenSpec> =
        address(place, "listen", &typed.listen?, place.table.get("listen")?, faults)?;
    if listen.value.count() != 1 {
        let fault = Fault::new("the admin endpoint has one port", "write one port instead of a range");
        faults.push(Placed::new(listen.at, fault));
        return None;
    }
    let settings = AdminSettings { listen: listen.value.at(0), token, read_token };
    if !settings.is_local() && !place.table.contains_key("token") {
        let fault = Fault::new(
            "who can reach this address could read and change everything",
            "add token = \"...\", or listen on \"unix:/run/portway/admin.sock\" or on 127.0.0.1",
        );
        faults.push(Placed::new(listen.at, fault));
        return None;
    }
    Some((settings, listen))
}

fn secret(
    place: Place<'_>,
    key: &str,
    typed: Option<file::Text>,
    faults: &mut Vec<Placed>,
) -> Option<Secret> {
    let value = place.table.get(key)?;
    // Its message would quote it.
    let text = match value.get_ref().as_str() {
        Some(_) => typed?.0,
        None => {
            faults.push(Placed::new(
                value.span(),
                Fault::new(format!("`{key}` takes text"), "put it in quotes"),
            ));
            return None;
        }
    };
    let fault = if text.chars().count() < SHORTEST {
        format!("the {key} is shorter than {SHORTEST} characters: it could be guessed")
    } else if !text.chars().all(|c| c.is_ascii_graphic()) {
        format!("the {key} has a character that an HTTP header cannot carry")
    } else {
        return Some(Secret::new(text));
    };
    let help = "write letters and digits, as `openssl rand -hex 16` gives them";
    faults.push(Placed::new(value.span(), Fault::new(fault, help)));
    None
}

/// A route and the endpoint cannot listen at one address.
pub(super) fn overlaps(
    (admin, place): (&AdminSettings, &At<ListenSpec>),
    drafts: &[Draft],
    faults: &mut Vec<Placed>,
) {
    let port = admin.listen.port();
    for draft in drafts.iter().filter(|draft| draft.policy.protocol == Protocol::Tcp) {
        for listen in &draft.listen {
            let ports = listen.value.ports();
            let at = |port: u16| ports.map_or(0, |ports| port.saturating_sub(ports.first()));
            let offset = port.map_or(0, at);
            if offset >= listen.value.count() || !listen.value.at(offset).overlaps(&admin.listen) {
                continue;
            }
            let fault = Fault::new(
                format!("the admin endpoint and a route both listen on {}", admin.listen),
                "give one of them another address",
            );
            faults.push(Placed::new(place.at.clone(), fault).also(listen.at.clone(), "the route"));
        }
    }
}

/// The text as a picture may show it: with stars where a secret stands, and of the same length. `None`: it has none.
pub(super) fn masked(text: &str) -> Option<String> {
    let mut bytes = text.as_bytes().to_vec();
    let mut at = 0;
    let (mut inside, mut any) = (false, false);
    for line in text.split_inclusive('\n') {
        let trimmed = line.trim_start();
        if trimmed.starts_with('[') {
            inside = trimmed.trim_start_matches(['[', ' ']).starts_with("admin");
        }
        let inline = trimmed.starts_with("admin");
        // What else stands there in quotes is taken for a secret: a misspelt key has one too.
        if (inside || inline) && !trimmed.starts_with("listen") {
            let from = if inline { secret_of_inline(line) } else { line.find('=').map(|equals| equals + 1) };
            for byte in &mut bytes[at + from.unwrap_or(line.len())..at + line.len()] {
                if !matches!(byte, b'\n' | b'\r' | b' ' | b'"' | b'\'' | b'{' | b'}' | b',' | b'=') {
                    (*byte, any) = (b'*', true);
                }
            }
        }
        at += line.len();
    }
    // Stars and what was whole characters before.
    any.then(|| String::from_utf8(bytes).unwrap_or_default())
}

/// Where the first key that may hold a secret begins in a line like `admin = { listen = "...", token = "..." }`.
fn secret_of_inline(line: &str) -> Option<usize> {
    line.find("tok").or_else(|| line.find(',')).or_else(|| line.find('='))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_masked_and_nothing_else_is() {
        let text = "[log]\nlevel = \"info\"\n[admin]\nlisten = \"127.0.0.1:9180\"\ntoken = \"s3cret-s3cret-s3cret\"\n\
                    tokn = 'ünicode' # comment\n[[route]]\nlisten = \"80\"\n";
        let masked = masked(text).unwrap();
        assert_eq!(masked.len(), text.len());
        assert!(!masked.contains("s3cret") && !masked.contains("nicode"), "{masked}");
        assert!(masked.contains("127.0.0.1:9180") && masked.contains("level = \"info\""), "{masked}");
        assert!(masked.ends_with("[[route]]\nlisten = \"80\"\n"));
        assert_eq!(super::masked("[[route]]\nlisten = \"80\"\n"), None);
        let inline =
            super::masked("admin = { listen = \"127.0.0.1:1\", token = \"s3cret-s3cret-s3cret\" }\n");
        assert!(!inline.unwrap().contains("s3cret"));
    }
}
