/* Maps messages to tasks. It reads the payload from stdin, and writes tasks to stdout and the log to stderr. A non-zero exit
   refuses the payload, with the last line of stderr as the message for the sender. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "json.h"

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

static void write_all(const json_out *out) {
    for (size_t done = 0; done < out->length;) {
        ssize_t wrote = write(1, out->bytes + done, out->length - done);
        if (wrote <= 0) refuse("stdout cannot be written");
        done += (size_t)wrote;
    }
}

/* The text of a field, or another text if it has none. */
static void put(json_out *out, const char *before, const json_value *value, const char *otherwise) {
    json_put(out, before);
    bool there = value && value->kind == JSON_STRING && value->length > 0;
    json_escaped(out, there ? value->text : otherwise, there ? value->length : strlen(otherwise));
}

static const char *setting(const char *name) {
    const char *value = getenv(name);
    return value ? value : "";
}

int main(void) {
    size_t length;
    char *text = read_all(&length);
    const json_value *message = json_read(text, length);
    if (!message || message->kind != JSON_OBJECT) refuse("the payload is not a JSON object");
    const char *given = setting("HOOKMILL_CONFIG");
    size_t given_length = strlen(given);
    char *config_text = memcpy(room_for(given_length + 1), given, given_length);
    const json_value *config = json_read(config_text, given_length);
    json_out out = {0};
    if (json_is(json_get(message, "spam"), "true")) {
        json_put(&out, "{\"skip\":\"spam\"}");
    } else {
        put(&out, "{\"title\":\"Message from ", json_get(message, "from"), "somebody");
        put(&out, "\",\"description\":\"", json_get(message, "message"), "");
        put(&out, "\",\"assigned_user_ids\":[\"", json_get(config, "default_assignee"), "");
        put(&out, "\"],\"created_by_id\":\"", NULL, setting("HOOKMILL_INTEGRATION"));
        /* A date without a time is enough. */
        put(&out, "\",\"deadline\":\"", json_get(message, "due"), setting("HOOKMILL_RECEIVED_AT"));
        json_put(&out, "\"}");
    }
    write_all(&out);
    return 0;
}
