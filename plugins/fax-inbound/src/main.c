/* Maps Telnyx Programmable Fax webhooks to tasks: one for each recipient of a received fax. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <wasi/api.h>

#include "json.h"
#include "time.h"

typedef struct {
    const json_value *config;
    const json_value *fax; /* data.payload */
    bool failed;
    utc_text deadline;
} job;

_Noreturn void refuse(const char *message) {
    write(2, message, strlen(message));
    write(2, "\n", 1);
    _exit(1);
}

static char *read_all(size_t *length) {
    size_t room = 16384;
    char *text = room_for(room);
    *length = 0;
    for (;;) {
        ssize_t got = read(0, text + *length, room - *length);
        if (got < 0) refuse("stdin cannot be read");
        if (got == 0) return text;
        *length += (size_t)got;
        if (*length == room) text = grown(text, *length, room *= 2);
    }
}

/* Like getenv, which would allocate: growing memory costs the host three system calls in every call. */
static char *setting(const char *name) {
    size_t count, bytes, length = strlen(name);
    if (__wasi_environ_sizes_get(&count, &bytes) || count > 1024) return NULL;
    uint8_t **all = room_for((count + 1) * sizeof *all), *text = room_for(bytes + 1);
    if (__wasi_environ_get(all, text)) return NULL;
    for (size_t i = 0; i < count; i++) {
        char *it = (char *)all[i];
        if (!strncmp(it, name, length) && it[length] == '=') return it + length + 1;
    }
    return NULL;
}

static void put_value(json_out *out, const json_value *value, const char *otherwise) {
    if (value && value->kind != JSON_NULL && value->text) {
        json_escaped(out, value->text, value->length);
    } else {
        json_put(out, otherwise);
    }
}

static void put_field(json_out *out, const char *before, const json_value *value, const char *otherwise) {
    json_put(out, before);
    put_value(out, value, otherwise);
}

static void put_pages(json_out *out, const json_value *pages) {
    if (!pages || pages->kind != JSON_NUMBER) return;
    put_field(out, " (", pages, "");
    json_put(out, json_is(pages, "1") ? " page)" : " pages)");
}

static void put_description(json_out *out, const job *it) {
    put_field(out, "\",\"description\":\"From ", json_get(it->fax, "from"), "an unknown number");
    put_field(out, " to ", json_get(it->fax, "to"), "an unknown number");
    if (it->failed) {
        put_field(out, ". It did not arrive: ", json_get(it->fax, "failure_reason"), "no reason given");
        json_put(out, ". Ask the sender for it again.");
        return;
    }
    if (json_is(json_get(it->fax, "partial_content"), "true")) json_put(out, ". Some pages are missing: ask the sender for them");
    json_put(out, ". Read it and act on it.");
}

static void put_task(json_out *out, const job *it, const char *user, size_t length) {
    json_put(out, it->failed ? "{\"title\":\"Failed fax from " : "{\"title\":\"Fax from ");
    put_value(out, json_get(it->fax, "from"), "an unknown number");
    if (!it->failed) put_pages(out, json_get(it->fax, "page_count"));
    put_description(out, it);
    json_put(out, "\",\"assigned_user_ids\":[\"");
    json_escaped(out, user, length);
    put_field(out, "\"],\"created_by_id\":\"", json_get(it->config, "created_by_id"), "fax-inbound");
    json_put(out, "\",\"deadline\":\"");
    json_put(out, it->deadline);
    put_field(out, "\",\"fax_id\":\"", json_get(it->fax, "fax_id"), "");
    json_put(out, it->failed ? "\",\"type\":\"fax\",\"priority\":\"high\"}" : "\",\"type\":\"fax\"}");
}

/* The number's own recipients if config has some, otherwise the general ones: ids separated by commas. */
static const json_value *recipients(const job *it) {
    const json_value *to = json_get(it->fax, "to"), *routes = json_get(it->config, "routes");
    for (const json_value *route = routes ? routes->first : NULL; to && route; route = route->next)
        if (route->name_length == to->length && !memcmp(route->name, to->text, to->length)) return route;
    return json_get(it->config, "recipients");
}

static void put_tasks(json_out *out, const job *it) {
    const json_value *list = recipients(it);
    size_t count = 0;
    json_put(out, "[");
    for (size_t start = 0, i = 0; list && list->kind == JSON_STRING && i <= list->length; i++) {
        if (i < list->length && list->text[i] != ',') continue;
        while (start < i && list->text[start] == ' ') start++;
        size_t end = i;
        while (end > start && list->text[end - 1] == ' ') end--;
        if (end > start) {
            if (count++) json_put(out, ",");
            put_task(out, it, list->text + start, end - start);
        }
        start = i + 1;
    }
    json_put(out, "]");
    if (!count) refuse("nobody receives faxes for this number: set recipients in plugin.toml's [config]");
}

static void skip(json_out *out, const json_value *type) {
    put_field(out, "{\"skip\":\"", type, "this");
    json_put(out, " asks for nothing to be done\"}");
}

int main(void) {
    size_t length;
    char *payload = read_all(&length), *config = setting("HOOKMILL_CONFIG");
    const json_value *data = json_get(json_read(payload, length), "data");
    const json_value *type = json_get(data, "event_type"), *at = json_get(data, "occurred_at");
    job it = {.config = config ? json_read(config, strlen(config)) : NULL, .fax = json_get(data, "payload")};
    json_out out = {0};
    bool inbound = !json_is(json_get(it.fax, "direction"), "outbound");
    it.failed = json_is(type, "fax.failed");
    if (json_is(type, "fax.received") || (it.failed && inbound)) {
        const json_value *given = json_get(it.config, "deadline_hours");
        long hours = given && given->text ? strtol(given->text, NULL, 10) : 24;
        if (hours < 0 || hours > 24 * 366 || !at || at->kind != JSON_STRING || !utc_after(at->text, at->length, hours, it.deadline))
            refuse("occurred_at is no date-time, or deadline_hours in plugin.toml is not between 0 and 8784");
        put_tasks(&out, &it);
    } else {
        skip(&out, type);
    }
    for (size_t done = 0; done < out.length;) {
        ssize_t wrote = write(1, out.bytes + done, out.length - done);
        if (wrote <= 0) refuse("stdout cannot be written");
        done += (size_t)wrote;
    }
    return 0;
}
