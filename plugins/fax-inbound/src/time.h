/* Just enough of a calendar to add hours to a moment. */
#ifndef FAX_TIME_H
#define FAX_TIME_H

#include <stddef.h>
#include <stdbool.h>

/* RFC 3339 in UTC, 20 characters and a NUL. */
typedef char utc_text[21];

/* `hours` after an RFC 3339 date-time; false if `text` is invalid. Fractions of a second are dropped. */
bool utc_after(const char *text, size_t length, long hours, utc_text out);

#endif
