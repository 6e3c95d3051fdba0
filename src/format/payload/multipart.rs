//! Parses the text parts of `multipart/form-data` (RFC 7578). Files are skipped, and reported as such.

use bytes::Bytes;
use futures_util::{FutureExt as _, stream};
use serde_json::Value;

use super::decode_error::DecodeError;
use super::decoded::Loosened;
use super::form;

pub(super) fn parse(content_type: &str, body: &[u8], loosened: &mut Loosened) -> Result<Value, DecodeError> {
    let boundary = multer::parse_boundary(content_type).map_err(|e| broken(&e))?;
    let whole = stream::once(std::future::ready(Ok::<_, std::convert::Infallible>(Bytes::copy_from_slice(body))));
    // The body is complete, so this never waits.
    let fields = texts(multer::Multipart::new(whole, boundary), loosened).now_or_never();
    let fields = fields.unwrap_or_else(|| Err(DecodeError::Form { message: "it ends in the middle".into() }))?;
    form::build(fields.into_iter())
}

async fn texts(
    mut parts: multer::Multipart<'_>,
    loosened: &mut Loosened,
) -> Result<Vec<(String, String)>, DecodeError> {
    let mut fields = Vec::new();
    while let Some(part) = parts.next_field().await.map_err(|e| broken(&e))? {
        let name = part.name().unwrap_or_default().to_owned();
        let is_file = part.file_name().is_some();
        let bytes = part.bytes().await.map_err(|e| broken(&e))?;
        if is_file {
            loosened.add("file");
            continue;
        }
        let text = std::str::from_utf8(&bytes).map_err(|e| DecodeError::NotUtf8 { offset: e.valid_up_to() })?;
        fields.push((name, text.to_owned()));
    }
    Ok(fields)
}

fn broken(error: &multer::Error) -> DecodeError {
    DecodeError::Form { message: error.to_string() }
}
