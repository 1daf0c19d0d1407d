//! The head of a request, put aside for a second try.

use http::{HeaderName, HeaderValue, Method, Request, Uri, Version};

/// A head in one piece of memory. Nearly every request makes one and nearly none needs it: writing
/// the fields down costs a fraction of a second header map with its counted references.
#[derive(Debug)]
pub(crate) struct Spare {
    method: Method,
    uri: Uri,
    version: Version,
    /// Names and values by turns, each with a line end, which neither can contain.
    fields: Vec<u8>,
}

impl Spare {
    /// Writes a head down.
    pub(crate) fn of(head: &Request<()>) -> Self {
        let lengths = head.headers().iter().map(|(name, value)| name.as_str().len() + value.len());
        let mut fields = Vec::with_capacity(lengths.sum::<usize>() + 2 * head.headers().len());
        for (name, value) in head.headers() {
            fields.extend_from_slice(name.as_str().as_bytes());
            fields.push(b'\n');
            fields.extend_from_slice(value.as_bytes());
            fields.push(b'\n');
        }
        let (method, uri) = (head.method().clone(), head.uri().clone());
        Self { method, uri, version: head.version(), fields }
    }

    /// The same head again.
    pub(crate) fn into_head(self) -> Request<()> {
        let mut head = Request::new(());
        let mut fields = self.fields.split(|byte| *byte == b'\n');
        while let (Some(name), Some(value)) = (fields.next(), fields.next()) {
            let name = HeaderName::from_bytes(name).expect("it was a name before");
            let value = HeaderValue::from_bytes(value).expect("it was a value before");
            head.headers_mut().append(name, value);
        }
        *head.method_mut() = self.method;
        *head.uri_mut() = self.uri;
        *head.version_mut() = self.version;
        head
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spare_head_is_the_same_head() {
        let head = Request::put("/score?a=b")
            .header("x-empty", "")
            .header("x-many", "1")
            .header("x-many", "a\tb: c")
            .header("x-bytes", HeaderValue::from_bytes(b"\x80\xff").unwrap())
            .body(())
            .unwrap();
        let again = Spare::of(&head).into_head();
        assert_eq!(again.headers(), head.headers());
        assert_eq!((again.method(), again.uri()), (head.method(), head.uri()));
        assert_eq!(again.version(), head.version());
    }
}
