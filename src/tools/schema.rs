//! JSON Schemas of tools in the shape every client accepts, and the check of arguments against them.
//!
//! Rules (mcp.md §4.3 of the project's references): object at the root, plain `type`s, no unions, no `$ref`, no `null`, every field
//! described. The check itself is the `jsonschema` crate's; here are only the tolerance for what hosts inject and the sentences.

use jsonschema::Validator;
use jsonschema::error::ValidationErrorKind;
use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

use crate::text::{Language, fill};

/// The longest argument text accepted, characters. Longer texts are no arguments but documents.
pub const TEXT_CHARS_MAX: u64 = 2_000;

/// Digits of a whole number that is taken for the text of an RNC, a telephone or a cédula.
const IDENTIFIER_DIGITS: std::ops::RangeInclusive<usize> = 9..=11;

/// Schema of the arguments of a reading tool.
#[must_use]
pub fn input<T: JsonSchema>() -> Value {
    let mut schema = flat::<T>();
    bound(&mut schema);
    schema
}

/// Schema of the arguments of a writing tool: the tool's own plus `codigo_confirmacion` and `clave`.
#[must_use]
pub fn write_input<T: JsonSchema>() -> Value {
    let mut schema = input::<T>();
    if let Some(properties) = schema.get_mut("properties").and_then(Value::as_object_mut) {
        properties.insert(
            "codigo_confirmacion".to_owned(),
            json!({ "type": "string", "maxLength": 200, "description": "El que dio la vista previa. Sin él solo se muestra; con él y los mismos argumentos, se ejecuta." }),
        );
        properties.insert(
            "clave".to_owned(),
            json!({ "type": "string", "minLength": 1, "maxLength": 100, "description": "Identificador único de esta operación, a su elección: repetida con la misma clave no se ejecuta dos veces." }),
        );
    }
    schema
}

/// Schema of a structured result: names and types only, since models read the names, and the list of tools stands in every conversation.
/// Nothing is `required`, since empty fields are dropped.
#[must_use]
pub fn output<T: JsonSchema>() -> Value {
    let mut schema = flat::<T>();
    walk(&mut schema, &mut |map| {
        map.remove("required");
        undescribe(map);
        // That a count is not negative (of unsigned numbers) helps nobody who reads it.
        if map.get("minimum").is_some_and(Value::is_number) {
            map.remove("minimum");
        }
    });
    schema
}

/// Schema of the result of a writing tool: either step.
#[must_use]
pub fn write_output<T: JsonSchema>() -> Value {
    let mut schema = output::<T>();
    if let Some(properties) = schema.get_mut("properties").and_then(Value::as_object_mut) {
        properties.insert("codigo_confirmacion".to_owned(), json!({ "type": "string" }));
        for name in ["vence", "estado", "clave"] {
            properties.insert(name.to_owned(), json!({ "type": "string" }));
        }
    }
    schema
}

fn flat<T: JsonSchema>() -> Value {
    let generator = SchemaSettings::draft2020_12()
        .with(|settings| {
            settings.inline_subschemas = true;
            settings.meta_schema = None;
        })
        .into_generator();
    let mut schema = generator.into_root_schema_for::<T>().to_value();
    walk(&mut schema, &mut simplify);
    if let Some(map) = schema.as_object_mut() {
        map.remove("description");
        map.entry("type").or_insert_with(|| json!("object"));
        map.entry("properties").or_insert_with(|| json!({}));
    }
    schema
}

/// Takes unions with null, enum `oneOf`s, titles and number formats out of one schema object.
fn simplify(map: &mut Map<String, Value>) {
    for key in ["$schema", "$defs"] {
        map.remove(key);
    }
    let is_array = map.get("type").is_some_and(|kind| kind == "array" || kind.as_array().is_some_and(|kinds| kinds.iter().any(|kind| kind == "array")));
    // `title` as a keyword is text; a property called title is an object and stays.
    if map.get("title").is_some_and(Value::is_string) {
        map.remove("title");
    }
    // What an item is called comes from the doc comment of its type, which is for developers; a field's own comment is for the model.
    if let Some(items) = map.get_mut("items").filter(|_| is_array).and_then(Value::as_object_mut) {
        undescribe(items);
    }
    if map.get("format").is_some_and(Value::is_string) {
        map.remove("format");
    }
    if map.get("default").is_some_and(Value::is_null) {
        map.remove("default");
    }
    if let Some(Value::Array(types)) = map.get("type") {
        let kept: Vec<Value> = types.iter().filter(|kind| *kind != "null").cloned().collect();
        if let [only] = kept.as_slice() {
            map.insert("type".to_owned(), only.clone());
        }
    }
    if let Some(Value::Array(values)) = map.get_mut("enum") {
        values.retain(|value| !value.is_null());
    }
    if let Some(Value::Array(options)) = map.remove("anyOf") {
        for option in options {
            if let Value::Object(inner) = option
                && inner.get("type").is_none_or(|kind| kind != "null")
            {
                for (key, value) in inner {
                    map.entry(key).or_insert(value);
                }
            }
        }
    }
    if let Some(Value::Array(options)) = map.remove("oneOf") {
        let values: Vec<Value> = options.iter().filter_map(|option| option.get("const").cloned()).collect();
        map.insert("type".to_owned(), json!("string"));
        map.insert("enum".to_owned(), Value::Array(values));
    }
}

/// Takes the description away. As a keyword it is text; a property of that name is an object and stays.
fn undescribe(map: &mut Map<String, Value>) {
    if map.get("description").is_some_and(Value::is_string) {
        map.remove("description");
    }
}

fn walk(value: &mut Value, change: &mut impl FnMut(&mut Map<String, Value>)) {
    match value {
        Value::Object(map) => {
            change(map);
            map.values_mut().for_each(|inner| walk(inner, change));
        }
        Value::Array(items) => items.iter_mut().for_each(|inner| walk(inner, change)),
        _ => {}
    }
}

/// Bounds every text. Objects stay open: unknown names are tolerated, since hosts inject some, and the schema says what is accepted.
fn bound(schema: &mut Value) {
    walk(schema, &mut |map| {
        map.remove("additionalProperties");
        if map.get("type").is_some_and(|kind| kind == "string") && !map.contains_key("enum") {
            map.entry("maxLength").or_insert_with(|| json!(TEXT_CHARS_MAX));
        }
    });
}

/// The compiled check of a tool's arguments.
pub struct ArgumentCheck {
    schema: Value,
    validator: Validator,
}

impl ArgumentCheck {
    /// Compiles the schema.
    ///
    /// # Panics
    /// When the schema is not a JSON Schema: a programming error that every start and every test meets.
    #[must_use]
    pub fn new(schema: &Value) -> Self {
        let validator = jsonschema::draft202012::new(schema).expect("schemas come from our own types and are compiled by a test");
        Self { schema: schema.clone(), validator }
    }

    /// Drops what hosts inject (unknown names, nulls) and checks the rest.
    ///
    /// # Errors
    /// One sentence, in that language, naming every fault found, and misspelt names with their likely meaning.
    pub fn check(&self, arguments: Option<Map<String, Value>>, language: Language) -> Result<Value, String> {
        let mut value = Value::Object(arguments.unwrap_or_default());
        let mut faults = Vec::new();
        tidy(&self.schema, &mut value, "", &mut faults, language);
        for error in self.validator.iter_errors(&value) {
            faults.push(sentence(&error, language));
        }
        if faults.is_empty() { Ok(value) } else { Err(faults.join(" ")) }
    }
}

fn tidy(schema: &Value, value: &mut Value, path: &str, faults: &mut Vec<String>, language: Language) {
    match value {
        Value::Object(map) => {
            let Some(properties) = schema.get("properties").and_then(Value::as_object) else { return };
            let names: Vec<String> = map.keys().cloned().collect();
            for name in names {
                let Some(inner) = properties.get(&name) else {
                    map.remove(&name);
                    if let Some(meant) = nearest(&name, properties) {
                        faults.push(fill(language, "argumentos.mal_escrito", &[("campo", &format!("{path}{name}")), ("sugerencia", meant)]));
                    }
                    continue;
                };
                if map.get(&name).is_some_and(Value::is_null) {
                    map.remove(&name);
                } else if let Some(entry) = map.get_mut(&name) {
                    tidy(inner, entry, &format!("{path}{name}."), faults, language);
                }
            }
        }
        Value::Array(items) => {
            let Some(inner) = schema.get("items") else { return };
            for (index, item) in items.iter_mut().enumerate() {
                tidy(inner, item, &format!("{path}{index}."), faults, language);
            }
        }
        Value::String(text) if text.chars().any(is_forbidden) => {
            faults.push(fill(language, "argumentos.control", &[("campo", path.trim_end_matches('.'))]));
        }
        Value::Number(number) if schema.get("type").is_some_and(|kind| kind == "string") => {
            // Command lines and some hosts make a number of an RNC, a cédula or a telephone.
            if let Some(digits) = number.as_u64().map(|number| number.to_string()).filter(|digits| IDENTIFIER_DIGITS.contains(&digits.len())) {
                *value = Value::String(digits);
            }
        }
        _ => {}
    }
}

/// Control characters, but for those that lay text out: databases refuse some, voices and screens do odd things with the rest.
fn is_forbidden(c: char) -> bool {
    c.is_control() && !matches!(c, '\n' | '\r' | '\t')
}

/// The argument that an unknown name most likely means; none when it resembles nothing (then a host injected it).
fn nearest<'a>(name: &str, properties: &'a Map<String, Value>) -> Option<&'a str> {
    let lower = name.to_lowercase();
    properties
        .keys()
        .map(|known| (strsim::damerau_levenshtein(&lower, known), known))
        .min()
        .filter(|(distance, known)| *distance <= 2 && *distance * 2 < known.len())
        .map(|(_, known)| known.as_str())
}

fn sentence(error: &jsonschema::ValidationError<'_>, language: Language) -> String {
    let path = error.instance_path().to_string();
    let path = path.trim_start_matches('/').replace('/', ".");
    let named = |key: &str, limit: String| fill(language, key, &[("campo", &path), ("limite", &limit)]);
    match error.kind() {
        ValidationErrorKind::Required { property } => {
            let name = property.as_str().unwrap_or_default();
            let full = if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
            fill(language, "argumentos.falta", &[("campo", &full)])
        }
        ValidationErrorKind::Type { .. } => named("argumentos.tipo", expected_type(error, language)),
        ValidationErrorKind::Enum { options } => named("argumentos.opciones", options.to_string()),
        ValidationErrorKind::Minimum { limit } | ValidationErrorKind::ExclusiveMinimum { limit } => named("argumentos.minimo", limit.to_string()),
        ValidationErrorKind::Maximum { limit } | ValidationErrorKind::ExclusiveMaximum { limit } => named("argumentos.maximo", limit.to_string()),
        ValidationErrorKind::MinLength { limit } => named("argumentos.corto", limit.to_string()),
        ValidationErrorKind::MaxLength { limit } => named("argumentos.largo", limit.to_string()),
        ValidationErrorKind::MinItems { limit } => named("argumentos.pocos", limit.to_string()),
        ValidationErrorKind::MaxItems { limit } => named("argumentos.muchos", limit.to_string()),
        _ => named("argumentos.otro", error.to_string()),
    }
}

fn expected_type(error: &jsonschema::ValidationError<'_>, language: Language) -> String {
    // "… is not of type "string"": the kind's own text is the only stable way to the expected names.
    let text = error.to_string();
    for kind in ["string", "integer", "number", "boolean", "array", "object"] {
        if text.ends_with(&format!("\"{kind}\"")) {
            return crate::text::text(language, &format!("argumentos.tipos.{kind}"));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;

    #[derive(Deserialize, JsonSchema)]
    #[expect(dead_code, reason = "only its schema is looked at")]
    /// A line of the sample, for developers.
    struct Line {
        /// Qué producto.
        producto: String,
        /// Cuántos.
        #[schemars(range(min = 0.001, max = 1_000_000))]
        cantidad: Option<f64>,
    }

    #[derive(Deserialize, JsonSchema)]
    #[expect(dead_code, reason = "only its schema is looked at")]
    struct Sample {
        /// El número.
        rnc: String,
        /// Cuántos.
        #[schemars(range(min = 1, max = 10))]
        limite: Option<u32>,
        /// Las líneas.
        lineas: Option<Vec<Line>>,
    }

    fn check(arguments: Value) -> Result<Value, String> {
        let Value::Object(map) = arguments else { panic!("an object") };
        ArgumentCheck::new(&input::<Sample>()).check(Some(map), Language::Es)
    }

    #[test]
    fn schemas_have_no_unions() {
        let text = write_input::<Sample>().to_string();
        for word in ["anyOf", "oneOf", "null", "$ref", "$defs", "format", "title"] {
            assert!(!text.contains(word), "{word} in {text}");
        }
    }

    #[test]
    fn line_breaks_and_tabs_are_text() {
        let arguments = json!({ "rnc": "uno\n\tdos\r\ntres" });
        assert_eq!(check(arguments.clone()).unwrap(), arguments);
        assert!(check(json!({ "rnc": "1", "sessionId": "\u{1}" })).is_ok(), "what is dropped is not looked at");
    }

    #[test]
    fn what_is_for_developers_stays_out() {
        let schema = input::<Sample>();
        let line = &schema["properties"]["lineas"]["items"];
        assert_eq!(line.get("description"), None);
        assert_eq!(line["properties"]["producto"]["description"], "Qué producto.");
        assert_eq!(schema["properties"]["lineas"]["description"], "Las líneas.");
        assert!(!output::<Sample>().to_string().contains("description"));
        for tool in crate::tools::TOOLS.iter().map(|tool| tool.facts()) {
            for schema in [&tool.input_schema, &tool.output_schema] {
                let mut schema = schema.clone();
                walk(&mut schema, &mut |map| {
                    let Some(text) = map.get("description").and_then(Value::as_str) else { return };
                    let english = [" the ", " of ", " is ", " and "].iter().any(|word| text.contains(word))
                        || ["A ", "An ", "One ", "What ", "The "].iter().any(|word| text.starts_with(word));
                    assert!(!english, "{}: {text}", tool.name);
                });
            }
        }
    }

    #[test]
    fn injected_names_and_nulls_are_dropped() {
        assert_eq!(check(json!({ "rnc": "1", "toolCallId": "x", "sessionId": 5, "limite": null })).unwrap(), json!({ "rnc": "1" }));
    }

    #[test]
    fn a_number_in_place_of_an_identifier_is_read() {
        assert_eq!(check(json!({ "rnc": 131_793_916 })).unwrap(), json!({ "rnc": "131793916" }));
    }

    #[test]
    fn faults_are_named() {
        for (arguments, word) in [
            (json!({}), "rnc"),
            (json!({ "rnnc": "131793916" }), "rnnc"),
            (json!({ "rnc": 12_345 }), "rnc"),
            (json!({ "rnc": 131_793_916.5 }), "rnc"),
            (json!({ "rnc": "1", "limite": 11 }), "10"),
            (json!({ "rnc": "1", "lineas": [{ "producto": "a", "cantidd": 2 }] }), "lineas.0.cantidd"),
            (json!({ "rnc": "1", "lineas": [{}] }), "lineas.0.producto"),
            (json!({ "rnc": "1", "lineas": [{ "producto": "a", "cantidad": 0 }] }), "«lineas.0.cantidad» debe ser 0.001 o más"),
            (json!({ "rnc": "1", "lineas": [{ "producto": "a", "cantidad": 1e7 }] }), "«lineas.0.cantidad» debe ser 1000000 o menos"),
            (json!({ "rnc": "1\u{0}" }), "«rnc» tiene caracteres de control"),
            (json!({ "rnc": "1", "lineas": [{ "producto": "a\u{1b}[2J" }] }), "«lineas.0.producto» tiene caracteres de control"),
            (json!({ "rnc": "\u{85}" }), "«rnc» tiene caracteres de control"),
        ] {
            let fault = check(arguments.clone()).expect_err("a fault");
            assert!(fault.contains(word), "{arguments}: {fault}");
        }
    }
}
