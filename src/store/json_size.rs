//! Sizes of values as JSON, which limit pages.

/// Returns the length of a value as JSON, in bytes.
pub(in crate::store) fn json_bytes(value: &impl serde::Serialize) -> usize {
    struct Count(usize);
    impl std::io::Write for Count {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0 += bytes.len();
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let mut count = Count(0);
    // Stored values have no maps with keys that are not texts.
    let _never_fails = serde_json::to_writer(&mut count, value);
    count.0
}
