//! `GET /v1/events/{id}/files/{n}`: a file of a delivery, cut out of the stored body.

use super::answer::{Answer, Failed};
use super::call::Call;
use super::events::{body_limit, find};
use super::openapi::describer::Describer;
use super::openapi::headers;
use super::path::{FileNumber, NO_FILE, Path};
use super::problem::Problem;
use super::reader::CompanyAdmin;
use super::reply::TypedReply;
use crate::format::payload::SentFile;
use crate::model::audit::Action;
use crate::model::ids::EventId;

/// Longest file name in a response, in characters.
const NAME: usize = 100;

/// 200 with a file.
pub(super) struct FileBytes {
    event_id: EventId,
    file: SentFile,
}

/// `GET /v1/events/{id}/files/{n}`
pub(super) async fn show(
    mut call: Call,
    who: CompanyAdmin,
    (Path(id), Path(FileNumber(number))): (Path<EventId>, Path<FileNumber>),
) -> Result<FileBytes, Failed> {
    let event = find(&call, &who.company, id).await?.event;
    if let Some(why) = event.no_body() {
        return Err(Problem::NotFound(why.sentence()).into());
    }
    let limit = body_limit(&call, &event);
    call.weigh_event(&event, limit).await?;
    let file = event.raw().file(number, limit).ok_or(NO_FILE)?;
    call.app.store.note(who.admin.does(Action::EventRead, event.id).of(&who.company)).await?;
    Ok(FileBytes { event_id: event.id, file })
}

/// It may be anything, so a browser never shows it.
impl TypedReply for FileBytes {
    fn write(self) -> Result<Answer<Self>, Problem> {
        let disposition = disposition(self.file.name.as_deref().unwrap_or_default());
        let answer = Answer::bytes("application/octet-stream", self.file.bytes).for_event(self.event_id);
        Ok(answer.with("content-disposition", &disposition).with("x-content-type-options", "nosniff"))
    }

    fn describe(to: &mut Describer<'_>) {
        let headers = [headers::EVENT_ID, headers::CONTENT_DISPOSITION];
        to.answer(200, "The file, byte for byte.", "application/octet-stream", None, &headers);
    }
}

/// Names an attachment: without directories, and only with characters that no file system and no header takes for
/// something else.
fn disposition(name: &str) -> String {
    let last = name.rsplit(['/', '\\']).next().unwrap_or_default();
    let safe = |it: char| if it.is_ascii_alphanumeric() || "._- ".contains(it) { it } else { '_' };
    let name: String = last.chars().take(NAME).map(safe).collect();
    match name.trim_matches(['.', ' ']) {
        "" => "attachment".to_owned(),
        name => format!("attachment; filename=\"{name}\""),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Otherwise a sender chooses where the admin's browser writes, or adds a header to the response.
    #[test]
    fn a_file_name_is_harmless() {
        for (name, expected) in [
            ("fax 1.pdf", "attachment; filename=\"fax 1.pdf\""),
            ("../../etc/passwd", "attachment; filename=\"passwd\""),
            ("C:\\x\\R.pdf", "attachment; filename=\"R.pdf\""),
            ("a\"; filename=b\r\nx: y", "attachment; filename=\"a__ filename_b__x_ y\""),
            (".bashrc", "attachment; filename=\"bashrc\""),
            ("…", "attachment; filename=\"_\""),
            ("..", "attachment"),
            ("", "attachment"),
        ] {
            assert_eq!(disposition(name), expected, "{name}");
        }
    }
}
