//! What needs attention, most urgent first.

mod deliveries;
pub(super) mod item;
mod server;
mod settings;

use super::question::OverviewQuestion;
use crate::http::answer::Failed;
use crate::http::plugin_answer::PluginBrief;
use crate::store::Timeline;
use item::AttentionAnswer;

/// Returns everything that needs attention; `day` has the counts of the last 24 hours.
pub(super) async fn of(
    asked: &OverviewQuestion<'_>,
    plugins: &[PluginBrief<'_>],
    day: &Timeline,
) -> Result<Vec<AttentionAnswer>, Failed> {
    let mut all = server::of(asked).await?;
    settings::add(asked, plugins, &mut all);
    deliveries::add(asked, day, &mut all).await?;
    // Stable: within a severity they stay in this order.
    all.sort_by_key(|it| it.severity);
    Ok(all)
}
