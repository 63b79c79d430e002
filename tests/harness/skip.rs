//! What a test needs of the machine. One that cannot run says so to everybody; where nothing may be skipped it fails.

use std::io::Write;
use std::path::Path;

/// Whether this test can run, which needs `what`.
#[track_caller]
pub fn can(what: &str, holds: bool) -> bool {
    if holds {
        return true;
    }
    // libtest names the thread of a test after it.
    let thread = std::thread::current();
    let line = format!("SKIPPED {}: needs {what}", thread.name().unwrap_or("a test"));
    let strict = std::env::var_os("PORTWAY_TESTS_MUST_NOT_SKIP").is_some_and(|value| value == "1");
    assert!(!strict, "{line}, and nothing may be skipped here");
    // Not `eprintln`, which libtest captures where a test succeeds.
    drop(writeln!(std::io::stderr(), "{line}"));
    false
}

/// Whether a test must be left out because this is not root.
#[track_caller]
pub fn lacks_root() -> bool {
    !can("root", is_root())
}

/// Whether a test must be left out because one of these programs is not installed.
#[track_caller]
pub fn lacks(programs: &[&str]) -> bool {
    let missing: Vec<&str> = programs.iter().copied().filter(|program| !has(program)).collect();
    !can(&missing.join(", "), missing.is_empty())
}

/// Whether a program is installed.
pub fn has(program: &str) -> bool {
    let path = std::env::var("PATH").unwrap_or_default();
    path.split(':').any(|folder| Path::new(folder).join(program).exists())
}

/// Whether the tests run as root.
pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}
