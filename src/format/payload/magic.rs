//! Recognises binary formats by their first bytes, for messages.

/// The first bytes of formats, and their names.
const FORMATS: [(&[u8], &str); 14] = [
    (b"\x89PNG", "a PNG image"),
    (b"\xff\xd8\xff", "a JPEG image"),
    (b"GIF8", "a GIF image"),
    (b"%PDF-", "a PDF file"),
    (b"PK\x03\x04", "a ZIP archive (or an Office document)"),
    (b"PK\x05\x06", "an empty ZIP archive"),
    (b"\x1f\x8b", "gzip data"),
    (b"\x28\xb5\x2f\xfd", "zstd data"),
    (b"II*\x00", "a TIFF image"),
    (b"MM\x00*", "a TIFF image"),
    (b"RIFF", "a RIFF file (such as WAV or WebP)"),
    (b"ID3", "an MP3 file"),
    (b"OggS", "an Ogg file"),
    (b"\x00asm", "a WebAssembly module"),
];

/// Returns what a body is that is not text; `None` if that is not known.
pub(super) fn format_of(body: &[u8]) -> Option<&'static str> {
    FORMATS.iter().find(|(start, _)| body.starts_with(start)).map(|(_, name)| *name)
}
