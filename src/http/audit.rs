//! `GET /v1/admin/audit`: who did what.

use uuid::Uuid;

use super::answer::Failed;
use super::call::Call;
use super::problem::Problem;
use super::query::{Query, QueryParameter, QueryParameters, parameter};
use super::reply::{CursorPagination, Page};
use crate::auth::{AuthError, Scope};
use crate::model::audit::Entry;
use crate::model::company::CompanyId;
use crate::service::app::Admin;

/// Entries per page: the default and the maximum.
const LIMIT: (usize, usize) = (50, 1000);

/// Which part of the audit log.
pub(super) struct AuditQuery {
    company_id: Option<String>,
    before: Option<Uuid>,
    limit: usize,
}

impl QueryParameters for AuditQuery {
    const PARAMETERS: &'static [QueryParameter] = &[
        parameter::<CompanyId>("company_id", "Only entries of this company."),
        parameter::<usize>("limit", "Most entries of a page, 1 to 1000; 50 by default."),
        parameter::<Uuid>("cursor", "The `next_cursor` of the page before."),
    ];

    fn read(query: &mut Query) -> Self {
        let limit = query.number("limit", "a number from 1 to 1000", 1, LIMIT.1).unwrap_or(LIMIT.0);
        let cursor = query.text("cursor");
        let before = cursor.and_then(|it| query.or_wrong("cursor", &it, "an entry's id", Uuid::parse_str(&it).ok()));
        Self { company_id: query.text("company_id"), before, limit }
    }
}

/// `GET /v1/admin/audit`, newest first. An admin sees the entries of its company, the operator all of them.
pub(super) async fn list(call: Call, admin: Admin, query: AuditQuery) -> Result<Page<Entry>, Failed> {
    let AuditQuery { company_id, before, limit } = query;
    let company = match (admin, company_id) {
        (Admin::Operator, None) => None,
        (Admin::Operator, Some(named)) => Some(CompanyId::parse(&named).map_err(Problem::Invalid)?),
        (Admin::Company(own, _), Some(named)) if own.as_str() != named => {
            return Err(AuthError::Scope(Scope::Admin).into());
        }
        (Admin::Company(own, _), _) => Some(own),
    };
    let data = call.app.store.audit(company.as_ref(), before, limit).await?;
    let next = data.last().filter(|_| data.len() == limit).map(|it| it.id.to_string());
    Ok(Page { data, pagination: CursorPagination { limit, next_cursor: next } })
}
