//! The atomic broadcast: election, discovery, synchronization, broadcast.
//! Transactions are opaque bytes here; nothing in this module names the tree,
//! sessions or watches.
