//! Two experiments side by side: the keys whose values are not the same.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Serialize;

use crate::error::ConfigError;
use crate::experiment::Experiment;
use crate::node::{Entry, Node, Value};
use crate::place::Place;
use crate::shape::join;

/// A key that two experiments disagree about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// Dotted path, as `--set` takes it: `stage.0.optimizer.lr`.
    pub key: String,
    /// Its value in the first, as one line of TOML; none where the first does not have it.
    pub left: Option<String>,
    /// Its value in the second.
    pub right: Option<String>,
}

/// Keys that differ between the resolved files of two experiments, in the order of the file.
pub fn differences(a: &Experiment, b: &Experiment) -> Vec<Difference> {
    compare(a.flat(), b.flat())
}

/// The same of two files as they are, such as the resolved `config.toml` of two runs. Values are compared
/// as they stand: of files that are not resolved, keys that one leaves out differ.
///
/// # Errors
///
/// [`ConfigError::Syntax`] when one of them is not TOML, with `left` or `right` for its path.
pub fn differences_of_texts(a_toml: &str, b_toml: &str) -> Result<Vec<Difference>, ConfigError> {
    let flat = |text: &str, name: &str| Ok(flatten(&Node::of_file(text, Path::new(name))?));
    Ok(compare(flat(a_toml, "left")?, flat(b_toml, "right")?))
}

impl Experiment {
    /// Every key of the resolved file that is no table, with its value, in the order of the file.
    pub(crate) fn flat(&self) -> Vec<(String, toml::Value)> {
        let text = self.resolved_toml();
        // What was just written as TOML is TOML.
        Node::parse(&text).map_or(Vec::new(), |node| flatten(&node))
    }
}

/// Keys and values of a tree, in the order in which they were written.
fn flatten(node: &Node) -> Vec<(String, toml::Value)> {
    let mut list = Vec::new();
    walk(node, "", &mut list);
    list
}

fn walk(node: &Node, path: &str, list: &mut Vec<(String, toml::Value)>) {
    match &node.value {
        Value::Table(entries) => {
            let mut entries: Vec<&Entry> = entries.iter().collect();
            entries.sort_by_key(|entry| match entry.place {
                Place::File { line, column } => (line, column),
                Place::Override(_) | Place::Default => (usize::MAX, 0),
            });
            for entry in entries {
                walk(&entry.node, &join(path, &entry.key), list);
            }
        }
        Value::List(nodes)
            if nodes
                .iter()
                .any(|node| matches!(node.value, Value::Table(_))) =>
        {
            for (idx, node) in nodes.iter().enumerate() {
                walk(node, &join(path, &idx.to_string()), list);
            }
        }
        _ => list.push((path.to_string(), node.to_toml())),
    }
}

/// What differs, in the order of the first; keys of the second alone stand where they stand there.
pub(crate) fn compare(
    left: Vec<(String, toml::Value)>,
    right: Vec<(String, toml::Value)>,
) -> Vec<Difference> {
    let of_left: BTreeMap<&str, &toml::Value> = by_key(&left);
    let of_right: BTreeMap<&str, &toml::Value> = by_key(&right);
    let mut order: Vec<&str> = left.iter().map(|(key, _)| key.as_str()).collect();
    let mut behind = 0;
    for (key, _) in &right {
        match order.iter().position(|known| known == key) {
            Some(place) => behind = place + 1,
            None => {
                order.insert(behind, key);
                behind += 1;
            }
        }
    }
    let of_key = |key: &str| {
        let (left, right) = (of_left.get(key), of_right.get(key));
        (left != right).then(|| Difference {
            key: key.into(),
            left: left.map(|value| one_line(value)),
            right: right.map(|value| one_line(value)),
        })
    };
    order.into_iter().filter_map(of_key).collect()
}

fn by_key(list: &[(String, toml::Value)]) -> BTreeMap<&str, &toml::Value> {
    list.iter()
        .map(|(key, value)| (key.as_str(), value))
        .collect()
}

/// A value as TOML that keeps to its line.
fn one_line(value: &toml::Value) -> String {
    match value {
        toml::Value::String(text) => {
            let mut line = String::from("\"");
            for c in text.chars() {
                match c {
                    '"' | '\\' => line.extend(['\\', c]),
                    '\n' => line += "\\n",
                    '\t' => line += "\\t",
                    c if c.is_control() => line += &format!("\\u{:04X}", u32::from(c)),
                    c => line.push(c),
                }
            }
            line + "\""
        }
        toml::Value::Array(values) => {
            let values: Vec<String> = values.iter().map(one_line).collect();
            format!("[{}]", values.join(", "))
        }
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn check(left: &str, right: &str, expected: &[(&str, Option<&str>, Option<&str>)]) {
        let found = differences_of_texts(left, right).unwrap();
        let found: Vec<(&str, Option<&str>, Option<&str>)> = found
            .iter()
            .map(|d| (d.key.as_str(), d.left.as_deref(), d.right.as_deref()))
            .collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn what_differs_is_listed_in_the_order_of_the_files() {
        check("a = 1", "a = 1", &[]);
        check(
            "z = 1\na = 2\n[t]\nx = [1, 2]\n",
            "z = 2\nb = 'q'\na = 2\n[t]\nx = [1, 3]\n",
            &[
                ("z", Some("1"), Some("2")),
                ("b", None, Some("\"q\"")),
                ("t.x", Some("[1, 2]"), Some("[1, 3]")),
            ],
        );
        // A list of tables is compared table by table, and one more table by its keys.
        check(
            "[[stage]]\nn = 1\n",
            "[[stage]]\nn = 2\n[[stage]]\nn = 3\n",
            &[
                ("stage.0.n", Some("1"), Some("2")),
                ("stage.1.n", None, Some("3")),
            ],
        );
        check("a = 1.0", "a = 1", &[("a", Some("1.0"), Some("1"))]);
    }

    #[test]
    fn a_text_that_is_not_toml_is_named() {
        let message = |a, b| differences_of_texts(a, b).unwrap_err().to_string();
        assert!(message("a = ", "").starts_with("left:1:"));
        assert!(message("", "a = 1\n]").starts_with("right:2:"));
    }

    proptest! {
        #[test]
        fn any_text_keeps_to_its_line_and_reads_back(text in any::<String>()) {
            let value = toml::Value::String(text);
            let line = one_line(&value);
            prop_assert!(!line.contains(['\n', '\r']), "{line:?}");
            let table: toml::Table = toml::from_str(&format!("a = {line}")).unwrap();
            prop_assert_eq!(&table["a"], &value);
        }
    }
}
