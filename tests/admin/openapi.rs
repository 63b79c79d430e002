//! The description of the endpoint is what the endpoint does: every path answers, and every answer has the fields that it
//! should have and no others.

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt;

use serde_json::{Value, json};

use super::asker::{Asker, start_with};
use super::plan::golden;
use crate::harness::instance::{Backend, Flow, Port, route};
use crate::harness::tls::PEMS;
use crate::harness::until;

/// Where a value does not fit its schema. Every key must be described, and every key that is described must be there.
struct Fit<'d> {
    document: &'d Value,
    wrong: Vec<String>,
    /// The schemas that were used.
    used: BTreeSet<String>,
}

impl Fit<'_> {
    fn check(&mut self, schema: &Value, value: &Value, at: &str) {
        if let Some(name) = schema["$ref"].as_str() {
            self.used.insert(name.rsplit('/').next().unwrap().to_owned());
            let pointer = name.strip_prefix('#').unwrap();
            let document = self.document;
            return self.check(document.pointer(pointer).unwrap_or_else(|| panic!("no {name}")), value, at);
        }
        for choice in ["anyOf", "oneOf"] {
            if let Some(choices) = schema[choice].as_array() {
                let fits = choices.iter().any(|choice| {
                    let mut one = Fit { document: self.document, wrong: Vec::new(), used: BTreeSet::new() };
                    one.check(choice, value, at);
                    let fits = one.wrong.is_empty();
                    if fits {
                        self.used.extend(one.used);
                    }
                    fits
                });
                if !fits {
                    self.wrong.push(format!("{at}: {value} fits none of {choice}"));
                }
                return;
            }
        }
        if let Some(constant) = schema.get("const") {
            if constant != value {
                self.wrong.push(format!("{at}: {value} is not {constant}"));
            }
            return;
        }
        let types: Vec<&str> = match &schema["type"] {
            Value::String(one) => vec![one],
            Value::Array(many) => many.iter().map(|one| one.as_str().unwrap()).collect(),
            _ => panic!("{at}: a schema without a type: {schema}"),
        };
        let of = match value {
            Value::Null => "null",
            Value::Bool(_) => "boolean",
            Value::Number(number) if number.is_u64() && types.contains(&"integer") => "integer",
            Value::Number(_) => "number",
            Value::String(_) => "string",
            Value::Array(_) => "array",
            Value::Object(_) => "object",
        };
        if !types.contains(&of) {
            self.wrong.push(format!("{at}: {value} is no {types:?}"));
        }
        for item in value.as_array().into_iter().flatten() {
            self.check(&schema["items"], item, &format!("{at}[]"));
        }
        if let Some(object) = value.as_object() {
            self.object(schema, object, at);
        }
    }

    fn object(&mut self, schema: &Value, object: &serde_json::Map<String, Value>, at: &str) {
        for (key, value) in object {
            match (schema["properties"].get(key), schema.get("additionalProperties")) {
                (Some(known), _) => self.check(known, value, &format!("{at}.{key}")),
                (None, Some(any @ Value::Object(_))) => self.check(any, value, &format!("{at}.{key}")),
                _ => self.wrong.push(format!("{at}: `{key}` is not described")),
            }
        }
        for key in schema["required"].as_array().into_iter().flatten() {
            if !object.contains_key(key.as_str().unwrap()) {
                self.wrong.push(format!("{at}: `{key}` is not there"));
            }
        }
    }
}

#[test]
fn every_path_answers_as_it_is_described() {
    let (port, dead, backend) = (Port::reserve(), Port::reserve(), Backend::named("b"));
    let text = format!(
        "[[route]]\nname = \"web\"\nlisten = \"{}\"\nupstream = [\"{}\", \"{}\"]\nhealth = {{ interval = \"100ms\" }}\n\
         deny = \"10.0.0.0/8\"\n",
        port.local(),
        backend.addr,
        dead.local()
    );
    // Files with something to say: a key that everybody may read, and later a certificate that is none.
    let files = tempfile::tempdir().unwrap();
    let [_, cert, key] = PEMS.write(files.path());
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o644)).unwrap();
    let tls = format!("tls = {{ cert = \"{}\", key = \"{}\" }}\n", cert.display(), key.display());
    let out = route("out", &Port::reserve().local(), &backend, &tls);
    // And a store that does not answer.
    let from = format!("http://{}/edge.toml", dead.local());
    let (place, proxy, asker) = start_with(&(text.clone() + &out), &["--from", &from, "--every", "100ms"]);
    until("the store is away", || asker.get("/v1/status")["source"]["away"].is_object());
    // Before anything is pending: then there is no upgrade.
    let checked = asker.post("/v1/upgrade", &json!({ "check": true }));
    std::fs::write(&cert, "no certificate\n").unwrap();
    until("the certificate is pending", || asker.get("/v1/status")["pending_files"][0].is_object());
    let flow = Flow::open(port.number);
    until("a check has ended", || {
        !asker.get("/v1/upstreams")["upstreams"][1]["addresses"][0]["check"]["last"].is_null()
    });
    std::fs::write(place.file(), "x = 1\n").unwrap();
    let document = asker.get("/v1/openapi.json");
    let mut answers = answers(&asker, &text);
    answers.push(("POST", "/v1/upgrade", "200".to_owned(), checked));
    let mut fit = Fit { document: &document, wrong: Vec::new(), used: BTreeSet::new() };
    let mut asked = BTreeSet::new();
    for (method, path, status, body) in &answers {
        let described = &document["paths"][*path][method.to_lowercase()]["responses"];
        assert!(described.is_object(), "{method} {path} is not described");
        let named = described.get(status).unwrap_or(&described["default"]);
        asked.insert(format!("{method} {path}"));
        match named.pointer("/content/application~1json/schema") {
            Some(schema) => fit.check(schema, body, &format!("{method} {path} {status}")),
            None => assert!(body.is_string() || *path == "/v1/openapi.json", "{path}: {body}"),
        }
    }
    assert!(fit.wrong.is_empty(), "{:#?}", fit.wrong);
    let all: BTreeSet<String> = document["paths"]
        .as_object()
        .unwrap()
        .iter()
        .flat_map(|(path, methods)| {
            let methods = methods.as_object().unwrap().keys();
            methods.map(move |method| format!("{} {path}", method.to_uppercase()))
        })
        .collect();
    assert_eq!(asked, all, "every path is asked here");
    let schemas = document["components"]["schemas"].as_object().unwrap().keys();
    let bodies = ["Kill", "ReloadFile", "Drain", "Disable", "Enable", "Weight", "Upgrade", "Filter"]
        .map(ToOwned::to_owned);
    // The one that is there only after an upgrade: `upgrade::connections` has seen it.
    let known = |name: &str| bodies.iter().any(|body| body == name) || name == "OldProcess";
    let unused: Vec<&String> = schemas.filter(|name| !fit.used.contains(*name) && !known(name)).collect();
    assert!(unused.is_empty(), "no answer has had these: {unused:?}");
    // Whoever changes the contract changes this file with it.
    golden("openapi.json", &format!("{document:#}\n"));
    drop(flow);
    proxy.stop();
}

type Asked = (&'static str, &'static str, String, Value);

/// Every path, with answers of each kind.
fn answers(asker: &Asker, text: &str) -> Vec<Asked> {
    let mut answers = Vec::new();
    let mut ask = |method: &'static str, path: &'static str, query: &str, body: &str| {
        let answer = asker.ask(method, &format!("{path}{query}"), body);
        let value = serde_json::from_str(&answer.body).unwrap_or(Value::String(answer.body));
        answers.push((method, path, answer.status.to_string(), value.clone()));
        value
    };
    until("the fault is seen", || !asker.get("/v1/status")["pending"].is_null());
    for path in [
        "/v1/status",
        "/v1/routes",
        "/v1/upstreams",
        "/v1/openapi.json",
        "/metrics",
        "/",
        "/healthz",
        "/readyz",
    ] {
        ask("GET", path, "", "");
    }
    let rows = ask("GET", "/v1/connections", "?tcp=true", "");
    assert!(rows["connections"][0]["tcp"]["client"].is_object(), "{rows}");
    ask("GET", "/v1/connections", "?colour=red", "");
    ask("GET", "/v1/upstreams", "?route=nobody", "");
    ask("GET", "/v1/plan", "", "");
    let plan = text.replace("10.0.0.0/8", "11.0.0.0/8")
        + "[[route]]\nname = \"new\"\nlisten = \"127.0.0.1:1\"\nupstream = \"nowhere.invalid:1\"\n"
        + "[log]\nlevel = \"warn\"\n";
    let planned = ask("POST", "/v1/plan", "", &plan);
    assert_eq!(planned["changed"][0]["keys"][0]["key"], "deny", "{planned}");
    // With a connection that it concerns.
    let planned = ask("POST", "/v1/plan", "", &format!("{text}idle_timeout = \"1h\"\n"));
    assert_eq!(planned["changed"][0]["open"], 1, "{planned}");
    ask("POST", "/v1/plan", "", "nonsense");
    ask("POST", "/v1/reload", "", "{\"keep\":false}");
    ask("POST", "/v1/kill", "", &json!({ "ids": [rows["connections"][0]["id"], 999_999] }).to_string());
    ask("POST", "/v1/kill", "", "{}");
    ask("POST", "/v1/drain", "", "{\"route\":\"nobody\"}");
    ask("POST", "/v1/drain", "", "{\"route\":\"out\"}");
    ask("POST", "/v1/drain", "", "{\"route\":\"web\",\"upstream\":\"nowhere:1\"}");
    let upstream = &asker.get("/v1/upstreams")["upstreams"][1]["upstream"];
    let of = |more: &str| format!("{{\"route\":\"web\",\"upstream\":{upstream}{more}}}");
    ask("POST", "/v1/drain", "", &of(",\"for\":\"1h\""));
    ask("POST", "/v1/disable", "", &of(""));
    ask("POST", "/v1/weight", "", &of(",\"weight\":2"));
    ask("POST", "/v1/upgrade", "", "{\"check\":true}");
    ask("GET", "/v1/routes", "", "");
    ask("GET", "/v1/upstreams", "", "");
    ask("GET", "/v1/status", "", "");
    ask("POST", "/v1/enable", "", &of(""));
    ask("POST", "/v1/enable", "", "{\"route\":\"nobody\"}");
    answers
}
