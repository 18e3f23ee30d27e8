//! The JSON schema of the run file, made from its shapes.

use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde_json::Value;

use super::toml_types::RunFile;

/// The schema, JSON Schema draft 2020-12.
pub(crate) fn value() -> Value {
    of::<RunFile>()
}

/// The schema of any file of settings.
pub(crate) fn of<T: JsonSchema>() -> Value {
    let generator = SchemaSettings::draft2020_12().into_generator();
    let mut schema = Value::from(generator.into_root_schema_for::<T>());
    without_null(&mut schema);
    schema["title"] = T::schema_name().into();
    schema
}

/// The schema as a text that ends in a line break: what `ncs schema` prints and the project ships.
pub fn text() -> String {
    printed(&value())
}

/// The reference of the run file, a Markdown page that ends in a line break.
pub fn reference() -> String {
    super::reference::markdown(&value())
}

/// A schema as it is printed.
pub(crate) fn printed(schema: &Value) -> String {
    format!("{schema:#}\n")
}

/// TOML has no null: a key that may be absent is left out. The sizes of our integers become ranges.
fn without_null(schema: &mut Value) {
    match schema {
        Value::Object(object) => {
            if object
                .get("format")
                .is_some_and(|format| format == "uint32")
            {
                object.entry("maximum").or_insert(u32::MAX.into());
            }
            object.retain(|key, value| match key.as_str() {
                "default" => !value.is_null(),
                "format" => !value.is_string(),
                _ => true,
            });
            if let Some(kinds) = object.get_mut("type") {
                only_kind(kinds);
            }
            object.values_mut().for_each(without_null);
            inline_only_choice(object);
        }
        Value::Array(items) => {
            items.retain(|item| item.get("type").is_none_or(|kind| kind != "null"));
            items.iter_mut().for_each(without_null);
        }
        _ => {}
    }
}

/// `["integer", "null"]` becomes `"integer"`.
fn only_kind(kinds: &mut Value) {
    if let Value::Array(names) = kinds {
        names.retain(|name| name != "null");
        if let [name] = names.as_slice() {
            *kinds = name.clone();
        }
    }
}

/// `anyOf: [{$ref: X}]` becomes `$ref: X`.
fn inline_only_choice(object: &mut serde_json::Map<String, Value>) {
    let Some(Value::Array(choices)) = object.get("anyOf") else {
        return;
    };
    let [Value::Object(only)] = choices.as_slice() else {
        return;
    };
    let only = only.clone();
    object.remove("anyOf");
    for (key, value) in only {
        object.entry(key).or_insert(value);
    }
}
