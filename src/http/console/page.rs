//! What a page's handler gets.

use std::sync::Arc;

use form_urlencoded::Serializer;

use super::client::{ApiClient, ApiFn};
use super::page_failure::{PageFailure, refused};
use super::session::VisitorSession;
use super::visitor::{Visitor, keeping_company};
use crate::http::call::Call;
use crate::http::problem::Problem;
use crate::model::company::CompanyId;
use crate::service::app::App;

/// One request for a page.
pub(super) struct PageCall {
    /// Calls the API with the visitor's rights.
    pub(super) client: ApiClient,
    /// Who has logged in; nobody on the pages that anyone may see.
    pub(super) who: Visitor,
    call: Arc<Call>,
    session: Option<VisitorSession>,
    query: Vec<(String, String)>,
    form: Vec<(String, String)>,
}

impl PageCall {
    pub(super) fn new(
        api: ApiFn,
        call: Call,
        session: Option<VisitorSession>,
        form: Vec<(String, String)>,
    ) -> Result<Self, PageFailure> {
        let query: Vec<(String, String)> = form_urlencoded::parse(call.query.as_bytes()).into_owned().collect();
        let chosen = chosen(&call.query)?;
        let who = session.as_ref().map(|it| Visitor::new(it, chosen)).unwrap_or_default();
        let call = Arc::new(call);
        let client =
            ApiClient::new(api, Arc::clone(&call), session.as_ref().map(|it| it.holder.clone()), who.company.clone());
        Ok(Self { client, who, call, session, query, form })
    }

    /// A parameter of the URL, by its name in the table of pages.
    pub(super) fn parameter(&self, name: &str) -> &str {
        self.call.path.iter().find(|(it, _)| *it == name).map_or("", |(_, value)| value)
    }

    /// The first value of a query parameter that is not blank.
    pub(super) fn query(&self, name: &str) -> Option<&str> {
        first(&self.query, name)
    }

    /// The query as pairs.
    pub(super) fn query_all(&self) -> &[(String, String)] {
        &self.query
    }

    /// The first value of a field of the form that was sent, if it is not blank.
    pub(super) fn form(&self, name: &str) -> Option<&str> {
        first(&self.form, name)
    }

    /// The form as pairs.
    pub(super) fn form_all(&self) -> &[(String, String)] {
        &self.form
    }

    /// The path that was asked for.
    pub(super) fn path(&self) -> &str {
        &self.call.path_as_sent
    }

    /// A header of the request.
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.call.header(name)
    }

    pub(super) fn app(&self) -> &Arc<App> {
        &self.call.app
    }

    pub(super) fn call(&self) -> &Call {
        &self.call
    }

    pub(super) fn session(&self) -> Option<&VisitorSession> {
        self.session.as_ref()
    }

    /// The URL of a page of the console. It keeps the company that the operator has chosen.
    pub(super) fn link(&self, path: &str) -> String {
        keeping_company(&self.who, path)
    }

    /// The URL of this page with other query parameters: those named are replaced, or left out without a value.
    pub(super) fn link_with(&self, changed: &[(&str, Option<&str>)]) -> String {
        let kept =
            self.query.iter().filter(|(name, value)| !value.is_empty() && changed.iter().all(|(it, _)| it != name));
        let new = changed.iter().filter_map(|(name, value)| value.map(|it| (*name, it)));
        let pairs = kept.map(|(name, value)| (name.as_str(), value.as_str())).chain(new);
        let query = Serializer::new(String::new()).extend_pairs(pairs).finish();
        if query.is_empty() { self.path().to_owned() } else { format!("{}?{query}", self.path()) }
    }
}

/// The company in a query, which the operator has chosen.
pub(super) fn chosen(query: &str) -> Result<Option<CompanyId>, PageFailure> {
    let named = form_urlencoded::parse(query.as_bytes()).find(|(name, value)| name == "company" && !value.is_empty());
    let company = named.map(|(_, it)| CompanyId::parse(&it)).transpose();
    company.map_err(|why| refused(Problem::Invalid(format!("company: {why}"))))
}

fn first<'a>(pairs: &'a [(String, String)], name: &str) -> Option<&'a str> {
    pairs.iter().find(|(it, value)| it == name && !value.trim().is_empty()).map(|(_, value)| value.as_str())
}
