//! The memory of the interpreter after it has compiled a script: what differs from the interpreter's own memory.

use wasmtime::{Memory, Store};

use crate::plugin::state::CallState;

/// Size of the pieces that are compared, in bytes.
const PIECE: usize = 512;
/// Size of a page of WebAssembly, in bytes.
const PAGE: u64 = 1 << 16;

/// The memory of a script that is ready to be called. It is copied into a new instance for each call, so that no
/// call sees what an earlier one has left.
#[derive(Debug)]
pub(super) struct Image {
    pages: u64,
    /// Places in the memory, with what is there.
    parts: Vec<(usize, Box<[u8]>)>,
}

impl Image {
    /// Compares the memory before and after.
    pub(super) fn of(before: &[u8], after: &[u8]) -> Self {
        let mut parts: Vec<(usize, Vec<u8>)> = Vec::new();
        for (index, piece) in after.chunks(PIECE).enumerate() {
            let at = index * PIECE;
            let same = match before.get(at..at + piece.len()) {
                Some(old) => old == piece,
                // Memory that has grown begins with zeros.
                None => piece.iter().all(|it| *it == 0),
            };
            match parts.last_mut() {
                _ if same => {}
                Some((start, bytes)) if *start + bytes.len() == at => bytes.extend_from_slice(piece),
                _ => parts.push((at, piece.to_vec())),
            }
        }
        let parts = parts.into_iter().map(|(at, bytes)| (at, bytes.into_boxed_slice())).collect();
        Self { pages: after.len() as u64 / PAGE, parts }
    }

    /// Copies it into the memory of a new instance.
    pub(super) fn restore(&self, store: &mut Store<CallState>, memory: Memory) -> wasmtime::Result<()> {
        let missing = self.pages.saturating_sub(memory.size(&*store));
        if missing > 0 {
            memory.grow(&mut *store, missing)?;
        }
        for (at, bytes) in &self.parts {
            memory.write(&mut *store, *at, bytes)?;
        }
        Ok(())
    }
}
