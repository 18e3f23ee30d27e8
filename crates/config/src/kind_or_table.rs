//! A setting that is a table with a `kind`, or the kind alone where the rest is as usual.

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{DeserializeOwned, Error as _};
use serde::ser::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Value, json};
use std::borrow::Cow;

/// Settings of type `T`, tagged by `kind`: in TOML `{ kind = "adam", beta1 = 0.8 }`, or `"adam"`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct KindOrTable<T>(pub(crate) T);

fn usual<T: DeserializeOwned>(kind: &Value) -> Result<T, serde_json::Error> {
    T::deserialize(json!({ "kind": kind }))
}

impl<'de, T: DeserializeOwned> Deserialize<'de> for KindOrTable<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = Value::deserialize(deserializer)?;
        let settings = if value.is_string() {
            usual(&value)
        } else {
            T::deserialize(value)
        };
        settings.map(KindOrTable).map_err(D::Error::custom)
    }
}

impl<T: Serialize + DeserializeOwned> Serialize for KindOrTable<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let table = serde_json::to_value(&self.0).map_err(S::Error::custom)?;
        let kind = &table["kind"];
        let usual = usual::<T>(kind).and_then(serde_json::to_value);
        if usual.is_ok_and(|usual| usual == table) {
            kind.serialize(serializer)
        } else {
            table.serialize(serializer)
        }
    }
}

impl<T: JsonSchema> JsonSchema for KindOrTable<T> {
    /// `Optimizer` for `OptimizerSettings`.
    fn schema_name() -> Cow<'static, str> {
        let name = T::schema_name();
        name.trim_end_matches("Settings").to_owned().into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let table = T::json_schema(generator);
        let kinds = table.get("oneOf").and_then(Value::as_array);
        let needs_kind_only = |of: &&Value| of["required"] == json!(["kind"]);
        let name = |of: &Value| {
            let kind = &of["properties"]["kind"]["const"];
            json!({ "type": "string", "const": kind, "description": of["description"] })
        };
        let kinds = kinds.into_iter().flatten().filter(needs_kind_only);
        let mut choices: Vec<Value> = kinds.map(name).collect();
        choices.push(generator.subschema_for::<T>().into());
        json_schema!({ "description": table.get("description"), "anyOf": choices })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ncs_train::OptimizerKind;

    fn read(value: Value) -> KindOrTable<OptimizerKind> {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn a_kind_alone_has_the_usual_settings_and_is_written_alone() {
        let usual = read(json!("adam"));
        let stated = read(json!({ "kind": "adam", "beta1": 0.9 }));
        assert_eq!(usual.0, stated.0);
        assert_eq!(serde_json::to_value(stated).unwrap(), "adam");
        let other = read(json!({ "kind": "adam", "beta1": 0.5 }));
        let written = serde_json::to_value(other).unwrap();
        assert_eq!(written["beta1"], 0.5);
        assert_eq!(read(written).0, other.0);
    }
}
