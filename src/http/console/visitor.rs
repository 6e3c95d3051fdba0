//! Who looks at a page.

use form_urlencoded::Serializer;

use super::session::VisitorSession;
use crate::auth::Scope;
use crate::http::key_holder::KeyHolder;
use crate::model::company::CompanyId;

/// Who looks at a page.
#[derive(Debug, Clone, Default)]
pub(super) struct Visitor {
    /// The key's label or id, or `operator`; empty for somebody who has not logged in.
    pub(super) name: String,
    /// The key's company, or the one that the operator has chosen.
    pub(super) company: Option<CompanyId>,
    pub(super) is_operator: bool,
    scopes: Vec<Scope>,
}

impl Visitor {
    pub(super) fn new(session: &VisitorSession, chosen: Option<CompanyId>) -> Self {
        match &session.holder {
            KeyHolder::Operator => {
                Self { name: "operator".into(), company: chosen, is_operator: true, scopes: vec![Scope::Admin] }
            }
            KeyHolder::Key(key) => Self {
                name: if key.label.is_empty() { key.id.0.clone() } else { key.label.clone() },
                company: Some(key.company_id.clone()),
                is_operator: false,
                scopes: key.scopes.clone(),
            },
        }
    }

    /// Whether the visitor has a scope. The operator has `admin`.
    pub(super) fn can(&self, scope: Scope) -> bool {
        self.scopes.contains(&scope)
    }
}

/// Adds the company that the operator has chosen to a URL of the console.
pub(super) fn keeping_company(who: &Visitor, path: &str) -> String {
    match &who.company {
        Some(company) if who.is_operator => {
            let query = Serializer::new(String::new()).append_pair("company", company.as_str()).finish();
            let (path, anchor) =
                path.split_once('#').map_or((path, String::new()), |(path, it)| (path, format!("#{it}")));
            format!("{path}{}{query}{anchor}", if path.contains('?') { '&' } else { '?' })
        }
        _ => path.to_owned(),
    }
}
