//! Portway as a service: its logs, its signals, its service manager, its descriptors.
mod access_lines;
mod binds;
mod deploy;
mod descriptors;
mod logs;
mod orphans;
mod stop;
mod systemd;
