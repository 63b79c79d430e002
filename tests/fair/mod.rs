//! Who waits for whom when one connection is a bulk stream.

mod turns;
