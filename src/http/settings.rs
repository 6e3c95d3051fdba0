//! `GET /v1/admin/settings`: the settings of this server, without secrets.

use super::answer::Failed;
use super::call::Call;
use super::reply::List;
use crate::config::ShownSetting;

/// `GET /v1/admin/settings`. What is shown of a setting is decided by its type ([`crate::config::ShownSetting`]).
pub(super) async fn show(call: Call, (): (), (): ()) -> Result<List<ShownSetting>, Failed> {
    Ok(List { data: call.app.config.shown() })
}
