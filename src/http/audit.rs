//! `GET /v1/admin/audit`: who did what.

use serde_json::json;
use uuid::Uuid;
use warp::http::StatusCode;

use super::Problem;
use super::call::{Answer, Call, Failed};
use super::query::Query;
use crate::app::Admin;
use crate::auth::{AuthError, CompanyId};
use crate::payload::Rules;

/// Entries a page, where nothing is said, and most.
const LIMIT: (usize, usize) = (50, 1000);
const KNOWN: [&str; 3] = ["company_id", "limit", "cursor"];

/// `GET /v1/admin/audit`, newest first: a company's admin sees its own, the operator everything.
pub(super) async fn list(call: Call) -> Result<Answer, Failed> {
    let admin = call.admin()?;
    let mut query = Query::read(&call.query, &Rules::default(), &KNOWN);
    let limit = query.number("limit", "a number from 1 to 1000", 1, LIMIT.1).unwrap_or(LIMIT.0);
    let cursor = query.text("cursor");
    let before = cursor.and_then(|it| query.or_wrong("cursor", &it, "an entry's id", Uuid::parse_str(&it).ok()));
    let named = query.text("company_id");
    if !query.violations.is_empty() {
        return Err(Problem::from(query.violations).into());
    }
    let company = match (admin, named) {
        (Admin::Operator, None) => None,
        (Admin::Operator, Some(named)) => Some(CompanyId::parse(&named).map_err(Problem::Invalid)?),
        (Admin::Company(own, _), Some(named)) if own.as_str() != named => {
            return Err(AuthError::Scope(crate::auth::Scope::Admin).into());
        }
        (Admin::Company(own, _), _) => Some(own),
    };
    let entries = call.app.store.audit(company.as_ref(), before, limit).await?;
    let next = entries.last().filter(|_| entries.len() == limit).map(|it| it.id);
    let answer = json!({ "data": entries, "pagination": { "limit": limit, "next_cursor": next } });
    Ok(Answer::json(StatusCode::OK, &answer)?)
}
