//! The client's side, from the outside: who may come in, at what rate, from which address, under which name.
mod access;
mod certificates;
mod close_notify;
mod daemon;
mod header;
mod hello;
mod limits;
mod networks;
mod peer;
mod peers;
mod pki;
mod proxy_protocol;
mod slow;
mod sni;
mod terminate;
mod tls;
mod upstream_tls;
