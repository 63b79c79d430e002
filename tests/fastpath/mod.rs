//! The fast path of the relay: its tails, its pipes, and what it does when the kernel says no.
mod faults;
mod pipes;
mod tails;
