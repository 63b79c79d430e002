//! What the person at a probe reads.

use std::fmt;
use std::io::{self, Write};

use tokio::time::Instant;

/// Prints what the person reads to standard error. If that is gone, nobody reads it, which is no fault.
#[derive(Debug)]
pub(super) struct Steps {
    pub quiet: bool,
}

impl Steps {
    pub fn say(&self, line: fmt::Arguments<'_>) {
        if !self.quiet {
            writeln!(io::stderr().lock(), "{line}").ok();
        }
    }

    pub fn error(&self, line: fmt::Arguments<'_>) {
        writeln!(io::stderr().lock(), "error: {line}").ok();
    }
}

/// The time since an instant: `0.3 ms`, `1.234 s`.
pub(super) struct Since(pub Instant);

impl fmt::Display for Since {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0.elapsed().as_secs_f64();
        if seconds < 1.0 { write!(f, "{:.1} ms", seconds * 1e3) } else { write!(f, "{seconds:.3} s") }
    }
}

/// `1 address`, `2 addresses`.
pub(super) struct Count(pub u64, pub &'static str, pub &'static str);

impl fmt::Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.0, if self.0 == 1 { self.1 } else { self.2 })
    }
}

pub(super) fn bytes(count: u64) -> Count {
    Count(count, "byte", "bytes")
}
