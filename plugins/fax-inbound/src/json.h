/* A small JSON reader (RFC 8259) and writer, in which everything grows or fails. */
#ifndef JSON_H
#define JSON_H

#include <stddef.h>
#include <stdbool.h>

typedef enum { JSON_NULL, JSON_BOOL, JSON_NUMBER, JSON_STRING, JSON_ARRAY, JSON_OBJECT } json_kind;

/* Text is UTF-8 with its length, not terminated; of a number or boolean, it is the source text. */
typedef struct json_value {
    json_kind kind;
    const char *text;
    size_t length;
    const char *name; /* in an object */
    size_t name_length;
    struct json_value *first; /* of an array's or object's children */
    struct json_value *next;
} json_value;

/* Parses a whole text, unescaping strings in place. Returns NULL for invalid JSON, or nesting of more than 64 levels. */
json_value *json_read(char *text, size_t length);

/* The member with this name, or NULL; also if `object` is NULL or another kind of value. */
const json_value *json_get(const json_value *object, const char *name);

bool json_is(const json_value *value, const char *text);

/* Output that grows. */
typedef struct {
    char *bytes;
    size_t length;
    size_t room;
} json_out;

void json_raw(json_out *out, const char *text, size_t length);
void json_put(json_out *out, const char *text);
/* Text inside a string, escaped. */
void json_escaped(json_out *out, const char *text, size_t length);

/* Memory until the program ends, which is soon. The first of it is there from the start: a guest that grows its memory
   costs the host a system call or two. `grown` copies to twice the size. */
void *room_for(size_t size);
char *grown(const char *bytes, size_t length, size_t room);

/* Ends the program with a message for the sender. */
_Noreturn void refuse(const char *message);

#endif
