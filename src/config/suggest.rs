//! "Did you mean", and lists of words.

/// Words that other programs use, and ours.
const SYNONYMS: &[(&str, &str)] = &[
    ("address", "listen"),
    ("bind", "listen"),
    ("from", "listen"),
    ("local", "listen"),
    ("port", "listen"),
    ("backend", "upstream"),
    ("dest", "upstream"),
    ("destination", "upstream"),
    ("forward", "upstream"),
    ("remote", "upstream"),
    ("server", "upstream"),
    ("servers", "upstream"),
    ("target", "upstream"),
    ("targets", "upstream"),
    ("to", "upstream"),
    ("forwards", "route"),
    ("proxy", "route"),
    ("server", "route"),
    ("service", "route"),
    ("timeout", "connect_timeout"),
    ("logging", "log"),
    ("path", "access"),
    ("warning", "warn"),
    ("none", "off"),
    ("whitelist", "allow"),
    ("allowlist", "allow"),
    ("permit", "allow"),
    ("blacklist", "deny"),
    ("denylist", "deny"),
    ("block", "deny"),
    ("maxconn", "max_connections"),
    ("rate_limit", "rate_per_client"),
    ("send_proxy", "proxy_protocol"),
    ("server_name", "sni"),
    ("server_names", "sni"),
    ("hosts", "sni"),
    ("hostsni", "sni"),
    ("false", "off"),
];

/// The word that was probably meant.
pub(super) fn nearest<'w>(typed: &str, words: &[&'w str]) -> Option<&'w str> {
    let typed = typed.to_lowercase().replace(['-', ' '], "_");
    let near = words
        .iter()
        .map(|word| (strsim::jaro_winkler(&typed, word), *word))
        .filter(|(likeness, _)| *likeness > 0.83)
        .max_by(|(a, _), (b, _)| a.total_cmp(b))
        .map(|(_, word)| word);
    near.or_else(|| {
        let same = SYNONYMS.iter().filter(|(theirs, _)| *theirs == typed);
        same.flat_map(|(_, ours)| words.iter().find(|word| *word == ours)).copied().next()
    })
}

/// `a, b and c`.
pub(super) fn list(words: impl IntoIterator<Item = String>, joint: &str) -> String {
    let mut words: Vec<String> = words.into_iter().collect();
    match words.pop() {
        Some(last) if !words.is_empty() => format!("{} {joint} {last}", words.join(", ")),
        last => last.unwrap_or_default(),
    }
}
