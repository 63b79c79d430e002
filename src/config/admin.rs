//! `[admin]`.

use schemars::JsonSchema;
use serde::Deserialize;

use super::listeners::{Access, NameOrNumber};
use super::place::{self, Place};
use super::placed::{At, Placed};
use super::read::address;
use super::table_schema::typed_table;
use super::values::Text;
use crate::model::{AdminSettings, Fault, ListenSpec, Secret, SocketAccess};

/// `[admin]`: the endpoint that shows and controls the running proxy. Without it there is none.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Admin {
    /// "unix:/path" (who may connect to it may do everything), a loopback address with its port, or with a `token` any
    /// address.
    #[schemars(required, extend("examples" = ["unix:/run/portway/admin.sock"]))]
    listen: Option<Text>,
    /// Who shows it may read and change. Without it changing needs a Unix socket. At least 16 characters.
    #[schemars(extend("examples" = ["kX3vW9qLr2TzP7sN"]))]
    token: Option<Text>,
    /// Who shows it may read. Without it reading needs the `token`, and on a loopback address nothing.
    #[schemars(extend("examples" = ["b8HjM4yQc6RfD1gK"]))]
    read_token: Option<Text>,
    /// The mode of the Unix socket's file, in octal digits. Without it "0600", with a `group` "0660".
    #[schemars(regex(pattern = "^0?[0-7]{3}$"), extend("examples" = ["0660"]))]
    mode: Option<Text>,
    /// The group of the Unix socket's file: its name or its number.
    #[schemars(extend("examples" = ["ops"]))]
    group: Option<NameOrNumber>,
}

typed_table!(Admin);

/// A shorter secret could be guessed.
const SHORTEST: usize = 16;

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

fn secret(place: Place<'_>, key: &str, typed: Option<Text>, faults: &mut Vec<Placed>) -> Option<Secret> {
    let value = place.table.get(key)?;
    // Its message would quote it.
    let text = match value.get_ref().as_str() {
        Some(_) => typed?.0,
        // A list or a table has its fault already.
        None => {
            typed?;
            let fault = Fault::new(format!("`{key}` takes text"), "put it in quotes");
            faults.push(Placed::new(value.span(), fault));
            return None;
        }
    };
    let fault = if text.chars().count() < SHORTEST {
        format!("the {key} is shorter than {SHORTEST} characters: it could be guessed")
    } else if !text.chars().all(|c| c.is_ascii_graphic()) {
        format!("the {key} has a character that an HTTP header cannot carry")
    } else {
        return Some(Secret::new(text));
    };
    let help = "write letters and digits, as `openssl rand -hex 16` gives them";
    faults.push(Placed::new(value.span(), Fault::new(fault, help)));
    None
}
