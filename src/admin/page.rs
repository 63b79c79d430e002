//! The page at `/`: one document that loads nothing. It is the same for everybody and says nothing about the proxy; its
//! script asks for that, with the rights of whoever looks.

use hyper::header::{self, HeaderName};

use super::http::Answer;

/// The whole document, assembled at compile time.
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

/// What the page may do: run this script, use this style (by their hashes), and ask its own origin. Nothing else: no
/// outside load, no frame, no form. A test compares the hashes with the document.
const POLICY: &str = concat!(
    "default-src 'none'; script-src 'sha256-dV3S1DNFWVyVlUjOFOzDdoRFshQHDAnbW209GCF4nmg='; style-src 'sha256-hMHYYOzJIyAKue/KHODcmO7C6miEJbHhqvL9rZqZjro='; ",
    "connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
);

/// Header fields besides those that every answer has.
const FIELDS: &[(HeaderName, &str)] =
    &[(header::CONTENT_SECURITY_POLICY, POLICY), (header::REFERRER_POLICY, "no-referrer")];

pub(super) fn answer() -> Answer {
    Answer { status: 200, kind: "text/html; charset=utf-8", body: DOCUMENT.as_bytes().to_vec(), more: FIELDS }
}
