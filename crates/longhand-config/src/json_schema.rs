//! Experiment files as a JSON Schema (2020-12), for editors, made from the key tables.
//!
//! A schema sees one key at a time: which keys and names there are, what each accepts, what it defaults
//! to, and which keys a `kind` needs. Which values go together is for [`crate::Experiment::load`] to say.

use serde_json::{Map, Value, json};

use crate::file::EXPERIMENT;
use crate::node::Node;
use crate::schema::{Bound, Default, Interval, Key, Kind, Variant};

/// The schema of a whole experiment file.
pub fn schema() -> Value {
    let mut schema = Map::new();
    let meta = [
        ("$schema", "https://json-schema.org/draft/2020-12/schema"),
        ("title", "Longhand experiment"),
        ("description", "An experiment file of `longhand train`."),
    ];
    schema.extend(meta.map(|(key, value)| (key.to_string(), value.into())));
    schema.extend(object(EXPERIMENT, None));
    schema.into()
}

/// A table with these keys; with a tag, also `kind`.
fn object(keys: &'static [Key], tag: Option<(&Variant, Default)>) -> Map<String, Value> {
    let mut properties = Map::new();
    let mut required: Vec<&str> = Vec::new();
    if let Some((variant, default)) = tag {
        properties.insert("kind".into(), json!({ "const": variant.name }));
        if !default.is_name(variant.name) {
            required.push("kind");
        }
    }
    for key in keys {
        properties.insert(key.name.into(), property(key));
        if is_needed(key) {
            required.push(key.name);
        }
    }
    let mut object = Map::new();
    object.insert("type".into(), "object".into());
    if let Some((variant, _)) = tag {
        object.insert("description".into(), variant.meaning.into());
    }
    object.insert("properties".into(), properties.into());
    if !required.is_empty() {
        object.insert("required".into(), required.into());
    }
    object.insert("additionalProperties".into(), false.into());
    object
}

/// Whether a table without this key is wrong.
fn is_needed(key: &Key) -> bool {
    match (key.default, &key.kind) {
        (Default::Required, _) => true,
        (Default::Section, Kind::Table(keys)) => keys.iter().any(is_needed),
        _ => false,
    }
}

fn property(key: &Key) -> Value {
    let mut property = Map::new();
    let description = match key.default {
        Default::Absent(otherwise) => format!("{}. Left out: {otherwise}.", key.meaning),
        Default::Required | Default::Literal(_) | Default::Section => format!("{}.", key.meaning),
    };
    property.insert("description".into(), description.into());
    if let Default::Literal(literal) = key.default
        && let Some(default) = literal_value(literal)
    {
        property.insert("default".into(), default);
    }
    property.extend(accepted(&key.kind, key.default));
    property.into()
}

/// A default as JSON.
fn literal_value(literal: &str) -> Option<Value> {
    let value = Node::parse_value(literal)?;
    let node = Node::all_at(value, &crate::place::Place::Default);
    serde_json::to_value(node.to_toml()).ok()
}

/// What a key of this kind accepts; the default decides whether a tagged table may leave out its `kind`.
fn accepted(kind: &Kind, default: Default) -> Map<String, Value> {
    let schema = match kind {
        Kind::Text => json!({ "type": "string" }),
        Kind::Flag => json!({ "type": "boolean" }),
        Kind::Integer { low, high } => integer(*low, *high),
        Kind::IntegerOrName { low, high, name } => {
            json!({ "anyOf": [integer(*low, *high), { "const": name }] })
        }
        Kind::Number(interval) => number(*interval).into(),
        Kind::NumberOrNone(interval) => {
            json!({ "anyOf": [number(*interval), { "const": "none" }] })
        }
        Kind::Choice(names) => json!({ "enum": names }),
        Kind::Table(keys) => return object(keys, None),
        Kind::TextOrTable { shorthand, keys } => {
            let text = keys.iter().find(|key| key.name == *shorthand);
            let text = text.map_or(json!({ "type": "string" }), property);
            json!({ "anyOf": [text, object(keys, None)] })
        }
        Kind::Tagged(variants) => tagged(variants, default),
        Kind::List(item) => json!({
            "type": "array",
            "minItems": 1,
            "items": accepted(item, Default::Required),
        }),
        Kind::NamesOrAll { names, name } => json!({
            "anyOf": [
                { "const": name },
                { "type": "array", "minItems": 1, "items": { "enum": names } },
            ],
        }),
        Kind::FreeTable => json!({ "type": "object" }),
    };
    match schema {
        Value::Object(schema) => schema,
        other => Map::from_iter([("const".to_string(), other)]),
    }
}

/// One table for each variant, told apart by `kind`; variants that need no keys may be a bare text.
fn tagged(variants: &'static [Variant], default: Default) -> Value {
    let is_plain = |variant: &&Variant| !variant.keys.iter().any(is_needed);
    let names: Vec<&str> = variants
        .iter()
        .filter(is_plain)
        .map(|variant| variant.name)
        .collect();
    let tables = variants
        .iter()
        .map(|variant| object(variant.keys, Some((variant, default))).into());
    let mut either: Vec<Value> = tables.collect();
    if !names.is_empty() {
        either.insert(0, json!({ "enum": names }));
    }
    json!({ "oneOf": either })
}

fn integer(low: i64, high: i64) -> Value {
    json!({ "type": "integer", "minimum": low, "maximum": high })
}

fn number(interval: Interval) -> Map<String, Value> {
    let mut schema = Map::from_iter([("type".to_string(), "number".into())]);
    let ends = [
        (interval.low, "minimum", "exclusiveMinimum"),
        (interval.high, "maximum", "exclusiveMaximum"),
    ];
    for (bound, closed, open) in ends {
        match bound {
            Bound::Closed(end) => schema.insert(closed.into(), end.into()),
            Bound::Open(end) => schema.insert(open.into(), end.into()),
            Bound::None => None,
        };
    }
    schema
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shipped::shipped;

    /// Why `value` does not fit `schema`, by the rules of JSON Schema for the words that the schema uses;
    /// any other word is an error.
    fn mismatch(schema: &Value, value: &Value, path: &str) -> Option<String> {
        let words = schema.as_object().expect("a schema is an object");
        let fail = |why: String| Some(format!("{path}: {why}"));
        for (word, of) in words {
            let found = match word.as_str() {
                "$schema" | "title" | "description" | "default" => None,
                "type" => {
                    let is_type = match of.as_str().unwrap() {
                        "object" => value.is_object(),
                        "array" => value.is_array(),
                        "string" => value.is_string(),
                        "boolean" => value.is_boolean(),
                        "integer" => value.is_i64(),
                        "number" => value.is_number(),
                        other => panic!("unknown type {other}"),
                    };
                    (!is_type).then(|| format!("{path}: not {of}"))
                }
                "const" => (of != value).then(|| format!("{path}: not {of}")),
                "enum" => {
                    let is_named = of.as_array().unwrap().contains(value);
                    (!is_named).then(|| format!("{path}: not among {of}"))
                }
                "minimum" | "maximum" | "exclusiveMinimum" | "exclusiveMaximum" => {
                    value.as_f64().and_then(|x| {
                        let end = of.as_f64().unwrap();
                        let holds = match word.as_str() {
                            "minimum" => end <= x,
                            "maximum" => x <= end,
                            "exclusiveMinimum" => end < x,
                            _ => x < end,
                        };
                        (!holds).then(|| format!("{path}: {x} against {word} {end}"))
                    })
                }
                "required" => {
                    let missing = of.as_array().unwrap().iter().find(|key| {
                        value
                            .as_object()
                            .is_some_and(|table| !table.contains_key(key.as_str().unwrap()))
                    });
                    missing.and_then(|key| fail(format!("no {key}")))
                }
                "properties" => value.as_object().and_then(|table| {
                    table.iter().find_map(|(key, value)| {
                        let schema = of.get(key)?;
                        mismatch(schema, value, &format!("{path}/{key}"))
                    })
                }),
                "additionalProperties" => {
                    assert_eq!(of, &Value::Bool(false));
                    let known = &words["properties"];
                    value.as_object().and_then(|table| {
                        let extra = table.keys().find(|key| known.get(key).is_none());
                        extra.and_then(|key| fail(format!("additional {key}")))
                    })
                }
                "minItems" => value
                    .as_array()
                    .filter(|items| (items.len() as u64) < of.as_u64().unwrap())
                    .and_then(|_| fail("too few".into())),
                "items" => value.as_array().and_then(|items| {
                    items
                        .iter()
                        .enumerate()
                        .find_map(|(idx, item)| mismatch(of, item, &format!("{path}/{idx}")))
                }),
                "anyOf" | "oneOf" => {
                    let fits = |schema: &&Value| mismatch(schema, value, path).is_none();
                    let n_fits = of.as_array().unwrap().iter().filter(fits).count();
                    let holds = match word.as_str() {
                        "oneOf" => n_fits == 1,
                        _ => 0 < n_fits,
                    };
                    (!holds).then(|| format!("{path}: fits {n_fits} of {word}"))
                }
                other => panic!("unknown word {other}"),
            };
            if found.is_some() {
                return found;
            }
        }
        None
    }

    fn json_of(text: &str) -> Value {
        serde_json::to_value(toml::from_str::<toml::Table>(text).unwrap()).unwrap()
    }

    #[test]
    fn every_shipped_file_fits_as_written_and_resolved() {
        let schema = schema();
        for shipped in shipped() {
            let resolved = shipped.experiment(&[]).unwrap().resolved_toml();
            for text in [shipped.text, resolved.as_str()] {
                assert_eq!(mismatch(&schema, &json_of(text), ""), None, "{text}");
            }
        }
    }

    #[test]
    fn planted_mistakes_do_not_fit() {
        let schema = schema();
        let text = crate::Shipped::find("smoke-memagent").unwrap().text;
        let check = |old: &str, new: &str, expected: &str| {
            assert_eq!(text.matches(old).count(), 1, "{old:?}");
            let found = mismatch(&schema, &json_of(&text.replace(old, new)), "");
            let found = found.unwrap_or_else(|| panic!("{new:?} fits"));
            assert!(found.starts_with(expected), "{new:?}: {found}");
        };
        check("seed = 7", "seed = -7", "/seed: -7 against minimum");
        check("seed = 7", "sead = 7", ": additional sead");
        check("name = \"smoke-memagent\"", "", ": no \"name\"");
        check("chunk_size = 18", "", "/reader: no \"chunk_size\"");
        check(
            "chunk_size = 18",
            "chunk_size = 18.5",
            "/reader/chunk_size: not \"integer\"",
        );
        check(
            "family = \"llama\"",
            "family = \"lama\"",
            "/policy/from_scratch/family: not among",
        );
        check(
            "tie_embeddings = true",
            "tie_embeddings = 1",
            "/policy/from_scratch/tie_embeddings: not",
        );
        check(
            "template = \"marks\"",
            "template = \"mark\"",
            "/reader/template: fits 0 of anyOf",
        );
        check(
            "kind = \"class-notes\"",
            "kind = \"class-note\"",
            "/task: fits 0 of oneOf",
        );
        check("n_classes = 3", "n_clases = 3", "/task: fits 0 of oneOf");
        check("lengths = [36]", "lengths = []", "/eval/lengths: too few");
        check(
            "lengths = [36]",
            "lengths = [0]",
            "/eval/lengths/0: 0 against minimum",
        );
        check("steps = 40", "steps = \"40\"", "/stage/0: fits 0 of oneOf");
        check("kind = \"warm-start\"\n", "", "/stage/0: fits 0 of oneOf");
        check(
            "estimator = \"memagent\"",
            "estimator = \"grop\"",
            "/stage/1: fits 0 of oneOf",
        );
        check(
            "clip_high = 0.28",
            "clip_high = -0.28",
            "/stage/1: fits 0 of oneOf",
        );
        check(
            "[eval]",
            "[checkpoint]\nbest_metric = \"lss\"\n[eval]",
            "/checkpoint/best_metric: not among",
        );
        check(
            "[eval]",
            "[compute]\nthreads = \"al\"\n[eval]",
            "/compute/threads: fits 0 of anyOf",
        );
    }

    #[test]
    fn bare_texts_stand_for_tables_that_need_no_keys() {
        let schema = schema();
        let text = crate::Shipped::find("smoke-memagent").unwrap().text;
        let with = |credit: &str| {
            let credit = format!("[stage.credit]\n{credit}\n");
            let old = "[stage.credit]\nkind = \"outcome\"\nestimator = \"memagent\"\n";
            assert_eq!(text.matches(old).count(), 1);
            mismatch(&schema, &json_of(&text.replace(old, &credit)), "")
        };
        for credit in [
            "",
            "kind = \"outcome\"",
            "estimator = \"grpo\"",
            "estimator = { kind = \"grpo\", eps = 1 }",
            "kind = \"tamtrl\"\nminmax = \"turn\"",
        ] {
            assert_eq!(with(credit), None, "{credit}");
        }
        // These are keys of the other kind.
        assert!(with("kind = \"tamtrl\"\nestimator = \"grpo\"").is_some());
        assert!(with("minmax = \"turn\"").is_some());
        // A task that needs a file cannot be a bare name.
        let task = &schema["properties"]["task"]["oneOf"][0]["enum"];
        assert!(task.as_array().unwrap().contains(&"needle".into()));
        assert!(!task.as_array().unwrap().contains(&"hotpotqa".into()));
    }

    #[test]
    fn keys_carry_their_meaning_and_default() {
        let schema = schema();
        let every = &schema["properties"]["checkpoint"]["properties"]["every"];
        assert_eq!(every["default"], 20);
        assert!(
            every["description"]
                .as_str()
                .unwrap()
                .starts_with("steps of a stage")
        );
        let best = &schema["properties"]["checkpoint"]["properties"]["best_metric"];
        let description = best["description"].as_str().unwrap();
        assert!(
            description.ends_with("Left out: no checkpoint is called the best."),
            "{description}"
        );
        assert_eq!(schema["properties"]["eval"].get("required"), None);
        assert_eq!(
            schema["required"],
            json!(["name", "task", "data", "reader", "stage"])
        );
    }
}
