//! Fields that somebody else has put into an object of an ensemble. The operator sets its own fields again, and leaves
//! these alone: they stay until whoever set them takes them out, so people are told of them.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ManagedFieldsEntry;
use kube::api::DynamicObject;
use serde_json::Value;

use crate::resources::MANAGED_BY_VALUE;

/// Such as "kubectl-edit has put spec.type into the client Service zk-client", one for each manager.
pub(super) fn fields(kind: &str, name: &str, object: &DynamicObject) -> Vec<String> {
    let entries = object.metadata.managed_fields.iter().flatten();
    let others = entries.filter(|entry| is_foreign(entry));
    let told = others.filter_map(|entry| {
        let manager = entry.manager.as_deref().unwrap_or("somebody");
        let mut paths = Vec::new();
        for part in ["spec", "data"] {
            let fields = &entry.fields_v1.as_ref()?.0[format!("f:{part}")];
            leaves(fields, part.to_owned(), &mut paths);
        }
        paths.retain(|path| !path.ends_with(RESTARTED_AT));
        let more = paths.len().saturating_sub(PATHS_MAX);
        paths.truncate(PATHS_MAX);
        let list = paths.join(", ");
        let list = match more {
            0 => list,
            more => format!("{list} and {more} more"),
        };
        (!paths.is_empty()).then(|| format!("{manager} has put {list} into the {kind} {name}"))
    });
    told.collect()
}

/// Kubernetes' own controllers write the status, and nothing else of these objects.
fn is_foreign(entry: &ManagedFieldsEntry) -> bool {
    entry.manager.as_deref() != Some(MANAGED_BY_VALUE) && entry.subresource.is_none()
}

/// Paths of the fields without fields of their own, as people write them.
fn leaves(fields: &Value, path: String, found: &mut Vec<String>) {
    let Some(map) = fields.as_object() else {
        return;
    };
    let mut is_leaf = true;
    for (key, inner) in map.iter().filter(|(key, _)| *key != ".") {
        is_leaf = false;
        leaves(inner, format!("{path}{}", step(key)), found);
    }
    if is_leaf && path.contains(['.', '[']) {
        found.push(path);
    }
}

/// One step of a path: `f:` is before the name of a field, `k:` before the key of an entry in a list.
fn step(key: &str) -> String {
    match key.split_once(':') {
        Some(("f", name)) => format!(".{name}"),
        Some(("k", entry)) => {
            let entry: Value = serde_json::from_str(entry).unwrap_or_default();
            let values = entry.as_object().into_iter().flat_map(|map| map.values());
            let values: Vec<String> = values
                .map(|value| {
                    value
                        .as_str()
                        .map_or_else(|| value.to_string(), str::to_owned)
                })
                .collect();
            format!("[{}]", values.join(","))
        }
        Some((_, other)) => format!("[{other}]"),
        None => format!(".{key}"),
    }
}

/// What `kubectl rollout restart` writes, which is the documented way to restart an ensemble.
const RESTARTED_AT: &str = "kubectl.kubernetes.io/restartedAt";
/// A message has 1 kB.
const PATHS_MAX: usize = 5;

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn told(manager: &str, subresource: Option<&str>, fields: &Value) -> Vec<String> {
        let object = json!({
            "apiVersion": "apps/v1", "kind": "StatefulSet",
            "metadata": { "name": "zk", "managedFields": [{
                "manager": manager, "operation": "Update", "apiVersion": "apps/v1",
                "subresource": subresource, "fieldsType": "FieldsV1", "fieldsV1": fields,
            }] },
        });
        super::fields(
            "StatefulSet",
            "zk",
            &serde_json::from_value(object).unwrap(),
        )
    }

    #[test]
    fn a_field_of_somebody_else_is_told_with_its_path_and_its_manager() {
        let env = json!({ "f:spec": { "f:template": { "f:spec": { "f:containers": {
            "k:{\"name\":\"server\"}": { "f:env": { "k:{\"name\":\"A\"}": { ".": {}, "f:name": {}, "f:value": {} } } },
        } } } } });
        assert_eq!(
            told("kubectl-set", None, &env),
            [
                "kubectl-set has put spec.template.spec.containers[server].env[A].name, spec.template.spec.containers[server].env[A].value into the StatefulSet zk"
            ]
        );
        let service = json!({ "f:spec": { "f:type": {} } });
        assert_eq!(
            told("kubectl-edit", None, &service),
            ["kubectl-edit has put spec.type into the StatefulSet zk"]
        );
        assert!(told(MANAGED_BY_VALUE, None, &service).is_empty());
    }

    #[test]
    fn what_kubernetes_and_a_restart_on_purpose_write_is_not_told() {
        let status = json!({ "f:status": { "f:replicas": {} } });
        assert!(told("kube-controller-manager", Some("status"), &status).is_empty());
        let restart = json!({ "f:spec": { "f:template": { "f:metadata": { "f:annotations": {
            ".": {}, "f:kubectl.kubernetes.io/restartedAt": {},
        } } } } });
        assert!(told("kubectl-rollout", None, &restart).is_empty());
        let note = json!({ "f:metadata": { "f:annotations": { "f:a": {} } } });
        assert!(told("kubectl-annotate", None, &note).is_empty());
    }
}
