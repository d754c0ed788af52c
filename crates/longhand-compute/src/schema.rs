//! Everything that can be asked, as JSON, made from the tables that the reader uses.

use serde_json::{Map, Value, json};

use crate::Kind;
use crate::method::{Accepts, Field, Method, OptionEntry};

/// Every method with its fields, options and defaults: by kind, then by the method's name.
pub fn schema() -> Value {
    let kinds = Kind::ALL.map(|kind| {
        let methods = kind.methods().iter();
        let methods: Map<String, Value> = methods
            .map(|method| (method.name.to_owned(), method_schema(method)))
            .collect();
        let value = json!({"named_by": kind.name_field(), "methods": methods});
        (kind.name().to_owned(), value)
    });
    Value::Object(kinds.into_iter().collect())
}

fn method_schema(method: &Method) -> Value {
    let options: Map<String, Value> = method
        .option_entries()
        .map(|option| (option.name.to_owned(), option_schema(option)))
        .collect();
    let gives = method.gives.iter();
    let gives: Map<String, Value> = gives
        .map(|field| (field.name.to_owned(), Value::from(field.shape)))
        .collect();
    json!({
        "about": method.about,
        "fields": fields_schema(method.fields),
        "options": options,
        "gives": gives,
    })
}

fn fields_schema(fields: &[Field]) -> Value {
    let field_schema = |field: &Field| {
        let value = json!({"shape": field.shape, "required": field.is_required});
        (field.name.to_owned(), value)
    };
    Value::Object(fields.iter().map(field_schema).collect())
}

fn option_schema(option: &OptionEntry) -> Value {
    let mut entry = json!({
        "about": option.about,
        "accepts": option.accepts.describe(),
        "null": option.preset.allows_null(),
        "default": option.preset.value(),
    });
    if let Accepts::Names(names) = option.accepts {
        entry["names"] = json!(names);
    }
    entry
}
