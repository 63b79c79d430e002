//! Portway as a service: its logs, its signals, its service manager, its descriptors.
mod access_lines;
mod binds;
mod bird;
mod deploy;
mod descriptors;
mod fleet;
mod logs;
mod memory;
mod nodes;
mod orphans;
mod routed;
mod stop;
mod systemd;
mod user;
