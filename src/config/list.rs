//! A list of networks in a file of its own.

use std::borrow::Cow;

use super::document;
use super::placed::Placed;
use super::report::Report;
use crate::model::cidr::read_list;
use crate::model::{Fault, NetworkSet};

/// Reads a list of networks and ranges: one a line; `#` or `;` begins a comment. `name` is what the report calls it. Of a
/// file that is something else the report shows nothing: it may be a key.
pub fn network_list(name: &str, bytes: &[u8]) -> Result<NetworkSet, Report> {
    let text = plain_lines(document::decode(name, bytes)?);
    read_list(&text).map_err(|bad| {
        if !text.lines().any(is_like_a_network) {
            let cure =
                "write networks (10.0.0.0/8, 2001:db8::/32) or addresses, one a line; is it the right file?";
            let fault = Fault::new("the file is no list: none of its lines is a network or an address", cure);
            return Report::about_file(name, fault);
        }
        // A line has no quotes, other than a text of the routes' file.
        let unquoted = |fault: Fault| Fault::new(fault.message, fault.help.replace('"', ""));
        let placed = bad.into_iter().map(|line| Placed::new(line.at, unquoted(line.error)));
        Report::new(name, text.as_ref().into(), placed.collect())
    })
}

/// The text of the same length, with LF where CR alone ends a line, and without the byte-order marks of files that were
/// put together: a comment must not hide what stands behind it.
fn plain_lines(text: &str) -> Cow<'_, str> {
    const MARK: char = '\u{feff}';
    if !text.contains(['\r', MARK]) {
        return Cow::Borrowed(text);
    }
    let mut plain = String::with_capacity(text.len());
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\r' if chars.peek() != Some(&'\n') => plain.push('\n'),
            MARK => plain.push_str("   "),
            c => plain.push(c),
        }
    }
    Cow::Owned(plain)
}

/// Whether a line is written with what networks are written with, right or wrong.
fn is_like_a_network(line: &str) -> bool {
    let word = line.split(['#', ';']).next().unwrap_or_default().trim();
    let legal = |c: char| c.is_ascii_hexdigit() || ".:/*-[]".contains(c);
    word.contains(['.', ':']) && word.chars().all(legal)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn s9_of_a_file_that_is_no_list_nothing_is_shown() {
        let report = |text: &str| network_list("l", text.as_bytes()).unwrap_err().render(false);
        for text in [
            "-----BEGIN PRIVATE KEY-----\nMIIEvQIBADANBgkqhkiG9w0BAQEFAASC+/=\n-----END PRIVATE KEY-----\n",
            "root:$6$salt$hash:19000:0:99999:7:::\ndaemon:*:19000:0:99999:7:::\n",
            "0123456789abcdef0123456789abcdef\n",
            "s3cret-token\n",
        ] {
            let shown = report(text);
            assert!(shown.contains("none of its lines is a network"), "{shown}");
            let words = text.split(['\n', ' ', ':', '-']).filter(|word| word.len() > 3);
            assert!(words.clone().all(|word| !shown.contains(word)), "{shown}");
        }
        for (text, shown) in [("10.0.0.0/33\n", "1 | 10.0.0.0/33"), ("10.0.0.1\nnonsense\n", "2 | nonsense")]
        {
            assert!(report(text).contains(shown), "{}", report(text));
        }
    }

    #[test]
    fn a_comment_hides_nothing_behind_a_bare_return() {
        let found = network_list("l", b"10.0.0.0/8 # ours\r192.0.2.0/24\r\n# more\r2001:db8::/32").unwrap();
        for (ip, has) in
            [("10.1.2.3", true), ("192.0.2.9", true), ("2001:db8::1", true), ("192.0.3.1", false)]
        {
            assert_eq!(found.contains(ip.parse().unwrap()), has, "{ip}");
        }
    }
}
