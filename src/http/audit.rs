//! `GET /v1/admin/audit`: who did what.

use super::answer::Failed;
use super::call::Call;
use super::query::routes::AuditQuery;
use super::query::values::PageLimit;
use super::reply::{CursorPagination, Page};
use crate::auth::AuthError;
use crate::model::audit::Entry;
use crate::service::app::Admin;

/// `GET /v1/admin/audit`, newest first. An admin sees the entries of its company, the operator all of them.
pub(super) async fn list(call: Call, admin: Admin, query: AuditQuery) -> Result<Page<Entry>, Failed> {
    let AuditQuery { company_id, limit: PageLimit(limit), cursor } = query;
    let company = match (admin, company_id) {
        (Admin::Operator, named) => named,
        (Admin::Company(own, _), Some(named)) if own != named => return Err(AuthError::OtherCompany.into()),
        (Admin::Company(own, _), _) => Some(own),
    };
    let data = call.app.store.audit(company.as_ref(), cursor, limit).await?;
    let next = data.last().filter(|_| data.len() == limit).map(|it| it.id.to_string());
    Ok(Page { data, pagination: CursorPagination { limit, next_cursor: next } })
}
