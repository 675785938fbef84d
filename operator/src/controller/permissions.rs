//! Every right that the operator uses. The chart grants exactly these; a test compares the two.

/// Verbs on one kind of resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Permission {
    /// API group, empty for the core group.
    pub group: &'static str,
    /// Plural name, with a subresource after a slash.
    pub resource: &'static str,
    /// Verbs, in alphabetical order.
    pub verbs: &'static [&'static str],
}

/// Rights used by the stages: `watches` (list, watch), `sweep` (list), `reconcile` (get and status), `objects` (get,
/// then create and patch: server-side apply is both; a NetworkPolicy that is turned off and ConfigMaps that nobody
/// needs are deleted), `claims` (list, patch), `observe` (get, list), `act` (delete or evict a pod, patch the
/// StatefulSet), `events` (create; list, to learn why a pod cannot be made).
pub const PERMISSIONS: &[Permission] = &[
    Permission {
        group: "",
        resource: "configmaps",
        verbs: &["create", "delete", "get", "list", "patch", "watch"],
    },
    Permission {
        group: "",
        resource: "persistentvolumeclaims",
        verbs: &["list", "patch"],
    },
    Permission {
        group: "",
        resource: "pods",
        verbs: &["delete", "list", "watch"],
    },
    Permission {
        group: "",
        resource: "pods/eviction",
        verbs: &["create"],
    },
    Permission {
        group: "",
        resource: "serviceaccounts",
        verbs: APPLY_AND_WATCH,
    },
    Permission {
        group: "",
        resource: "services",
        verbs: APPLY_AND_WATCH,
    },
    Permission {
        group: "apps",
        resource: "statefulsets",
        verbs: APPLY_AND_WATCH,
    },
    Permission {
        group: "events.k8s.io",
        resource: "events",
        verbs: &["create", "list"],
    },
    Permission {
        group: "networking.k8s.io",
        resource: "networkpolicies",
        verbs: &["create", "delete", "get", "list", "patch", "watch"],
    },
    Permission {
        group: "policy",
        resource: "poddisruptionbudgets",
        verbs: APPLY_AND_WATCH,
    },
    Permission {
        group: "quorate.dev",
        resource: "zookeeperensembles",
        verbs: &["get", "list", "watch"],
    },
    Permission {
        group: "quorate.dev",
        resource: "zookeeperensembles/status",
        verbs: &["patch"],
    },
];

const APPLY_AND_WATCH: &[&str] = &["create", "get", "list", "patch", "watch"];
