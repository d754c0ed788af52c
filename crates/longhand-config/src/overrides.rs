//! `--set a.b=c`: one value of the file replaced from the command line.

use crate::node::{Entry, Node, Value};
use crate::place::Place;

/// Applies one override to the tree.
///
/// The right-hand side is read as TOML where it is TOML and as text where it is not. List entries
/// are named by index (`stage.0.steps`). Tables on the way that the file does not have are made;
/// whether their keys exist is for the shape check to say.
///
/// # Errors
///
/// What is wrong with the override: no `=`, an empty path segment, an index that is not there, or a
/// path through a value that is no table.
pub(crate) fn apply(root: &mut Node, text: &str) -> Result<(), String> {
    let Some((path, raw)) = text.split_once('=') else {
        return Err("expected key.path=value, found no `=`".into());
    };
    let segments: Vec<&str> = path.trim().split('.').map(str::trim).collect();
    if segments.iter().any(|segment| segment.is_empty()) {
        return Err(format!(
            "the key path {:?} has an empty part; write it like stage.0.steps=10",
            path.trim()
        ));
    }
    let place = Place::Override(text.to_string());
    let raw = raw.trim();
    let value = Node::parse_value(raw).unwrap_or_else(|| Value::Text(raw.to_string()));
    let mut node = root;
    for (depth, segment) in segments.iter().enumerate() {
        let parent = segments[..depth].join(".");
        node = match &mut node.value {
            Value::Table(entries) => {
                let idx = entries.iter().position(|entry| entry.key == *segment);
                let idx = idx.unwrap_or_else(|| {
                    let node = Node::empty_table(place.clone());
                    entries.push(Entry {
                        key: segment.to_string(),
                        place: place.clone(),
                        node,
                    });
                    entries.len() - 1
                });
                if depth + 1 == segments.len() {
                    entries[idx].place = place.clone();
                }
                &mut entries[idx].node
            }
            Value::List(nodes) => {
                let n_entries = nodes.len();
                let idx = segment.parse::<usize>().ok();
                match idx.and_then(|idx| nodes.get_mut(idx)) {
                    Some(node) => node,
                    None => {
                        let range = match n_entries {
                            0 => "it is empty".into(),
                            1 => "its only index is 0".into(),
                            n => format!("its indices are 0 to {}", n - 1),
                        };
                        return Err(format!(
                            "`{parent}` is a list without entry `{segment}`; {range}"
                        ));
                    }
                }
            }
            other => {
                let found = other.describe();
                return Err(format!(
                    "`{parent}` is {found}, so it has no key `{segment}`"
                ));
            }
        };
    }
    *node = Node::all_at(value, &place);
    Ok(())
}

/// Makes values texts that are texts in `conformed`, the same tree held against the table of keys: `name=2026`
/// means the text, and only the table knows that.
pub(crate) fn take_texts(tree: &mut Node, conformed: &Node) {
    match (&mut tree.value, &conformed.value) {
        (Value::Table(entries), Value::Table(known)) => {
            for entry in entries {
                if let Some(known) = known.iter().find(|known| known.key == entry.key) {
                    take_texts(&mut entry.node, &known.node);
                }
            }
        }
        (Value::List(nodes), Value::List(known)) => {
            for (node, known) in nodes.iter_mut().zip(known) {
                take_texts(node, known);
            }
        }
        (value, Value::Text(text)) => *value = Value::Text(text.clone()),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Experiment;
    use std::path::Path;

    #[test]
    fn a_text_that_toml_takes_for_a_number_is_written_as_a_text() {
        let text = crate::shipped()[0].text;
        let path = Path::new("a.toml");
        for (name, toml) in [
            ("2026", "name = \"2026\"\n"),
            ("1e3", "name = \"1e3\"\n"),
            ("1979-05-27", "name = \"1979-05-27\"\n"),
        ] {
            let overrides = [format!("name={name}")];
            let written = Experiment::overridden_toml(text, path, &overrides).unwrap();
            assert!(written.contains(toml), "{written}");
            let experiment = Experiment::parse(&written, path, &[]).unwrap();
            assert_eq!(experiment.name, name);
        }
        // A number stays one.
        let written = Experiment::overridden_toml(text, path, &["seed=7".into()]).unwrap();
        assert!(written.contains("seed = 7\n"), "{written}");
    }

    /// The value at `path` after the override, or what is wrong with it.
    fn after(file: &str, text: &str, path: &[&str]) -> String {
        let mut root = Node::parse(file).unwrap();
        match apply(&mut root, text) {
            Err(message) => message,
            Ok(()) => {
                let mut value = root.to_toml();
                for segment in path {
                    value = match value {
                        toml::Value::Array(values) => {
                            values[segment.parse::<usize>().unwrap()].clone()
                        }
                        table => table[*segment].clone(),
                    };
                }
                value.to_string()
            }
        }
    }

    #[test]
    fn values_are_toml_where_they_can_be_and_text_otherwise() {
        let file = "seed = 1\n[[stage]]\nsteps = 2\n";
        let check = |text: &str, path: &[&str], expected: &str| {
            assert_eq!(after(file, text, path), expected, "{text}");
        };
        check("seed=7", &["seed"], "7");
        check("seed = 7", &["seed"], "7");
        check("name=big run", &["name"], "\"big run\"");
        check("name=\"a=b\"", &["name"], "\"a=b\"");
        check("stage.0.steps=10", &["stage", "0", "steps"], "10");
        check(
            "stage.0.optimizer.lr=1e-3",
            &["stage", "0", "optimizer", "lr"],
            "0.001",
        );
        check("eval.lengths=[1, 2]", &["eval", "lengths", "1"], "2");
        check("policy={ path = \"x\" }", &["policy", "path"], "\"x\"");
        check("name=", &["name"], "\"\"");
    }

    #[test]
    fn an_override_that_cannot_be_applied_says_why() {
        let file = "seed = 1\nlist = []\n[[stage]]\nsteps = 2\n[[stage]]\nsteps = 3\n";
        let check = |text: &str, expected: &str| assert_eq!(after(file, text, &[]), expected);
        check("seed", "expected key.path=value, found no `=`");
        check(
            "stage..steps=1",
            "the key path \"stage..steps\" has an empty part; write it like stage.0.steps=10",
        );
        check(
            "=1",
            "the key path \"\" has an empty part; write it like stage.0.steps=10",
        );
        check(
            "stage.2.steps=1",
            "`stage` is a list without entry `2`; its indices are 0 to 1",
        );
        check(
            "stage.steps=1",
            "`stage` is a list without entry `steps`; its indices are 0 to 1",
        );
        check(
            "list.0=1",
            "`list` is a list without entry `0`; it is empty",
        );
        check("seed.x=1", "`seed` is 1, so it has no key `x`");
    }
}
