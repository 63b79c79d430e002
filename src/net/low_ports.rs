//! The right to ports below 1024.

use rustix::thread::{CapabilitySet, capabilities, set_capabilities};

/// Makes use of CAP_NET_BIND_SERVICE where this process has it in reserve: so the container image gives it
/// (`setcap cap_net_bind_service=p`). With `=ep` the kernel would make use of it by itself, but then refuses to start the program
/// at all where the container may not have it (capabilities(7), "capability-dumb binaries").
///
/// Threads that were started before do not have it.
pub fn use_low_ports() {
    let Ok(mut sets) = capabilities(None) else { return };
    let right = CapabilitySet::NET_BIND_SERVICE;
    if sets.permitted.contains(right) && !sets.effective.contains(right) {
        sets.effective |= right;
        // Where it is denied, binding a low port fails, and says what is missing.
        _ = set_capabilities(None, sets);
    }
}
