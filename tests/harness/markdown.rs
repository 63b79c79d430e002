//! Reads the blocks of a Markdown text.

use std::path::PathBuf;
use std::process::Command;

use super::can;

/// A fenced block, and the comment before it.
#[derive(Debug)]
pub struct Block {
    pub language: String,
    pub text: String,
    /// The paragraph before it.
    before: String,
    comment: String,
}

impl Block {
    /// The value of `<!--KEY: VALUE-->`; empty for `<!--KEY-->`.
    pub fn note(&self, key: &str) -> Option<&str> {
        let inside = self.comment.strip_prefix("<!--")?.strip_suffix("-->")?.trim();
        let rest = inside.strip_prefix(key)?;
        Some(rest.strip_prefix(':').unwrap_or(rest).trim())
    }

    /// Whether it follows the block before it without a word.
    pub fn goes_on(&self) -> bool {
        self.before.is_empty()
    }

    /// The terminal that the text before it asks for, from 0: the first, unless it says "in a second terminal".
    pub fn terminal(&self) -> usize {
        let says = |word: &str| self.before.contains(&format!("{word} terminal"));
        [says("third"), says("second")].iter().position(|says| *says).map_or(0, |at| 2 - at)
    }
}

pub fn blocks(markdown: &str) -> Vec<Block> {
    let (mut found, mut open) = (Vec::new(), None::<Block>);
    let (mut before, mut comment, mut gap) = (String::new(), String::new(), false);
    for line in markdown.lines() {
        match (&mut open, line.strip_prefix("```")) {
            (None, Some(language)) => {
                let (language, text) = (language.to_owned(), String::new());
                let (before, comment) = (std::mem::take(&mut before), std::mem::take(&mut comment));
                open = Some(Block { language, text, before, comment });
            }
            (Some(_), Some(_)) => found.extend(open.take()),
            (Some(block), None) => {
                block.text += &format!(
                    "{line}
"
                )
            }
            (None, None) if line.is_empty() => gap = true,
            (None, None) if line.starts_with("<!--") => comment = line.to_owned(),
            (None, None) => {
                if std::mem::take(&mut gap) {
                    before.clear();
                }
                before += &format!("{line} ");
                comment.clear();
            }
        }
    }
    found
}

/// Whether this process has a network of its own, where the ports of the README are free. If not, runs the test named
/// so again in one, and fails as it does.
pub fn in_own_network(test: &str) -> bool {
    if std::env::var_os("PORTWAY_OWN_NETWORK").is_some() {
        return true;
    }
    let again = format!("ip link set lo up && exec '{}' --exact {test} --nocapture", me().display());
    let root = rustix::process::geteuid().is_root();
    let unshare = if root { &["--net"][..] } else { &["--net", "--map-root-user"][..] };
    let status = Command::new("unshare")
        .args(unshare)
        .args(["sh", "-c", &again])
        .env("PORTWAY_OWN_NETWORK", "1")
        .status();
    match status {
        Ok(status) if status.success() => {}
        failed => {
            let allowed =
                Command::new("unshare").args(unshare).args(["ip", "link", "set", "lo", "up"]).status();
            let allowed = allowed.is_ok_and(|status| status.success());
            assert!(!allowed, "{test} in a network of its own: {failed:?}");
            can("the right to make a network namespace (unshare, ip)", false);
        }
    }
    false
}

fn me() -> PathBuf {
    std::env::current_exe().unwrap()
}
