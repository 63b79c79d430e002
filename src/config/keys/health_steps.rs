//! What a health check says and expects: `send`, `expect` and `steps` of `health`.

use std::borrow::Cow;
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::json;
use toml::Spanned;
use toml::de::DeValue;

use crate::config::place::{self, Place, kind};
use crate::config::placed::Placed;
use crate::config::read::text;
use crate::config::table_schema::typed_table;
use crate::config::values::Text;
use crate::model::health::MOST_STEPS;
use crate::model::{Fault, Protocol, Step};

/// One step of a check: it sends, or it expects.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("minProperties" = 1, "maxProperties" = 1))]
struct TypedStep {
    /// What is sent: text, or bytes as "hex:0d0a"; over UDP one datagram.
    #[schemars(extend("examples" = ["QUIT\r\n"]))]
    send: Option<Text>,
    /// What must come, since the last `send`: text, bytes as "hex:0d0a", or a pattern as "regex:^250 ".
    #[schemars(extend("examples" = ["220 "]))]
    expect: Option<Text>,
}

typed_table!(TypedStep);

/// A list of [`TypedStep`]: which of its entries are wrong is found in the document.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Steps(Vec<IgnoredAny>);

impl JsonSchema for Steps {
    fn schema_name() -> Cow<'static, str> {
        "Steps".into()
    }

    /// `TableSchema::tables_of` finds the table.
    fn json_schema(types: &mut SchemaGenerator) -> Schema {
        let step = types.subschema_for::<TypedStep>();
        json_schema!({ "type": "array", "items": step, "minItems": 1, "maxItems": MOST_STEPS })
    }
}

/// The keys, as typed.
pub(super) struct Typed {
    pub send: Option<Text>,
    pub expect: Option<Text>,
    pub steps: Option<Steps>,
}

/// Reads the three keys. Where they have faults, the steps are not whole.
pub(super) fn read(
    place: Place<'_>,
    typed: Typed,
    protocol: Protocol,
    faults: &mut Vec<Placed>,
) -> Vec<Step> {
    let before = faults.len();
    let mut steps: Vec<Step> = Vec::new();
    steps.extend(payload(place, "send", typed.send, faults).map(Step::Send));
    steps.extend(payload(place, "expect", typed.expect, faults).map(Step::Expect));
    if place.table.contains_key("steps") {
        if let Some(key) = ["send", "expect"].into_iter().find(|key| place.table.contains_key(*key)) {
            let fault = Fault::new(
                format!("`{key}` beside `steps`: which of them comes first is not said"),
                format!("remove it, and write it as a step: {{ {key} = {} }}", quoted(place, key)),
            );
            faults.push(Placed::new(place.value(key), fault));
        } else if let Some(Steps(entries)) = typed.steps {
            steps = list(place, entries.len(), faults);
        }
    }
    let unheard = matches!(steps.as_slice(), [_, ..]) && !steps.iter().any(is_expect);
    // Over UDP a refusal is an answer too.
    if faults.len() == before && unheard && protocol.has(Protocol::Tcp) && !place.has_unknown_keys() {
        let key = if place.table.contains_key("steps") { "steps" } else { "send" };
        let cure = "add what must come back: expect = \"PONG\"; without both a connect is enough";
        let cure = if key == "send" { cure } else { "add what must come: { expect = \"220 \" }" };
        let message = match key {
            "send" => "`send` needs an `expect`: nobody would look at the answer",
            _ => "no step has an `expect`: nobody would look at the answers",
        };
        faults.push(Placed::new(place.value(key), Fault::new(message, cure)));
    }
    steps
}

fn is_expect(step: &Step) -> bool {
    matches!(step, Step::Expect(_))
}

/// Reads the entries of `steps`.
fn list(place: Place<'_>, count: usize, faults: &mut Vec<Placed>) -> Vec<Step> {
    let fault = match count {
        0 => Fault::new(
            "`steps` is an empty list",
            "write steps = [{ expect = \"220 \" }, { send = \"QUIT\\r\\n\" }], or remove the key: then a connect is enough",
        ),
        1..=MOST_STEPS => return place.items("steps").filter_map(|value| one(value, faults)).collect(),
        _ => Fault::new(format!("{count} steps"), format!("the most is {MOST_STEPS}")),
    };
    faults.push(Placed::new(place.value("steps"), fault));
    Vec::new()
}

/// Reads one step.
fn one(value: &Spanned<DeValue<'_>>, faults: &mut Vec<Placed>) -> Option<Step> {
    let fault = match value.get_ref() {
        DeValue::Table(table) => {
            let place = Place::of::<TypedStep>(table, value.span());
            let typed: TypedStep = place::read(place, faults);
            match (table.contains_key("send"), table.contains_key("expect")) {
                (true, false) => return payload(place, "send", typed.send, faults).map(Step::Send),
                (false, true) => return payload(place, "expect", typed.expect, faults).map(Step::Expect),
                // A misspelt key has its own fault.
                (false, false) if place.has_unknown_keys() => return None,
                (false, false) => Fault::new(
                    "the step says nothing",
                    "write { send = \"QUIT\\r\\n\" } or { expect = \"220 \" }",
                ),
                (true, true) => Fault::new(
                    "a step sends or expects: which of the two comes first is not said",
                    format!(
                        "write two steps, in their order: {{ send = {} }}, {{ expect = {} }}",
                        quoted(place, "send"),
                        quoted(place, "expect")
                    ),
                ),
            }
        }
        DeValue::String(text) => {
            let text = json!(text);
            Fault::new(
                "a step is a table, not text",
                format!("write {{ send = {text} }} or {{ expect = {text} }}"),
            )
        }
        other => Fault::new(
            format!("a step is a table, not {}", kind(other)),
            "write { send = \"QUIT\\r\\n\" } or { expect = \"220 \" }",
        ),
    };
    faults.push(Placed::new(value.span(), fault));
    None
}

/// A text of the table as a person writes it. TOML reads what JSON escapes.
fn quoted(place: Place<'_>, key: &str) -> String {
    let text = place.table.get(key).and_then(|value| value.get_ref().as_str());
    json!(text.unwrap_or("...")).to_string()
}

/// What is sent, or expected.
fn payload<T: FromStr<Err = Fault>>(
    place: Place<'_>,
    key: &str,
    typed: Option<Text>,
    faults: &mut Vec<Placed>,
) -> Option<T> {
    let value = place.table.get(key)?;
    let typed = typed?;
    match text(key, &typed, value, faults)?.parse() {
        Ok(payload) => Some(payload),
        Err(error) => {
            let fault = Fault::new(format!("`{key}`: {error}"), error.help);
            faults.push(Placed::new(value.span(), fault));
            None
        }
    }
}
