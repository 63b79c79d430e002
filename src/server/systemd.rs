//! systemd's notify protocol (sd_notify(3)): reports to the service manager what the process does.
//!
//! Own code: the crate for it opens a socket for each message. That fails exactly when descriptors have run out, and
//! then a watchdog kills a server that only needs a moment. The crate does not know abstract sockets either.

use std::fmt;
use std::future::pending;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};
use tokio::time::{Interval, MissedTickBehavior, interval};
use tracing::warn;

/// How long a manager that hangs may hold up a message.
const SEND_TIMEOUT: Duration = Duration::from_millis(500);

/// The service manager. If there is none, every call does nothing.
#[derive(Debug)]
pub(super) struct ServiceManager {
    socket: Option<UnixDatagram>,
    watchdog: Option<Interval>,
}

impl ServiceManager {
    /// Finds the manager by `NOTIFY_SOCKET`, `WATCHDOG_USEC` and `WATCHDOG_PID`. Needs a runtime.
    pub fn from_env() -> ServiceManager {
        let socket = std::env::var_os("NOTIFY_SOCKET").and_then(|address| {
            connect(address.as_bytes())
                .inspect_err(
                    |error| warn!(%error, address = %address.display(), "NOTIFY_SOCKET cannot be used"),
                )
                .ok()
        });
        let watchdog = watchdog_period(|name| std::env::var(name).ok(), std::process::id());
        let watchdog = watchdog.filter(|_| socket.is_some()).map(|period| {
            let mut ticks = interval(period / 2);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            ticks
        });
        ServiceManager { socket, watchdog }
    }

    /// Reports that the start, or a reload, is done.
    pub fn ready(&self, status: impl fmt::Display) {
        self.tell(format_args!("READY=1\nMAINPID={}\nSTATUS={status}", std::process::id()));
    }

    /// Reports that a reload begins. [`ServiceManager::ready`] ends it, whatever its outcome.
    pub fn reloading(&self) {
        let now = clock_gettime(ClockId::Monotonic);
        let micros = i128::from(now.tv_sec) * 1_000_000 + i128::from(now.tv_nsec / 1_000);
        self.tell(format_args!("RELOADING=1\nMONOTONIC_USEC={micros}\nSTATUS=reloading"));
    }

    /// Reports that the process is stopping, and may take `patience`: extends a shorter `TimeoutStopSec=`.
    pub fn stopping(&self, patience: Duration, status: impl fmt::Display) {
        let margin = Duration::from_secs(5);
        let micros = (patience + margin).as_micros();
        self.tell(format_args!("STOPPING=1\nEXTEND_TIMEOUT_USEC={micros}\nSTATUS={status}"));
    }

    /// Reports that another process is the main one from now on, and says nothing more: the other one does.
    pub fn hand_over(&mut self, pid: u32) {
        self.tell(format_args!("MAINPID={pid}"));
        (self.socket, self.watchdog) = (None, None);
    }

    /// Tells the watchdog, twice in its period, that the caller's loop is alive, and resolves. Belongs into the
    /// `select!` of that loop. Without a watchdog it never resolves and costs nothing.
    pub async fn watched(&mut self) {
        let Some(ticks) = &mut self.watchdog else { return pending().await };
        ticks.tick().await;
        self.tell("WATCHDOG=1");
    }

    fn tell(&self, message: impl fmt::Display) {
        let Some(socket) = &self.socket else { return };
        if let Err(error) = socket.send(message.to_string().as_bytes()) {
            warn!(%error, "cannot notify the service manager");
        }
    }
}

fn connect(address: &[u8]) -> io::Result<UnixDatagram> {
    let socket = UnixDatagram::unbound()?;
    socket.set_write_timeout(Some(SEND_TIMEOUT))?;
    let address = match address {
        [b'@', name @ ..] => SocketAddr::from_abstract_name(name)?,
        path => SocketAddr::from_pathname(std::ffi::OsStr::from_bytes(path))?,
    };
    socket.connect_addr(&address)?;
    Ok(socket)
}

/// The watchdog's period, as in sd_watchdog_enabled(3): it is for this process unless `WATCHDOG_PID` names another.
fn watchdog_period(env: impl Fn(&str) -> Option<String>, me: u32) -> Option<Duration> {
    let for_me = env("WATCHDOG_PID").is_none_or(|pid| pid.parse() == Ok(me));
    let micros: u64 = env("WATCHDOG_USEC")?.parse().ok()?;
    (for_me && micros > 1).then(|| Duration::from_micros(micros))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reload_tells_when_it_began() {
        let (ours, theirs) = UnixDatagram::pair().unwrap();
        let manager = ServiceManager { socket: Some(ours), watchdog: None };
        let hear = || {
            let mut message = [0; 256];
            let length = theirs.recv(&mut message).unwrap();
            String::from_utf8(message[..length].to_vec()).unwrap()
        };
        let now = || clock_gettime(ClockId::Monotonic).tv_sec;
        let before = now();
        manager.reloading();
        let said = hear();
        let micros = said.strip_prefix("RELOADING=1\nMONOTONIC_USEC=").unwrap();
        let micros = micros.strip_suffix("\nSTATUS=reloading").unwrap().parse::<i64>().unwrap();
        assert!((before..=now()).contains(&(micros / 1_000_000)), "{said}");
        manager.ready("2 routes");
        assert_eq!(hear(), format!("READY=1\nMAINPID={}\nSTATUS=2 routes", std::process::id()));
    }

    #[test]
    fn a_watchdog_is_ours_unless_it_names_another() {
        let period = |pid: Option<&'static str>, micros: &'static str| {
            let env = move |name: &str| match name {
                "WATCHDOG_PID" => pid.map(ToOwned::to_owned),
                _ => Some(micros.to_owned()),
            };
            watchdog_period(env, 7)
        };
        assert_eq!(period(None, "2000000"), Some(Duration::from_secs(2)));
        assert_eq!(period(Some("7"), "2000000"), Some(Duration::from_secs(2)));
        assert_eq!(period(Some("8"), "2000000"), None);
        assert_eq!(period(None, "0"), None);
        assert_eq!(period(None, "soon"), None);
    }
}
