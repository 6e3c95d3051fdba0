#include "time.h"

/* The number of `count` digits at `at`, or -1. */
static long digits(const char *at, int count) {
    long number = 0;
    for (int i = 0; i < count; i++) {
        if (at[i] < '0' || at[i] > '9') return -1;
        number = number * 10 + (at[i] - '0');
    }
    return number;
}

/* Days since 0000-03-01, counting years from March so that the leap day comes last. */
static long to_days(long year, long month, long day) {
    if (month <= 2) {
        year--;
        month += 12;
    }
    return 365 * year + year / 4 - year / 100 + year / 400 + (153 * (month - 3) + 2) / 5 + day - 1;
}

static void from_days(long days, long *year, long *month, long *day) {
    long era = days / 146097, rest = days % 146097;
    long in_era = (rest - rest / 1460 + rest / 36524 - rest / 146096) / 365;
    long day_of_year = rest - (365 * in_era + in_era / 4 - in_era / 100);
    long shifted = (5 * day_of_year + 2) / 153;
    *day = day_of_year - (153 * shifted + 2) / 5 + 1;
    *month = shifted < 10 ? shifted + 3 : shifted - 9;
    *year = era * 400 + in_era + (*month <= 2);
}

static void put(char *at, long number, int count) {
    for (int i = count - 1; i >= 0; i--) {
        at[i] = (char)('0' + number % 10);
        number /= 10;
    }
}

/* Minutes east of UTC at the end of the text; false if it has none. */
static bool offset(const char *text, size_t length, long *minutes) {
    *minutes = 0;
    if (text[length - 1] == 'Z' || text[length - 1] == 'z') return true;
    const char *at = text + length - 6;
    long hour = digits(at + 1, 2), minute = digits(at + 4, 2);
    if ((at[0] != '+' && at[0] != '-') || at[3] != ':' || hour < 0 || minute < 0) return false;
    *minutes = (at[0] == '-' ? -1 : 1) * (hour * 60 + minute);
    return true;
}

bool utc_after(const char *text, size_t length, long hours, utc_text out) {
    long east;
    if (length < 20 || !offset(text, length, &east)) return false;
    long year = digits(text, 4), month = digits(text + 5, 2), day = digits(text + 8, 2);
    long hour = digits(text + 11, 2), minute = digits(text + 14, 2), second = digits(text + 17, 2);
    if (year < 1 || month < 1 || month > 12 || day < 1 || day > 31 || hour < 0 || minute < 0 || second < 0) return false;
    long all_minutes = to_days(year, month, day) * 1440 + (hour + hours) * 60 + minute - east;
    from_days(all_minutes / 1440, &year, &month, &day);
    const char shape[] = "0000-00-00T00:00:00Z";
    for (size_t i = 0; i < sizeof shape; i++) out[i] = shape[i];
    put(out, year, 4);
    put(out + 5, month, 2);
    put(out + 8, day, 2);
    put(out + 11, all_minutes / 60 % 24, 2);
    put(out + 14, all_minutes % 60, 2);
    put(out + 17, second, 2);
    return true;
}
