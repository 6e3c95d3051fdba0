//! Access control: the table says who may call a route, the router enforces it, and the handler gets the caller.

use std::sync::Arc;

use super::call::Call;
use super::key_holder::KeyHolder;
use super::openapi::describer::Describer;
use super::problem::Problem;
use super::query::QueryParameters as _;
use super::query::parameter::QueryParameter;
use super::query::routes::CompanyQuery;
use super::reader::{CompanyAdmin, Reader};
use crate::auth::{ApiKey, AuthError, Scope};
use crate::model::time::now;
use crate::service::app::Admin;

/// Decides who may call a route.
pub(super) trait Access: Send + Sync + 'static {
    /// The caller, for the handler.
    type Who: Send;
    /// Whether it is answered even when the server has no place for the request.
    const ALWAYS: bool = false;
    /// Whether the content type may be sent more than once.
    const ANY_TYPE: bool = false;
    /// The query parameters that say who calls.
    const QUERY: &'static [QueryParameter] = &[];

    /// Admits the caller.
    fn admit(&self, call: &mut Call) -> Result<Self::Who, Problem>;

    /// Describes what a caller needs.
    fn describe(&self, to: &mut Describer<'_>);
}

/// A key with this scope.
pub(super) fn key(scope: Scope) -> ScopedKey {
    ScopedKey(scope)
}

/// See [`key`].
pub(super) struct ScopedKey(Scope);

impl Access for ScopedKey {
    type Who = Arc<ApiKey>;

    fn admit(&self, call: &mut Call) -> Result<Self::Who, Problem> {
        let key = call.key(self.0, now())?;
        call.rules = key.rules();
        Ok(key)
    }

    fn describe(&self, to: &mut Describer<'_>) {
        to.security("apiKey", &[self.0.name()]);
        to.fails(&[401, 403, 429]);
    }
}

/// A key with the scope `tasks:read`, `events:read` or `admin`, or the operator, who names a company.
pub(super) struct AnyReader;

impl Access for AnyReader {
    type Who = Reader;
    const QUERY: &'static [QueryParameter] = CompanyQuery::PARAMETERS;

    fn admit(&self, call: &mut Call) -> Result<Reader, Problem> {
        Reader::of(call)
    }

    fn describe(&self, to: &mut Describer<'_>) {
        to.security("apiKey", &[Scope::TasksRead.name()]);
        to.security("apiKey", &[Scope::EventsRead.name()]);
        Reader::describe(to);
        to.text("With `tasks:read` alone, fields that may repeat what was sent (`reason`, `plugin_log`, `content_type`, `headers`, `trace`) are left out.");
    }
}

/// A key with the scope `admin`, or the operator, who names a company.
pub(super) struct AdminOfCompany;

impl Access for AdminOfCompany {
    type Who = CompanyAdmin;
    const QUERY: &'static [QueryParameter] = CompanyQuery::PARAMETERS;

    fn admit(&self, call: &mut Call) -> Result<CompanyAdmin, Problem> {
        Ok(Reader::of(call)?.admin()?)
    }

    fn describe(&self, to: &mut Describer<'_>) {
        Reader::describe(to);
    }
}

/// A key with the scope `admin`, for its own company, or the operator, for all of them.
pub(super) struct AnyAdmin;

impl Access for AnyAdmin {
    type Who = Admin;

    fn admit(&self, call: &mut Call) -> Result<Admin, Problem> {
        let admin = call.admin()?;
        call.read_as_its_key(now());
        Ok(admin)
    }

    fn describe(&self, to: &mut Describer<'_>) {
        to.security("apiKey", &[Scope::Admin.name()]);
        to.security("operatorToken", &[]);
        to.fails(&[401, 403, 429]);
    }
}

/// The operator alone, who can read the server's data directory.
pub(super) struct Operator;

impl Access for Operator {
    type Who = ();

    fn admit(&self, call: &mut Call) -> Result<(), Problem> {
        match call.admin()? {
            Admin::Operator => Ok(()),
            Admin::Company(..) => Err(AuthError::Scope(Scope::Admin).into()),
        }
    }

    fn describe(&self, to: &mut Describer<'_>) {
        to.security("operatorToken", &[]);
        to.fails(&[401, 403]);
        to.text("For the operator alone: it concerns every company, and names paths on the server's machine.");
    }
}

/// A sender of an integration. The integration decides how it authenticates, so the handler checks it.
pub(super) struct HookSender;

impl Access for HookSender {
    type Who = ();
    const ANY_TYPE: bool = true;

    fn admit(&self, _: &mut Call) -> Result<(), Problem> {
        Ok(())
    }

    fn describe(&self, to: &mut Describer<'_>) {
        to.security("apiKey", &[Scope::HooksWrite.name()]);
        to.security("senderPassword", &[]);
        to.other_security();
        to.text("The integration's plugin.toml says how a sender proves who it is: an API key, a signature over the body, a password, or a secret in the URL. A delivery without that proof is rejected.");
        to.fails(&[401, 403, 429]);
    }
}

/// Any valid key, whatever its scopes, or the operator.
pub(super) struct AnyKey;

impl Access for AnyKey {
    type Who = KeyHolder;

    fn admit(&self, call: &mut Call) -> Result<KeyHolder, Problem> {
        if let Ok(Admin::Operator) = call.admin() {
            return Ok(KeyHolder::Operator);
        }
        let key = call.any_key(now())?;
        call.rules = key.rules();
        Ok(KeyHolder::Key(key))
    }

    fn describe(&self, to: &mut Describer<'_>) {
        to.security("apiKey", &[]);
        to.security("operatorToken", &[]);
        to.fails(&[401, 429]);
    }
}

/// Any caller.
pub(super) struct Anyone;

impl Access for Anyone {
    type Who = ();

    fn admit(&self, _: &mut Call) -> Result<(), Problem> {
        Ok(())
    }

    fn describe(&self, _: &mut Describer<'_>) {}
}

/// Any caller, even when the server accepts no other request.
pub(super) struct Probe;

impl Access for Probe {
    type Who = ();
    const ALWAYS: bool = true;

    fn admit(&self, _: &mut Call) -> Result<(), Problem> {
        Ok(())
    }

    fn describe(&self, to: &mut Describer<'_>) {
        to.text("It is answered even when the server is busy.");
    }
}
