//! Which clients a route admits, by their address, and where they may go.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::cidr::NetworkSet;
use super::network::Network;

/// The keys `allow`, `deny` and `original_destination`. `Default`: everybody is admitted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AccessRules {
    /// Which clients are admitted. `None`: all.
    pub allow: Option<NetworkList>,
    /// Which clients are refused, even if `allow` has them. `None`: none.
    pub deny: Option<NetworkList>,
    /// Where clients may go that go where they wanted to. `None`: nowhere.
    pub destinations: Option<NetworkList>,
}

impl AccessRules {
    /// The files that the lists name.
    pub fn files(&self) -> impl Iterator<Item = &PathBuf> {
        let lists = self.allow.iter().chain(&self.deny).chain(&self.destinations);
        lists.filter_map(|list| match list {
            NetworkList::File(path) => Some(path),
            NetworkList::Here(_) => None,
        })
    }

    /// Makes relative paths begin at this folder.
    pub fn begin_at(&mut self, folder: &Path) {
        for list in self.allow.iter_mut().chain(&mut self.deny).chain(&mut self.destinations) {
            if let NetworkList::File(path) = list {
                *path = folder.join(&*path);
            }
        }
    }
}

/// The value of `allow`, `deny` or `original_destination`: a list of networks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NetworkList {
    /// Written in the routes' file itself.
    Here(Arc<Networks>),
    /// In a file of its own, which is watched. A relative path starts at the folder of the routes' file.
    File(PathBuf),
}

/// Networks, both as written and as a set to search.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Networks {
    written: Box<[Network]>,
    set: NetworkSet,
}

impl Networks {
    /// The set to search for an address.
    pub fn set(&self) -> &NetworkSet {
        &self.set
    }
}

impl FromIterator<Network> for Networks {
    fn from_iter<I: IntoIterator<Item = Network>>(networks: I) -> Self {
        let written: Box<[Network]> = networks.into_iter().collect();
        Networks { set: written.iter().copied().collect(), written }
    }
}

/// Shows the first few networks, and how many more there are.
impl fmt::Display for Networks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SHOWN: usize = 4;
        for (index, network) in self.written.iter().take(SHOWN).enumerate() {
            write!(f, "{}{network}", if index == 0 { "" } else { ", " })?;
        }
        match self.written.len().checked_sub(SHOWN) {
            Some(more @ 1..) => write!(f, " and {more} more"),
            _ => Ok(()),
        }
    }
}

impl fmt::Display for NetworkList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NetworkList::Here(networks) => write!(f, "{networks}"),
            NetworkList::File(path) => write!(f, "those of {}", path.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn here(networks: &[&str]) -> NetworkList {
        NetworkList::Here(Arc::new(networks.iter().map(|text| text.parse::<Network>().unwrap()).collect()))
    }

    #[test]
    fn a_list_shows_its_first_four_networks() {
        for (networks, shown) in [
            (&["10.0.0.0/8"][..], "10.0.0.0/8"),
            (&["10.0.0.0/8", "::1"], "10.0.0.0/8, ::1/128"),
            (&["10.0.0.1", "10.0.0.2", "10.0.0.3", "::1"], "10.0.0.1/32, 10.0.0.2/32, 10.0.0.3/32, ::1/128"),
            (
                &["10.0.0.1", "10.0.0.2", "10.0.0.3", "::1", "::2"],
                "10.0.0.1/32, 10.0.0.2/32, 10.0.0.3/32, ::1/128 and 1 more",
            ),
        ] {
            assert_eq!(here(networks).to_string(), shown);
        }
        assert_eq!(NetworkList::File("/a".into()).to_string(), "those of /a");
        let NetworkList::Here(networks) = here(&["10.0.0.0/8"]) else { unreachable!() };
        assert!(networks.set().contains("10.1.2.3".parse().unwrap()));
        assert!(!networks.set().contains("11.1.2.3".parse().unwrap()));
    }

    #[test]
    fn the_files_of_each_list_begin_at_the_folder() {
        let file = |path: &str| Some(NetworkList::File(path.into()));
        let mut rules = AccessRules { allow: file("a"), deny: file("/b"), destinations: file("c/d") };
        let files =
            |rules: &AccessRules| rules.files().map(|path| path.display().to_string()).collect::<Vec<_>>();
        assert_eq!(files(&rules), ["a", "/b", "c/d"]);
        rules.begin_at(Path::new("/etc"));
        assert_eq!(files(&rules), ["/etc/a", "/b", "/etc/c/d"]);
        let mut rules = AccessRules { allow: Some(here(&["::1"])), deny: None, destinations: file("x") };
        rules.begin_at(Path::new("/etc"));
        assert_eq!(files(&rules), ["/etc/x"]);
        assert!(files(&AccessRules::default()).is_empty());
    }
}
