//! Primitives of jute, the encoding of ZooKeeper's records (`BinaryOutputArchive`,
//! `BinaryInputArchive`): big endian, buffers and vectors behind an int length, -1 for null.

use anyhow::{Context, Result, bail, ensure};

/// Writes the fields of a record.
#[derive(Debug, Default)]
pub(crate) struct Encoder(Vec<u8>);

impl Encoder {
    pub(crate) fn int(&mut self, value: i32) -> &mut Self {
        self.0.extend(value.to_be_bytes());
        self
    }

    pub(crate) fn long(&mut self, value: i64) -> &mut Self {
        self.0.extend(value.to_be_bytes());
        self
    }

    pub(crate) fn bool(&mut self, value: bool) -> &mut Self {
        self.0.push(value.into());
        self
    }

    pub(crate) fn buffer(&mut self, bytes: Option<&[u8]>) -> &mut Self {
        match bytes {
            None => self.int(-1),
            Some(bytes) => {
                self.count(bytes.len());
                self.0.extend(bytes);
                self
            }
        }
    }

    pub(crate) fn string(&mut self, text: &str) -> &mut Self {
        self.buffer(Some(text.as_bytes()))
    }

    /// The number of elements that stands before a vector.
    pub(crate) fn count(&mut self, count: usize) -> &mut Self {
        self.int(i32::try_from(count).expect("requests made here are far below 2 GiB"))
    }

    pub(crate) fn raw(&mut self, bytes: &[u8]) -> &mut Self {
        self.0.extend(bytes);
        self
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.0
    }
}

/// Reads the fields of a record.
#[derive(Debug)]
pub(crate) struct Decoder<'a>(&'a [u8]);

impl<'a> Decoder<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    pub(crate) fn rest(&self) -> &'a [u8] {
        self.0
    }

    pub(crate) fn int(&mut self) -> Result<i32> {
        Ok(i32::from_be_bytes(self.array()?))
    }

    pub(crate) fn long(&mut self) -> Result<i64> {
        Ok(i64::from_be_bytes(self.array()?))
    }

    /// A boolean; anything but 0 and 1 is an error, since no server writes it.
    pub(crate) fn bool(&mut self) -> Result<bool> {
        match self.array::<1>()? {
            [0] => Ok(false),
            [1] => Ok(true),
            [other] => bail!("boolean {other}"),
        }
    }

    pub(crate) fn buffer(&mut self) -> Result<Option<&'a [u8]>> {
        let length = self.int()?;
        if length == -1 {
            return Ok(None);
        }
        let length = usize::try_from(length).context("negative length")?;
        let (head, rest) = self.0.split_at_checked(length).context("ends early")?;
        self.0 = rest;
        Ok(Some(head))
    }

    pub(crate) fn string(&mut self) -> Result<String> {
        let bytes = self.buffer()?.context("null string")?;
        Ok(String::from_utf8_lossy(bytes).into_owned())
    }

    /// A vector whose elements `element` reads.
    pub(crate) fn vector<T>(&mut self, element: impl Fn(&mut Self) -> Result<T>) -> Result<Vec<T>> {
        let count = self.int()?;
        (0..count).map(|_| element(self)).collect()
    }

    pub(crate) fn end(&self) -> Result<()> {
        ensure!(self.0.is_empty(), "{} bytes too many", self.0.len());
        Ok(())
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        let (head, rest) = self.0.split_first_chunk().context("ends early")?;
        self.0 = rest;
        Ok(*head)
    }
}
