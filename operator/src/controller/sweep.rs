//! Lists the ensembles again and again, apart from the watches: it proves that the API server answers and that
//! the operator may ask, and it knows which ensembles there are, so that nothing is kept of one that is gone.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use kube::api::ListParams;
use kube::core::PartialObjectMeta;
use kube::{Api, Client, ResourceExt as _};
use zk_operator_api::ZookeeperEnsemble;

use super::clients::REQUEST_TIMEOUT;
use super::{error, pages};
use crate::looks::Looks;

/// Runs until it is dropped. `keep` is told the uids of all ensembles that there are.
pub(super) async fn sweep(
    client: Client,
    namespace: Option<&str>,
    looks: &Looks,
    keep: &(dyn Fn(&HashSet<String>) + Sync),
) {
    let api: Api<PartialObjectMeta<ZookeeperEnsemble>> = match namespace {
        Some(namespace) => Api::namespaced(client, namespace),
        None => Api::all(client),
    };
    let everything = ListParams::default();
    loop {
        let list = pages::pick(&api, &everything, |it| {
            let key = (it.namespace().unwrap_or_default(), it.name_any());
            Some((key, it.uid()))
        });
        match tokio::time::timeout(LIST_TIMEOUT, list).await {
            Ok(Ok(list)) => {
                let (keys, uids): (Vec<_>, Vec<_>) = list.into_iter().unzip();
                keep(&uids.into_iter().flatten().collect());
                looks.listed(keys, Instant::now());
            }
            Ok(Err(error)) => looks.not_listed(error::text(&error), Instant::now()),
            Err(_elapsed) => {
                let error = format!("no answer within {} s", LIST_TIMEOUT.as_secs());
                looks.not_listed(error, Instant::now());
            }
        }
        tokio::time::sleep(PAUSE).await;
    }
}

const PAUSE: Duration = Duration::from_secs(10);
/// Longer than a request may be silent, so that the request says what it waited for.
const LIST_TIMEOUT: Duration = REQUEST_TIMEOUT.saturating_add(Duration::from_secs(5));
