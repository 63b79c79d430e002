//! Locks whose holder cannot leave a value half changed.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Locks, also after a task has panicked while it held the lock: every holder in this crate changes its value in one step
/// or not at all, so there is nothing to distrust. Never held across an await.
pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
