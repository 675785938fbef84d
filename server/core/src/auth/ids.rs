//! The ids of one connection: a set, in the order in which the reference's
//! set would list them.

use zk_proto::client::Id;

/// Most ids that one connection can prove. The reference knows no limit; a
/// connection that wants more fails to authenticate.
pub const IDS_PER_CONNECTION_MAX: usize = 1000;

/// Most bytes that the ids of one connection can have together. They go with
/// each of its writes to the leader, and a znode's list can hold them all.
pub const IDS_BYTES_MAX: usize = 64 * 1024;

/// What the ids of one connection take at most in a REQUEST packet: their
/// number, and a length before each scheme and each id.
pub const IDS_WIRE_BYTES_MAX: usize = 4 + 8 * IDS_PER_CONNECTION_MAX + IDS_BYTES_MAX;

/// Adds an id unless it is there. False if there are too many, or too long ones.
///
/// The order shows in whoAmI and in the list that the scheme `auth` of a new
/// znode turns into. The reference's is that of a `ConcurrentHashMap`: by
/// bucket, and by age within a bucket. With a dozen ids and more, those of
/// one bucket may stand the other way round there.
#[must_use]
pub fn add_id(ids: &mut Vec<Id>, id: Id) -> bool {
    if ids.contains(&id) {
        return true;
    }
    let bytes = |id: &Id| id.scheme.len() + id.id.len();
    let all = ids.iter().map(bytes).sum::<usize>() + bytes(&id);
    if ids.len() >= IDS_PER_CONNECTION_MAX || all > IDS_BYTES_MAX {
        return false;
    }
    ids.push(id);
    let buckets = buckets(ids.len());
    ids.sort_by_cached_key(|id| bucket(id, buckets));
    true
}

/// The table has 16 buckets and doubles when it is three quarters full.
const fn buckets(len: usize) -> u32 {
    let mut buckets = 16;
    while len >= buckets / 4 * 3 {
        buckets *= 2;
    }
    buckets as u32
}

fn bucket(id: &Id, buckets: u32) -> u32 {
    let hash = [&id.scheme, &id.id].iter().fold(17_u32, |hash, field| {
        hash.wrapping_mul(37).wrapping_add(java_hash(field))
    });
    (hash ^ hash >> 16) & (buckets - 1)
}

/// Java's `String.hashCode`.
fn java_hash(text: &str) -> u32 {
    text.encode_utf16().fold(0, |hash: u32, unit| {
        hash.wrapping_mul(31).wrapping_add(unit.into())
    })
}
