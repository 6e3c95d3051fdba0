//! `/v1/admin/plugins`: what is live, what is refused, and how the calls go.

use serde_json::{Value, json};
use warp::http::StatusCode;

use super::Problem;
use super::call::{Answer, Call, Failed};
use crate::app::Admin;
use crate::audit::Action;
use crate::auth::CompanyId;
use crate::integration::{Beside, Integration, Refused};

/// `GET /v1/admin/plugins`: the operator sees every folder, a company's admin those that make its tasks.
pub(super) async fn list(call: Call) -> Result<Answer, Failed> {
    let admin = call.admin()?;
    // In this order: what is loaded is live, or refused, before it is no longer loading.
    let loading = call.app.registry.loading();
    let (live, refused) = (call.app.registry.list(), call.app.registry.refused());
    let seen = |company: &CompanyId| admin.manages(company);
    let mut all: Vec<Value> = live
        .iter()
        .filter(|it| seen(&it.company_id))
        .map(|it| described(it, refused.get(&*it.name.0), &admin))
        .collect();
    if admin == Admin::Operator {
        let never_live = |name: &String| live.iter().all(|live| *live.name.0 != **name);
        let refused_only = refused.values().filter(|it| never_live(&it.name));
        all.extend(refused_only.map(|it| json!({ "name": it.name, "state": "refused", "message": it.message })));
        let first = loading.iter().filter(|name| never_live(name) && !refused.contains_key(*name));
        all.extend(first.map(|name| json!({ "name": name, "state": "loading" })));
    }
    Ok(Answer::json(StatusCode::OK, &json!({ "data": all }))?)
}

/// `POST /v1/admin/plugins/reload`: looks at the plugins folder now, and tells what that has come to.
pub(super) async fn reload(call: Call) -> Result<Answer, Failed> {
    let admin = call.admin()?;
    let watch = call.app.watch.as_ref().ok_or(Problem::NotFound("this server has no plugins folder"))?;
    let mut pass = watch.reload().await.map_err(Problem::Operation)?;
    let counts =
        format!("{} loaded, {} refused, {} removed", pass.loaded.len(), pass.refused.len(), pass.removed.len());
    call.app.store.note(admin.does(Action::PluginsReloaded, "plugins").with(counts)).await?;
    // Why a folder is refused names files, and may quote its fixtures.
    for (name, message) in &mut pass.refused {
        let refused = call.app.registry.refused();
        let concerns = |company: &CompanyId| refused.get(name).is_none_or(|it| it.concerns(company));
        let live = call.app.registry.get(name);
        let own = live.is_some_and(|it| admin.manages(&it.company_id) && concerns(&it.company_id));
        if admin != Admin::Operator && !own {
            *message = "refused; the operator sees why".into();
        }
    }
    Ok(Answer::json(StatusCode::OK, &pass)?)
}

/// `GET /v1/admin/plugins/{name}/shadow`: how the candidate compares, with examples; `?values=false` leaves out what is
/// the senders' data.
pub(super) async fn shadow(call: Call, name: String) -> Result<Answer, Failed> {
    let admin = call.admin()?;
    let live = call.app.registry.get(&name).filter(|it| admin.manages(&it.company_id));
    let live = live.ok_or(Problem::NotFound("no such plugin is live"))?;
    let beside = live.beside.get().ok_or(Problem::NotFound("this plugin has no shadow"))?;
    let shadow = beside.shadow.as_ref().map_err(|why| Problem::NoShadow(why.clone()))?;
    let mut report = shadow.report();
    if call.query.split('&').any(|it| it == "values=false") {
        report.compared.tally.forget_values();
    } else {
        call.app.store.note(admin.does(Action::ShadowRead, &live.name).of(&live.company_id)).await?;
    }
    Ok(Answer::json(StatusCode::OK, &report)?)
}

fn beside(it: &Beside) -> Value {
    let (report, why) = match &it.shadow {
        Ok(shadow) => (Some(shadow.report()), None),
        Err(why) => (None, Some(why)),
    };
    let tally = report.as_ref().map(|it| &it.compared.tally);
    json!({
        "folder": it.folder,
        "state": if why.is_some() { "refused" } else { "running" },
        "message": why,
        "version": report.as_ref().map(|it| &it.version),
        "sha256": report.as_ref().map(|it| &it.sha256),
        "events": report.as_ref().map(|it| it.compared.events),
        "dropped": report.as_ref().map(|it| it.dropped),
        "same": tally.map(|it| it.same),
        "changed": tally.map(|it| it.changed),
        "newly_failing": tally.map(|it| it.newly_failing),
        "newly_passing": tally.map(|it| it.newly_passing),
    })
}

fn described(it: &Integration, refused: Option<&Refused>, admin: &Admin) -> Value {
    let limits = it.plugin.limits();
    let (stored, not_stored) = it.rejections.counts();
    // The newer version may be another company's, and why it is refused as well.
    let why = refused.map(|refused| match admin {
        Admin::Company(company, _) if !refused.concerns(company) => "refused; the operator sees why",
        _ => &refused.message,
    });
    json!({
        "name": it.name,
        // A newer version in the folder does not go live, and this one stays.
        "state": if refused.is_some() { "outdated" } else { "live" },
        "message": why,
        "version": it.version,
        "description": it.description,
        "company_id": it.company_id,
        "sha256": it.provenance.module_sha256,
        "schema_sha256": it.provenance.schema_sha256,
        "abi": it.plugin.abi(),
        "imports": it.plugin.imports(),
        "limits": {
            "time_ms": limits.time.as_millis(),
            "memory_mib": limits.memory_bytes >> 20,
            "output_kib": limits.output_bytes >> 10,
            "log_kib": limits.log_bytes >> 10,
            "concurrency": limits.concurrency,
            "queue": limits.queue,
        },
        "weak_secrets": it.weak_secrets,
        // Deliveries whose senders have not proved who they are, since this version went live.
        "rejected": { "stored": stored, "not_stored": not_stored },
        "loaded_at": it.loaded_at,
        "calls": it.plugin.summary(),
        "shadow": it.beside.get().map(beside),
    })
}
