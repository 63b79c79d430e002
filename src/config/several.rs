//! Lists that stand in one text, as in `"a:80, b:80"`.

use toml::Spanned;
use toml::de::DeValue;

use super::place::Place;
use crate::model::Fault;

/// The fault of a text that is a list, where the key takes one. `reads`: whether an entry is a value of the key.
pub(super) fn fault(
    place: Place<'_>,
    key: &str,
    value: &Spanned<DeValue<'_>>,
    reads: impl Fn(&str) -> bool,
) -> Option<Fault> {
    let text = value.get_ref().as_str()?;
    let entries: Vec<&str> =
        text.split([',', ';', ' ', '\t', '\n']).filter(|entry| !entry.is_empty()).collect();
    // The second of `10.0.0.0 255.0.0.0` is a mask.
    let is_list = entries.len() > 1 && entries.iter().all(|entry| reads(entry) && !entry.starts_with("255."));
    if !is_list || !place.schema.takes_list(key) {
        return None;
    }
    let quoted = entries.iter().map(|entry| format!("\"{entry}\"")).collect::<Vec<_>>().join(", ");
    let alone = place.value(key) == value.span();
    let cure = if alone { format!("write [{quoted}]") } else { format!("write {quoted}") };
    Some(Fault::new(format!("`{text}` is a list in one text"), cure))
}
