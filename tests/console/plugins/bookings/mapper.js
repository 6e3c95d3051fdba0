export default (event, { skip, refuse }) => {
  if (event.kind === "test") return skip("a test booking");
  if (!event.name) throw refuse("a booking needs a name", "/name");
  console.log(`booking of ${event.kind}`);
  return {
    title: `Call ${event.name}`,
    description: event.notes ?? "No notes.",
  };
};
