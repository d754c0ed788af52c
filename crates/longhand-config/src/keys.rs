//! Every key of an experiment file as a flat list, for documentation and suggestions.

use crate::file::EXPERIMENT;
use crate::schema::{Default, Key, Kind};

/// One key, documented.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyDoc {
    /// Dotted path; `stage.N` stands for any entry of the list, `<rl>` for "where `kind` is rl".
    pub path: String,
    /// What the key accepts.
    pub accepts: String,
    /// Its default; "required" or what absence means where there is none.
    pub default: String,
    /// What it is for, in one line.
    pub meaning: &'static str,
}

impl KeyDoc {
    /// The last segment of the path.
    pub fn name(&self) -> &str {
        self.path.rsplit('.').next().unwrap_or(&self.path)
    }
}

/// Every key of an experiment file, in the order of the file.
pub fn keys() -> Vec<KeyDoc> {
    flatten(EXPERIMENT)
}

/// [`keys`] as a Markdown table.
pub fn keys_markdown() -> String {
    let mut table = String::from("| key | accepts | default | meaning |\n|---|---|---|---|\n");
    for key in keys() {
        let KeyDoc {
            path,
            accepts,
            default,
            meaning,
        } = key;
        let cells = [format!("`{path}`"), accepts, default, meaning.to_string()];
        let cells = cells.map(|cell| cell.replace('|', "\\|"));
        table += &format!("| {} |\n", cells.join(" | "));
    }
    table
}

pub(crate) fn flatten(keys: &'static [Key]) -> Vec<KeyDoc> {
    let mut list = Vec::new();
    walk_table(keys, "", &mut list);
    list
}

fn walk_table(keys: &'static [Key], prefix: &str, list: &mut Vec<KeyDoc>) {
    for key in keys {
        let path = format!("{prefix}{}", key.name);
        list.push(KeyDoc {
            path: path.clone(),
            accepts: key.kind.to_string(),
            default: match key.default {
                Default::Required => "required".into(),
                Default::Absent(otherwise) => otherwise.into(),
                Default::Literal(literal) => format!("`{literal}`"),
                Default::Section => "its keys' defaults".into(),
            },
            meaning: key.meaning,
        });
        walk_kind(&key.kind, key.default, &path, list);
    }
}

fn walk_kind(kind: &Kind, default: Default, path: &str, list: &mut Vec<KeyDoc>) {
    match kind {
        Kind::Table(keys) | Kind::TextOrTable { keys, .. } => {
            walk_table(keys, &format!("{path}."), list);
        }
        Kind::Tagged(variants) => {
            for variant in *variants {
                let path = format!("{path}<{}>", variant.name);
                list.push(KeyDoc {
                    path: format!("{path}.kind"),
                    accepts: format!("\"{}\"", variant.name),
                    default: if default.is_name(variant.name) {
                        "this one".into()
                    } else {
                        "another or none".into()
                    },
                    meaning: variant.meaning,
                });
                walk_table(variant.keys, &format!("{path}."), list);
            }
        }
        Kind::List(item) => walk_kind(item, default, &format!("{path}.N"), list),
        Kind::Text
        | Kind::Flag
        | Kind::Integer { .. }
        | Kind::IntegerOrName { .. }
        | Kind::Number(_)
        | Kind::NumberOrNone(_)
        | Kind::Choice(_)
        | Kind::NamesOrAll { .. }
        | Kind::FreeTable => {}
    }
}
