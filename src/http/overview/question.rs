//! What an overview is about.

use chrono::{DateTime, Utc};

use crate::model::company::CompanyId;
use crate::service::app::{Admin, App};

/// Who asks, and about which company.
pub(super) struct OverviewQuestion<'a> {
    pub(super) app: &'a App,
    pub(super) admin: &'a Admin,
    /// `None` for all.
    pub(super) company: Option<&'a CompanyId>,
    pub(super) now: DateTime<Utc>,
}

impl OverviewQuestion<'_> {
    /// Whether something of this company is meant.
    pub(super) fn is_about(&self, company: &CompanyId) -> bool {
        self.admin.manages(company) && self.company.is_none_or(|it| it == company)
    }

    /// Whether the caller may see what concerns the whole server.
    pub(super) fn is_operator(&self) -> bool {
        *self.admin == Admin::Operator
    }
}
