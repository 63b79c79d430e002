//! Mutexes whose holder cannot leave a value half changed.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Locks a mutex, even after a task has panicked while it held the lock. Every holder in this crate changes its value
/// in one step or not at all, so the value can be trusted. Never hold the guard across an await.
pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
