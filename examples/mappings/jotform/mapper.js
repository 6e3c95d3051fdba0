export default ({ formTitle, submissionID, rawRequest }, { config, skip, refuse }) => {
  // Jotform names an answer q7_callBack. Its number changes when the form is copied, so the name alone is compared.
  const answer = (name) => Object.entries(rawRequest).find(([key]) => key.replace(/^q\d+_/, "") === name)?.[1];
  if (answer("callBack") === "No") return skip("no call back is wanted");

  // With an input mask, a phone number has the member full; otherwise it is in two parts.
  const { full, area, phone: number } = answer("phoneNumber") ?? {};
  const phone = full || [area, number].filter(Boolean).join(" "), email = answer("email");
  if (!phone && !email) throw refuse("a call back needs a phone number or an email address", "/rawRequest");

  const { first, last } = answer("name") ?? {};
  const name = [first, last].filter(Boolean).join(" ") || phone || email;
  const lines = [answer("message"), phone && `Phone: ${phone}`, email && `Email: ${email}`, `Form: ${formTitle}`];
  // The parts of a date that was not chosen are empty texts.
  const date = answer("preferredDate"), topic = answer("topic");
  return {
    title: topic ? `Call ${name} back: ${topic}` : `Call ${name} back`,
    description: lines.filter(Boolean).join("\n"),
    deadline: date?.year && DateTime.fromObject({ ...date, hour: 17 }),
    priority: config.urgent_topics.includes(topic) ? "high" : "medium",
    tags: ["form", topic],
    session_id: submissionID,
  };
};
