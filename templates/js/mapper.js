// Maps a message to a task. `payload` is JSON text that fits input.schema.json. `context` has eventId, integration,
// receivedAt, companyId and config, which is [config] of plugin.toml as JSON text. console.log writes to the plugin's log,
// and new Date() is when the event was received.
export function transform(payload, context) {
  const message = JSON.parse(payload);
  const config = JSON.parse(context.config);
  if (message.spam === true) return { tag: "skip", val: "spam" };
  // To refuse a payload: throw { payload: { message: "what to change", pointer: "/place" } };
  const task = {
    title: `Message from ${message.from ?? "somebody"}`,
    description: message.message,
    assigned_user_ids: [config.default_assignee],
    created_by_id: context.integration,
    deadline: message.due ?? context.receivedAt, // a date without a time is enough
  };
  return { tag: "tasks", val: [JSON.stringify(task)] };
}
