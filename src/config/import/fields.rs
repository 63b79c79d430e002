//! Keys of a route with their values, in the order in which they were set.

/// A dotted path names a key of a table: `tls.upstream.ca`. Values are TOML.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Fields(Vec<Field>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Field {
    path: String,
    value: String,
    remark: String,
}

/// A key with its value as they are written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Line {
    pub key: String,
    pub value: String,
    /// What is said behind it. May be empty.
    pub remark: String,
}

impl Fields {
    /// Sets a key. What stood there before is replaced, in its place.
    pub fn set(&mut self, path: &str, value: impl Into<String>) {
        let value = value.into();
        match self.0.iter_mut().find(|field| field.path == path) {
            Some(field) => field.value = value,
            None => self.0.push(Field { path: path.to_owned(), value, remark: String::new() }),
        }
    }

    /// Says something behind the key, if it is there.
    pub fn remark(&mut self, path: &str, remark: impl Into<String>) {
        let remark = remark.into();
        if let Some(field) = self.0.iter_mut().find(|field| field.path == path) {
            field.remark = remark;
        }
    }

    /// Sets a key that nobody has set.
    pub fn or_set(&mut self, path: &str, value: impl Into<String>) {
        if !self.has(path) {
            self.set(path, value);
        }
    }

    pub fn get(&self, path: &str) -> Option<&str> {
        self.0.iter().find(|field| field.path == path).map(|field| &*field.value)
    }

    /// Whether the key is there, or one of its table.
    pub fn has(&self, path: &str) -> bool {
        self.0.iter().any(|field| is_in(&field.path, path))
    }

    /// The keys of which both do not say the same.
    pub fn differing(&self, other: &Fields) -> Vec<String> {
        let (one, two) = (self.lines(), other.lines());
        let odd = one.iter().chain(&two).filter(|line| !(one.contains(line) && two.contains(line)));
        let mut keys: Vec<String> = odd.map(|line| line.key.clone()).collect();
        keys.sort();
        keys.dedup();
        keys
    }

    /// Takes a key out, with its table.
    pub fn remove(&mut self, path: &str) {
        self.0.retain(|field| !is_in(&field.path, path));
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Sets what others say.
    pub fn take(&mut self, others: &Fields) {
        for field in &others.0 {
            self.set(&field.path, field.value.clone());
            self.remark(&field.path, field.remark.clone());
        }
    }

    /// The keys, tables inline.
    pub fn lines(&self) -> Vec<Line> {
        let all: Vec<&Field> = self.0.iter().collect();
        below("", &all)
    }

    /// All of it as one inline table.
    pub fn inline(&self) -> String {
        inline(&self.lines())
    }
}

/// Whether a path is this key, or one of its table.
fn is_in(path: &str, key: &str) -> bool {
    path.strip_prefix(key).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

fn inline(lines: &[Line]) -> String {
    let pairs: Vec<String> = lines.iter().map(|line| format!("{} = {}", line.key, line.value)).collect();
    format!("{{ {} }}", pairs.join(", "))
}

/// The keys below a prefix, each once.
fn below(prefix: &str, fields: &[&Field]) -> Vec<Line> {
    let mut lines: Vec<Line> = Vec::new();
    for field in fields {
        let Some(rest) = field.path.strip_prefix(prefix) else { continue };
        let key = rest.split('.').next().unwrap_or(rest);
        if lines.iter().any(|line| line.key == key) {
            continue;
        }
        let whole = format!("{prefix}{key}");
        let own: Vec<&Field> = fields.iter().copied().filter(|field| is_in(&field.path, &whole)).collect();
        let table: Vec<&Field> = own.iter().copied().filter(|field| field.path != whole).collect();
        let value = match table.is_empty() {
            true => field.value.clone(),
            false => inline(&below(&format!("{whole}."), &table)),
        };
        let remarks: Vec<&str> =
            own.iter().map(|field| &*field.remark).filter(|text| !text.is_empty()).collect();
        lines.push(Line { key: key.to_owned(), value, remark: remarks.join("; ") });
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_become_tables_in_the_order_in_which_they_were_set() {
        let mut fields = Fields::default();
        fields.set("idle_timeout", "\"10m\"");
        fields.set("tls.upstream", "true");
        fields.set("tls.cert", "\"a.pem\"");
        fields.remark("tls.cert", "why");
        let shown = |fields: &Fields| -> Vec<String> {
            fields.lines().iter().map(|line| format!("{} = {}", line.key, line.value)).collect()
        };
        let both = "tls = { upstream = true, cert = \"a.pem\" }";
        assert_eq!(shown(&fields), ["idle_timeout = \"10m\"", both]);
        assert_eq!(fields.lines()[1].remark, "why");
        fields.set("tls.upstream.ca", "\"ca.pem\"");
        let deeper = "tls = { upstream = { ca = \"ca.pem\" }, cert = \"a.pem\" }";
        assert_eq!(shown(&fields), ["idle_timeout = \"10m\"", deeper]);
        fields.remove("tls.upstream");
        assert_eq!(shown(&fields)[1], "tls = { cert = \"a.pem\" }");
        assert!(fields.has("tls") && !fields.has("tl"));
    }

    #[test]
    fn keys_differ_by_value_and_not_by_order() {
        let of = |pairs: &[[&str; 2]]| {
            let mut fields = Fields::default();
            pairs.iter().for_each(|[path, value]| fields.set(path, *value));
            fields
        };
        let one = of(&[["alpn", "\"h2\""], ["tls.cert", "\"a\""], ["health.port", "1"]]);
        assert!(
            one.differing(&of(&[["health.port", "1"], ["tls.cert", "\"a\""], ["alpn", "\"h2\""]])).is_empty()
        );
        let other = of(&[["alpn", "\"h2\""], ["tls.cert", "\"b\""], ["source", "\"off\""]]);
        assert_eq!(one.differing(&other), ["health", "source", "tls"]);
    }
}
