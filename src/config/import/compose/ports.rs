//! An entry of `ports`, in both forms.

use crate::config::import::tree::Node;

/// What an entry says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Port {
    /// Of the host. Empty: all of them.
    pub host: String,
    /// A port, or a range.
    pub published: String,
    /// Of the container.
    pub target: String,
    pub udp: bool,
    /// What stands for its variables.
    pub notes: Vec<String>,
}

const FREE: &str = "Docker takes a free port of the host; a route has one that is written: listen = \"8080\"";

/// `[HOST:]PUBLISHED:TARGET[/PROTOCOL]`.
pub(super) fn short(text: &str) -> Result<Port, String> {
    let (text, notes) = variables(text)?;
    let (ports, protocol) = text.split_once('/').unwrap_or((&text, "tcp"));
    let (rest, target) = ports.rsplit_once(':').ok_or(FREE)?;
    let (host, published) = match rest.rsplit_once(':') {
        Some((host, published)) => (host.trim_matches(['[', ']']), published),
        None if rest.contains('.') => (rest, ""),
        None => ("", rest),
    };
    whole(Port {
        host: host.to_owned(),
        published: published.to_owned(),
        target: target.to_owned(),
        udp: is_udp(protocol)?,
        notes,
    })
}

/// `target`, `published`, `host_ip`, `protocol`.
pub(super) fn long(node: &Node) -> Result<Port, String> {
    let mut notes = Vec::new();
    let mut text = |key: &str| -> Result<String, String> {
        let (text, more) = variables(node.get(key).and_then(Node::text).unwrap_or_default())?;
        notes.extend(more);
        Ok(text)
    };
    let (published, target, host, protocol) =
        (text("published")?, text("target")?, text("host_ip")?, text("protocol")?);
    let udp = if protocol.is_empty() { false } else { is_udp(&protocol)? };
    whole(Port { host, published, target, udp, notes })
}

fn is_udp(protocol: &str) -> Result<bool, String> {
    match protocol {
        "tcp" => Ok(false),
        "udp" => Ok(true),
        other => Err(format!("`{other}` is neither tcp nor udp")),
    }
}

/// Whether both sides have as many ports.
fn whole(port: Port) -> Result<Port, String> {
    if port.published.is_empty() || port.published == "0" {
        return Err(FREE.to_owned());
    }
    if port.published.contains('-') && !port.target.contains('-') {
        return Err(FREE.to_owned());
    }
    Ok(port)
}

/// A text whose variables have a value of their own: `${PORT:-8080}`.
fn variables(text: &str) -> Result<(String, Vec<String>), String> {
    let (mut out, mut notes, mut rest) = (String::new(), Vec::new(), text);
    while let Some((before, after)) = rest.split_once('$') {
        out.push_str(before);
        let inside = after.strip_prefix('{').and_then(|inside| inside.split_once('}'));
        let default = inside.and_then(|(inside, rest)| {
            let (name, default) = inside.split_once(":-").or_else(|| inside.split_once('-'))?;
            Some((name, default, rest))
        });
        let Some((name, default, behind)) = default else {
            return Err("the file has no variables: write the value".to_owned());
        };
        notes.push(format!("`{default}` is what {name} is without a value"));
        out.push_str(default);
        rest = behind;
    }
    out.push_str(rest);
    Ok((out, notes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_short_form() {
        let shown = |text: &str| {
            short(text).map(|port| format!("{} {} {} {}", port.host, port.published, port.target, port.udp))
        };
        for (text, expected) in [
            ("8080:80", " 8080 80 false"),
            ("127.0.0.1:8080:80", "127.0.0.1 8080 80 false"),
            ("[::1]:8080:80", "::1 8080 80 false"),
            ("9090-9091:8080-8081", " 9090-9091 8080-8081 false"),
            ("6060:6060/udp", " 6060 6060 true"),
            ("${PORT:-8080}:80", " 8080 80 false"),
        ] {
            assert_eq!(shown(text).as_deref(), Ok(expected), "{text}");
        }
        for text in ["80", "3000-3005", "127.0.0.1::80", "8000-9000:80", "${PORT}:80", "53:53/sctp"] {
            assert!(short(text).is_err(), "{text}");
        }
        let notes = short("${A:-8}${B-0}:80").unwrap().notes;
        assert_eq!(notes, ["`8` is what A is without a value", "`0` is what B is without a value"]);
        for (text, why) in [
            ("80", FREE),
            ("127.0.0.1:80", FREE),
            ("127.0.0.1::80", FREE),
            ("0:80", FREE),
            ("80-82:80", FREE),
            ("${A}:80", "the file has no variables: write the value"),
            ("$A:80", "the file has no variables: write the value"),
            ("53:53/sctp", "`sctp` is neither tcp nor udp"),
        ] {
            assert_eq!(short(text), Err(why.to_owned()), "{text}");
        }
    }
}
