//! Words of the file, the log and the metrics: each is defined once, with its text.

/// Defines an enum of words. Each variant has its text, which the file, the log and the metrics share, and its meaning,
/// which is its doc comment.
macro_rules! words {
    ($(#[$doc:meta])* $vis:vis enum $name:ident {
        // What stands in `default` is empty: a repetition needs something to repeat.
        $($(#[doc = $meaning:literal])* $(#[default $($default:tt)?])? $variant:ident = $text:literal,)*
    }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Deserialize)]
        $vis enum $name {
            $(
                $(#[doc = $meaning])*
                $(#[default $($default)?])?
                #[serde(rename = $text)]
                $variant,
            )*
        }

        impl $name {
            /// Every word, in the order of the enum.
            #[allow(dead_code, reason = "not every set of words is listed somewhere")]
            pub const ALL: [$name; [$($text),*].len()] = [$($name::$variant,)*];

            /// Its text. Never change it: files, logs and dashboards depend on it.
            pub fn label(self) -> &'static str {
                match self {
                    $($name::$variant => $text,)*
                }
            }

            /// What it means, for a person: sentences.
            #[allow(dead_code, reason = "not every set of words is explained somewhere")]
            pub fn meaning(self) -> &'static str {
                match self {
                    $($name::$variant => concat!($($meaning),*).trim_ascii(),)*
                }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.label())
            }
        }

        impl schemars::JsonSchema for $name {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($name).into()
            }

            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                schemars::json_schema!({ "type": "string", "enum": [$($text),*] })
            }
        }
    };
}

pub(crate) use words;
