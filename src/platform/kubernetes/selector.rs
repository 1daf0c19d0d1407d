//! Which pods a workload takes for its own.

use super::objects::{LabelRequirement, LabelSelector, Labels};

impl LabelSelector {
    /// Whether these labels fit. An empty selector fits nothing: the API server refuses it for
    /// workloads, and an object read half must not catch every pod of a namespace.
    pub(super) fn fits(&self, labels: &Labels) -> bool {
        let is_empty = self.match_labels.is_empty() && self.match_expressions.is_empty();
        !is_empty
            && self.match_labels.iter().all(|(key, value)| labels.get(key) == Some(value))
            && self.match_expressions.iter().all(|requirement| requirement.fits(labels))
    }
}

impl LabelRequirement {
    fn fits(&self, labels: &Labels) -> bool {
        let value = labels.get(&self.key);
        let is_listed = value.is_some_and(|value| self.values.contains(value));
        match &*self.operator {
            "In" => is_listed,
            "NotIn" => !is_listed,
            "Exists" => value.is_some(),
            "DoesNotExist" => value.is_none(),
            // An operator of a later Kubernetes: nothing is caught by what is not understood.
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fits(selector: &serde_json::Value, labels: &serde_json::Value) -> bool {
        let selector: LabelSelector = serde_json::from_value(selector.clone()).unwrap();
        selector.fits(&serde_json::from_value(labels.clone()).unwrap())
    }

    #[test]
    fn labels_and_expressions_must_all_fit() {
        use serde_json::json;
        let labels = json!({"app": "fraud", "tier": "gold"});
        for (selector, expected) in [
            (json!({"matchLabels": {"app": "fraud"}}), true),
            (json!({"matchLabels": {"app": "fraud", "tier": "tin"}}), false),
            (json!({}), false),
            (
                json!({"matchExpressions": [{"key": "tier", "operator": "In", "values": ["gold"]}]}),
                true,
            ),
            (
                json!({"matchExpressions": [{"key": "tier", "operator": "NotIn", "values": ["gold"]}]}),
                false,
            ),
            (
                json!({"matchExpressions": [{"key": "none", "operator": "NotIn", "values": ["x"]}]}),
                true,
            ),
            (json!({"matchExpressions": [{"key": "tier", "operator": "Exists"}]}), true),
            (json!({"matchExpressions": [{"key": "tier", "operator": "DoesNotExist"}]}), false),
            (
                json!({"matchExpressions": [{"key": "tier", "operator": "Gt", "values": ["1"]}]}),
                false,
            ),
            (
                json!({"matchLabels": {"app": "fraud"}, "matchExpressions": [{"key": "x", "operator": "Exists"}]}),
                false,
            ),
        ] {
            assert_eq!(fits(&selector, &labels), expected, "{selector}");
        }
    }
}
