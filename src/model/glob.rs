//! The patterns of `include`: which files belong to the main one.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::path::{Component, Path, PathBuf};
use std::str::FromStr;

use super::fault::Fault;

/// A pattern of paths. In each part of it `*` stands for any characters, also none, and `?` for one. A name that begins with a dot
/// needs a pattern that does.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Glob(PathBuf);

const CURE: &str = "write a path, or a pattern: include = [\"routes.d/*.toml\"]";

impl FromStr for Glob {
    type Err = Fault;

    fn from_str(text: &str) -> Result<Glob, Fault> {
        let fault = |message: String, help: &str| Err(Fault::new(message, help));
        if text.trim().is_empty() {
            return fault("the pattern is empty".to_owned(), CURE);
        }
        if text.contains(char::is_control) {
            return fault("the pattern has a control character in it".to_owned(), CURE);
        }
        if text.contains("${") || text.contains("$(") || text.contains("{{") {
            let help = "write the path itself: the file is no template";
            return fault(format!("nothing is filled in here: the path would be `{text}` itself"), help);
        }
        if text.starts_with('~') {
            return fault(
                format!("`{text}` begins with `~`, which only a shell knows"),
                "write the path from the root",
            );
        }
        if text.contains("**") {
            let help = "name each folder: \"routes.d/*.toml\", \"routes.d/*/*.toml\"";
            return fault(format!("`{text}` has `**`, and a pattern goes into no folder by itself"), help);
        }
        if text.contains(['[', ']', '{', '}', '\\']) {
            return fault(format!("`{text}` has more than `*` and `?` in it"), CURE);
        }
        if text.ends_with('/')
            || matches!(Path::new(text).components().next_back(), Some(Component::ParentDir))
        {
            let help = format!("write which of its files: \"{}/*.toml\"", text.trim_end_matches('/'));
            return Err(Fault::new(format!("`{text}` is a folder"), help));
        }
        Ok(Glob(Path::new(text).components().filter(|part| *part != Component::CurDir).collect()))
    }
}

impl Glob {
    /// Its parts, from the first folder to the file. An absolute one begins with `/`.
    pub fn parts(&self) -> Vec<OsString> {
        self.0.components().map(|part| part.as_os_str().to_owned()).collect()
    }

    /// Whether it means the file at this path, which begins where the pattern does.
    pub fn matches(&self, path: &Path) -> bool {
        let mut names = path.components();
        let all = self
            .0
            .components()
            .all(|part| names.next().is_some_and(|name| fits(part.as_os_str(), name.as_os_str())));
        all && names.next().is_none()
    }
}

impl fmt::Display for Glob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0.display())
    }
}

/// Whether a part of a pattern stands for more than one name.
pub fn is_pattern(part: &OsStr) -> bool {
    part.to_string_lossy().contains(['*', '?'])
}

/// Whether a part of a pattern stands for this name.
pub fn fits(part: &OsStr, name: &OsStr) -> bool {
    if part == name {
        return true;
    }
    let (part, name) = (part.to_string_lossy(), name.to_string_lossy());
    if name.starts_with('.') && !part.starts_with('.') {
        return false;
    }
    let (part, name): (Vec<char>, Vec<char>) = (part.chars().collect(), name.chars().collect());
    // The last `*`, and up to where of the name it stands for.
    let (mut star, mut at, mut here) = (None, 0, 0);
    while let Some(c) = name.get(here) {
        match (part.get(at), star) {
            (Some('*'), _) => {
                star = Some((at, here));
                at += 1;
            }
            (Some(wanted), _) if *wanted == '?' || wanted == c => (at, here) = (at + 1, here + 1),
            (_, Some((of, to))) => {
                star = Some((of, to + 1));
                (at, here) = (of + 1, to + 1);
            }
            _ => return false,
        }
    }
    part[at..].iter().all(|c| *c == '*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_means_names_as_a_shell_does() {
        for (pattern, yes, no) in [
            (
                "routes.d/*.toml",
                &["routes.d/a.toml", "routes.d/a.b.toml"][..],
                &["a.toml", "routes.d/a", "routes.d/x/a.toml", "routes.d/.a.toml", "routes.d/a.toml~"][..],
            ),
            ("./a?.toml", &["ab.toml", "aé.toml"], &["a.toml", "abc.toml"]),
            ("*/routes.toml", &["x/routes.toml"], &[".git/routes.toml", "routes.toml"]),
            ("/etc/p/*-*", &["/etc/p/a-b", "/etc/p/-", "/etc/p/a-b-c"], &["etc/p/a-b", "/etc/p/ab"]),
            ("..data/*", &["..data/x"], &["data/x"]),
            ("one.toml", &["one.toml"], &["two.toml"]),
        ] {
            let glob: Glob = pattern.parse().unwrap();
            assert!(yes.iter().all(|path| glob.matches(Path::new(path))), "{pattern}");
            assert!(!no.iter().any(|path| glob.matches(Path::new(path))), "{pattern}");
        }
    }

    #[test]
    fn what_is_no_pattern_has_a_cure() {
        for (text, said) in [
            ("", "is empty"),
            (" ", "is empty"),
            ("routes.d/", "is a folder"),
            ("..", "is a folder"),
            ("routes.d/**/*.toml", "`**`"),
            ("routes.d/[ab].toml", "more than `*` and `?`"),
            ("~/routes.toml", "only a shell"),
            ("${DIR}/*.toml", "nothing is filled in"),
            ("$(pwd)/*.toml", "nothing is filled in"),
            ("{{ dir }}/*.toml", "nothing is filled in"),
            ("a\nb", "control character"),
        ] {
            let fault = text.parse::<Glob>().unwrap_err();
            assert!(fault.message.contains(said) && !fault.help.is_empty(), "{text}: {fault:?}");
        }
    }

    #[test]
    fn a_pattern_is_taken_apart_and_shown() {
        let glob: Glob = "./routes.d/./*.toml".parse().unwrap();
        assert_eq!(
            (glob.parts(), glob.to_string().as_str()),
            (vec!["routes.d".into(), "*.toml".into()], "routes.d/*.toml")
        );
        let root: Glob = "/etc/a.toml".parse().unwrap();
        assert_eq!(root.parts(), ["/", "etc", "a.toml"].map(OsString::from));
        let are = ["a", "*", "a?", "a*b", ""].map(|part| is_pattern(OsStr::new(part)));
        assert_eq!(are, [false, true, true, true, false]);
    }

    /// A `*` that has taken too little takes more, and so does the one before the last.
    #[test]
    fn a_star_takes_as_much_as_is_needed() {
        for (part, yes, no) in [
            ("a*b", &["ab", "abb", "aXb", "abXb", "aabab"][..], &["a", "abX", "ba"][..]),
            ("*ab", &["ab", "aab", "abab", "aXab"], &["a", "ba", "abX"]),
            ("*a*b", &["ab", "aab", "aXb", "XaYbZb", "abab"], &["b", "ba", "bXa"]),
            ("**", &["", "a"], &[]),
            ("a?c*", &["abc", "aXcYZ"], &["ac", "abd"]),
        ] {
            let fit = |name: &&&str| fits(OsStr::new(part), OsStr::new(**name));
            assert_eq!(
                (yes.iter().filter(fit).count(), no.iter().filter(fit).count()),
                (yes.len(), 0),
                "{part}"
            );
        }
    }
}
