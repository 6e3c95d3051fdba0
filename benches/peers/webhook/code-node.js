// The README's n8n Code node: the same mapping, on the body that the Webhook node received.
const { event, payload } = $input.first().json.body;
if (event !== "invitee.created") return [{ json: { skipped: true } }];
const meeting = payload.scheduled_event;
const answers = payload.questions_and_answers.map((it) => `\n${it.question}: ${it.answer}`).join("");
return [{
  json: {
    title: `Prepare ${meeting.name} with ${payload.name}`,
    description: `${payload.name} has booked ${meeting.name} for ${meeting.start_time}.${answers}`,
    assigned_user_ids: ["user_1"], created_by_id: "calendly", deadline: meeting.start_time, tags: ["calendly"],
    session_id: payload.uri.split("/").pop(), type: "follow_up",
  },
}];
