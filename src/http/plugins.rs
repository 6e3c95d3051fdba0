//! `/v1/admin/plugins`: plugins, their state and their calls.

use super::answer::Failed;
use super::call::Call;
use super::path::{Path, SentName};
use super::plugin_answer::PluginAnswer;
use super::plugin_node::NodeAnswer;
use super::problem::Problem;
use super::query::routes::ShadowQuery;
use super::reply::{List, Success};
use crate::model::audit::Action;
use crate::model::company::CompanyId;
use crate::service::app::{Admin, App};
use crate::service::dry_run::ShadowReport;
use crate::service::watch::Pass;

/// `GET /v1/admin/plugins`. The operator sees every folder, an admin those of its company. With several servers on one
/// database, also plugins that only other servers have.
pub(super) async fn list(call: Call, admin: Admin, (): ()) -> Result<List<PluginAnswer>, Failed> {
    Ok(List { data: seen_by(&call.app, &admin) })
}

/// The plugins that an admin may see.
pub(super) fn seen_by(app: &App, admin: &Admin) -> Vec<PluginAnswer> {
    // In this order: a folder becomes live or refused before it stops being "loading".
    let loading = app.registry.loading();
    let (live, refused) = (app.registry.list(), app.registry.refused());
    let seen = |company: &CompanyId| admin.manages(company);
    let mut data: Vec<_> = live
        .iter()
        .filter(|it| seen(&it.company_id))
        .map(|it| PluginAnswer::live(it, refused.get(&*it.name.0), app.shadows.of(it).as_deref(), admin))
        .collect();
    if *admin == Admin::Operator {
        let never_live = |name: &String| live.iter().all(|live| *live.name.0 != **name);
        data.extend(refused.values().filter(|it| never_live(&it.name)).map(PluginAnswer::refused));
        let first = loading.iter().filter(|name| never_live(name) && !refused.contains_key(*name));
        data.extend(first.map(|it| PluginAnswer::loading(it)));
    }
    for (name, nodes) in app.nodes.differing().iter() {
        let nodes_seen = NodeAnswer::all(nodes, admin);
        if let Some(it) = data.iter_mut().find(|it| it.name() == name) {
            it.differs(nodes_seen);
        } else if NodeAnswer::concern(nodes, admin) {
            data.push(PluginAnswer::elsewhere(name, nodes_seen));
        }
    }
    data
}

/// `POST /v1/admin/plugins/reload`: reads secrets and sender files again, scans the plugins folder, and returns what changed.
pub(super) async fn reload(call: Call, admin: Admin, (): ()) -> Result<Success<Pass>, Failed> {
    let watch = call.app.watch.as_ref().ok_or(Problem::NotFound("this server has no plugins folder"))?;
    let mut pass = watch.reload().await.map_err(Problem::Operation)?;
    let counts =
        format!("{} loaded, {} refused, {} removed", pass.loaded.len(), pass.refused.len(), pass.removed.len());
    call.app.store.note(admin.does(Action::PluginsReloaded, "plugins").with(counts)).await?;
    if admin != Admin::Operator && !pass.unread.is_empty() {
        pass.unread = vec!["secrets or sender files could not be read; the operator sees why".into()];
    }
    // The reason names files, and may quote fixtures.
    for (name, message) in &mut pass.refused {
        let refused = call.app.registry.refused();
        let concerns = |company: &CompanyId| refused.get(name).is_none_or(|it| it.concerns(company));
        let live = call.app.registry.get(name);
        let own = live.is_some_and(|it| admin.manages(&it.company_id) && concerns(&it.company_id));
        if admin != Admin::Operator && !own {
            *message = "refused; the operator sees why".into();
        }
    }
    Ok(Success(pass))
}

/// `GET /v1/admin/plugins/{name}/shadow`: how the candidate compares, with examples. `?values=false` leaves out the senders'
/// data.
pub(super) async fn shadow(
    call: Call,
    admin: Admin,
    (Path(SentName(name)), query): (Path<SentName>, ShadowQuery),
) -> Result<Success<ShadowReport>, Failed> {
    let live = call.app.registry.get(&name).filter(|it| admin.manages(&it.company_id));
    let live = live.ok_or(Problem::NotFound("no such plugin is live"))?;
    let attached = call.app.shadows.of(&live).ok_or(Problem::NotFound("this plugin has no shadow"))?;
    let shadow = attached.shadow.as_ref().map_err(|why| Problem::NoShadow(why.clone()))?;
    let mut report = shadow.report();
    if query.values != Some(false) {
        call.app.store.note(admin.does(Action::ShadowRead, &live.name).of(&live.company_id)).await?;
    } else {
        report.compared.tally.forget_values();
    }
    Ok(Success(report))
}
