/* The interpreter of scripts: QuickJS-ng behind four functions that hookmill calls.
 *
 * wizer_initialize  creates the engine and evaluates the prelude, at build time; the module that is shipped begins
 *                   after it
 * hookmill_buffer   returns memory for the next input
 * hookmill_load     compiles a mapping; the host keeps the memory that this has changed
 * hookmill_call     maps one payload, in a copy of that memory
 *
 * Input is JSON in the buffer. Output is JSON on file descriptor 1, the log is on 2. Nothing else of the system is
 * used but the clock, which the host stops at the time of the event, and its random numbers.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>
#include <wasi/api.h>

#include "quickjs.h"

#define EXPORT(name) __attribute__((export_name(name)))

/* Stack of scripts, in bytes; what is deeper is an error with its line. */
#define STACK (192 * 1024)
/* Memory from which on cycles are collected, in bytes. A call seems never to need it; its memory is dropped. */
#define COLLECT (16 * 1024 * 1024)

/* Memory that calls begin with, in bytes. */
#define RESERVE (1024 * 1024)

static const char PRELUDE_BASE[] = {
#embed "prelude/base.js"
    , 0};
static const char PRELUDE_TIME[] = {
#embed "prelude/time.js"
    , 0};
static const char PRELUDE_TASK[] = {
#embed "prelude/expressions.js"
    , 0};

static JSRuntime *runtime;
static JSContext *context;
/* Functions of the prelude, by name. */
static JSValue prelude;
/* The compiled module of a script; undefined for expressions. */
static JSValue module;
/* Texts of the script's files, by name. */
static JSValue files;
/* Where the last value that is not an error was thrown: the stack of an error at that place. */
static JSValue thrown;

static char *buffer;
static int running;

/* The host's clock, except while the module is being built. All clocks show the same time. */
int clock_gettime(clockid_t clock, struct timespec *now) {
    __wasi_timestamp_t nanoseconds = 0;
    (void)clock;
    if (running && __wasi_clock_time_get(__WASI_CLOCKID_REALTIME, 1, &nanoseconds) != 0) {
        return -1;
    }
    now->tv_sec = (time_t)(nanoseconds / 1000000000);
    now->tv_nsec = (long)(nanoseconds % 1000000000);
    return 0;
}

int gettimeofday(struct timeval *restrict time, void *restrict zone) {
    struct timespec now;
    (void)zone;
    int failed = clock_gettime(CLOCK_REALTIME, &now);
    time->tv_sec = now.tv_sec;
    time->tv_usec = (suseconds_t)(now.tv_nsec / 1000);
    return failed;
}

static void write_all(int descriptor, const char *text, size_t length) {
    while (length > 0) {
        ssize_t written = write(descriptor, text, length);
        if (written <= 0) {
            return;
        }
        text += written;
        length -= (size_t)written;
    }
}

/* Called by the interpreter where a script throws (see the patch in scripts/build-interpreter). */
void hookmill_thrown(JSContext *ctx, JSValue value) {
    if (JS_IsError(value)) {
        return;
    }
    JSValue maker = JS_GetPropertyStr(ctx, prelude, "here");
    JSValue stack = JS_Call(ctx, maker, JS_UNDEFINED, 0, NULL);
    JS_FreeValue(ctx, maker);
    JS_FreeValue(ctx, thrown);
    thrown = stack;
}

static JSValue write_log(JSContext *ctx, JSValueConst this, int count, JSValueConst *values) {
    (void)this;
    size_t length;
    const char *text = JS_ToCStringLen(ctx, &length, count > 0 ? values[0] : JS_UNDEFINED);
    if (text == NULL) {
        return JS_EXCEPTION;
    }
    write_all(2, text, length);
    write_all(2, "\n", 1);
    JS_FreeCString(ctx, text);
    return JS_UNDEFINED;
}

static JSValue random_bits(JSContext *ctx, JSValueConst this, int count, JSValueConst *values) {
    (void)this;
    (void)count;
    (void)values;
    uint64_t bits;
    if (getentropy(&bits, sizeof bits) != 0) {
        return JS_ThrowInternalError(ctx, "there are no random numbers");
    }
    return JS_NewFloat64(ctx, (double)(bits >> 11) / 9007199254740992.0);
}

/* Evaluates an expression's function; its name is shown in errors. */
static JSValue evaluate(JSContext *ctx, JSValueConst this, int count, JSValueConst *values) {
    (void)this;
    (void)count;
    size_t length;
    const char *source = JS_ToCStringLen(ctx, &length, values[0]);
    const char *name = JS_ToCString(ctx, values[1]);
    JSValue value = JS_Eval(ctx, source, length, name, JS_EVAL_TYPE_GLOBAL);
    JS_FreeCString(ctx, source);
    JS_FreeCString(ctx, name);
    return value;
}

static char *normalize(JSContext *ctx, const char *base, const char *name, void *opaque) {
    (void)base;
    (void)opaque;
    const char *file = strncmp(name, "./", 2) == 0 ? name + 2 : name;
    if (file == name || strchr(file, '/') != NULL) {
        JS_ThrowReferenceError(ctx, "cannot import \"%s\": only files next to the script, such as \"./names.js\", can be imported", name);
        return NULL;
    }
    return js_strdup(ctx, file);
}

static JSModuleDef *load_module(JSContext *ctx, const char *name, void *opaque) {
    (void)opaque;
    JSValue text = JS_GetPropertyStr(ctx, files, name);
    size_t length;
    if (!JS_IsString(text)) {
        JS_ThrowReferenceError(ctx, "cannot import \"./%s\": the folder has no such file, or its name is not written as a text of letters, digits, \".\", \"_\" and \"-\"", name);
        return NULL;
    }
    const char *source = JS_ToCStringLen(ctx, &length, text);
    JSValue compiled = JS_Eval(ctx, source, length, name, JS_EVAL_TYPE_MODULE | JS_EVAL_FLAG_COMPILE_ONLY);
    JS_FreeCString(ctx, source);
    JS_FreeValue(ctx, text);
    if (JS_IsException(compiled)) {
        return NULL;
    }
    JSModuleDef *found = JS_VALUE_GET_PTR(compiled);
    JS_FreeValue(ctx, compiled);
    return found;
}

static void rejected(JSContext *ctx, JSValueConst promise, JSValueConst reason, bool handled, void *opaque) {
    (void)opaque;
    JSValue function = JS_GetPropertyStr(ctx, prelude, "rejected");
    JSValueConst arguments[3] = {promise, reason, JS_NewBool(ctx, handled)};
    JS_FreeValue(ctx, JS_Call(ctx, function, JS_UNDEFINED, 3, arguments));
    JS_FreeValue(ctx, function);
}

static void add(JSContext *ctx, const char *name, JSCFunction *function) {
    JS_SetPropertyStr(ctx, prelude, name, JS_NewCFunction(ctx, function, name, 2));
}

static void prepare(const char *source, size_t length, const char *name) {
    JSValue maker = JS_Eval(context, source, length, name, JS_EVAL_TYPE_GLOBAL);
    JSValue result = JS_Call(context, maker, JS_UNDEFINED, 1, &prelude);
    if (JS_IsException(result)) {
        JSValue error = JS_GetException(context);
        const char *text = JS_ToCString(context, error);
        write_all(2, text, strlen(text));
        abort();
    }
    JS_FreeValue(context, maker);
    JS_FreeValue(context, result);
}

EXPORT("wizer_initialize") void wizer_initialize(void) {
    runtime = JS_NewRuntime();
    JS_SetMaxStackSize(runtime, STACK);
    JS_SetGCThreshold(runtime, COLLECT);
    context = JS_NewContext(runtime);
    JS_SetModuleLoaderFunc(runtime, normalize, load_module, NULL);
    prelude = JS_NewObject(context);
    module = files = thrown = JS_UNDEFINED;
    JS_SetHostPromiseRejectionTracker(runtime, rejected, NULL);
    add(context, "log", write_log);
    add(context, "random", random_bits);
    add(context, "evaluate", evaluate);
    prepare(PRELUDE_BASE, sizeof PRELUDE_BASE - 1, "hookmill:base");
    prepare(PRELUDE_TIME, sizeof PRELUDE_TIME - 1, "hookmill:time");
    prepare(PRELUDE_TASK, sizeof PRELUDE_TASK - 1, "hookmill:expressions");
    JS_RunGC(runtime);
    /* Room for a call, so that few calls must let the memory grow. */
    void *volatile room = malloc(RESERVE);
    free(room);
}

EXPORT("hookmill_buffer") char *hookmill_buffer(size_t size) {
    buffer = malloc(size + 1);
    return buffer;
}

static JSValue call(const char *name, int count, JSValueConst *values) {
    JSValue function = JS_GetPropertyStr(context, prelude, name);
    JSValue result = JS_Call(context, function, JS_UNDEFINED, count, values);
    JS_FreeValue(context, function);
    return result;
}

/* Parses `length` bytes of the buffer from `at` on. The byte after them is overwritten. */
static JSValue parse(size_t at, size_t length, const char *name) {
    buffer[at + length] = 0;
    return JS_ParseJSON(context, buffer + at, length, name);
}

static void put(JSValue text) {
    size_t length;
    const char *bytes = JS_ToCStringLen(context, &length, text);
    if (bytes != NULL) {
        write_all(1, bytes, length);
    }
}

/* Writes what a failure is, from the pending exception. */
static void fail(void) {
    JSValue arguments[2] = {JS_GetException(context), thrown};
    JSValue text = call("failed", 2, arguments);
    if (JS_IsException(text)) {
        JS_GetException(context);
        static const char said[] = "{\"error\":{\"message\":\"the script failed, and so did describing why\"}}";
        write_all(1, said, sizeof said - 1);
        return;
    }
    put(text);
}

/* Runs what promises wait for. Returns the value of a promise, or the value itself. */
static JSValue settled(JSValue value) {
    JSContext *ctx;
    for (;;) {
        int ran = JS_ExecutePendingJob(runtime, &ctx);
        if (ran < 0) {
            return JS_EXCEPTION;
        }
        if (ran == 0) {
            break;
        }
    }
    if (!JS_IsPromise(value)) {
        return value;
    }
    switch (JS_PromiseState(context, value)) {
        case JS_PROMISE_FULFILLED:
            return JS_PromiseResult(context, value);
        case JS_PROMISE_REJECTED:
            return JS_Throw(context, JS_PromiseResult(context, value));
        default:
            return call("unsettled", 0, NULL);
    }
}

/* Returns the exported function of the script. */
static JSValue exported(void) {
    JSValue evaluated = settled(JS_EvalFunction(context, JS_DupValue(context, module)));
    if (JS_IsException(evaluated)) {
        return evaluated;
    }
    JSValue namespace = JS_GetModuleNamespace(context, JS_VALUE_GET_PTR(module));
    return call("exported", 1, &namespace);
}

/* Compiles the mapping that the buffer describes. */
EXPORT("hookmill_load") void hookmill_load(size_t length) {
    running = 1;
    JS_UpdateStackTop(runtime);
    JSValue described = parse(0, length, "mapping");
    JSValue entry = JS_IsException(described) ? JS_EXCEPTION : call("prepared", 1, &described);
    if (JS_IsException(entry)) {
        fail();
        return;
    }
    if (JS_IsString(entry)) {
        files = JS_GetPropertyStr(context, described, "files");
        const char *name = JS_ToCString(context, entry);
        JSModuleDef *compiled = load_module(context, name, NULL);
        if (compiled == NULL) {
            fail();
            return;
        }
        module = JS_MKPTR(JS_TAG_MODULE, compiled);
    }
    JS_FreeValue(context, described);
    free(buffer);
    buffer = NULL;
    write_all(1, "{}", 2);
}

/* Evaluates the script, and says what of its exports cannot be called. */
EXPORT("hookmill_check") void hookmill_check(void) {
    JS_UpdateStackTop(runtime);
    if (!JS_IsUndefined(module)) {
        JSValue function = exported();
        if (JS_IsException(function)) {
            fail();
            return;
        }
    }
    write_all(1, "{}", 2);
}

/* Maps a payload: the buffer has the call's context and, from `at` on, the payload. */
EXPORT("hookmill_call") void hookmill_call(size_t at, size_t length) {
    JS_UpdateStackTop(runtime);
    JSValue arguments[3];
    arguments[1] = parse(at, length, "payload");
    arguments[2] = JS_IsException(arguments[1]) ? JS_EXCEPTION : parse(0, at, "context");
    if (JS_IsException(arguments[2])) {
        fail();
        return;
    }
    arguments[0] = JS_IsUndefined(module) ? JS_UNDEFINED : exported();
    JSValue result = JS_IsException(arguments[0]) ? JS_EXCEPTION : settled(call("run", 3, arguments));
    if (!JS_IsException(result) && JS_IsException(call("unhandled", 0, NULL))) {
        result = JS_EXCEPTION;
    }
    JSValue text = JS_IsException(result) ? JS_EXCEPTION : call("ended", 1, &result);
    if (JS_IsException(text)) {
        fail();
        return;
    }
    put(text);
}
