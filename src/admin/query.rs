//! Reads query strings, and encodes values for them.

use super::api::Problem;
use super::rights::Refusal;

/// The keys of a query with their values, decoded.
pub(super) fn read(query: &str) -> Result<Vec<(String, String)>, Refusal> {
    pairs(query).ok_or_else(broken)
}

/// The answer to a query that cannot be read.
pub(super) fn broken() -> Refusal {
    Refusal::wrong(Problem::new("the query is broken", "see /v1/openapi.json"))
}

/// The answer to a query with a key that the call does not have.
pub(super) fn unknown(key: &str, help: &str) -> Refusal {
    Refusal::wrong(Problem::new(format!("`{key}` is not known here"), help))
}

/// The keys of a query with their values, decoded. `None`: an escape is broken.
pub(super) fn pairs(query: &str) -> Option<Vec<(String, String)>> {
    let parts = query.split('&').filter(|part| !part.is_empty());
    parts
        .map(|part| {
            let (key, value) = part.split_once('=').unwrap_or((part, ""));
            Some((decoded(key)?, decoded(value)?))
        })
        .collect()
}

fn decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((byte, after)) = rest.split_first() {
        rest = after;
        match byte {
            b'+' => bytes.push(b' '),
            b'%' => {
                let digits = std::str::from_utf8(rest.get(..2)?).ok()?;
                bytes.push(u8::from_str_radix(digits, 16).ok()?);
                rest = &rest[2..];
            }
            byte => bytes.push(*byte),
        }
    }
    String::from_utf8(bytes).ok()
}

/// Encodes a value for a query.
pub fn encoded(value: &str) -> String {
    let mut text = String::with_capacity(value.len());
    for byte in value.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => text.push(byte.into()),
            byte => text.push_str(&format!("%{byte:02X}")),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_is_read_as_it_was_written() {
        let name = "grün & 100% [::]:80/udp";
        let read = pairs(&format!("route={}&&tcp=true&flag", encoded(name))).unwrap();
        let read: Vec<(&str, &str)> = read.iter().map(|(key, value)| (&**key, &**value)).collect();
        assert_eq!(read, [("route", name), ("tcp", "true"), ("flag", "")]);
        for broken in ["a=%", "a=%4", "a=%zz", "a=%ff"] {
            assert_eq!(pairs(broken), None, "{broken}");
        }
    }
}
