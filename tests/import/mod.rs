//! What `portway import` makes of a file, beside the program whose file it is: the same clients see the same. The files are those of
//! `corpus`, with addresses of this machine; the pairs of `config/from` run as they are, but for their ports.

mod behaviour;
mod from;
mod programs;
mod resets;
mod rewrite;
mod stage;
mod visit;
