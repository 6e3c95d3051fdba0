// Maps items of any shape, as people build them in n8n, to tasks. Values are passed on unchanged: hookmill itself
// accepts "u1,u2" and loose dates and priorities. Nothing is guessed: an item without a title is refused.

// Accepted names of each field, in lower case without separators; the first one that exists is used.
const NAMES = {
  title: ["title", "subject", "task", "tasktitle", "summary", "headline", "betreff", "titel"],
  description: ["description", "desc", "notes", "note", "message", "text", "body", "details", "comment", "beschreibung"],
  assigned_user_ids: ["assigneduserids", "assignees", "assignee", "assignedto", "owner", "owners", "userids", "userid"],
  created_by_id: ["createdbyid", "createdby", "creator", "author", "requestedby"],
  deadline: ["deadline", "due", "duedate", "dueat", "dueon", "until", "faellig"],
  tags: ["tags", "labels", "categories"],
  priority: ["priority", "prio", "urgency"],
  status: ["status"],
  type: ["type", "kind", "category"],
  patient_id: ["patientid", "patient"],
  call_id: ["callid", "call"],
  fax_id: ["faxid", "fax"],
  session_id: ["sessionid"],
  assistant_id: ["assistantid"],
};

// Objects in which forms and workflow tools put the fields one level deeper.
const NESTS = ["fields", "form", "formdata", "answers", "payload", "values"];

const plain = (name) => name.toLowerCase().replace(/[^a-z0-9]/g, "");
const isObject = (value) => value !== null && typeof value === "object" && !Array.isArray(value);
const isBlank = (value) => value === null || value === undefined || (typeof value === "string" && value.trim() === "");

// Every field by its plain name; a nested one only if the top level has no field with that name.
function flatten(payload) {
  const found = new Map();
  const nests = [];
  for (const [name, value] of Object.entries(payload)) {
    if (isObject(value) && NESTS.includes(plain(name))) nests.push(value);
    else if (!isBlank(value) && !found.has(plain(name))) found.set(plain(name), value);
  }
  for (const nest of nests) {
    for (const [name, value] of Object.entries(nest)) {
      if (!isBlank(value) && !found.has(plain(name))) found.set(plain(name), value);
    }
  }
  return found;
}

// { id: "u1" } and { name: "u1" }, as drop-downs produce them, mean their id or name.
function simple(value) {
  if (Array.isArray(value)) return value.map(simple);
  if (isObject(value)) return value.id ?? value.value ?? value.name ?? JSON.stringify(value);
  return value;
}

function pick(found, names) {
  const name = names.find((it) => found.has(it));
  return name === undefined ? undefined : simple(found.get(name));
}

function endOfDay(receivedAt, days) {
  const day = new Date(Date.parse(receivedAt) + days * 86_400_000);
  return `${day.toISOString().slice(0, 10)}T23:59:59Z`;
}

// A number with more digits than JavaScript keeps becomes its text, so that an id stays the same. The first pattern is
// quick, because few payloads have such a number.
const LONG = /[:,[]\s*-?\d[\d.]{15}/;
const TOKENS = /"[^"\\]*(?:\\.[^"\\]*)*"|-?\d[\d.]*(?:[eE][-+]?\d+)?/g;

function parse(text) {
  if (!LONG.test(text)) return JSON.parse(text);
  const exact = (token) => (token[0] === '"' || token.replace(/\D/g, "").length <= 15 ? token : `"${token}"`);
  return JSON.parse(text.replace(TOKENS, exact));
}

export function transform(payload, context) {
  const item = parse(payload);
  const config = JSON.parse(context.config);
  if (item.test === true || item.ping !== undefined) return { tag: "skip", val: "a test item" };

  const found = flatten(item);
  const task = {};
  for (const [field, names] of Object.entries(NAMES)) {
    const value = pick(found, names);
    if (value !== undefined) task[field] = value;
  }
  if (task.title === undefined) {
    const message = `no title: send one of ${NAMES.title.join(", ")}`;
    throw { payload: { message, pointer: undefined } };
  }
  task.description ??= task.title;
  task.assigned_user_ids ??= config.default_assignee;
  task.created_by_id ??= config.created_by_id;
  if (task.deadline === undefined && config.default_due_days !== undefined) {
    task.deadline = endOfDay(context.receivedAt, config.default_due_days);
  }
  return { tag: "tasks", val: [JSON.stringify(task)] };
}
