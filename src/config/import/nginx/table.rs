//! What the statements of nginx mean here. Reference: nginx.org/en/docs/stream.

use crate::config::import::meaning::Meaning::{Apart, Key, Not, Off, Same, SameIf, Together};
use crate::config::import::meaning::{Row, Words, row};
use crate::config::import::values::{byte_rate, count, nginx_time, quote, span};

fn time(words: Words<'_>) -> Option<String> {
    match words {
        [one] => nginx_time(one).and_then(span),
        _ => None,
    }
}

/// A time that must pass: zero is none.
fn some_time(words: Words<'_>) -> Option<String> {
    time(words).filter(|time| time != "\"off\"")
}

fn rate(words: Words<'_>) -> Option<String> {
    byte_rate(words.first()?)
}

fn number(words: Words<'_>) -> Option<String> {
    count(words.first()?)
}

fn text(words: Words<'_>) -> Option<String> {
    match words {
        [one] if !one.contains('$') => Some(quote(one)),
        _ => None,
    }
}

fn address(words: Words<'_>) -> Option<String> {
    match words {
        [one] if one.parse::<std::net::IpAddr>().is_ok() => Some(quote(one)),
        [one] if one == "off" => Some(quote("off")),
        [one, word] if one == "$remote_addr" && word == "transparent" => Some(quote("client")),
        _ => None,
    }
}

const CIPHERS: &str = "TLS 1.2 and 1.3 are served with the ciphers of rustls, and their order";
const SCRIPT: &str = "Portway runs no scripts";
const VARIABLE: &str = "the file has no variables: write a route for each case, by `sni`, `alpn` or `listen`";

/// Outside of `stream`.
pub(super) const MAIN: &[Row] = &[
    row("daemon", Apart),
    row("debug_points", Apart),
    row("env", Apart),
    row("error_log", Apart),
    row("events", Apart),
    row(
        "http",
        Not("Portway forwards connections and looks at no request: what is in `http` stays with nginx"),
    ),
    row(
        "include",
        Not("other files are not read: import them, too, and name what comes of them in `include`"),
    ),
    row("load_module", Apart),
    row("lock_file", Apart),
    row(
        "mail",
        Not("Portway knows no mail protocol: to pass its connections on, write a route for each port"),
    ),
    row("master_process", Apart),
    row("pcre_jit", Apart),
    row("pid", Apart),
    row("ssl_engine", Apart),
    row("stream", Together),
    row("thread_pool", Apart),
    row("timer_resolution", Apart),
    row("user", Apart),
    row("worker_connections", Apart),
    row("worker_cpu_affinity", Apart),
    row("worker_priority", Apart),
    row("worker_processes", Apart),
    row("worker_rlimit_core", Apart),
    row("worker_rlimit_nofile", Apart),
    row(
        "worker_shutdown_timeout",
        Not("write `drain_timeout`: how long connections may go on at an edit or a stop"),
    ),
    row("working_directory", Apart),
];

/// In `stream` and `server`.
pub(super) const STREAM: &[Row] = &[
    row("access_log", Together),
    row("allow", Together),
    row("deny", Together),
    row("error_log", Apart),
    row(
        "geo",
        Not("it makes a variable of networks: write `allow` and `deny`, or a route for each network's port"),
    ),
    row("geoip_country", Not("write the networks into a file: allow = { file = \"path\" }")),
    row("geoip_city", Not("write the networks into a file: allow = { file = \"path\" }")),
    row(
        "include",
        Not("other files are not read: import them, too, and name what comes of them in `include`"),
    ),
    row("js_access", Off(SCRIPT)),
    row("js_filter", Off(SCRIPT)),
    row("js_import", Not(SCRIPT)),
    row("js_path", Not(SCRIPT)),
    row("js_preread", Off(SCRIPT)),
    row("js_set", Not(SCRIPT)),
    row("limit_conn", Together),
    row("limit_conn_dry_run", SameIf(&["off"], "limits are no trials here")),
    row("limit_conn_log_level", Same),
    row("limit_conn_zone", Together),
    row("listen", Together),
    row("log_format", Not("a line has the form of Portway: \"text\", or \"json\" in `[log] format`")),
    row("map", Together),
    row("map_hash_bucket_size", Same),
    row("map_hash_max_size", Same),
    row("open_log_file_cache", Same),
    row("pass", Not("forward to the address where it listens: upstream = \"127.0.0.1:443\"")),
    row("preread_buffer_size", Same),
    row("preread_timeout", Key("sniff_timeout", some_time)),
    row("proxy_bind", Key("source", address)),
    row("proxy_buffer_size", Same),
    row("proxy_connect_timeout", Key("connect_timeout", some_time)),
    row("proxy_download_rate", Key("bandwidth.down", rate)),
    row("proxy_half_close", Together),
    row(
        "proxy_next_upstream",
        SameIf(&["on"], "whoever cannot be connected to is passed over: the next one is tried"),
    ),
    row(
        "proxy_next_upstream_timeout",
        SameIf(&["0"], "each attempt has `connect_timeout`; all of them have no limit"),
    ),
    row("proxy_next_upstream_tries", SameIf(&["0"], "each upstream is tried once for a connection")),
    row("proxy_pass", Together),
    row("proxy_protocol", Together),
    row("proxy_protocol_timeout", Key("proxy_protocol.timeout", some_time)),
    row("proxy_protocol_version", Together),
    row("proxy_requests", Not("a session ends by time, or by answers (`max_replies`), and not by requests")),
    row("proxy_responses", Key("max_replies", number)),
    row(
        "proxy_session_drop",
        Not("`on_down` says what becomes of the connections of an upstream that went down"),
    ),
    row("proxy_socket_keepalive", Same),
    row("proxy_ssl", Together),
    row("proxy_ssl_certificate", Key("tls.upstream.cert", text)),
    row("proxy_ssl_certificate_key", Key("tls.upstream.key", text)),
    row("proxy_ssl_ciphers", Not(CIPHERS)),
    row("proxy_ssl_crl", Not("revocations of upstreams are not looked up")),
    row("proxy_ssl_name", Key("tls.upstream.server_name", text)),
    row(
        "proxy_ssl_password_file",
        Not("a key with a password cannot be read: write it without one, in a file of mode 0600"),
    ),
    row("proxy_ssl_protocols", Together),
    row("proxy_ssl_server_name", Same),
    row("proxy_ssl_session_reuse", Same),
    row("proxy_ssl_trusted_certificate", Key("tls.upstream.ca", text)),
    row("proxy_ssl_verify", Together),
    row("proxy_ssl_verify_depth", Same),
    row("proxy_timeout", Key("idle_timeout", time)),
    row("proxy_upload_rate", Key("bandwidth.up", rate)),
    row("resolver", Not("names are looked up as this system does it: /etc/resolv.conf, /etc/hosts")),
    row("resolver_timeout", Same),
    row("return", Not("Portway answers nothing itself")),
    row("server", Together),
    row("server_name", Together),
    row("server_names_hash_bucket_size", Same),
    row("server_names_hash_max_size", Same),
    row("set", Not(VARIABLE)),
    row("set_real_ip_from", Together),
    row(
        "split_clients",
        Not("write the shares as weights: upstream = [{ address = \"a:80\", weight = 9 }, \"b:80\"]"),
    ),
    row("ssl_alpn", Together),
    row("ssl_certificate", Key("tls.cert", text)),
    row("ssl_certificate_key", Key("tls.key", text)),
    row("ssl_ciphers", Not(CIPHERS)),
    row("ssl_client_certificate", Together),
    row("ssl_conf_command", Not(CIPHERS)),
    row("ssl_crl", Together),
    row("ssl_dhparam", Not(CIPHERS)),
    row("ssl_ecdh_curve", Not(CIPHERS)),
    row("ssl_handshake_timeout", Key("sniff_timeout", some_time)),
    row(
        "ssl_password_file",
        Not("a key with a password cannot be read: write it without one, in a file of mode 0600"),
    ),
    row("ssl_prefer_server_ciphers", Same),
    row("ssl_preread", Together),
    row("ssl_protocols", Together),
    row("ssl_session_cache", Same),
    row("ssl_session_ticket_key", Not("tickets are made with keys of this process, and not shared")),
    row("ssl_session_tickets", Same),
    row("ssl_session_timeout", Same),
    row("ssl_trusted_certificate", Together),
    row("ssl_verify_client", Together),
    row("ssl_verify_depth", Same),
    row("status_zone", Same),
    row("tcp_nodelay", SameIf(&["on"], "nothing is held back to fill packets")),
    row("upstream", Together),
    row("variables_hash_bucket_size", Same),
    row("variables_hash_max_size", Same),
];

/// In `upstream`.
pub(super) const UPSTREAM: &[Row] = &[
    row("hash", Together),
    row("least_conn", Together),
    row("least_time", Not("balance = \"least-connections\" comes nearest")),
    row("random", Together),
    row("resolver", Not("names are looked up as this system does it: /etc/resolv.conf, /etc/hosts")),
    row("resolver_timeout", Same),
    row("server", Together),
    row("state", Not("write the upstreams into the file: it is watched")),
    row("zone", Same),
];
