//! Where this router keeps the keys that it signs its own tokens with.

use std::sync::Arc;

use crate::{
    config::RouterConfig,
    platform::{Vault, kubernetes::Kubernetes},
    ring::OwnVault,
};

/// Where the keys of this router are kept.
pub(super) fn vault(
    config: &RouterConfig,
    cluster: Option<&Kubernetes>,
) -> anyhow::Result<Arc<dyn Vault>> {
    match (cluster, &config.signing_keys) {
        (Some(cluster), _) => Ok(cluster.signing_keys()),
        (None, Some(file)) => {
            let vault = OwnVault::in_file(file.clone());
            Ok(Arc::new(vault.map_err(|why| anyhow::anyhow!("the signing keys: {why}"))?))
        }
        (None, None) => Ok(Arc::new(OwnVault::in_memory())),
    }
}
