//! "Did you mean", and lists of words.

/// Words that other programs use, and ours. Of several for one word, the first that fits counts.
const SYNONYMS: &[(&str, &str)] = &[
    // nginx, HAProxy, Traefik, Caddy, Envoy, Kubernetes, socat, stunnel, frp.
    ("accept", "listen"),
    ("bind", "listen"),
    ("entrypoint", "listen"),
    ("entrypoints", "listen"),
    ("from", "listen"),
    ("frontend", "listen"),
    ("incoming", "listen"),
    ("listen_address", "listen"),
    ("listener", "listen"),
    ("listeners", "listen"),
    ("local", "listen"),
    ("publish", "listen"),
    ("src", "listen"),
    ("port", "listen"),
    ("ports", "listen"),
    ("address", "listen"),
    ("address", "upstream"),
    ("addr", "listen"),
    ("addr", "upstream"),
    ("port", "upstream"),
    ("backend", "upstream"),
    ("backends", "upstream"),
    ("connect", "upstream"),
    ("connect_to", "upstream"),
    ("default_backend", "upstream"),
    ("dest", "upstream"),
    ("destination", "upstream"),
    ("dst", "upstream"),
    ("endpoint", "upstream"),
    ("endpoints", "upstream"),
    ("forward", "upstream"),
    ("forward_to", "upstream"),
    ("nodes", "upstream"),
    ("origin", "upstream"),
    ("proxy_pass", "upstream"),
    ("remote", "upstream"),
    ("reverse_proxy", "upstream"),
    ("server", "upstream"),
    ("servers", "upstream"),
    ("target", "upstream"),
    ("targets", "upstream"),
    ("to", "upstream"),
    ("upstreams", "upstream"),
    ("url", "upstream"),
    ("use_backend", "upstream"),
    // In a table of `upstream`.
    ("addr", "address"),
    ("endpoint", "address"),
    ("host", "address"),
    ("hostname", "address"),
    ("server", "address"),
    ("target", "address"),
    ("url", "address"),
    // Headers.
    ("forwards", "route"),
    ("http", "route"),
    ("https", "route"),
    ("proxies", "route"),
    ("proxy", "route"),
    ("router", "route"),
    ("routers", "route"),
    ("server", "route"),
    ("servers", "route"),
    ("service", "route"),
    ("services", "route"),
    ("stream", "route"),
    ("tcp", "route"),
    ("udp", "route"),
    ("virtual_host", "route"),
    ("default", "defaults"),
    ("global", "defaults"),
    ("logging", "log"),
    // Keys.
    ("algorithm", "balance"),
    ("lb", "balance"),
    ("lb_policy", "balance"),
    ("load_balancing", "balance"),
    ("strategy", "balance"),
    ("mode", "protocol"),
    ("network", "protocol"),
    ("proto", "protocol"),
    ("type", "protocol"),
    ("timeout", "connect_timeout"),
    ("timeout_connect", "connect_timeout"),
    ("proxy_connect_timeout", "connect_timeout"),
    ("proxy_timeout", "idle_timeout"),
    ("timeout_client", "idle_timeout"),
    ("timeout_server", "idle_timeout"),
    ("timeout_tunnel", "idle_timeout"),
    ("so_keepalive", "keepalive"),
    ("tcp_keepalive", "keepalive"),
    ("check", "health"),
    ("checks", "health"),
    ("health_check", "health"),
    ("healthcheck", "health"),
    ("active", "enabled"),
    ("enable", "enabled"),
    ("id", "name"),
    ("label", "name"),
    ("title", "name"),
    ("ssl", "tls"),
    ("private_key", "key"),
    ("ssl_certificate", "cert"),
    ("ssl_certificate_key", "key"),
    ("path", "access"),
    ("access_log", "access"),
    ("whitelist", "allow"),
    ("allowlist", "allow"),
    ("allow_from", "allow"),
    ("permit", "allow"),
    ("blacklist", "deny"),
    ("denylist", "deny"),
    ("block", "deny"),
    ("maxconn", "max_connections"),
    ("max_conns", "max_connections"),
    ("conn_limit", "max_connections_per_client"),
    ("rate_limit", "rate_per_client"),
    ("send_proxy", "proxy_protocol"),
    ("server_name", "sni"),
    ("server_names", "sni"),
    ("hosts", "sni"),
    ("hostsni", "sni"),
    // Values.
    ("both", "tcp+udp"),
    ("tcp,udp", "tcp+udp"),
    ("tcp/udp", "tcp+udp"),
    ("tcp_udp", "tcp+udp"),
    ("udp+tcp", "tcp+udp"),
    ("warning", "warn"),
    ("none", "off"),
    ("false", "off"),
];

/// The word that was probably meant.
pub fn nearest<'w>(typed: &str, words: &[&'w str]) -> Option<&'w str> {
    nearest_free(typed, words, |_| true)
}

/// The same. Of what other programs call it, words that are free come first.
pub(super) fn nearest_free<'w>(
    typed: &str,
    words: &[&'w str],
    is_free: impl Fn(&str) -> bool,
) -> Option<&'w str> {
    if let Some(word) = synonym(typed, words, is_free) {
        return Some(word);
    }
    let typed = plain(typed);
    words
        .iter()
        .map(|word| (likeness(&typed, word), *word))
        .filter(|(likeness, _)| *likeness > 0.83)
        .max_by(|(a, _), (b, _)| a.total_cmp(b))
        .map(|(_, word)| word)
}

/// From 0 to 1, and more for one slip: of a short word Jaro and Winkler see little left after two letters have changed places.
fn likeness(typed: &str, word: &str) -> f64 {
    let slip = word.len() > 2 && strsim::osa_distance(typed, word) == 1;
    strsim::jaro_winkler(typed, word) + if slip { 1.0 } else { 0.0 }
}

/// Our word for what other programs call so. Of several, one that is free comes first.
pub(super) fn synonym<'w>(typed: &str, words: &[&'w str], is_free: impl Fn(&str) -> bool) -> Option<&'w str> {
    let typed = plain(typed);
    let same = SYNONYMS.iter().filter(|(theirs, _)| *theirs == typed);
    let ours: Vec<&str> =
        same.filter_map(|(_, ours)| words.iter().find(|word| *word == ours)).copied().collect();
    ours.iter().find(|word| is_free(word)).or(ours.first()).copied()
}

/// Without the differences that say nothing.
fn plain(typed: &str) -> String {
    typed.to_lowercase().replace(['-', ' '], "_")
}

/// `a, b and c`.
pub(super) fn list(words: impl IntoIterator<Item = String>, joint: &str) -> String {
    let mut words: Vec<String> = words.into_iter().collect();
    match words.pop() {
        Some(last) if !words.is_empty() => format!("{} {joint} {last}", words.join(", ")),
        last => last.unwrap_or_default(),
    }
}
