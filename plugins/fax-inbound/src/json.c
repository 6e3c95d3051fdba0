#include "json.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define DEPTH 64

typedef struct {
    char *at;
    char *end;
} cursor;

static json_value *read_value(cursor *in, int depth);

#define BLOCK 65536

void *room_for(size_t size) {
    static char first[BLOCK];
    static char *at = first, *end = first + BLOCK;
    if (size > PTRDIFF_MAX) refuse("out of memory");
    size = (size + 15) & ~(size_t)15;
    if (size > (size_t)(end - at)) {
        size_t block = size > BLOCK ? size : BLOCK;
        if (!(at = malloc(block))) refuse("out of memory");
        end = at + block;
    }
    void *room = at;
    at += size;
    return room;
}

char *grown(const char *bytes, size_t length, size_t room) {
    char *copy = room_for(room);
    if (length) memcpy(copy, bytes, length);
    return copy;
}

static json_value *make(json_kind kind) {
    json_value *value = room_for(sizeof *value);
    *value = (json_value){.kind = kind};
    return value;
}

static void skip_space(cursor *in) {
    while (in->at < in->end && (*in->at == ' ' || *in->at == '\n' || *in->at == '\r' || *in->at == '\t')) in->at++;
}

static bool take(cursor *in, char wanted) {
    skip_space(in);
    if (in->at >= in->end || *in->at != wanted) return false;
    in->at++;
    return true;
}

static int hex4(cursor *in) {
    if (in->end - in->at < 4) return -1;
    int code = 0;
    for (int i = 0; i < 4; i++) {
        char c = *in->at++;
        int digit = c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
        if (digit < 0) return -1;
        code = code * 16 + digit;
    }
    return code;
}

/* An escape is never shorter than its UTF-8, so writing behind the reader is safe. */
static char *write_utf8(char *out, int code) {
    if (code < 0x80) {
        *out++ = (char)code;
    } else if (code < 0x800) {
        *out++ = (char)(0xC0 | code >> 6);
        *out++ = (char)(0x80 | (code & 0x3F));
    } else if (code < 0x10000) {
        *out++ = (char)(0xE0 | code >> 12);
        *out++ = (char)(0x80 | (code >> 6 & 0x3F));
        *out++ = (char)(0x80 | (code & 0x3F));
    } else {
        *out++ = (char)(0xF0 | code >> 18);
        *out++ = (char)(0x80 | (code >> 12 & 0x3F));
        *out++ = (char)(0x80 | (code >> 6 & 0x3F));
        *out++ = (char)(0x80 | (code & 0x3F));
    }
    return out;
}

static char *unescape(cursor *in, char *out) {
    static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
    if (in->at >= in->end) return NULL;
    char c = *in->at++;
    if (c != 'u') {
        const char *found = c ? strchr(from, c) : NULL;
        if (!found) return NULL;
        *out++ = to[found - from];
        return out;
    }
    int code = hex4(in);
    if (code >= 0xD800 && code < 0xDC00 && in->end - in->at >= 6 && in->at[0] == '\\' && in->at[1] == 'u') {
        in->at += 2;
        int low = hex4(in);
        if (low < 0xDC00 || low > 0xDFFF) return NULL;
        code = 0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00);
    }
    if (code < 0 || (code >= 0xD800 && code <= 0xDFFF)) return NULL;
    return write_utf8(out, code);
}

static bool read_text(cursor *in, const char **text, size_t *length) {
    if (!take(in, '"')) return false;
    char *out = in->at;
    *text = out;
    while (in->at < in->end && *in->at != '"') {
        char c = *in->at++;
        if (c != '\\') {
            *out++ = c;
        } else if (!(out = unescape(in, out))) {
            return false;
        }
    }
    if (in->at >= in->end) return false;
    in->at++;
    *length = (size_t)(out - *text);
    return true;
}

static json_value *read_children(cursor *in, json_kind kind, char close, int depth) {
    json_value *parent = make(kind), **last = &parent->first;
    if (take(in, close)) return parent;
    do {
        const char *name = NULL;
        size_t name_length = 0;
        if (kind == JSON_OBJECT && (!read_text(in, &name, &name_length) || !take(in, ':'))) return NULL;
        json_value *child = read_value(in, depth + 1);
        if (!child) return NULL;
        child->name = name;
        child->name_length = name_length;
        *last = child;
        last = &child->next;
    } while (take(in, ','));
    return take(in, close) ? parent : NULL;
}

/* Numbers, true, false, null: kept as written. */
static json_value *read_word(cursor *in) {
    char *start = in->at;
    while (in->at < in->end && strchr("+-.0123456789Eaeflnrstu", *in->at) && *in->at) in->at++;
    size_t length = (size_t)(in->at - start);
    if (length == 0) return NULL;
    json_value *value = make(*start == 'n' ? JSON_NULL : *start == 't' || *start == 'f' ? JSON_BOOL : JSON_NUMBER);
    value->text = start;
    value->length = length;
    return value;
}

static json_value *read_value(cursor *in, int depth) {
    if (depth > DEPTH) return NULL;
    skip_space(in);
    if (in->at >= in->end) return NULL;
    if (*in->at == '"') {
        json_value *value = make(JSON_STRING);
        return read_text(in, &value->text, &value->length) ? value : NULL;
    }
    if (take(in, '{')) return read_children(in, JSON_OBJECT, '}', depth);
    if (take(in, '[')) return read_children(in, JSON_ARRAY, ']', depth);
    return read_word(in);
}

json_value *json_read(char *text, size_t length) {
    cursor in = {text, text + length};
    json_value *value = read_value(&in, 0);
    skip_space(&in);
    return value && in.at == in.end ? value : NULL;
}

const json_value *json_get(const json_value *object, const char *name) {
    if (!object || object->kind != JSON_OBJECT) return NULL;
    size_t length = strlen(name);
    for (const json_value *it = object->first; it; it = it->next)
        if (it->name_length == length && !memcmp(it->name, name, length)) return it;
    return NULL;
}

bool json_is(const json_value *value, const char *text) {
    return value && value->text && value->length == strlen(text) && !memcmp(value->text, text, value->length);
}

void json_raw(json_out *out, const char *text, size_t length) {
    if (length > out->room - out->length) {
        size_t room = (out->length + length) * 2;
        out->bytes = grown(out->bytes, out->length, room);
        out->room = room;
    }
    if (length) memcpy(out->bytes + out->length, text, length);
    out->length += length;
}

void json_put(json_out *out, const char *text) { json_raw(out, text, strlen(text)); }

void json_escaped(json_out *out, const char *text, size_t length) {
    static const char hex[] = "0123456789abcdef";
    for (size_t i = 0; i < length; i++) {
        unsigned char c = (unsigned char)text[i];
        if (c == '"' || c == '\\') {
            json_raw(out, "\\", 1);
        } else if (c < 0x20) {
            char escape[] = {'\\', 'u', '0', '0', hex[c >> 4], hex[c & 15]};
            json_raw(out, escape, sizeof escape);
            continue;
        }
        json_raw(out, text + i, 1);
    }
}
