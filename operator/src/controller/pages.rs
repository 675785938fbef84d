//! Lists that come in pages, of which only what is needed is kept. An object may have more than a megabyte of labels
//! and annotations, and anybody who may write in the namespace can give it the labels that are selected.

use std::fmt::Debug;

use kube::Api;
use kube::api::ListParams;
use serde::de::DeserializeOwned;

/// Lists objects, or their metadata where `K` is [`kube::core::PartialObjectMeta`], and returns what `pick` makes of
/// each.
pub(super) async fn pick<K, T>(
    api: &Api<K>,
    params: &ListParams,
    pick: impl Fn(K) -> Option<T>,
) -> kube::Result<Vec<T>>
where
    K: Clone + DeserializeOwned + Debug,
{
    let mut picked = Vec::new();
    let mut params = params.clone().limit(PAGE_OBJECTS);
    loop {
        let page = api.list(&params).await?;
        let next = page.metadata.continue_;
        picked.extend(page.items.into_iter().filter_map(&pick));
        match next.filter(|token| !token.is_empty()) {
            Some(token) => params = params.continue_token(&token),
            None => return Ok(picked),
        }
    }
}

/// Lists objects and returns those that `keep` chooses.
pub(super) async fn list<K>(
    api: &Api<K>,
    params: &ListParams,
    keep: impl Fn(&K) -> bool,
) -> kube::Result<Vec<K>>
where
    K: Clone + DeserializeOwned + Debug,
{
    pick(api, params, |object| keep(&object).then_some(object)).await
}

/// Objects in one answer. An ensemble has at most nine pods, so that mostly there is one page; and as many objects of
/// the greatest size fit into the memory of the operator.
pub(super) const PAGE_OBJECTS: u32 = 10;
