//! Writing primitives.

/// Appends jute primitives to a growing byte vector.
pub trait Put {
    /// Raw bytes without a length.
    fn put_raw(&mut self, bytes: &[u8]);

    /// One byte, 0 or 1.
    fn put_bool(&mut self, value: bool) {
        self.put_raw(&[u8::from(value)]);
    }

    /// Four bytes, big endian.
    fn put_i32(&mut self, value: i32) {
        self.put_raw(&value.to_be_bytes());
    }

    /// Eight bytes, big endian.
    fn put_i64(&mut self, value: i64) {
        self.put_raw(&value.to_be_bytes());
    }

    /// Length and bytes.
    fn put_buffer(&mut self, bytes: &[u8]) {
        self.put_count(bytes.len());
        self.put_raw(bytes);
    }

    /// Length and bytes, or -1 for null.
    fn put_opt_buffer(&mut self, bytes: Option<&[u8]>) {
        match bytes {
            Some(bytes) => self.put_buffer(bytes),
            None => self.put_i32(-1),
        }
    }

    /// Length in bytes and UTF-8.
    fn put_str(&mut self, value: &str) {
        self.put_buffer(value.as_bytes());
    }

    /// A vector's element count.
    ///
    /// # Panics
    /// If the count does not fit the format's 31 bits; every caller's limit is
    /// far below.
    fn put_count(&mut self, count: usize) {
        self.put_i32(i32::try_from(count).expect("jute lengths have 31 bits"));
    }

    /// A vector of strings.
    fn put_strings<S: AsRef<str>>(&mut self, values: &[S]) {
        self.put_count(values.len());
        for value in values {
            self.put_str(value.as_ref());
        }
    }
}

impl Put for Vec<u8> {
    fn put_raw(&mut self, bytes: &[u8]) {
        self.extend_from_slice(bytes);
    }
}
