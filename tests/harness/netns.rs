//! Network namespaces: names, routes and cables of the test's own. Need root.

use std::fs::{self, File};
use std::io::Write;
use std::os::fd::AsFd;
use std::process::{self, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

static NEXT: AtomicU32 = AtomicU32::new(0);

/// A network namespace, with its loopback up. Gone when dropped.
pub struct Netns {
    name: String,
}

impl Netns {
    /// A new one.
    pub fn new() -> Self {
        let name = format!("portway-{}-{}", process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        run(&format!("netns add {name}"));
        let netns = Netns { name };
        netns.ip("link set lo up");
        netns
    }

    /// Two, joined by a cable: 10.99.0.1 (`near`) and 10.99.0.2 (`far`), each on an interface `wire`.
    pub fn pair() -> (Self, Self) {
        let (near, far) = (Netns::new(), Netns::new());
        near.ip(&format!("link add wire type veth peer name wire netns {}", far.name));
        for (netns, host) in [(&near, 1), (&far, 2)] {
            netns.ip(&format!("addr add 10.99.0.{host}/24 dev wire"));
            netns.ip("link set wire up");
        }
        (near, far)
    }

    /// Joins it to another by one more cable: an interface of this name here, and `wire` there.
    #[allow(dead_code, reason = "of the tests of transparent routes")]
    pub fn cable(&self, interface: &str, other: &Netns) {
        self.ip(&format!("link add {interface} type veth peer name wire netns {}", other.name));
        self.ip(&format!("link set {interface} up"));
        other.ip("link set wire up");
    }

    /// Adds to the rules of its firewall, in the words of `nft`.
    #[allow(dead_code, reason = "of the tests of sources and transparent routes")]
    #[track_caller]
    pub fn nft(&self, rules: &str) {
        let mut nft = self.command("nft").args(["-f", "-"]).stdin(Stdio::piped()).spawn().unwrap();
        nft.stdin.take().unwrap().write_all(rules.as_bytes()).unwrap();
        assert!(nft.wait().unwrap().success(), "nft: {rules}");
    }

    /// `ip` inside of it.
    #[track_caller]
    pub fn ip(&self, args: &str) {
        run(&format!("-n {} {args}", self.name));
    }

    /// The names that programs inside of it know.
    pub fn hosts(&self, text: &str) {
        let dir = format!("/etc/netns/{}", self.name);
        fs::create_dir_all(&dir).unwrap();
        fs::write(format!("{dir}/hosts"), text).unwrap();
    }

    /// The `resolv.conf` of programs that are started inside of it from now on.
    #[allow(dead_code, reason = "of the tests of names")]
    pub fn resolver(&self, text: &str) {
        let dir = format!("/etc/netns/{}", self.name);
        fs::create_dir_all(&dir).unwrap();
        fs::write(format!("{dir}/resolv.conf"), text).unwrap();
    }

    /// A program inside of it.
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.name, program]);
        command
    }

    /// Runs a closure inside of it. The sockets that it makes stay there.
    #[track_caller]
    pub fn enter<T: Send>(&self, inside: impl FnOnce() -> T + Send) -> T {
        let handle = File::open(format!("/run/netns/{}", self.name)).unwrap();
        thread::scope(|scope| {
            let inside = || {
                move_into_link_name_space(handle.as_fd(), Some(LinkNameSpaceType::Network)).unwrap();
                inside()
            };
            scope.spawn(inside).join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    /// Sets a kernel parameter of it, below `net/`.
    pub fn sysctl(&self, key: &str, value: &str) {
        self.enter(|| fs::write(format!("/proc/sys/net/{key}"), value).unwrap());
    }
}

impl Drop for Netns {
    fn drop(&mut self) {
        let _ = Command::new("ip").args(["netns", "del", &self.name]).status();
        let _ = fs::remove_dir_all(format!("/etc/netns/{}", self.name));
    }
}

#[track_caller]
fn run(args: &str) {
    let output = Command::new("ip").args(args.split(' ')).output().expect("ip, of iproute2");
    assert!(output.status.success(), "ip {args}: {}", String::from_utf8_lossy(&output.stderr));
}
