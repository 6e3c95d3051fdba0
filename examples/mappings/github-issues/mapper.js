// A lookup such as config.users[login] would find a function for the login "constructor".
const chosen = (table, names) => Object.entries(table).filter(([name]) => names.includes(name)).map(([, value]) => value);

export default ({ action, issue, repository, sender }, { config, headers, receivedAt, skip, refuse }) => {
  // GitHub sends a ping when the webhook is created, and every event that is ticked in its form.
  const event = headers["x-github-event"];
  if (event !== "issues") return skip(`no task for the event ${event}`);
  if (!issue) throw refuse("an issues event needs an issue", "/issue");
  if (!["opened", "reopened"].includes(action)) return skip(`no task for an issue that is ${action}`);
  if (sender.type === "Bot") return skip(`opened by the bot ${sender.login}`);

  const labels = issue.labels?.map((label) => label.name) ?? [];
  const days = Math.min(7, ...chosen(config.days, labels));
  return {
    title: `Triage ${repository.full_name}#${issue.number}: ${issue.title}`,
    description: [issue.body?.slice(0, 2000), issue.html_url].filter(Boolean).join("\n\n"),
    // If this list is empty, [defaults] says who gets the task.
    assigned_user_ids: chosen(config.users, issue.assignees?.map((user) => user.login) ?? []),
    deadline: DateTime.fromJSDate(receivedAt).plus({ days }).endOf("day"),
    priority: labels.includes("security") ? "urgent" : labels.includes("bug") ? "high" : "low",
    tags: ["github", repository.name, ...labels],
  };
};
