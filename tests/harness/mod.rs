//! What the tests are written in.

pub mod fleet;
pub mod header;
pub mod hello;
pub mod instance;
pub mod launch;
pub mod markdown;
pub mod netns;
pub mod pattern;
pub mod peer;
pub mod ports;
pub mod proc;
pub mod proxy;
pub mod scene;
pub mod sender;
pub mod skip;
pub mod successor;
pub mod terminal;
pub mod tls;
pub mod tools;
pub mod upstream;

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

pub use netns::Netns;
pub use pattern::Chunk;
pub use peer::{End, Peer};
pub use proxy::Proxy;
pub use scene::{Scene, Way};
pub use skip::{can, has, is_root, lacks, lacks_root};
pub use upstream::Upstream;

/// The program under test.
pub const PORTWAY: &str = env!("CARGO_BIN_EXE_portway");

/// For whatever must happen, on however busy a machine.
pub const PATIENCE: Duration = Duration::from_secs(40);

/// Waits for a phase that can be observed, and fails after [`PATIENCE`].
#[track_caller]
pub fn until(what: &str, reached: impl FnMut() -> bool) {
    assert!(comes_true(PATIENCE, reached), "did not come true in {PATIENCE:?}: {what}");
}

/// Says that it is over when it is dropped, also by a panic: whoever goes on until then must not go on for ever.
pub struct EndOnDrop<'a>(pub &'a AtomicBool);

impl Drop for EndOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// Whether a phase is reached in time.
pub fn comes_true(limit: Duration, mut reached: impl FnMut() -> bool) -> bool {
    let deadline = Instant::now() + limit;
    loop {
        if reached() {
            return true;
        }
        if Instant::now() >= deadline {
            return false;
        }
        pass(Duration::from_millis(2));
    }
}

/// Lets time pass: where a test is about time, never to wait for something.
pub fn pass(time: Duration) {
    std::thread::sleep(time);
}

/// As many descriptors as the system allows, for this process and the proxies that it starts.
pub fn raise_descriptor_limit() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum }).unwrap();
}

/// One test for each way from a client to its server that it names: `fn name(scene) { ... }` becomes
/// `name::direct_v4`, `name::copy_v4` and so on. What fails on a direct way is a bad test.
#[macro_export]
macro_rules! on {
    ($ways:ident: $($(#[$meta:meta])* fn $name:ident($scene:ident $(, $($option:literal),+)?) $body:block)+) => {
        $(
            $(#[$meta])*
            mod $name {
                #[allow(unused_imports, reason = "a test uses of them what it needs")]
                use super::*;
                fn test($scene: &mut $crate::harness::Scene) $body
                fn options() -> &'static [&'static str] { &[$($($option),+)?] }
                $crate::$ways!();
            }
        )+
    };
}

/// Every pair of families.
#[macro_export]
macro_rules! every_way {
    () => {
        $crate::way!(direct_v4, Direct, V4, V4);
        $crate::way!(direct_v6, Direct, V6, V6);
        $crate::way!(direct_unix, Direct, Unix, Unix);
        $crate::way!(copy_v4, Copy, V4, V4);
        $crate::way!(copy_v6, Copy, V6, V6);
        $crate::way!(copy_v6_to_v4, Copy, V6, V4);
        $crate::way!(copy_v4_to_unix, Copy, V4, Unix);
        $crate::way!(copy_unix_to_v4, Copy, Unix, V4);
        $crate::way!(copy_unix_to_unix, Copy, Unix, Unix);
        $crate::way!(auto_v4, Auto, V4, V4);
        $crate::way!(auto_v6, Auto, V6, V6);
        $crate::way!(auto_v4_to_unix, Auto, V4, Unix);
        $crate::way!(auto_unix_to_v4, Auto, Unix, V4);
        $crate::way!(splice_v4, Splice, V4, V4);
        $crate::way!(splice_v6, Splice, V6, V6);
        $crate::way!(splice_v4_to_unix, Splice, V4, Unix);
        $crate::way!(splice_unix_to_v4, Splice, Unix, V4);
        $crate::way!(bound_v4, Bound, V4, V4);
        $crate::way!(bound_v4_to_unix, Bound, V4, Unix);
        $crate::way!(tls_ends_v4, TlsEnds, V4, V4);
        $crate::way!(tls_ends_v6_to_unix, TlsEnds, V6, Unix);
        $crate::way!(tls_begins_v4, TlsBegins, V4, V4);
        $crate::way!(tls_begins_unix_to_v4, TlsBegins, Unix, V4);
        $crate::way!(tls_both_v4, TlsBoth, V4, V4);
        $crate::way!(tls_bound_v4, TlsBound, V4, V4);
    };
}

/// Where both ends are TCP: what Unix sockets do not have (reset, keepalive).
#[macro_export]
macro_rules! tcp_ways {
    () => {
        $crate::way!(direct_v4, Direct, V4, V4);
        $crate::way!(direct_v6, Direct, V6, V6);
        $crate::way!(copy_v4, Copy, V4, V4);
        $crate::way!(copy_v6, Copy, V6, V6);
        $crate::way!(auto_v4, Auto, V4, V4);
        $crate::way!(auto_v6, Auto, V6, V6);
        $crate::way!(splice_v4, Splice, V4, V4);
        $crate::way!(bound_v4, Bound, V4, V4);
        $crate::way!(tls_ends_v4, TlsEnds, V4, V4);
        $crate::way!(tls_begins_v4, TlsBegins, V4, V4);
        $crate::way!(tls_both_v4, TlsBoth, V4, V4);
        $crate::way!(tls_bound_v4, TlsBound, V4, V4);
    };
}

/// For a test of some seconds, or of many bytes: TCP, and a Unix socket.
#[macro_export]
macro_rules! few_ways {
    () => {
        $crate::way!(direct_v4, Direct, V4, V4);
        $crate::way!(copy_v4, Copy, V4, V4);
        $crate::way!(copy_unix_to_v4, Copy, Unix, V4);
        $crate::way!(auto_v4, Auto, V4, V4);
        $crate::way!(auto_unix_to_v4, Auto, Unix, V4);
        $crate::way!(splice_v4, Splice, V4, V4);
        $crate::way!(bound_v4, Bound, V4, V4);
        $crate::way!(tls_ends_v4, TlsEnds, V4, V4);
        $crate::way!(tls_begins_v4, TlsBegins, V4, V4);
        $crate::way!(tls_both_v4, TlsBoth, V4, V4);
    };
}

/// One way.
#[macro_export]
macro_rules! way {
    ($name:ident, $way:ident, $client:ident, $server:ident) => {
        #[test]
        fn $name() {
            use $crate::harness::{Scene, Way, upstream::Family};
            let mut scene = Scene::new(Way::$way, Family::$client, Family::$server, options());
            test(&mut scene);
            scene.finish();
        }
    };
}
