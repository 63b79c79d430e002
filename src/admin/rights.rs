//! Who may do what. The permissions of a Unix socket's file say who may connect, and whoever does may do everything.
//! Elsewhere reading and changing are two rights, each with its token; on a loopback address reading needs none, unless
//! the file has a `read_token`.
//!
//! No other site may use a browser as its tool: a page of another origin is refused, and so is one whose name was
//! pointed at this address (DNS rebinding).

use std::net::IpAddr;

use super::api::Problem;
use super::http::Request;
use crate::model::{AdminSettings, ListenAddr};
use crate::server::tokens::Tokens;

/// The right that a request needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Right {
    /// None: the answer says no more than that somebody is there.
    None,
    /// To see what runs.
    Read,
    /// To end connections, and to change what runs.
    Change,
}

/// What a client has shown with its request: what else it may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Shown {
    /// No right: it asks for what everybody may have.
    Nothing,
    /// The token for reading.
    Read,
    /// The token for changing what runs.
    Change,
    /// The permissions of the Unix socket's file let it in: it is a user of this host whom the operator trusts with all.
    Owner,
}

/// Why a request is refused.
#[derive(Debug)]
pub(super) struct Refusal {
    /// The HTTP status of the answer.
    pub status: u16,
    pub problem: Problem,
}

impl Refusal {
    /// Of a request that says nothing that can be done.
    pub fn wrong(problem: Problem) -> Refusal {
        Refusal { status: 400, problem }
    }
}

/// Checks that a request has the right that it needs. Returns what right it has shown.
pub(super) fn check(
    settings: &AdminSettings,
    tokens: &Tokens,
    request: &Request,
    right: Right,
) -> Result<Shown, Refusal> {
    if matches!(settings.listen, ListenAddr::Unix(_)) {
        return Ok(Shown::Owner);
    }
    let knows =
        |is: fn(&Tokens, &str) -> bool| request.token.as_ref().is_some_and(|offered| is(tokens, offered));
    let shown = match (knows(Tokens::may_change), knows(Tokens::may_read)) {
        (true, _) => Shown::Change,
        (false, true) => Shown::Read,
        (false, false) => Shown::Nothing,
    };
    if right == Right::None {
        return Ok(shown);
    }
    // A page of somebody else does not know a token.
    if shown == Shown::Nothing {
        by_address(request)?;
    }
    same_origin(request)?;
    let open = settings.is_local() && settings.read_token.is_none();
    match right {
        Right::Read if shown == Shown::Nothing && !open => {
            Err(unauthorized(request, "reading needs a token"))
        }
        Right::None | Right::Read => Ok(shown),
        Right::Change if shown >= Shown::Change => Ok(shown),
        Right::Change if settings.token.is_none() => Err(Refusal {
            status: 403,
            problem: Problem::new(
                "changing needs a token, and the file has none",
                "add token = \"...\" to [admin], or listen on \"unix:/run/portway/admin.sock\"",
            ),
        }),
        Right::Change => Err(unauthorized(request, "changing needs the token")),
    }
}

fn unauthorized(request: &Request, error: &str) -> Refusal {
    let help = match request.token {
        Some(_) => "the one that was sent is not the one of [admin]",
        None => {
            "send it as `Authorization: Bearer ...`; the commands take it from [admin], or from $PORTWAY_TOKEN"
        }
    };
    Refusal { status: 401, problem: Problem::new(error, help) }
}

/// Refuses a `Host` that is a name, which anybody may point here. An address and `localhost` are safe.
fn by_address(request: &Request) -> Result<(), Refusal> {
    let host = request.host.as_deref().unwrap_or_default();
    let name = without_port(host);
    let plain = name.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>().is_ok();
    let local = name.eq_ignore_ascii_case("localhost") || name.to_ascii_lowercase().ends_with(".localhost");
    if plain || local {
        return Ok(());
    }
    let problem = Problem::new(
        format!("the request asks for the host `{}`", tidy(host)),
        "ask by address, or for localhost; with a token any name will do".to_owned(),
    );
    Err(Refusal { status: 421, problem })
}

/// Refuses a request from a page of another origin. A browser says in `Origin` where the page is from; where it leaves
/// that out, as for an image or a link, it says in `Sec-Fetch-Site` how far it is.
fn same_origin(request: &Request) -> Result<(), Refusal> {
    let Some(origin) = &request.origin else {
        let site = request.fetch_site.as_deref().unwrap_or("none");
        // "none": a person has typed the address.
        if ["same-origin", "none"].contains(&site) {
            return Ok(());
        }
        return Err(foreign("another site"));
    };
    let host = request.host.as_deref().unwrap_or_default();
    let own = ["http://", "https://"].iter().any(|scheme| origin.strip_prefix(scheme) == Some(host));
    if own && !host.is_empty() {
        return Ok(());
    }
    Err(foreign(&format!("`{}`", tidy(origin))))
}

fn foreign(whose: &str) -> Refusal {
    let error = format!("the request comes from a page of {whose}");
    Refusal { status: 403, problem: Problem::new(error, "only pages of this address may ask".to_owned()) }
}

fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) && !name.ends_with(':') => name,
        _ => host,
    }
}

/// Text from a client, made safe for an answer: no control characters, at most 100 characters.
fn tidy(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(100).collect()
}

#[cfg(test)]
mod tests {
    use hyper::Method;

    use super::*;
    use crate::model::{Secret, SocketAccess, Token};

    const TOKEN: &str = "0123456789abcdef";
    const READ: &str = "fedcba9876543210";

    fn settings(listen: &str, token: bool, read: bool) -> AdminSettings {
        let listen = listen.parse::<crate::model::ListenSpec>().unwrap().at(0);
        AdminSettings {
            listen,
            access: SocketAccess::OWNER,
            token: token.then(|| Token::Here(Secret::new(TOKEN))),
            read_token: read.then(|| Token::Here(Secret::new(READ))),
        }
    }

    fn request(host: &str, origin: Option<&str>, token: Option<&str>) -> Request {
        Request {
            method: Method::GET,
            path: String::new(),
            query: String::new(),
            host: Some(host.to_owned()),
            origin: origin.map(ToOwned::to_owned),
            fetch_site: None,
            token: token.map(ToOwned::to_owned),
            accept: String::new(),
        }
    }

    /// The status for each right (none, read, change); 0: it is granted.
    fn may(settings: &AdminSettings, request: &Request) -> [u16; 3] {
        [Right::None, Right::Read, Right::Change].map(|right| {
            check(settings, &Tokens::of(settings), request, right)
                .map_or_else(|refusal| refusal.status, |_| 0)
        })
    }

    #[test]
    fn reading_and_changing_are_two_rights() {
        let local = "127.0.0.1:9180";
        let ask = |token| request(local, None, token);
        let unix = settings("unix:/run/portway/admin.sock", true, true);
        assert_eq!(may(&unix, &ask(None)), [0, 0, 0], "a Unix socket lets in whom its file lets in");
        let plain = settings(local, false, false);
        assert_eq!(may(&plain, &ask(None)), [0, 0, 403]);
        let token = settings(local, true, false);
        assert_eq!(may(&token, &ask(None)), [0, 0, 401]);
        assert_eq!(may(&token, &ask(Some("wrong"))), [0, 0, 401]);
        assert_eq!(may(&token, &ask(Some(TOKEN))), [0, 0, 0]);
        let both = settings(local, true, true);
        assert_eq!(may(&both, &ask(None)), [0, 401, 401]);
        assert_eq!(may(&both, &ask(Some(READ))), [0, 0, 401]);
        let open = settings("9180", true, false);
        assert_eq!(may(&open, &ask(None)), [0, 401, 401], "elsewhere reading needs a token too");
    }

    #[test]
    fn a_page_of_another_origin_is_refused() {
        let plain = settings("127.0.0.1:9180", true, false);
        let host = |host| may(&plain, &request(host, None, None))[1];
        for fine in ["127.0.0.1:9180", "127.0.0.1", "localhost:9180", "[::1]:9180", "10.1.2.3", "a.localhost"]
        {
            assert_eq!(host(fine), 0, "{fine}");
        }
        for led_astray in
            ["evil.example", "evil.example:9180", "", "localhost.evil.example", "127.0.0.1.evil.example"]
        {
            assert_eq!(host(led_astray), 421, "{led_astray}");
        }
        let origin = |origin, token| may(&plain, &request("127.0.0.1:9180", Some(origin), token))[1];
        assert_eq!(origin("http://127.0.0.1:9180", None), 0);
        for (other, token) in
            [("http://evil.example", None), ("null", None), ("http://127.0.0.1:80", Some(TOKEN))]
        {
            assert_eq!(origin(other, token), 403, "{other}");
        }
        assert_eq!(may(&plain, &request("proxy.example", None, Some(TOKEN)))[1], 0);
        let site = |site: &str, origin, right: usize| {
            let asked = Request {
                fetch_site: Some(site.to_owned()),
                ..request("127.0.0.1:9180", origin, Some(TOKEN))
            };
            may(&plain, &asked)[right]
        };
        let own = Some("http://127.0.0.1:9180");
        assert_eq!(
            [site("none", None, 2), site("same-origin", None, 2), site("same-origin", own, 2)],
            [0; 3]
        );
        for other in ["cross-site", "same-site", "x"] {
            assert_eq!([0, 1, 2].map(|right| site(other, None, right)), [0, 403, 403], "{other}");
        }
    }

    #[test]
    fn what_a_request_shows_is_what_it_knows() {
        let both = settings("9180", true, true);
        let shown =
            |right, token| check(&both, &Tokens::of(&both), &request("10.0.0.1", None, token), right).ok();
        assert_eq!(shown(Right::None, None), Some(Shown::Nothing));
        assert_eq!(shown(Right::None, Some(READ)), Some(Shown::Read));
        assert_eq!(shown(Right::Read, Some(TOKEN)), Some(Shown::Change));
        let open = settings("127.0.0.1:9180", true, false);
        let asked = request("127.0.0.1", None, None);
        let may = check(&open, &Tokens::of(&open), &asked, Right::Read).ok();
        assert_eq!(may, Some(Shown::Nothing));
    }
}
