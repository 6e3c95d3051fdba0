//! The caller of a route about events, and how much it may see.

use super::call::Call;
use super::openapi::describer::Describer;
use super::problem::Problem;
use super::query::reading::QueryReader;
use super::query::routes::CompanyQuery;
use super::query::{self, QueryParameters as _};
use crate::auth::{AuthError, Scope};
use crate::model::company::CompanyId;
use crate::model::time::now;
use crate::service::app::Admin;
use crate::system::log::{Field, know};

/// A caller that reads events.
pub(super) struct Reader {
    pub(super) company: CompanyId,
    /// May see [`crate::model::event::Event::INSIDE`].
    pub(super) inside: bool,
    /// The admin, who may also see bodies.
    pub(super) admin: Option<Admin>,
}

/// An admin who may see bodies, and the company.
pub(super) struct CompanyAdmin {
    pub(super) company: CompanyId,
    pub(super) admin: Admin,
}

impl Reader {
    /// The caller. The operator names the company in the query.
    pub(super) fn of(call: &mut Call) -> Result<Self, Problem> {
        if let Ok(admin @ Admin::Operator) = call.admin() {
            know(Field::Key, admin.name().to_owned());
            let company = named_company(call)?;
            let company = company.ok_or_else(|| Problem::Invalid("company_id: the operator must name one".into()))?;
            return Ok(Self { company, inside: true, admin: Some(admin) });
        }
        let key = call.key_for_one([Scope::TasksRead, Scope::EventsRead, Scope::Admin], now())?;
        let inside = key.allow(Scope::EventsRead).is_ok() || key.allow(Scope::Admin).is_ok();
        let admin = key.allow(Scope::Admin).is_ok().then(|| Admin::Company(key.company_id.clone(), key.id.clone()));
        call.rules = key.rules();
        if named_company(call)?.is_some_and(|named| named != key.company_id) {
            return Err(AuthError::OtherCompany.into());
        }
        Ok(Self { company: key.company_id.clone(), inside, admin })
    }

    /// The caller, if it may see bodies.
    pub(super) fn admin(self) -> Result<CompanyAdmin, AuthError> {
        let admin = self.admin.ok_or(AuthError::Scope(Scope::Admin))?;
        Ok(CompanyAdmin { company: self.company, admin })
    }

    /// Describes the callers that may see everything.
    pub(super) fn describe(to: &mut Describer<'_>) {
        to.security("apiKey", &[Scope::Admin.name()]);
        to.security("operatorToken", &[]);
        query::input::describe(CompanyQuery::PARAMETERS, to);
        to.fails(&[401, 403, 422, 429]);
    }
}

/// The company in the query.
fn named_company(call: &Call) -> Result<Option<CompanyId>, Problem> {
    let mut reader = QueryReader::new(&call.query, &call.rules, CompanyQuery::PARAMETERS);
    let query = CompanyQuery::take(&mut reader);
    reader.end()?;
    Ok(query.company_id)
}
