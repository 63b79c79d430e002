//! `[admin]`, and the tokens that it names.

use schemars::JsonSchema;
use serde::Deserialize;
use toml::Spanned;
use toml::de::DeValue;

use super::listeners::{Access, NameOrNumber};
use super::or_table::OrTable;
use super::place::{self, Place};
use super::placed::{At, Placed};
use super::read::{address, path, text};
use super::secrets::{is_variable, variable_of};
use super::table_schema::typed_table;
use super::token;
use super::values::Text;
use crate::model::{AdminSettings, Fault, ListenSpec, SocketAccess, Token, TokenSource};

/// `[admin]`: the endpoint that shows and controls the running proxy. Without it there is none.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Admin {
    /// "unix:/path" (who may connect to it may do everything), a loopback address with its port, or with a `token` any
    /// address.
    #[schemars(required, extend("examples" = ["unix:/run/portway/admin.sock"]))]
    listen: Option<Text>,
    /// Who shows it may read and change. Without it changing needs a Unix socket. At least 16 characters; or
    /// { file = "/run/secrets/portway" }, or { env = "PORTWAY_TOKEN" }.
    #[schemars(extend("examples" = ["kX3vW9qLr2TzP7sN"]))]
    token: Option<OrTable<Text, Source>>,
    /// Who shows it may read: as `token`. Without it reading needs the `token`, and on a loopback address nothing.
    #[schemars(extend("examples" = ["b8HjM4yQc6RfD1gK"]))]
    read_token: Option<OrTable<Text, Source>>,
    /// The mode of the Unix socket's file, in octal digits. Without it "0600", with a `group` "0660".
    #[schemars(regex(pattern = "^0?[0-7]{3}$"), extend("examples" = ["0660"]))]
    mode: Option<Text>,
    /// The group of the Unix socket's file: its name or its number.
    #[schemars(extend("examples" = ["ops"]))]
    group: Option<NameOrNumber>,
}

/// Where a token stands that is not in this file. One of the two.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Source {
    /// The path of a file with the token in it: absolute, or from the folder of this file. It is watched.
    #[schemars(extend("examples" = ["/run/secrets/portway"]))]
    file: Option<Text>,
    /// The name of a variable of Portway's environment, read at the start and with each edit.
    #[schemars(extend("examples" = ["PORTWAY_TOKEN"]))]
    env: Option<Text>,
}

typed_table!(Admin);
typed_table!(Source);

/// Reads the section. With the place of its `listen`.
pub(super) fn read(place: Place<'_>, faults: &mut Vec<Placed>) -> Option<(AdminSettings, At<ListenSpec>)> {
    let typed: Admin = place::read(place, faults);
    let token = secret(place, "token", typed.token, faults);
    let read_token = secret(place, "read_token", typed.read_token, faults);
    if !place.table.contains_key("listen") && !place::is_misspelt(place, "listen") {
        let fault = Fault::new(
            "`[admin]` has no `listen`",
            "add a line like this: listen = \"unix:/run/portway/admin.sock\"",
        );
        faults.push(Placed::new(place.header(), fault));
    }
    let said = Access { mode: typed.mode, group: typed.group };
    let listen: At<ListenSpec> =
        address(place, "listen", &typed.listen?, place.table.get("listen")?, faults)?;
    let access = said.read(place, &listen.value, &SocketAccess::OWNER, faults);
    if listen.value.count() != 1 {
        let fault = Fault::new("the admin endpoint has one port", "write one port instead of a range");
        faults.push(Placed::new(listen.at, fault));
        return None;
    }
    let settings = AdminSettings { listen: listen.value.at(0), access, token, read_token };
    if !settings.is_local() && !place.table.contains_key("token") {
        let fault = Fault::new(
            "who can reach this address could read and change everything",
            "add token = \"...\", or listen on \"unix:/run/portway/admin.sock\" or on 127.0.0.1",
        );
        faults.push(Placed::new(listen.at, fault));
        return None;
    }
    Some((settings, listen))
}

fn secret(
    place: Place<'_>,
    key: &str,
    typed: Option<OrTable<Text, Source>>,
    faults: &mut Vec<Placed>,
) -> Option<Token> {
    let value = place.table.get(key)?;
    // Its message would quote it.
    let text = match (typed?, value.get_ref()) {
        (OrTable::Table(_), DeValue::Table(table)) => {
            return source(Place::of::<Source>(table, value.span()), key, faults).map(Token::Elsewhere);
        }
        (OrTable::Value(text), DeValue::String(_)) => text.0,
        _ => {
            let fault = Fault::new(format!("`{key}` takes text"), "put it in quotes");
            faults.push(Placed::new(value.span(), fault));
            return None;
        }
    };
    match token::written(key, text) {
        Ok(secret) => Some(Token::Here(secret)),
        Err(fault) => {
            faults.push(Placed::new(value.span(), fault));
            None
        }
    }
}

/// `{ file = "path" }` or `{ env = "NAME" }`.
fn source(place: Place<'_>, key: &str, faults: &mut Vec<Placed>) -> Option<TokenSource> {
    let typed: Source = place::read(place, faults);
    let cure =
        format!("write {key} = {{ file = \"/run/secrets/portway\" }}, or {{ env = \"PORTWAY_TOKEN\" }}");
    let fault = match (place.table.get("file"), place.table.get("env")) {
        (Some(_), None) => return path(place, "file", typed.file, faults).map(TokenSource::File),
        (None, Some(value)) => return variable(typed.env?, value, faults).map(TokenSource::Env),
        (Some(_), Some(_)) => Fault::new(format!("the {key} stands in one place, not in two"), cure),
        // A misspelt key has its fault already.
        (None, None) if place.has_unknown_keys() => return None,
        (None, None) => Fault::new(format!("the table says nothing of the {key}"), cure),
    };
    faults.push(Placed::new(place.header(), fault));
    None
}

fn variable(typed: Text, value: &Spanned<DeValue<'_>>, faults: &mut Vec<Placed>) -> Option<String> {
    let name = text("env", &typed, value, faults)?;
    if is_variable(name) {
        return Some(name.to_owned());
    }
    let fault = match variable_of(name) {
        Some(bare) => Fault::new("the name stands here without a sign", format!("write env = \"{bare}\"")),
        None => Fault::new(
            "this is no name of a variable",
            "write letters, digits and _, as in env = \"PORTWAY_TOKEN\"",
        ),
    };
    faults.push(Placed::new(value.span(), fault));
    None
}
