//! The admin endpoint and the commands that talk to it, from the outside: the real program, real traffic, and what is said of it.
pub mod asker;
mod certificates;
mod connections;
mod drain;
mod edits;
mod enabled;
mod figures;
mod forms;
mod heavy;
mod hostile;
mod metrics;
mod openapi;
mod plan;
mod posted;
mod rights;
mod siege;
mod strange;
