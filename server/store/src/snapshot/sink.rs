//! Where the image of a snapshot goes while it is read.

use bytes::Bytes;
use zk_proto::Zxid;

/// Takes the image of a snapshot piece by piece. A piece comes before it is
/// known that the file is whole.
pub trait ImageSink {
    /// What an image becomes.
    type Image;

    /// An image begins, of a snapshot with this zxid and of about so many
    /// bytes, 0 if that is unknown. One that had begun before counts no more.
    fn begin(&mut self, zxid: Zxid, bytes: u64);

    /// The next piece, of whole records. Another buffer may be left behind,
    /// which is then filled with the piece after.
    fn take(&mut self, piece: &mut Vec<u8>);

    /// The image has ended, and its file is whole.
    fn end(&mut self) -> Self::Image;
}

/// Keeps the bytes.
#[derive(Debug, Default)]
pub struct Collect(Vec<u8>);

impl ImageSink for Collect {
    type Image = Bytes;

    fn begin(&mut self, _zxid: Zxid, bytes: u64) {
        self.0.clear();
        self.0.reserve(usize::try_from(bytes).unwrap_or(0));
    }

    fn take(&mut self, piece: &mut Vec<u8>) {
        self.0.extend_from_slice(piece);
    }

    fn end(&mut self) -> Bytes {
        std::mem::take(&mut self.0).into()
    }
}

/// Keeps nothing: to see whether a snapshot is whole.
#[derive(Debug)]
pub(crate) struct Discard;

impl ImageSink for Discard {
    type Image = ();

    fn begin(&mut self, _zxid: Zxid, _bytes: u64) {}

    fn take(&mut self, _piece: &mut Vec<u8>) {}

    fn end(&mut self) {}
}
