//! Calendly's webhooks become follow-up tasks.

mod event;
mod map;

wit_bindgen::generate!({ path: "../../wit", world: "mapper" });

struct Calendly;

impl Guest for Calendly {
    fn transform(payload: String, context: Context) -> Result<Outcome, MapError> {
        let refused = |message: String| MapError { message, pointer: None };
        let event = serde_json::from_str(&payload).map_err(|e| refused(format!("not a Calendly event: {e}")))?;
        let config = serde_json::from_str(&context.config).map_err(|e| refused(format!("[config] in plugin.toml: {e}")))?;
        match map::map(&event, &config) {
            map::Mapped::Skip(reason) => Ok(Outcome::Skip(reason)),
            map::Mapped::Task(task) => match serde_json::to_string(&task) {
                Ok(text) => Ok(Outcome::Tasks(vec![text])),
                Err(error) => Err(refused(error.to_string())),
            },
        }
    }
}

export!(Calendly);
