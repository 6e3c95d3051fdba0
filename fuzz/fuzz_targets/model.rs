//! What the decoder's own files expect of the layer below.

pub mod event {
    //! The part of an event that is decoded.

    pub struct RawEvent {
        pub content_type: Option<String>,
        pub headers: Vec<(String, String)>,
        pub body: Vec<u8>,
    }

    impl RawEvent {
        pub fn header(&self, name: &str) -> Option<&str> {
            self.headers.iter().find(|(it, value)| it == name && !value.is_empty()).map(|(_, value)| value.as_str())
        }
    }
}
