//! What the statements of HAProxy mean here. Reference: docs.haproxy.org, 4.2 "Alphabetically sorted keywords".

use crate::config::import::meaning::Meaning::{Apart, Key, Not, Off, Same, SameIf, Together};
use crate::config::import::meaning::{Row, Words, row};
use crate::config::import::values::{count, haproxy_time, quote, span};

fn time(words: Words<'_>) -> Option<String> {
    let time = haproxy_time(words.first()?).and_then(span)?;
    (time != "\"off\"").then_some(time)
}

fn number(words: Words<'_>) -> Option<String> {
    count(words.first()?)
}

fn source(words: Words<'_>) -> Option<String> {
    match words {
        [one] => {
            let ip = one.trim_end_matches(":0").trim_matches(['[', ']']);
            ip.parse::<std::net::IpAddr>().ok().filter(|ip| !ip.is_unspecified()).map(|_| quote(ip))
        }
        [any, word, name] if word == "interface" && matches!(any.as_str(), "0.0.0.0" | "::" | "*") => {
            Some(format!("{{ interface = {} }}", quote(name)))
        }
        [any, word, whose]
            if word == "usesrc"
                && matches!(any.as_str(), "0.0.0.0" | "::" | "*")
                && matches!(whose.as_str(), "client" | "clientip") =>
        {
            Some(quote("client"))
        }
        _ => None,
    }
}

const HTTP: &str = "it is about HTTP: Portway looks at no request";
const LOG: &str = "a line of the log has the form of Portway: \"text\", or \"json\" in `[log] format`";
const SNOOP: &str = "Portway looks at nothing but a TLS hello (`sni`, `alpn`) and a PROXY header";
const CHECK: &str = "a check connects; write what its server says: health = { steps = [{ expect = \"...\" }, { send = \"...\" }] }";

/// In `global`.
pub(super) const GLOBAL: &[Row] = &[
    row("maxconn", Together),
    row(
        "stats socket",
        Not(
            "write `[admin] listen = \"unix:/run/portway/admin.sock\"`: `portway status` and others ask there",
        ),
    ),
    row("lua-load", Not("Portway runs no scripts")),
    row("lua-load-per-thread", Not("Portway runs no scripts")),
];

/// In `defaults`, `frontend`, `backend`, `listen`.
pub(super) const PROXY: &[Row] = &[
    row("acl", Together),
    row("backlog", Same),
    row("balance", Together),
    row("bind", Together),
    row("bind-process", Same),
    row("compression", Not(HTTP)),
    row("cookie", Not(HTTP)),
    row("default-server", Together),
    row("default_backend", Together),
    row("description", Together),
    row("disabled", Together),
    row("dispatch", Together),
    row("email-alert", Not("Portway sends no mail: alert by its metrics (`portway_upstream_up`)")),
    row("enabled", Same),
    row("errorfile", Same),
    row("errorloc", Same),
    row("filter", Not("what passes is not looked at; for a limit of speed write `bandwidth`")),
    row(
        "fullconn",
        Not("limits do not grow with the load: `max_connections` of the route and of an upstream"),
    ),
    row("grace", Not("write `drain_timeout`: how long connections may go on at an edit or a stop")),
    row("hash-balance-factor", Not("source-hash asks for no even load")),
    row("hash-type", Same),
    row("http-check", Together),
    row("http-request", Not(HTTP)),
    row("http-response", Not(HTTP)),
    row("http-reuse", Same),
    row("id", Same),
    row("load-server-state-from-file", Same),
    row("log", Apart),
    row("log-format", Not(LOG)),
    row("log-format-sd", Not(LOG)),
    row("log-tag", Apart),
    row("max-keep-alive-queue", Same),
    row("maxconn", Together),
    row("mode", Same),
    row("monitor-uri", Not(HTTP)),
    row("option abortonclose", Same),
    row("option allbackups", Not("backups are used as the others are, all of them at once")),
    row("option clitcpka", Same),
    row("option contstats", Same),
    row("option dontlog-normal", Not("every connection has its line; filter by its outcome")),
    row("option dontlognull", Apart),
    row("option external-check", Not("no program is started for a check")),
    row(
        "option forwardfor",
        Not(
            "it is about HTTP; over TCP the PROXY protocol says the client: proxy_protocol = { send = \"v2\" }",
        ),
    ),
    row("option http-keep-alive", Same),
    row("option http-server-close", Same),
    row("option httpchk", Together),
    row("option httpclose", Same),
    row("option httplog", Apart),
    row("option ldap-check", Not(CHECK)),
    row("option log-health-checks", Same),
    row("option log-separate-errors", Apart),
    row("option logasap", Apart),
    row("option mysql-check", Not(CHECK)),
    row("option nolinger", Not("the kernel sends what it has before a connection is gone")),
    row("option persist", Not("who is down gets nobody")),
    row("option pgsql-check", Not(CHECK)),
    row("option redis-check", Together),
    row("option redispatch", Same),
    row("option smtpchk", Together),
    row("option socket-stats", Same),
    row("option splice-auto", Same),
    row("option splice-request", Same),
    row("option splice-response", Same),
    row("option srvtcpka", Same),
    row("option ssl-hello-chk", Not(CHECK)),
    row("option tcp-check", Together),
    row("option tcp-smart-accept", Same),
    row("option tcp-smart-connect", Same),
    row("option tcpka", Same),
    row("option tcplog", Apart),
    row(
        "option transparent",
        Not(
            "clients go where they wanted to with upstream = \"original-destination\": `portway example transparent`",
        ),
    ),
    row("persist", Not(SNOOP)),
    row("rate-limit", Not("new clients are limited one by one: `rate_per_client`")),
    row("redirect", Not(HTTP)),
    row(
        "retries",
        Not("each upstream is tried once for a connection, then the next one: `connect_timeout` for each"),
    ),
    row("retry-on", Not(HTTP)),
    row("server", Together),
    row("server-template", Together),
    row("source", Key("source", source)),
    row(
        "stats",
        Not("`portway status`, `portway top` and the admin endpoint show it: write `[admin] listen`"),
    ),
    row("stick", Together),
    row("stick-table", Together),
    row("tcp-check", Together),
    row("tcp-request", Together),
    row("tcp-response", Not(SNOOP)),
    row("timeout check", Together),
    row("timeout client", Together),
    row("timeout client-fin", Together),
    row("timeout connect", Key("connect_timeout", time)),
    row("timeout http-keep-alive", Same),
    row("timeout http-request", Same),
    row(
        "timeout queue",
        Not("who is one too many waits for a place: write `when_full` and `max_connections`"),
    ),
    row("timeout server", Together),
    row("timeout server-fin", Together),
    row("timeout tarpit", Same),
    row("timeout tunnel", Together),
    row("unique-id-format", Not(HTTP)),
    row("unique-id-header", Not(HTTP)),
    row("use-server", Off("write a route for each server, with its `sni`")),
    row("use_backend", Together),
];

/// In `server` and `default-server`, with what stands behind a word: `true` where it has a value.
pub(super) struct Word {
    pub name: &'static str,
    pub has_value: bool,
    pub meaning: crate::config::import::meaning::Meaning,
}

const fn word(name: &'static str, has_value: bool, meaning: crate::config::import::meaning::Meaning) -> Word {
    Word { name, has_value, meaning }
}

const HAS_CHECK: &str = "a check is plain or TLS, with the header or without, as connections are";

/// Words of a server.
pub(super) const SERVER: &[Word] = &[
    word("addr", true, Not("checks go to the upstream's address; `health` may have a `port`")),
    word("agent-check", false, Not("no agent is asked: `portway weight` and `portway drain` steer by hand")),
    word("agent-addr", true, Same),
    word("agent-inter", true, Same),
    word("agent-port", true, Same),
    word("agent-send", true, Same),
    word("alpn", true, Not("none is offered to the upstream")),
    word("backup", false, Together),
    word("ca-file", true, Together),
    word("check", false, Together),
    word("check-send-proxy", false, Same),
    word("check-sni", true, Not(HAS_CHECK)),
    word("check-ssl", false, Together),
    word("ciphers", true, Not("TLS 1.2 and 1.3 are spoken with the ciphers of rustls")),
    word("ciphersuites", true, Not("TLS 1.2 and 1.3 are spoken with the ciphers of rustls")),
    word("cookie", true, Not(HTTP)),
    word("crl-file", true, Not("revocations of upstreams are not looked up")),
    word("crt", true, Together),
    word("disabled", false, Together),
    word("downinter", true, Not("checks have one interval")),
    word("enabled", false, Together),
    word("error-limit", true, Not("failed connects put an upstream down")),
    word("fall", true, Key("health.fall", number)),
    word("fastinter", true, Not("checks have one interval")),
    word("id", true, Same),
    word("init-addr", true, Same),
    word("inter", true, Key("health.interval", time)),
    word("maxconn", true, Together),
    word(
        "maxqueue",
        true,
        Not("there is no queue for an upstream: who finds no place is refused, or waits by `when_full`"),
    ),
    word("minconn", true, Not("limits do not grow with the load: `max_connections`")),
    word(
        "namespace",
        true,
        Off("Portway dials from its own network namespace, where this address may be another server"),
    ),
    word("no-backup", false, Together),
    word("no-check", false, Together),
    word("no-check-ssl", false, Together),
    word("no-send-proxy", false, Together),
    word("no-send-proxy-v2", false, Together),
    word("no-send-proxy-v2-ssl", false, Together),
    word("no-send-proxy-v2-ssl-cn", false, Together),
    word("no-ssl", false, Together),
    word("observe", true, SameIf(&["layer4"], "only connects are observed")),
    word("on-error", true, SameIf(&["mark-down"], "a connect that fails puts the upstream down")),
    word("on-marked-down", true, Together),
    word("on-marked-up", true, Not("connections of backups go on")),
    word("port", true, Key("health.port", number)),
    word("proto", true, Not(HTTP)),
    word("redir", true, Not(HTTP)),
    word("resolve-opts", true, Same),
    word("resolve-prefer", true, Not("addresses are tried in the order of the system's answer")),
    word("resolvers", true, Same),
    word("rise", true, Key("health.rise", number)),
    word("send-proxy", false, Together),
    word("send-proxy-v2", false, Together),
    word("send-proxy-v2-ssl", false, Together),
    word("send-proxy-v2-ssl-cn", false, Together),
    word("slowstart", true, Key("slow_start", time)),
    word("sni", true, Together),
    word("socks4", true, Off("Portway dials its upstreams itself, and through no SOCKS proxy")),
    word("source", true, Together),
    word("ssl", false, Together),
    word("stick", false, Same),
    word("tcp-ut", true, Same),
    word("tfo", false, Same),
    word("track", true, Not("each upstream is checked by itself")),
    word("usesrc", true, Together),
    word("verify", true, Together),
    word("verifyhost", true, Together),
    word("weight", true, Together),
];
