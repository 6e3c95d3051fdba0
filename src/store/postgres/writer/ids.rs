//! Names of rows.

use uuid::Uuid;

use crate::model::company::CompanyId;
use crate::store::idempotency::IdempotencyId;
use crate::store::item::StoredAnswer;
use crate::store::postgres::shared::name_of;

/// A company's row under this id.
pub(super) type Id = (CompanyId, Uuid);

/// Where a response is stored: company, kind and name.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(in crate::store::postgres) struct AnswerKey {
    pub(in crate::store::postgres) company: String,
    /// 0 for idempotency keys, 1 for deliveries.
    pub(in crate::store::postgres) kind: i16,
    pub(in crate::store::postgres) name: [u8; 16],
}

impl AnswerKey {
    pub(in crate::store::postgres) fn of(id: &IdempotencyId) -> Self {
        let company = name_of(id.company.as_ref()).to_owned();
        Self { company, kind: i16::from(id.window.is_some()), name: id.name }
    }

    pub(super) fn imported(answer: &StoredAnswer) -> Self {
        let company = name_of(answer.company.as_ref()).to_owned();
        Self { company, kind: i16::from(answer.is_delivery), name: answer.name }
    }
}
