//! Holds a tree against the key tables: unknown keys, wrong types, ranges, missing keys, defaults.
//!
//! What comes out complete has every default written in, so that the serde structs behind it need
//! none of their own.

use crate::node::{Entry, Node, Value};
use crate::place::{Place, Problem};
use crate::schema::{Default, Key, Kind, Variant, quoted};

/// Checks `node`, a table, against `keys`; fills in defaults; returns everything that is wrong.
pub(crate) fn conform(node: &mut Node, keys: &'static [Key]) -> Vec<Problem> {
    let mut shape = Shape {
        top: keys,
        problems: Vec::new(),
    };
    let anchor = node.place.clone();
    shape.table(node, &Tag::None, keys, "", &anchor);
    shape.problems
}

/// Replaces every bare text that stands for a table by that table, and checks nothing.
///
/// Done before overrides are applied, so that `--set` reaches into `estimator = "grpo"`.
pub(crate) fn expand_shorthands(node: &mut Node, kind: &Kind) {
    if let (Value::Text(text), Some(key)) = (&node.value, shorthand(kind)) {
        let text = Node {
            place: node.place.clone(),
            value: Value::Text(text.clone()),
        };
        let entry = Entry {
            key: key.into(),
            place: node.place.clone(),
            node: text,
        };
        node.value = Value::Table(vec![entry]);
    }
    let keys = match kind {
        Kind::Table(keys) | Kind::TextOrTable { keys, .. } => keys,
        Kind::Tagged(variants) => match variant_of(node, variants) {
            Some(variant) => variant.keys,
            None => return,
        },
        Kind::List(item) => {
            if let Value::List(nodes) = &mut node.value {
                for node in nodes {
                    expand_shorthands(node, item);
                }
            }
            return;
        }
        _ => return,
    };
    if let Value::Table(entries) = &mut node.value {
        for entry in entries {
            if let Some(key) = keys.iter().find(|key| key.name == entry.key) {
                expand_shorthands(&mut entry.node, &key.kind);
            }
        }
    }
}

/// The key that a bare text is the value of, where a table is expected.
fn shorthand(kind: &Kind) -> Option<&'static str> {
    match kind {
        Kind::TextOrTable { shorthand, .. } => Some(shorthand),
        Kind::Tagged(_) => Some("kind"),
        _ => None,
    }
}

/// The variant that a table's `kind` names.
fn variant_of(node: &Node, variants: &'static [Variant]) -> Option<&'static Variant> {
    let Value::Table(entries) = &node.value else {
        return None;
    };
    let entry = entries.iter().find(|entry| entry.key == "kind")?;
    let Value::Text(name) = &entry.node.value else {
        return None;
    };
    variants.iter().find(|variant| variant.name == name)
}

/// Whether the table at hand carries a `kind` beside the keys of its list.
enum Tag {
    None,
    Of(&'static str),
}

struct Shape {
    top: &'static [Key],
    problems: Vec<Problem>,
}

impl Shape {
    /// `anchor` is the nearest place that somebody wrote, for keys that nobody did.
    fn value(&mut self, node: &mut Node, kind: &Kind, path: &str, anchor: &Place) {
        if node.place != Place::Default
            && let (Kind::Text, Place::Override(text)) = (kind, &node.place)
            && !matches!(
                node.value,
                Value::Text(_) | Value::List(_) | Value::Table(_)
            )
        {
            // `--set name=2026` means the text, whatever TOML makes of the digits.
            let raw = text.split_once('=').map_or("", |(_, raw)| raw.trim());
            // Inside a list or a table it is not the whole of what was written.
            let is_whole = !matches!(
                Node::parse_value(raw),
                Some(Value::List(_) | Value::Table(_))
            );
            if is_whole {
                node.value = Value::Text(raw.into());
            }
        }
        expand_shorthands(node, kind);
        match (kind, &mut node.value) {
            (Kind::Text, Value::Text(_)) | (Kind::Flag, Value::Flag(_)) => {}
            (Kind::Integer { low, high }, Value::Integer(n)) if (low..=high).contains(&&*n) => {}
            (Kind::IntegerOrName { low, high, .. }, Value::Integer(n))
                if (low..=high).contains(&&*n) => {}
            (Kind::IntegerOrName { name, .. }, Value::Text(text)) if text == name => {}
            (Kind::Number(interval) | Kind::NumberOrNone(interval), Value::Integer(n))
                if interval.contains(*n as f64) =>
            {
                node.value = Value::Number(*n as f64);
            }
            (Kind::Number(interval) | Kind::NumberOrNone(interval), Value::Number(x))
                if interval.contains(*x) => {}
            (Kind::NumberOrNone(_), Value::Text(text)) if text == "none" => {}
            (Kind::Choice(names), Value::Text(text)) => {
                if !names.contains(&text.as_str()) {
                    let message = unknown_name(text, names.iter().copied());
                    self.complain(node.place.clone(), path, message);
                }
            }
            (Kind::Table(keys) | Kind::TextOrTable { keys, .. }, Value::Table(_)) => {
                self.table(node, &Tag::None, keys, path, anchor);
            }
            (Kind::Tagged(variants), Value::Table(_)) => {
                self.tagged(node, variants, path, anchor);
            }
            (Kind::List(item), Value::List(nodes)) => {
                if nodes.is_empty() {
                    let message = format!("the list is empty; expected at least one entry, {item}");
                    self.complain(node.place.clone(), path, message);
                    return;
                }
                for (idx, node) in nodes.iter_mut().enumerate() {
                    let anchor = written(node, anchor);
                    self.value(node, item, &join(path, &idx.to_string()), &anchor);
                }
            }
            (Kind::NamesOrAll { name, .. }, Value::Text(text)) if text == name => {}
            (Kind::NamesOrAll { names, name }, Value::List(nodes)) => {
                self.names(nodes, names, name, path, &node.place);
            }
            (Kind::FreeTable, Value::Table(entries)) => self.free_table(entries, path),
            (_, found) => {
                let message = format!("expected {kind}, found {}", found.describe());
                let place = if node.place == Place::Default {
                    anchor
                } else {
                    &node.place
                };
                self.complain(place.clone(), path, message);
            }
        }
    }

    /// A list of names, `place` being its own.
    fn names(
        &mut self,
        nodes: &[Node],
        names: &'static [&'static str],
        all: &str,
        path: &str,
        place: &Place,
    ) {
        if nodes.is_empty() {
            let list = quoted(names.iter().copied());
            let message = format!("the list is empty; expected \"{all}\" or some of {list}");
            self.complain(place.clone(), path, message);
        }
        let mut known: Vec<&str> = Vec::new();
        for (idx, node) in nodes.iter().enumerate() {
            let message = match &node.value {
                Value::Text(text) if known.contains(&text.as_str()) => {
                    format!("\"{text}\" stands here twice")
                }
                Value::Text(text) if names.contains(&text.as_str()) => {
                    known.push(text);
                    continue;
                }
                Value::Text(text) => unknown_name(text, names.iter().copied()),
                other => {
                    let list = quoted(names.iter().copied());
                    format!("expected one of {list}, found {}", other.describe())
                }
            };
            let place = match &node.place {
                Place::Default => place,
                written => written,
            };
            self.complain(place.clone(), &join(path, &idx.to_string()), message);
        }
    }

    /// Anything but what could not be read.
    fn free_table(&mut self, entries: &[Entry], path: &str) {
        for entry in entries {
            self.free_value(&entry.node, &join(path, &entry.key));
        }
    }

    fn free_value(&mut self, node: &Node, path: &str) {
        match &node.value {
            Value::Foreign(found) => {
                let message = format!(
                    "expected text, a number, true or false, a list or a table, found {found}"
                );
                self.complain(node.place.clone(), path, message);
            }
            Value::Number(number) if !number.is_finite() => {
                let message = format!("expected a finite number, found {number}");
                self.complain(node.place.clone(), path, message);
            }
            Value::List(nodes) => {
                for (idx, node) in nodes.iter().enumerate() {
                    self.free_value(node, &join(path, &idx.to_string()));
                }
            }
            Value::Table(entries) => self.free_table(entries, path),
            Value::Text(_) | Value::Integer(_) | Value::Number(_) | Value::Flag(_) => {}
        }
    }

    fn tagged(
        &mut self,
        node: &mut Node,
        variants: &'static [Variant],
        path: &str,
        anchor: &Place,
    ) {
        let names = || variants.iter().map(|variant| variant.name);
        if let Some(variant) = variant_of(node, variants) {
            return self.table(node, &Tag::Of(variant.name), variant.keys, path, anchor);
        }
        let Value::Table(entries) = &node.value else {
            return;
        };
        match entries.iter().find(|entry| entry.key == "kind") {
            None => {
                let message = format!("missing key `kind`, one of {}", quoted(names()));
                self.complain(anchor.clone(), path, message);
            }
            Some(entry) => {
                let message = match &entry.node.value {
                    Value::Text(name) => unknown_name(name, names()),
                    other => format!(
                        "expected one of {}, found {}",
                        quoted(names()),
                        other.describe()
                    ),
                };
                self.complain(entry.node.place.clone(), &join(path, "kind"), message);
            }
        }
    }

    fn table(
        &mut self,
        node: &mut Node,
        tag: &Tag,
        keys: &'static [Key],
        path: &str,
        anchor: &Place,
    ) {
        let Value::Table(entries) = &mut node.value else {
            return;
        };
        for entry in entries.iter() {
            let is_tag = matches!(tag, Tag::Of(_)) && entry.key == "kind";
            if !is_tag && !keys.iter().any(|key| key.name == entry.key) {
                let message = unknown_key(&entry.key, tag, keys, self.top);
                self.complain(entry.place.clone(), &join(path, &entry.key), message);
            }
        }
        for key in keys {
            let path = join(path, key.name);
            if let Some(entry) = entries.iter_mut().find(|entry| entry.key == key.name) {
                fill_kind(&mut entry.node, key);
                let anchor = match &entry.place {
                    Place::Default => anchor,
                    written => written,
                };
                self.value(&mut entry.node, &key.kind, &path, anchor);
                continue;
            }
            let mut node = match key.default {
                Default::Required => {
                    let message = format!("missing key: {} ({})", key.meaning, key.kind);
                    self.complain(anchor.clone(), &path, message);
                    continue;
                }
                Default::Absent(_) => continue,
                Default::Literal(literal) => default_node(literal),
                Default::Section => Node::empty_table(Place::Default),
            };
            self.value(&mut node, &key.kind, &path, anchor);
            entries.push(Entry {
                key: key.name.into(),
                place: Place::Default,
                node,
            });
        }
    }

    fn complain(&mut self, place: Place, key: &str, message: String) {
        self.problems.push(Problem {
            place,
            key: key.into(),
            message,
        });
    }
}

/// Gives a tagged table without `kind` the kind that its key defaults to.
fn fill_kind(node: &mut Node, key: &Key) {
    let (Kind::Tagged(_), Default::Literal(literal)) = (&key.kind, key.default) else {
        return;
    };
    if let Value::Table(entries) = &mut node.value
        && !entries.iter().any(|entry| entry.key == "kind")
    {
        let entry = Entry {
            key: "kind".into(),
            place: Place::Default,
            node: default_node(literal),
        };
        entries.push(entry);
    }
}

/// The node of a default; a literal that is no TOML would show up as text of the wrong type.
fn default_node(literal: &str) -> Node {
    let value =
        Node::parse_value(literal).unwrap_or(Value::Foreign(format!("the default {literal}")));
    Node::all_at(value, &Place::Default)
}

fn written(node: &Node, anchor: &Place) -> Place {
    if node.place == Place::Default {
        anchor.clone()
    } else {
        node.place.clone()
    }
}

pub(crate) fn join(path: &str, name: &str) -> String {
    if path.is_empty() {
        name.into()
    } else {
        format!("{path}.{name}")
    }
}

fn unknown_name<'a>(found: &str, names: impl Iterator<Item = &'a str> + Clone) -> String {
    let list = quoted(names.clone());
    match nearest(found, names) {
        Some(name) => {
            format!("unknown name \"{found}\", did you mean \"{name}\"? expected one of {list}")
        }
        None => format!("unknown name \"{found}\"; expected one of {list}"),
    }
}

fn unknown_key(found: &str, tag: &Tag, keys: &'static [Key], top: &'static [Key]) -> String {
    let names = || keys.iter().map(|key| key.name);
    let mut message = String::from("unknown key");
    if let Some(name) = nearest(found, names()) {
        message += &format!(", did you mean `{name}`?");
    } else if let Some(path) = elsewhere(found, top) {
        message += &format!("; `{found}` belongs to {path}");
    }
    let mut valid: Vec<_> = names().map(|name| format!("`{name}`")).collect();
    let owner = match tag {
        Tag::Of(kind) => {
            valid.insert(0, "`kind`".into());
            format!(" of kind \"{kind}\"")
        }
        Tag::None => String::new(),
    };
    let join = if message.ends_with('?') { " " } else { "; " };
    message + join + &format!("the keys here{owner} are {}", valid.join(", "))
}

/// The valid name most like `found`, where one is like it at all.
pub(crate) fn nearest<'a>(found: &str, names: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let found = found.to_lowercase().replace('_', "-");
    let scored = names.map(|name| (strsim::jaro_winkler(&found, &name.replace('_', "-")), name));
    // Below 0.85 the suggestions are other words, not misspellings.
    let best = scored
        .filter(|(score, _)| 0.85 <= *score)
        .max_by(|a, b| a.0.total_cmp(&b.0));
    best.map(|(_, name)| name)
}

/// Where else in the file a key of this name exists.
fn elsewhere(name: &str, keys: &'static [Key]) -> Option<String> {
    let found = crate::keys::flatten(keys)
        .into_iter()
        .find(|key| key.name() == name)?;
    Some(format!("`{}`", found.path))
}
