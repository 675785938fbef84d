//! The end of a packet whose bytes arrive piece by piece.

/// How far the packet at the front of a buffer has been looked at, so that no
/// byte of it is looked at again when more have come.
#[derive(Clone, Copy, Debug, Default)]
pub struct PacketScan {
    /// Where the next field begins, in bytes from the start of the packet.
    at: usize,
    /// Where the authinfo begins.
    ids_at: usize,
    /// Texts of the authinfo that are to come; `None` before it.
    texts_left: Option<u64>,
}

impl PacketScan {
    /// Has all of the packet come? `bytes` begin with it and have grown since
    /// the last call. True also for a packet that breaks a limit as
    /// `QuorumPacket::decode` knows it, which then says so.
    pub fn is_whole(&mut self, bytes: &[u8], data_bytes_max: usize) -> bool {
        const DATA_AT: usize = 12;
        loop {
            let Some(left) = self.texts_left else {
                let Some(length) = length(bytes, DATA_AT) else {
                    return false;
                };
                self.ids_at = DATA_AT + 4 + length;
                if length > data_bytes_max {
                    return true;
                }
                let Some(count) = self::length(bytes, self.ids_at) else {
                    return false;
                };
                self.at = self.ids_at + 4;
                self.texts_left = Some(2 * count as u64);
                continue;
            };
            if left == 0 || self.at - self.ids_at > data_bytes_max {
                return true;
            }
            let Some(length) = length(bytes, self.at) else {
                return false;
            };
            let next = self.at + 4 + length;
            if length > data_bytes_max {
                return true;
            }
            if next > bytes.len() {
                return false;
            }
            self.at = next;
            self.texts_left = Some(left - 1);
        }
    }
}

/// A length or a count at this place; a negative one stands for nothing.
fn length(bytes: &[u8], at: usize) -> Option<usize> {
    let four = bytes.get(at..at + 4)?.try_into().ok()?;
    Some(usize::try_from(i32::from_be_bytes(four)).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::Zxid;
    use crate::client::Id;
    use crate::quorum::{PacketKind, QuorumPacket};

    fn with_ids(count: usize) -> Vec<u8> {
        let id = Id {
            scheme: "ip".into(),
            id: "127.0.0.1".into(),
        };
        let data = Some(Bytes::from_static(b"body"));
        let mut packet = QuorumPacket::new(PacketKind::Request, Zxid(-1), data);
        packet.authinfo = Some(vec![id; count]);
        let mut bytes = Vec::new();
        packet.write(&mut bytes);
        bytes
    }

    #[test]
    fn the_end_is_seen_with_the_last_byte() {
        for count in [0, 1, 3] {
            let bytes = with_ids(count);
            let mut scan = PacketScan::default();
            for end in 0..bytes.len() {
                assert!(
                    !scan.is_whole(&bytes[..end], 1000),
                    "{end} bytes of {count} ids"
                );
            }
            assert!(scan.is_whole(&bytes, 1000));
        }
    }

    #[test]
    fn what_breaks_a_limit_is_not_waited_for() {
        let long = [&[0; 12][..], &100_i32.to_be_bytes()].concat();
        assert!(PacketScan::default().is_whole(&long, 99));
        let ids = with_ids(3);
        assert!(PacketScan::default().is_whole(&ids[..ids.len() - 1], 10));
    }

    #[test]
    fn each_byte_is_looked_at_once() {
        let mut bytes = with_ids(50_000);
        let mut scan = PacketScan::default();
        for end in 1..=bytes.len() {
            let before = scan.at;
            let is_whole = scan.is_whole(&bytes[..end], 1 << 20);
            assert_eq!(is_whole, end == bytes.len(), "with {end} bytes");
            assert!(scan.at >= before, "never back");
            // Who looks there again finds lengths that break every limit.
            bytes[before..scan.at].fill(0x7f);
        }
        assert_eq!(scan.at, bytes.len());
    }
}
