//! The journal's format. Integers are little endian. The meaning of a magic or a kind never changes.
//!
//! | part | bytes |
//! |---|---|
//! | segment header, 32 | `HMJRNL01`, first sequence u64, created (ms since 1970) i64, salt u32, CRC u32 |
//! | group header, 24 | `HMG1`, records u32, bytes of all records u32, first sequence u64, CRC u32 |
//! | record | length u32, CRC u32 over its sequence u64 and its payload, payload: operations |
//! | operation | kind u8, key length u16, value length u32, key, value |
//!
//! A group is what one fdatasync makes durable. Every CRC (CRC-32, ISO 3309) starts with the journal's salt, which
//! no sender knows, so a body cannot imitate a group.

pub(super) const SEGMENT_HEADER: usize = 32;
pub(super) const GROUP_HEADER: usize = 24;
pub(super) const RECORD_HEADER: usize = 8;
const OP_HEADER: usize = 7;
const SEGMENT_MAGIC: &[u8; 8] = b"HMJRNL01";
const GROUP_MAGIC: &[u8; 4] = b"HMG1";

/// What an operation does with its key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) enum OpKind {
    /// Adds a new key to the view.
    Insert = 1,
    /// Changes the view's value of a key.
    Replace = 2,
    /// Removes a key from the view.
    Delete = 3,
    /// An event; stored in the journal only, not in the view.
    Event = 4,
}

impl OpKind {
    fn from_byte(byte: u8) -> Option<Self> {
        [Self::Insert, Self::Replace, Self::Delete, Self::Event].into_iter().find(|it| *it as u8 == byte)
    }
}

/// A length that exceeds the format's limits. Nothing is truncated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("it is longer than the journal's format allows")]
pub(in super::super) struct TooLong;

/// One operation of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) struct Op<'a> {
    pub(in super::super) kind: OpKind,
    pub(in super::super) key: &'a [u8],
    pub(in super::super) value: &'a [u8],
}

impl Op<'_> {
    /// Returns the operation's size in a record, in bytes.
    pub(in super::super) fn encoded_len(&self) -> usize {
        OP_HEADER + self.key.len() + self.value.len()
    }

    fn write(&self, to: &mut Vec<u8>) -> Result<(), TooLong> {
        let (key, value) = (u16::try_from(self.key.len()), u32::try_from(self.value.len()));
        let (Ok(key), Ok(value)) = (key, value) else { return Err(TooLong) };
        to.push(self.kind as u8);
        to.extend_from_slice(&key.to_le_bytes());
        to.extend_from_slice(&value.to_le_bytes());
        to.extend_from_slice(self.key);
        to.extend_from_slice(self.value);
        Ok(())
    }
}

/// Splits the first operation from these bytes.
pub(in super::super) fn split_op(bytes: &[u8]) -> Option<(Op<'_>, &[u8])> {
    let (header, rest) = bytes.split_first_chunk::<OP_HEADER>()?;
    let kind = OpKind::from_byte(header[0])?;
    let key_len = usize::from(u16::from_le_bytes([header[1], header[2]]));
    let value_len = usize::try_from(u32_at(header, 3)).ok()?;
    let (key, rest) = rest.split_at_checked(key_len)?;
    let (value, rest) = rest.split_at_checked(value_len)?;
    Some((Op { kind, key, value }, rest))
}

/// Returns every operation of a record; `None` if it contains an incomplete operation.
pub(in super::super) fn ops(mut payload: &[u8]) -> Option<Vec<Op<'_>>> {
    let mut ops = Vec::new();
    while !payload.is_empty() {
        let (op, rest) = split_op(payload)?;
        ops.push(op);
        payload = rest;
    }
    Some(ops)
}

/// Returns every operation of a group that this process has just written.
pub(in super::super) fn group_ops(group: &[u8]) -> impl Iterator<Item = Op<'_>> {
    let mut rest = group.get(GROUP_HEADER..).unwrap_or_default();
    let mut record: &[u8] = &[];
    std::iter::from_fn(move || {
        while record.is_empty() {
            let header = rest.split_first_chunk::<RECORD_HEADER>()?;
            (record, rest) = header.1.split_at_checked(u32_at(header.0, 0) as usize)?;
        }
        let (op, after) = split_op(record)?;
        record = after;
        Some(op)
    })
}

/// Content of a segment's header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct SegmentHeader {
    pub(super) first: u64,
    pub(super) created_ms: i64,
    pub(super) salt: u32,
}

impl SegmentHeader {
    pub(super) fn encode(&self) -> [u8; SEGMENT_HEADER] {
        let mut bytes = [0; SEGMENT_HEADER];
        bytes[..8].copy_from_slice(SEGMENT_MAGIC);
        bytes[8..16].copy_from_slice(&self.first.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.created_ms.to_le_bytes());
        bytes[24..28].copy_from_slice(&self.salt.to_le_bytes());
        let crc = crc32fast::hash(&bytes[..28]);
        bytes[28..].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let bytes = bytes.first_chunk::<SEGMENT_HEADER>()?;
        let whole = &bytes[..8] == SEGMENT_MAGIC && crc32fast::hash(&bytes[..28]) == u32_at(bytes, 28);
        let (first, created_ms) = (u64_at(bytes, 8), u64_at(bytes, 16).cast_signed());
        whole.then(|| Self { first, created_ms, salt: u32_at(bytes, 24) })
    }
}

/// Content of a group's header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct GroupHeader {
    pub(super) count: u32,
    pub(super) bytes: u32,
    pub(super) first: u64,
}

impl GroupHeader {
    pub(super) fn encode(&self, salt: u32) -> [u8; GROUP_HEADER] {
        let mut bytes = [0; GROUP_HEADER];
        bytes[..4].copy_from_slice(GROUP_MAGIC);
        bytes[4..8].copy_from_slice(&self.count.to_le_bytes());
        bytes[8..12].copy_from_slice(&self.bytes.to_le_bytes());
        bytes[12..20].copy_from_slice(&self.first.to_le_bytes());
        let crc = crc(salt, &[&bytes[..20]]);
        bytes[20..].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    pub(super) fn decode(bytes: &[u8], salt: u32) -> Option<Self> {
        let bytes = bytes.first_chunk::<GROUP_HEADER>()?;
        let whole = &bytes[..4] == GROUP_MAGIC && crc(salt, &[&bytes[..20]]) == u32_at(bytes, 20);
        whole.then(|| Self { count: u32_at(bytes, 4), bytes: u32_at(bytes, 8), first: u64_at(bytes, 12) })
    }

    /// Returns the next position in `bytes`, starting at `from`, where a group of sequence `at_least` or later
    /// begins.
    pub(super) fn find(bytes: &[u8], from: usize, salt: u32, at_least: u64) -> Option<(usize, Self)> {
        let starts =
            (from..bytes.len().saturating_sub(GROUP_HEADER - 1)).filter(|at| &bytes[*at..*at + 4] == GROUP_MAGIC);
        starts
            .filter_map(|at| Self::decode(&bytes[at..], salt).map(|group| (at, group)))
            .find(|(_, group)| group.first >= at_least)
    }
}

/// Collects records into a group that one write appends.
#[derive(Debug)]
pub(in super::super) struct GroupWriter {
    salt: u32,
    first: u64,
    count: u32,
    bytes: Vec<u8>,
}

impl GroupWriter {
    pub(in super::super) fn new(salt: u32, first: u64) -> Self {
        let mut bytes = Vec::with_capacity(16 << 10);
        bytes.resize(GROUP_HEADER, 0);
        Self { salt, first, count: 0, bytes }
    }

    /// Returns the sequence of the next record.
    pub(in super::super) fn next(&self) -> u64 {
        self.first + u64::from(self.count)
    }

    pub(in super::super) fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Adds a record. Returns each operation's position in the group, counted from the group's first byte. After an
    /// error, the group must not be used.
    ///
    /// # Errors
    /// Fails if something is too long.
    pub(in super::super) fn push<'a>(
        &mut self,
        ops: impl IntoIterator<Item = Op<'a>>,
        mut placed: impl FnMut(usize, &Op<'a>),
    ) -> Result<(), TooLong> {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(&[0; RECORD_HEADER]);
        for op in ops {
            placed(self.bytes.len(), &op);
            op.write(&mut self.bytes)?;
        }
        let payload = start + RECORD_HEADER;
        let length = u32::try_from(self.bytes.len() - payload).map_err(|_| TooLong)?;
        let crc = record_crc(self.salt, self.next(), &self.bytes[payload..]);
        self.bytes[start..start + 4].copy_from_slice(&length.to_le_bytes());
        self.bytes[start + 4..payload].copy_from_slice(&crc.to_le_bytes());
        self.count += 1;
        Ok(())
    }

    /// Completes the group. Returns its bytes and the sequence after it.
    pub(super) fn finish(mut self) -> Result<(Vec<u8>, u64), TooLong> {
        let bytes = u32::try_from(self.bytes.len() - GROUP_HEADER).map_err(|_| TooLong)?;
        let header = GroupHeader { count: self.count, bytes, first: self.first };
        self.bytes[..GROUP_HEADER].copy_from_slice(&header.encode(self.salt));
        let next = self.next();
        Ok((self.bytes, next))
    }
}

/// Returns a record's payload, or why it is invalid and the record's length if that is known.
pub(super) fn record(bytes: &[u8], salt: u32, sequence: u64) -> Result<&[u8], (&'static str, Option<usize>)> {
    let Some((header, rest)) = bytes.split_first_chunk::<RECORD_HEADER>() else {
        return Err(("a record is cut off", None));
    };
    let length = usize::try_from(u32_at(header, 0)).unwrap_or(usize::MAX);
    let Some(payload) = rest.get(..length) else { return Err(("a record's length is wrong", None)) };
    if record_crc(salt, sequence, payload) != u32_at(header, 4) {
        return Err(("a record's checksum does not match", Some(RECORD_HEADER + length)));
    }
    Ok(payload)
}

/// Returns the checksum of a record.
pub(super) fn record_crc(salt: u32, sequence: u64, payload: &[u8]) -> u32 {
    crc(salt, &[&sequence.to_le_bytes(), payload])
}

fn crc(salt: u32, parts: &[&[u8]]) -> u32 {
    let mut hasher = crc32fast::Hasher::new_with_initial(salt);
    parts.iter().for_each(|part| hasher.update(part));
    hasher.finalize()
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    bytes.get(at..at + 4).and_then(|it| it.try_into().ok()).map_or(0, u32::from_le_bytes)
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    bytes.get(at..at + 8).and_then(|it| it.try_into().ok()).map_or(0, u64::from_le_bytes)
}
