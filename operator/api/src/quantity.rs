//! Schema of amounts such as `10Gi` and `500m`, without the essay that the generated one carries.

use schemars::{Schema, SchemaGenerator, json_schema};

/// A map of resource names to amounts, as in a container's `requests`.
pub(crate) fn amounts(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "maxProperties": AMOUNTS_MAX,
        "additionalProperties": { "x-kubernetes-int-or-string": true },
    })
}

/// One amount given as text. CEL's `isQuantity` needs a string, hence no bare numbers here.
pub(crate) fn amount(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "string", "minLength": 1, "maxLength": AMOUNT_CHARS_MAX })
}

const AMOUNTS_MAX: u32 = 16;
const AMOUNT_CHARS_MAX: u32 = 32;
