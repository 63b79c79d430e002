//! The right to bind ports below 1024.

use rustix::thread::{CapabilitySet, capabilities, set_capabilities};

/// Makes CAP_NET_BIND_SERVICE effective if it is only permitted. The container image grants it that way
/// (`setcap cap_net_bind_service=p`): with `=ep` the kernel would make it effective by itself, but would refuse to
/// start the program in a container that may not have it (capabilities(7), "capability-dumb binaries").
///
/// Threads that run already do not get it, so call this before the first one starts.
pub fn use_low_ports() {
    let Ok(mut sets) = capabilities(None) else { return };
    let right = CapabilitySet::NET_BIND_SERVICE;
    if sets.permitted.contains(right) && !sets.effective.contains(right) {
        sets.effective |= right;
        // If this is denied, binding a low port fails later and says what is missing.
        _ = set_capabilities(None, sets);
    }
}
