export default (event) => ({ title: `Triage ${event.issue?.title ?? "an issue"}`, description: event.action ?? "opened" });
