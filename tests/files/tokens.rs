//! Tokens of the admin endpoint: what a file may hold, and what stands in `[admin]` but is none.

use portway::config::{compile, token};

const TOKEN: &str = "0123456789abcdef";

#[test]
fn what_stands_around_the_token_of_a_file_is_no_part_of_it() {
    for text in [
        "0123456789abcdef",
        "0123456789abcdef\n",
        "0123456789abcdef\r\n",
        "\n\n 0123456789abcdef\t\r\n\n",
        "\u{feff}0123456789abcdef",
        "\u{feff} 0123456789abcdef\n",
        "\n\u{feff}0123456789abcdef\n\u{feff}",
    ] {
        assert!(token(text.as_bytes()).unwrap().is(TOKEN), "{text:?}");
    }
}

#[test]
fn a_file_that_holds_no_token_says_why() {
    for (bytes, why) in [
        ("", "the file is empty"),
        (" \r\n\t\n", "the file is empty"),
        ("\u{feff}\n", "the file is empty"),
        ("0123456789abcdef\n0123456789abcdef\n", "the file has 2 lines, and a token is one"),
        ("a\n\nb", "the file has 3 lines, and a token is one"),
        ("0123456789abcde\n", "the token is shorter than 16 characters: it could be guessed"),
        ("01234567 9abcdef", "the token has a character that an HTTP header cannot carry"),
        ("0123456789\u{feff}abcdef", "the token has a character that an HTTP header cannot carry"),
        ("0123456789abcdé0", "the token has a character that an HTTP header cannot carry"),
    ] {
        assert_eq!(token(bytes.as_bytes()).unwrap_err().message, why, "{bytes:?}");
    }
    for (bytes, why) in [
        (&b"\xff\xfe0\x001\x00"[..], "the file is UTF-16"),
        (b"\xfe\xff\x000\x001", "the file is UTF-16"),
        (b"0123456789abcdef\xff", "the file is not text"),
        (b"\xff0123456789abcdef", "the file is not text"),
    ] {
        assert_eq!(token(bytes).unwrap_err().message, why);
    }
}

#[test]
fn a_placeholder_that_nothing_fills_in_is_no_token() {
    let with = |key: &str, token: &str| {
        let text = format!(
            "[admin]\nlisten = \"127.0.0.1:9180\"\n{key} = '{token}'\n[[route]]\nlisten = \"80\"\nupstream = \"app:80\"\n"
        );
        compile("f", text.as_bytes()).map_err(|report| report.headline())
    };
    for key in ["token", "read_token"] {
        for fine in [
            "{{kX3vW9qLr2TzP7sN",
            "kX3vW9qLr2TzP7sN}}",
            "{kX3vW9qLr2TzP7sN}",
            "kX3vW9qL$(r2TzP7sN)",
            "kX3vW9qL$r2TzP7sN{}",
        ] {
            with(key, fine).unwrap_or_else(|why| panic!("{fine}: {why}"));
        }
        for placeholder in [
            "{{ portway.token }}",
            "{{PORTWAY_ADMIN_TOKEN}}",
            "abcdefgh${TOKEN}",
            "$(cat /run/token)",
            "${TOKEN:-abcdefgh}",
        ] {
            let why = with(key, placeholder).unwrap_err();
            let expected = format!("nothing is filled in here: the {key} has a placeholder in it");
            assert!(why.contains(&expected), "{placeholder}: {why}");
        }
        for (variable, name) in [
            ("${PORTWAY_TOKEN}", "PORTWAY_TOKEN"),
            ("${token}", "token"),
            ("$PORTWAY_ADMIN_TOKEN", "PORTWAY_ADMIN_TOKEN"),
            ("$token", "token"),
        ] {
            let why = with(key, variable).unwrap_err();
            let expected = format!("the {key} would be this very text; write {key} = {{ env = \"{name}\" }}");
            assert!(why.contains(&expected), "{variable}: {why}");
        }
    }
}

#[test]
fn where_a_token_stands_is_said_once() {
    let with = |table: &str| {
        let text = format!(
            "[admin]\nlisten = \"127.0.0.1:9180\"\ntoken = {table}\n[[route]]\nlisten = \"80\"\nupstream = \"app:80\"\n"
        );
        let report = compile("f", text.as_bytes()).unwrap_err();
        assert_eq!(report.count(), 1, "{report}");
        report.headline()
    };
    for (table, why) in [
        (
            "{ file = \"/run/a\", env = \"A\" }",
            "f:3:9: the token stands in one place, not in two; write token = ",
        ),
        ("{}", "f:3:9: the table says nothing of the token; write token = "),
        ("{ file = \"\" }", "f:3:18: the path is empty; "),
        ("{ env = \"A-B\" }", "f:3:17: this is no name of a variable; "),
        ("{ env = \"1A\" }", "f:3:17: this is no name of a variable; "),
        ("{ env = \"\" }", "f:3:17: this is no name of a variable; "),
        ("{ env = \"$A\" }", "f:3:17: the name stands here without a sign; write env = \"A\""),
        ("{ env = \"${A}\" }", "f:3:17: the name stands here without a sign; write env = \"A\""),
        ("{ fil = \"/run/a\" }", "f:3:11: `[admin]` has no key `fil`; "),
        ("5", "f:3:9: `token` takes text; put it in quotes"),
    ] {
        assert!(with(table).starts_with(why), "{table}: {}", with(table));
    }
}

/// Texts that everybody knows or can guess, with what their fault says.
const NONE: [(&str, &str); 17] = [
    ("${PORTWAY_TOKEN_HERE}", "placeholder"),
    ("$PORTWAY_ADMIN_TOKEN", "placeholder"),
    ("{{PORTWAY_ADMIN_TOKEN}}", "placeholder"),
    ("%(PORTWAY_ADMIN_TOKEN)s", "placeholder"),
    ("<put-your-token-here>", "placeholder"),
    ("<secret:portway/token>", "placeholder"),
    ("/run/secrets/portway", "is a path"),
    ("/etc/portway/token", "is a path"),
    ("/opt/Portway/Token", "is a path"),
    ("file:/etc/portway/token", "is a path"),
    ("env:PORTWAY_ADMIN_TOKEN", "names a variable"),
    ("env:token_of_portway", "names a variable"),
    ("PORTWAY_TOKEN=kX3vW9qLr2TzP7sN", "has the name of a variable before it"),
    ("TOKEN1=kX3vW9qLr2TzP7sN", "has the name of a variable before it"),
    ("\"kX3vW9qLr2TzP7sN\"", "stands in quotes"),
    ("'kX3vW9qLr2TzP7sN'", "stands in quotes"),
    ("`kX3vW9qLr2TzP7sN`", "stands in quotes"),
];

#[test]
fn what_only_stands_for_a_token_is_none_wherever_it_is_read() {
    for (text, why) in NONE {
        let fault = token(format!("{text}\n").as_bytes()).map(drop).unwrap_err();
        assert!(fault.message.contains(why), "{text}: {}", fault.message);
        for key in ["token", "read_token"] {
            let file = format!(
                "[admin]\nlisten = \"127.0.0.1:9180\"\n{key} = '''{text}'''\n[[route]]\nlisten = \"80\"\nupstream = \"app:80\"\n"
            );
            let report = compile("f", file.as_bytes()).unwrap_err();
            assert_eq!(report.count(), 1, "{report}");
            let variable = text.starts_with('$');
            assert!(variable || report.headline().contains(why), "{text}: {report}");
            assert!(report.headline().contains(&format!("the {key} ")), "{text}: {report}");
            for shown in [&*report.to_string(), &fault.message, &fault.help] {
                assert!(!shown.contains("kX3v") && (variable || !shown.contains(text)), "{text}: {shown}");
            }
        }
    }
}

#[test]
fn a_token_may_have_the_signs_of_what_is_none_inside() {
    for fine in [
        // Base64 and base32.
        "/kX3vW9qLr2TzP7sN+0123==",
        "/kX3vW9q/Lr2TzP7sN+0123==",
        "MFRGGZDFMZTWQ2LK====",
        "MFRGGZDFMZTWQ2L=",
        "kX3vW9qLr2TzP7sN=",
        "abcdefgh=kX3vW9qL",
        "ABCD_EFGH-IJKL=kX3v",
        "\"kX3vW9qLr2TzP7sN",
        "kX3vW9qLr2TzP7sN'",
        "<kX3vW9qLr2TzP7sN",
        "kX3vW9qLr2TzP7sN>",
        "%(kX3vW9qLr2TzP7sN",
        "kX3vW9qLr2TzP7sN)s",
        "ENV:kX3vW9qLr2TzP7",
        "env:kX3vW9qL+2TzP7",
    ] {
        assert!(token(fine.as_bytes()).unwrap().is(fine), "{fine}");
    }
}
