//! `portway whoami` and `portway probe`, and what shells make of the completions, from the outside.
mod headers;
mod probe;
mod shells;
mod whoami;
