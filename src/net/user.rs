//! The user that the process runs as.

use std::fs;
use std::io;

use rustix::process::{Gid, Uid, geteuid};
use rustix::thread::{
    CapabilitySet, CapabilitySets, capabilities, capability_is_in_ambient_set,
    configure_capability_in_ambient_set, set_capabilities, set_keep_capabilities, set_no_new_privs,
    set_thread_groups, set_thread_res_gid, set_thread_res_uid,
};

use crate::model::User;

/// The rights of root that a process keeps when it becomes another user, beside that to ports below 1024.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KeptRights {
    /// CAP_NET_RAW: to send from addresses that are not this host's, and by another interface.
    pub net_raw: bool,
    /// CAP_NET_ADMIN: to mark packets.
    pub net_admin: bool,
}

impl KeptRights {
    fn capabilities(self) -> CapabilitySet {
        let mut kept = CapabilitySet::NET_BIND_SERVICE;
        kept.set(CapabilitySet::NET_RAW, self.net_raw);
        kept.set(CapabilitySet::NET_ADMIN, self.net_admin);
        kept
    }
}

/// A user of this system, with the groups of that user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    uid: u32,
    gid: u32,
    /// Beside `gid`: those of /etc/group that name the user.
    groups: Vec<u32>,
}

impl Account {
    /// Looks the user up in `/etc/passwd` and `/etc/group` only: a directory service could keep the server waiting. A number
    /// that is not there has the group of the same number. `None`: there is no user of that name.
    pub fn of(user: &User) -> Option<Account> {
        let read = |path| String::from_utf8_lossy(&fs::read(path).unwrap_or_default()).into_owned();
        Account::among(user, &read("/etc/passwd"), &read("/etc/group"))
    }

    fn among(user: &User, passwd: &str, group: &str) -> Option<Account> {
        // NAME:PASSWORD:UID:GID:... (passwd(5)).
        let mut known = passwd.lines().filter_map(|line| {
            let fields: Vec<&str> = line.split(':').collect();
            Some((*fields.first()?, fields.get(2)?.parse().ok()?, fields.get(3)?.parse().ok()?))
        });
        let found = known.find(|(name, uid, _)| match user {
            User::Name(wanted) => wanted == name,
            User::Number(wanted) => wanted == uid,
        });
        let (name, uid, gid): (&str, u32, u32) = match (found, user) {
            (Some(found), _) => found,
            (None, User::Number(number)) => {
                return Some(Account { uid: *number, gid: *number, groups: vec![] });
            }
            (None, User::Name(_)) => return None,
        };
        // NAME:PASSWORD:GID:MEMBER,MEMBER (group(5)).
        let groups = group.lines().filter_map(|line| {
            let mut fields = line.split(':').skip(2);
            let gid = fields.next()?.parse().ok()?;
            fields.next()?.split(',').any(|member| member == name).then_some(gid)
        });
        Some(Account { uid, gid, groups: groups.collect() })
    }

    /// Whether the process runs as this user.
    pub fn is_ours(&self) -> bool {
        geteuid().as_raw() == self.uid
    }

    /// Makes root become this user, for good, and keeps of root's rights that to ports below 1024, and these. Only before the
    /// first thread starts: on Linux each thread has a user and rights of its own.
    pub fn become_it(&self, rights: KeptRights) -> io::Result<()> {
        if fs::read_dir("/proc/self/task").is_ok_and(|threads| threads.count() > 1) {
            return Err(io::Error::other("threads run already"));
        }
        let kept = capabilities(None)?.permitted & rights.capabilities();
        let (uid, gid) = (Uid::from_raw(self.uid), Gid::from_raw(self.gid));
        let groups: Vec<Gid> = self.groups.iter().copied().map(Gid::from_raw).collect();
        set_keep_capabilities(true)?;
        set_thread_groups(&groups)?;
        set_thread_res_gid(gid, gid, gid)?;
        set_thread_res_uid(uid, uid, uid)?;
        set_capabilities(
            None,
            CapabilitySets { effective: kept, permitted: kept, inheritable: CapabilitySet::empty() },
        )?;
        Ok(set_keep_capabilities(false)?)
    }
}

/// Starts a program that gets the capabilities of this process (a right to ports below 1024), which others than root lose with
/// execve(2): they are ambient (capabilities(7)) on this thread as long as `start` runs. Where the system denies that, the
/// program does without, and says what is missing.
pub fn passing_rights_on<T>(start: impl FnOnce() -> T) -> T {
    let Ok(before) = capabilities(None) else { return start() };
    let lacks = |right: &CapabilitySet| capability_is_in_ambient_set(*right).is_ok_and(|is| !is);
    let raised: Vec<CapabilitySet> = match is_root() {
        true => Vec::new(),
        false => before.permitted.iter().filter(lacks).collect(),
    };
    if raised.is_empty() {
        return start();
    }
    let inheritable = before.inheritable | before.permitted;
    _ = set_capabilities(None, CapabilitySets { inheritable, ..before });
    let each = |on| raised.iter().for_each(|right| _ = configure_capability_in_ambient_set(*right, on));
    each(true);
    let started = start();
    each(false);
    _ = set_capabilities(None, before);
    started
}

/// Whether the process runs as root.
pub fn is_root() -> bool {
    geteuid().is_root()
}

/// No program that this process may ever start has more rights than it has itself. Before the first thread.
pub fn forgo_new_rights() {
    // Linux has it since 3.5.
    _ = set_no_new_privs(true);
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\nbroken\nwww:x:33:34::/:/bin/false\n";
    const GROUP: &str = "root:x:0:\nkeys:x:50:other,www\nwwww:x:51:wwww\nlast:x:52:www\nshort:x\n";

    #[test]
    fn an_account_has_its_number_its_group_and_the_groups_that_name_it() {
        let of = |user: &str| Account::among(&user.parse().unwrap(), PASSWD, GROUP);
        let www = Account { uid: 33, gid: 34, groups: vec![50, 52] };
        assert_eq!(of("www"), Some(www.clone()));
        assert_eq!(of("33"), Some(www));
        assert_eq!(of("77"), Some(Account { uid: 77, gid: 77, groups: vec![] }));
        assert_eq!(of("nobody-here"), None);
        assert_eq!(of("broken"), None);
    }
}
