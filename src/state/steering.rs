//! What is decided about one upstream of one route while it runs: whether it gets new connections, and its weight. Every
//! listener of the route reads it for each choice; edits keep it.

use std::sync::atomic::{AtomicU8, AtomicU32, Ordering};

/// Whether an upstream gets new connections.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Serves {
    /// It does.
    #[default]
    Ready,
    /// It keeps those that it has.
    Drains,
    /// It has none: who is about to connect to it goes elsewhere.
    Disabled,
}

/// No weight: that of the file counts.
const OF_THE_FILE: u32 = u32::MAX;

/// See the module. Written rarely, by the server.
#[derive(Debug)]
pub struct Steering {
    serves: AtomicU8,
    weight: AtomicU32,
}

impl Default for Steering {
    fn default() -> Self {
        Steering { serves: AtomicU8::new(Serves::Ready as u8), weight: AtomicU32::new(OF_THE_FILE) }
    }
}

impl Steering {
    /// Sets both. `weight`: `None` for that of the file.
    pub fn set(&self, serves: Serves, weight: Option<u32>) {
        self.weight.store(weight.unwrap_or(OF_THE_FILE), Ordering::Relaxed);
        self.serves.store(serves as u8, Ordering::SeqCst);
    }

    /// Whether it gets new connections, as far as this decides.
    pub fn serves(&self) -> Serves {
        match self.serves.load(Ordering::SeqCst) {
            0 => Serves::Ready,
            1 => Serves::Drains,
            _ => Serves::Disabled,
        }
    }

    /// Its weight. `None`: that of the file.
    pub fn weight(&self) -> Option<u32> {
        Some(self.weight.load(Ordering::Relaxed)).filter(|weight| *weight != OF_THE_FILE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_decided_is_read_until_it_is_decided_anew() {
        let steering = Steering::default();
        assert_eq!((steering.serves(), steering.weight()), (Serves::Ready, None));
        for (serves, weight) in [
            (Serves::Drains, Some(7)),
            (Serves::Disabled, None),
            (Serves::Ready, Some(0)),
            (Serves::Drains, Some(1000)),
            (Serves::Ready, None),
        ] {
            steering.set(serves, weight);
            assert_eq!((steering.serves(), steering.weight()), (serves, weight));
        }
    }
}
