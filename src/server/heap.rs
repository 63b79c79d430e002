//! Memory of a crowd that has gone goes back to the system, and what the first table was made of.
#![cfg_attr(
    target_env = "gnu",
    allow(unsafe_code, reason = "no kept crate calls mallopt(3) and malloc_trim(3)")
)]

use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;

use crate::proxy::record::Shared;

/// How long to wait until the rest of a crowd has gone as well, and the start is over.
const CALM: Duration = Duration::from_secs(2);

/// Gives memory back: what the start has left (of 5,000 routes 2.5 MB), and each crowd of connections that were read. Never
/// returns.
pub(super) async fn give_back(shared: Arc<Shared>) {
    loop {
        sleep(CALM).await;
        trim();
        shared.preread.freed.notified().await;
    }
}

/// From so many bytes on a buffer is mapped, and unmapped when it is freed. That is glibc's default, but glibc raises it
/// to the size of any mapped buffer that is freed: from then on such buffers would stay in the heap. musl does not.
pub(super) fn map_large_buffers() {
    #[cfg(target_env = "gnu")]
    // SAFETY: it only sets a number of the allocator. No other thread runs yet (mallopt(3): it is not safe beside one).
    unsafe {
        libc::mallopt(libc::M_MMAP_THRESHOLD, 128 * 1024);
    }
}

/// glibc keeps what is freed in the middle of a heap, and each thread has one. After 3,000 hellos of 59 KB that never ended,
/// a quarter to a half more memory than before stayed for good; with this call 2 to 5 %.
#[cfg(target_env = "gnu")]
fn trim() {
    // SAFETY: it has no preconditions, and any thread may call it at any time (malloc_trim(3): MT-Safe).
    unsafe { libc::malloc_trim(0) };
}

/// musl gives back by itself.
#[cfg(not(target_env = "gnu"))]
fn trim() {}
