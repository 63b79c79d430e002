//! The page at `/`: one document that loads nothing. It is the same for everybody and says nothing of the proxy; its script
//! asks for that, by the rights of whoever looks.

use hyper::header::{self, HeaderName};

use super::http::Answer;

/// The whole of it, put together when this is compiled.
const DOCUMENT: &str = concat!(
    "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n",
    "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<title>Portway</title>\n",
    "<link rel=\"icon\" href=\"data:,\">\n<style>",
    include_str!("page/page.css"),
    "</style>\n</head>\n<body>\n",
    include_str!("page/page.html"),
    "<script>",
    include_str!("page/page.js"),
    "</script>\n</body>\n</html>\n"
);

/// It may run this script and have this style (by their hashes), ask where it came from, and nothing else: no outside
/// load, no frame, no form that leaves. A test holds the hashes against the document.
const POLICY: &str = concat!(
    "default-src 'none'; script-src 'sha256-D1oocb973DYW7S+S/Gm2ojEYZ2QM475ZwSWT0/lEhzg='; style-src 'sha256-OX3/vKOe5NU6voafir4pnluUFEDsi2A496x+A8CMCTw='; ",
    "connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
);

/// Beside what every answer says.
const FIELDS: &[(HeaderName, &str)] =
    &[(header::CONTENT_SECURITY_POLICY, POLICY), (header::REFERRER_POLICY, "no-referrer")];

pub(super) fn answer() -> Answer {
    Answer { status: 200, kind: "text/html; charset=utf-8", body: DOCUMENT.as_bytes().to_vec(), more: FIELDS }
}
