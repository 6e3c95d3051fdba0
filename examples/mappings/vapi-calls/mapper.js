// A deadline at night or on a weekend would be missed before anyone reads it.
const inWorkingHours = (time) => {
  const day = time.hour < 17 ? time : time.plus({ days: 1 }).startOf("day");
  if (day.isWeekend) return day.startOf("week").plus({ weeks: 1 }).set({ hour: 10 });
  return day.hour < 9 ? day.startOf("day").set({ hour: 10 }) : day;
};

export default ({ message }, { config, skip }) => {
  if (message.type !== "end-of-call-report") return skip(`no task for a message of type ${message.type}`);
  const { call, customer, analysis, artifact, endedReason, endedAt } = message;
  const failed = /error|fault|failed/.test(endedReason);
  const caller = customer?.name || customer?.number || "an unknown caller";
  // There is a summary only if the assistant has an analysis plan. Transcripts can be very long.
  const content = analysis?.summary || artifact?.transcript?.slice(0, 2000) || "No summary or transcript.";
  return {
    title: failed ? `Call ${caller} back: the call broke off` : `Follow up on the call with ${caller}`,
    description: `${content}\n\nThe call ended with ${endedReason}.`,
    deadline: endedAt && inWorkingHours(DateTime.fromISO(endedAt).plus({ hours: config.follow_up_hours })),
    priority: failed ? "high" : "medium",
    tags: ["call", endedReason],
    call_id: call.id,
    assistant_id: call.assistantId,
  };
};
