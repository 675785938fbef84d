//! Schemas of nested types of Kubernetes with a bound for each list, text and map in them, so that nobody can store a
//! spec that costs the operator more than an honest one does. The API server checks the rest when the objects made
//! from them are applied.

use schemars::{Schema, SchemaGenerator, json_schema};
use serde_json::{Value, json};

pub(crate) fn config(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "maxProperties": CONFIG_KEYS_MAX,
        "additionalProperties": { "type": "string", "minLength": 1, "maxLength": CONFIG_VALUE_CHARS_MAX },
    })
}

pub(crate) fn affinity(_: &mut SchemaGenerator) -> Schema {
    let preferred = |what: &str, term: Value| {
        let weight = json!({ "type": "integer", "format": "int32" });
        list(
            TERMS_MAX,
            object(json!({ "weight": weight, what: term }), &["weight", what]),
        )
    };
    let nodes = object(
        json!({ "nodeSelectorTerms": list(TERMS_MAX, node_term()) }),
        &["nodeSelectorTerms"],
    );
    let pods = closed(
        json!({
            REQUIRED: list(TERMS_MAX, pod_term()),
            PREFERRED: preferred("podAffinityTerm", pod_term()),
        }),
        &[],
    );
    json_schema!({
        "type": "object",
        "properties": {
            "nodeAffinity": closed(json!({ REQUIRED: nodes, PREFERRED: preferred("preference", node_term()) }), &[]),
            "podAffinity": pods,
            "podAntiAffinity": pods,
        },
    })
}

/// Labels or fields of Kubernetes nodes.
fn node_term() -> Value {
    let requirements = list(REQUIREMENTS_MAX, requirement(DOMAIN_CHARS_MAX));
    closed(
        json!({ "matchExpressions": requirements, "matchFields": requirements }),
        &[],
    )
}

/// Without labels to select by, a term of Kubernetes selects no pod: here it must have them, so that a slip in their
/// name is noticed.
fn pod_term() -> Value {
    object(
        json!({
            "labelSelector": label_selector(),
            "matchLabelKeys": texts(REQUIREMENTS_MAX, NAME_CHARS_MAX),
            "mismatchLabelKeys": texts(REQUIREMENTS_MAX, NAME_CHARS_MAX),
            "namespaceSelector": label_selector(),
            "namespaces": texts(VALUES_MAX, LABEL_CHARS_MAX),
            "topologyKey": text(NAME_CHARS_MAX),
        }),
        &["labelSelector", "topologyKey"],
    )
}

fn label_selector() -> Value {
    closed(
        json!({
            "matchLabels": map(SELECTOR_LABELS_MAX, text(LABEL_CHARS_MAX)),
            "matchExpressions": list(REQUIREMENTS_MAX, requirement(LABEL_CHARS_MAX)),
        }),
        &[],
    )
}

fn requirement(value_chars_max: u32) -> Value {
    closed(
        json!({
            "key": text(NAME_CHARS_MAX),
            "operator": text(LABEL_CHARS_MAX),
            "values": texts(VALUES_MAX, value_chars_max),
        }),
        &["key", "operator"],
    )
}

pub(crate) fn client_peers(generator: &mut SchemaGenerator) -> Schema {
    let mut schema = network_peers(generator);
    schema.insert("minItems".to_owned(), json!(1));
    schema
}

/// Peers as in a NetworkPolicy. A name that is dropped would let in more than was meant.
pub(crate) fn network_peers(_: &mut SchemaGenerator) -> Schema {
    let block = closed(
        json!({ "cidr": text(CIDR_CHARS_MAX), "except": texts(VALUES_MAX, CIDR_CHARS_MAX) }),
        &["cidr"],
    );
    let mut peer = closed(
        json!({
            "namespaceSelector": label_selector(),
            "podSelector": label_selector(),
            "ipBlock": block,
        }),
        &[],
    );
    peer["minProperties"] = json!(1);
    json_schema!({ "type": "array", "maxItems": NETWORK_PEERS_MAX, "items": peer })
}

pub(crate) fn tolerations(_: &mut SchemaGenerator) -> Schema {
    let toleration = object(
        json!({
            "key": text(NAME_CHARS_MAX),
            "operator": text(LABEL_CHARS_MAX),
            "value": text(LABEL_CHARS_MAX),
            "effect": text(LABEL_CHARS_MAX),
            "tolerationSeconds": { "type": "integer", "format": "int64" },
        }),
        &[],
    );
    json_schema!({ "type": "array", "maxItems": TOLERATIONS_MAX, "items": toleration })
}

/// Secrets, by name.
pub(crate) fn secrets(_: &mut SchemaGenerator) -> Schema {
    let secret = object(json!({ "name": text(DOMAIN_CHARS_MAX) }), &["name"]);
    json_schema!({ "type": "array", "maxItems": SECRETS_MAX, "items": secret })
}

pub(crate) fn label_values(_: &mut SchemaGenerator) -> Schema {
    let mut value = text(LABEL_CHARS_MAX);
    value["pattern"] = json!("^(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?$");
    schema(map(LABELS_MAX, value))
}

pub(crate) fn annotation_values(_: &mut SchemaGenerator) -> Schema {
    schema(map(LABELS_MAX, text(ANNOTATION_CHARS_MAX)))
}

/// A map of resource names to amounts, as in a container's `requests`, without the essay that the generated one
/// carries.
pub(crate) fn amounts(_: &mut SchemaGenerator) -> Schema {
    let amount = json!({ "x-kubernetes-int-or-string": true, "maxLength": AMOUNT_CHARS_MAX });
    schema(map(AMOUNTS_MAX, amount))
}

/// One amount given as text. CEL's `isQuantity` needs a string, hence no bare numbers here.
pub(crate) fn amount(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "string", "minLength": 1, "maxLength": AMOUNT_CHARS_MAX })
}

fn schema(value: Value) -> Schema {
    Schema::try_from(value).expect("an object is a schema")
}

fn text(chars_max: u32) -> Value {
    json!({ "type": "string", "maxLength": chars_max })
}

fn list(items_max: u32, item: Value) -> Value {
    json!({ "type": "array", "maxItems": items_max, "items": item })
}

fn texts(items_max: u32, chars_max: u32) -> Value {
    list(items_max, text(chars_max))
}

/// Names of labels and the like, and what each has. Only a rule can bound a key.
fn map(keys_max: u32, value: Value) -> Value {
    json!({
        "type": "object",
        "maxProperties": keys_max,
        "additionalProperties": value,
        "x-kubernetes-validations": [{
            "rule": format!("self.all(k, size(k) <= {NAME_CHARS_MAX})"),
            "message": format!("A key must have at most {NAME_CHARS_MAX} characters."),
        }],
    })
}

/// An object of which the API server drops fields with other names, or refuses them if its client asks for that, as
/// kubectl does.
fn object(properties: Value, required: &[&str]) -> Value {
    let mut schema = json!({ "type": "object", "properties": properties });
    if !required.is_empty() {
        schema["required"] = json!(required);
    }
    schema
}

/// An object that is refused, whoever sends it, if it has a field with another name. No keyword says so, but counting
/// does: it has exactly as many fields as it has of those that may be there.
fn closed(properties: Value, required: &[&str]) -> Value {
    let names = properties.as_object().into_iter().flatten();
    let optional: Vec<&str> = names
        .map(|(name, _)| name.as_str())
        .filter(|name| !required.contains(name))
        .collect();
    let sets = (0..1usize << optional.len()).map(|set| {
        let chosen = (0..optional.len()).filter(|at| set >> at & 1 == 1);
        let mut present = required.to_vec();
        present.extend(chosen.map(|at| optional[at]));
        present
    });
    let choices = sets.map(|present| {
        let mut choice = json!({ "maxProperties": present.len() });
        if !present.is_empty() {
            choice["required"] = json!(present);
        }
        choice
    });
    let choices: Vec<Value> = choices.collect();
    json!({
        "type": "object",
        "properties": properties,
        "anyOf": choices,
        "x-kubernetes-preserve-unknown-fields": true,
    })
}

const REQUIRED: &str = "requiredDuringSchedulingIgnoredDuringExecution";
const PREFERRED: &str = "preferredDuringSchedulingIgnoredDuringExecution";
const LABELS_MAX: u32 = 64;
const LABEL_CHARS_MAX: u32 = 63;
/// A label's key: a domain, a slash and a name of 63.
const NAME_CHARS_MAX: u32 = 317;
/// A name that is made of labels of DNS, such as that of a Secret or a Kubernetes node.
const DOMAIN_CHARS_MAX: u32 = 253;
/// An IPv6 network with an IPv4 address at its end has 49.
const CIDR_CHARS_MAX: u32 = 64;
/// All annotations of a pod may have 256 KiB together.
const ANNOTATION_CHARS_MAX: u32 = 2048;
const AMOUNTS_MAX: u32 = 16;
const AMOUNT_CHARS_MAX: u32 = 32;
const CONFIG_KEYS_MAX: u32 = 64;
const CONFIG_VALUE_CHARS_MAX: u32 = 1024;
const NETWORK_PEERS_MAX: u32 = 16;
const REQUIREMENTS_MAX: u32 = 8;
const SECRETS_MAX: u32 = 16;
const SELECTOR_LABELS_MAX: u32 = 16;
const TERMS_MAX: u32 = 8;
const TOLERATIONS_MAX: u32 = 64;
const VALUES_MAX: u32 = 32;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_closed_object_has_as_many_fields_as_it_has_of_those_that_may_be_there() {
        let field = || text(1);
        let schema = closed(json!({ "a": field(), "b": field(), "c": field() }), &["a"]);
        let expected = [
            json!({ "maxProperties": 1, "required": ["a"] }),
            json!({ "maxProperties": 2, "required": ["a", "b"] }),
            json!({ "maxProperties": 2, "required": ["a", "c"] }),
            json!({ "maxProperties": 3, "required": ["a", "b", "c"] }),
        ];
        assert_eq!(schema["anyOf"], json!(expected));
        let may_be_empty = closed(json!({ "a": field() }), &[]);
        assert_eq!(may_be_empty["anyOf"][0], json!({ "maxProperties": 0 }));
    }
}
