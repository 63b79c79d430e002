//! Faults of tasks, for unit tests: a task that says its name panics as often as a test has asked for. No other build has them.

use std::sync::Mutex;

use crate::state::lock;

static WANTED: Mutex<Vec<Fault>> = Mutex::new(Vec::new());

struct Fault {
    name: String,
    times: u32,
}

/// The task of this name panics so often from now on.
pub fn want(name: &str, times: u32) {
    lock(&WANTED).push(Fault { name: name.to_owned(), times });
}

/// How often it has still to panic.
pub fn left(name: &str) -> u32 {
    lock(&WANTED).iter().filter(|fault| fault.name == name).map(|fault| fault.times).sum()
}

/// A task is at a place where it may panic.
pub fn here(name: &str) {
    let mut wanted = lock(&WANTED);
    if let Some(fault) = wanted.iter_mut().find(|fault| fault.name == name && fault.times > 0) {
        fault.times -= 1;
        panic!("a fault that a test asked for");
    }
}
