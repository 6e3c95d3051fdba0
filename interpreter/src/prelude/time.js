// Dates without Intl: the part of Luxon's DateTime that mappings and n8n expressions use.
(prelude) => {
  "use strict";
  const DAY = 86_400_000;
  const MONTHS = "January February March April May June July August September October November December".split(" ");
  const DAYS = "Monday Tuesday Wednesday Thursday Friday Saturday Sunday".split(" ");
  const UNITS = ["year", "month", "day", "hour", "minute", "second", "millisecond"];
  const MILLIS = { week: 7 * DAY, day: DAY, hour: 3_600_000, minute: 60_000, second: 1000, millisecond: 1 };

  /** Times in seconds from which on an offset in seconds applies, by the zone's name. */
  let zones = {};
  let ownZone = "UTC";
  prelude.setZones = (own, all) => { ownZone = own ?? "UTC"; zones = all ?? {}; };

  const fail = (message) => { throw new RangeError(message); };
  const two = (number, length = 2) => String(Math.abs(number)).padStart(length, "0");

  /** Names of units as most people write them. */
  const WRITTEN = new Map([...UNITS, "week", "quarter"].flatMap((it) => [[it, it], [`${it}s`, it]]));

  /** Returns the singular name of a unit. */
  function unitOf(name) {
    const written = WRITTEN.get(name);
    if (written !== undefined) return written;
    const unit = String(name).toLowerCase().replace(/s$/, "");
    const known = { min: "minute", hr: "hour", sec: "second", milli: "millisecond", quarter: "quarter", week: "week" };
    const found = known[unit] ?? unit;
    return UNITS.includes(found) || found === "week" || found === "quarter" ? found : fail(`"${name}" is not a unit of time`);
  }

  /** Returns a number; null and blank texts are none. */
  function numberOf(name, value) {
    const number = value === null || String(value).trim() === "" ? NaN : Number(value);
    return Number.isFinite(number) ? number : fail(`"${name}" is ${value === "" ? "empty" : String(value)}, not a number`);
  }
  function partsOf(values) {
    const parts = {};
    for (const [name, value] of Object.entries(values)) {
      const unit = unitOf(name);
      if (!UNITS.includes(unit)) fail(`"${name}" cannot be set; use plus and startOf`);
      parts[unit] = numberOf(name, value);
    }
    return parts;
  }

  function zoneOf(name) {
    if (name === undefined || name === null || name === "local" || name === "system" || name === "default") return ownZone;
    const fixed = /^(?:utc|gmt|z)?(?:([+-])(\d{1,2})(?::?(\d{2}))?)?$/i.exec(name);
    if (fixed && name !== "") {
      if (!fixed[1] || (+fixed[2] === 0 && !+fixed[3])) return "UTC";
      return `UTC${fixed[1]}${+fixed[2]}${+fixed[3] ? `:${fixed[3]}` : ""}`;
    }
    if (Object.hasOwn(zones, name)) return name;
    return fail(`the time zone "${name}" is not known here; zones that the mapping names as text, such as "Europe/Berlin", are known if they exist`);
  }

  /** Returns a zone's offset at a time, in milliseconds. */
  function offsetAt(zone, time) {
    if (zone === "UTC") return 0;
    const changes = zones[zone];
    if (changes === undefined) {
      const fixed = /^UTC([+-])(\d+)(?::(\d+))?$/.exec(zone);
      return fixed ? (fixed[1] === "-" ? -1 : 1) * (fixed[2] * 3_600_000 + (fixed[3] ?? 0) * 60_000) : 0;
    }
    let low = 0, high = changes.length - 1;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (changes[middle][0] * 1000 <= time) low = middle; else high = middle - 1;
    }
    return changes[low][1] * 1000;
  }

  /** Returns the time that a zone's clocks show as `local`: the first one, if they show it twice. In a gap, they have been put forward. */
  function fromLocal(local, zone) {
    const before = offsetAt(zone, local - DAY), after = offsetAt(zone, local + DAY);
    return offsetAt(zone, local - before) !== before && offsetAt(zone, local - after) === after ? local - after : local - before;
  }

  function utcOf({ year, month = 1, day = 1, hour = 0, minute = 0, second = 0, millisecond = 0 }) {
    // Otherwise a part that is not a number leaves the date at 1970.
    if (![year, month, day, hour, minute, second, millisecond].every(Number.isFinite)) return NaN;
    // Date.UTC takes years up to 99 for those of the 20th century.
    if (year > 99) return Date.UTC(year, month - 1, day, hour, minute, second, millisecond);
    const date = new Date(0);
    date.setUTCFullYear(year, month - 1, day);
    date.setUTCHours(hour, minute, second, millisecond);
    return date.getTime();
  }
  const daysIn = (year, month) => new Date(Date.UTC(2000 + ((year % 400) + 400) % 400, month, 0)).getUTCDate();

  class Duration {
    constructor(values) { this.values = values; }
    static fromObject(values) { return new Duration(spans(values)); }
    static fromMillis(value) { return new Duration({ millisecond: value }); }
    /** Months count 30 days here, and years 365, as in Luxon. */
    as(unit) { return this.toMillis() / ({ ...MILLIS, month: 30 * DAY, quarter: 91 * DAY, year: 365 * DAY })[unitOf(unit)]; }
    toMillis() {
      const each = { ...MILLIS, month: 30 * DAY, quarter: 91 * DAY, year: 365 * DAY };
      return Object.entries(this.values).reduce((sum, [unit, value]) => sum + value * each[unit], 0);
    }
    valueOf() { return this.toMillis(); }
    toObject() { return Object.fromEntries(Object.entries(this.values).map(([unit, value]) => [`${unit}s`, value])); }
    toJSON() { return this.toISO(); }
    toString() { return this.toISO(); }
    toISO() {
      const get = (unit) => this.values[unit] ?? 0;
      const part = (value, letter) => (value ? `${value}${letter}` : "");
      const date = part(get("year"), "Y") + part(get("month") + 3 * get("quarter"), "M") + part(get("week"), "W") + part(get("day"), "D");
      const time = part(get("hour"), "H") + part(get("minute"), "M") + part(get("second") + get("millisecond") / 1000, "S");
      return date || time ? `P${date}${time ? `T${time}` : ""}` : "PT0S";
    }
  }
  for (const unit of [...UNITS, "week", "quarter"]) {
    Object.defineProperty(Duration.prototype, `${unit}s`, { get() { return this.values[unit] ?? 0; } });
  }

  /** Reads `{ days: 2 }`, a Duration, milliseconds, or n8n's `2, "days"`. */
  function spans(values, unit) {
    if (values instanceof Duration) return values.values;
    if (typeof values === "number") return { [unit === undefined ? "millisecond" : unitOf(unit)]: values };
    if (values === null || typeof values !== "object") fail("a span of time is written like { days: 2 }");
    const found = {};
    for (const [name, value] of Object.entries(values)) {
      const number = numberOf(name, value);
      const unit = unitOf(name);
      if (["year", "quarter", "month"].includes(unit) && !Number.isInteger(number)) fail(`"${name}" of a span of time is not a whole number`);
      found[unit] = number;
    }
    return found;
  }

  class DateTime {
    #time; #zone; #parts; #reason;
    constructor(time, zone, reason) {
      this.#time = Number.isFinite(time) && Math.abs(time) <= 8.64e15 ? Math.trunc(time) : NaN;
      this.#zone = zone;
      this.#reason = Number.isNaN(this.#time) ? (reason ?? "it is not a time") : null;
    }
    static #invalid(reason) { return new DateTime(NaN, ownZone, reason); }

    static now() { return new DateTime(Date.now(), ownZone); }
    static local(...values) { return values.length ? DateTime.fromObject(named(values)) : DateTime.now(); }
    static utc(...values) { return values.length ? DateTime.fromObject(named(values), { zone: "UTC" }) : new DateTime(Date.now(), "UTC"); }
    static fromMillis(value, { zone } = {}) { return new DateTime(typeof value === "number" ? value : NaN, zoneOf(zone), "fromMillis takes a number"); }
    static fromSeconds(value, { zone } = {}) { return new DateTime(typeof value === "number" ? value * 1000 : NaN, zoneOf(zone), "fromSeconds takes a number"); }
    static fromJSDate(date, { zone } = {}) { return new DateTime(date instanceof Date ? date.getTime() : NaN, zoneOf(zone), "fromJSDate takes a Date that is valid"); }
    static fromObject(values, { zone } = {}) {
      const own = zoneOf(zone);
      return DateTime.#of(DateTime.#completed(partsOf(values), own), own);
    }
    /** Takes units that are larger than all given ones from now, as Luxon does. */
    static #completed(parts, zone) {
      const now = new DateTime(Date.now(), zone);
      for (const unit of UNITS) {
        if (parts[unit] !== undefined) break;
        parts[unit] = now[unit];
      }
      return parts;
    }
    static #of(parts, zone) {
      const { year, month = 1, day = 1, hour = 0, minute = 0, second = 0, millisecond = 0 } = parts;
      const whole = [year, month, day, hour, minute, second, millisecond].every(Number.isInteger);
      const fits = whole && month >= 1 && month <= 12 && day >= 1 && day <= daysIn(year, month)
        && hour >= 0 && minute >= 0 && minute < 60 && second >= 0 && second < 60 && millisecond >= 0 && millisecond < 1000
        && (hour < 24 || (hour === 24 && minute + second + millisecond === 0));
      if (!fits) return DateTime.#invalid("there is no such date or time");
      return new DateTime(fromLocal(utcOf({ year, month, day, hour, minute, second, millisecond }), zone), zone);
    }

    /** Reads ISO 8601. */
    static fromISO(text, { zone, setZone = false } = {}) {
      const found = /^([+-]\d{6}|\d{4})(?:-?(\d{2})(?:-?(\d{2}))?)?(?:[T ](\d{2})(?::?(\d{2})(?::?(\d{2})(?:[.,](\d{1,9}))?)?)?)?\s*(Z|[+-]\d{2}(?::?\d{2})?)?$/i.exec(String(text ?? "").trim());
      if (!found) return DateTime.#invalid(`"${text}" is not an ISO 8601 date`);
      const [year, month, day, hour, minute, second] = found.slice(1, 7).map((it) => (it === undefined ? undefined : +it));
      const millisecond = found[7] === undefined ? 0 : Math.trunc(+`0.${found[7]}` * 1000 + 1e-9);
      const own = zoneOf(zone), written = found[8] === undefined ? own : zoneOf(found[8]);
      const read = DateTime.#of({ year, month, day, hour, minute, second, millisecond }, written);
      return setZone || !read.isValid ? read : new DateTime(read.#time, own);
    }
    static fromSQL(text, options) { return DateTime.fromISO(text, options); }
    /** Reads the date of an email (RFC 2822) or of HTTP. */
    static fromRFC2822(text, { zone } = {}) {
      const found = /^(?:[A-Za-z]{3},?\s+)?(\d{1,2})\s+([A-Za-z]{3,9})\s+(\d{4})\s+(\d{2}):(\d{2})(?::(\d{2}))?\s*([+-]\d{4}|GMT|UTC?|Z)\s*(?:\(.*\))?$/.exec(String(text ?? "").trim());
      const month = found ? monthOf(found[2]) : 0;
      if (!month) return DateTime.#invalid(`"${text}" is not the date of an email`);
      const written = zoneOf(found[7] === "UT" ? "UTC" : found[7]);
      const read = DateTime.#of({ year: +found[3], month, day: +found[1], hour: +found[4], minute: +found[5], second: +(found[6] ?? 0) }, written);
      return read.isValid ? new DateTime(read.#time, zoneOf(zone)) : read;
    }
    static fromHTTP(text, options) { return DateTime.fromRFC2822(text, options); }

    /** Reads a date as workflow tools write it. What could mean two dates is invalid. */
    static parse(value, options = {}) {
      if (value instanceof DateTime) return value;
      if (value instanceof Date) return DateTime.fromJSDate(value, options);
      if (typeof value === "number" || /^\d{10}(?:\.\d+)?$|^\d{13}$/.test(value)) {
        const number = +value;
        return new DateTime(Math.abs(number) < 1e11 ? number * 1000 : number, zoneOf(options.zone));
      }
      const text = String(value ?? "").trim();
      // A bare year is more likely another number.
      if (/^\d{1,9}$/.test(text)) return DateTime.#invalid(`"${text}" is not a date that can be read; use DateTime.fromFormat(text, "…")`);
      for (const read of [DateTime.fromISO, DateTime.fromRFC2822]) {
        const found = read(text, options);
        if (found.isValid) return found;
      }
      const own = zoneOf(options.zone);
      // new Date().toString(), and n8n's "November 24th 2026, 8:00:00 am".
      const js = /^[A-Z][a-z]{2} ([A-Z][a-z]{2}) (\d{2}) (\d{4}) (\d{2}):(\d{2}):(\d{2}) GMT([+-]\d{4})(?: \(.*\))?$/.exec(text);
      if (js) return DateTime.fromRFC2822(`${js[2]} ${js[1]} ${js[3]} ${js[4]}:${js[5]}:${js[6]} ${js[7]}`, options);
      const long = /^([A-Z][a-z]{2,8}) (\d{1,2})(?:st|nd|rd|th)?,? (\d{4})(?:,? (?:at )?(\d{1,2}):(\d{2})(?::(\d{2}))?\s*([ap]m)?)?$/i.exec(text);
      if (long && monthOf(long[1]) && !(long[7] && +long[4] > 12)) {
        const hour = clock(+(long[4] ?? 0), long[7]);
        return DateTime.#of({ year: +long[3], month: monthOf(long[1]), day: +long[2], hour, minute: +(long[5] ?? 0), second: +(long[6] ?? 0) }, own);
      }
      const german = /^(\d{1,2})\.(\d{1,2})\.(\d{4})(?:,? (\d{1,2}):(\d{2})(?::(\d{2}))?)?$/.exec(text);
      if (german) return DateTime.#of({ year: +german[3], month: +german[2], day: +german[1], hour: +(german[4] ?? 0), minute: +(german[5] ?? 0), second: +(german[6] ?? 0) }, own);
      const yearFirst = /^(\d{4})\/(\d{1,2})\/(\d{1,2})(?: (\d{1,2}):(\d{2})(?::(\d{2}))?)?$/.exec(text);
      if (yearFirst) return DateTime.#of({ year: +yearFirst[1], month: +yearFirst[2], day: +yearFirst[3], hour: +(yearFirst[4] ?? 0), minute: +(yearFirst[5] ?? 0), second: +(yearFirst[6] ?? 0) }, own);
      if (/^\d{1,2}[/-]\d{1,2}[/-]\d{2,4}/.test(text)) return DateTime.#invalid(`in "${text}", day and month could be either; use DateTime.fromFormat(text, "MM/dd/yyyy")`);
      return DateTime.#invalid(`"${text}" is not a date that can be read; use DateTime.fromFormat(text, "…")`);
    }

    /** Reads a date in a given format. */
    static fromFormat(text, format, { zone, setZone = false } = {}) {
      const names = [];
      const pattern = tokens(format).map(([token, literal]) => {
        if (literal !== undefined) return literal.replace(/[.*+?^${}()|[\]\\/]/g, "\\$&");
        const reader = READERS[token] ?? fail(`"${token}" in the format "${format}" cannot be read`);
        names.push(reader[1]);
        return `(${reader[0]})`;
      });
      const found = new RegExp(`^${pattern.join("")}$`, "i").exec(String(text ?? "").trim());
      if (!found) return DateTime.#invalid(`"${text}" does not have the format "${format}"`);
      const parts = {};
      names.forEach((set, index) => set(parts, found[index + 1]));
      const own = zoneOf(zone);
      if (parts.time !== undefined) return new DateTime(parts.time, own);
      if (parts.half !== undefined) parts.hour = clock(parts.hour ?? 0, parts.half);
      const written = parts.zone === undefined ? own : zoneOf(parts.zone);
      const read = DateTime.#of(DateTime.#completed(parts, written), written);
      return setZone || !read.isValid ? read : new DateTime(read.#time, own);
    }
    static isDateTime(value) { return value instanceof DateTime; }
    static max(...all) { return all.flat().reduce((a, b) => (a.isValid && !(b <= a) ? b : a)); }
    static min(...all) { return all.flat().reduce((a, b) => (a.isValid && !(b >= a) ? b : a)); }

    get isValid() { return this.#reason === null; }
    get invalidReason() { return this.#reason; }
    get #local() {
      if (this.#parts === undefined) {
        const date = new Date(this.#time + offsetAt(this.#zone, this.#time));
        this.#parts = {
          year: date.getUTCFullYear(), month: date.getUTCMonth() + 1, day: date.getUTCDate(), hour: date.getUTCHours(),
          minute: date.getUTCMinutes(), second: date.getUTCSeconds(), millisecond: date.getUTCMilliseconds(),
          weekday: date.getUTCDay() || 7,
        };
      }
      return this.#parts;
    }
    get year() { return this.#local.year; }
    get month() { return this.#local.month; }
    get day() { return this.#local.day; }
    get hour() { return this.#local.hour; }
    get minute() { return this.#local.minute; }
    get second() { return this.#local.second; }
    get millisecond() { return this.#local.millisecond; }
    get weekday() { return this.#local.weekday; }
    get isWeekend() { return this.weekday > 5; }
    get quarter() { return Math.ceil(this.month / 3); }
    get ordinal() { return Math.round((utcOf({ ...this.#local, hour: 0, minute: 0, second: 0, millisecond: 0 }) - utcOf({ year: this.year })) / DAY) + 1; }
    get weekNumber() { return week(this)[1]; }
    get weekYear() { return week(this)[0]; }
    get daysInMonth() { return daysIn(this.year, this.month); }
    get isInLeapYear() { return daysIn(this.year, 2) === 29; }
    get monthLong() { return MONTHS[this.month - 1]; }
    get monthShort() { return this.monthLong?.slice(0, 3); }
    get weekdayLong() { return DAYS[this.weekday - 1]; }
    get weekdayShort() { return this.weekdayLong?.slice(0, 3); }
    get zoneName() { return this.#zone; }
    /** In minutes. */
    get offset() { return offsetAt(this.#zone, this.#time) / 60_000; }

    setZone(zone) { return new DateTime(this.#time, zoneOf(zone), this.#reason); }
    toUTC() { return this.setZone("UTC"); }
    toLocal() { return this.setZone("local"); }
    plus(values, unit) { return this.#add(spans(values, unit), 1); }
    minus(values, unit) { return this.#add(spans(values, unit), -1); }
    #add(values, sign) {
      if (!this.isValid) return this;
      const { year, month, day, ...clockTime } = this.#local;
      const months = month - 1 + sign * ((values.month ?? 0) + 3 * (values.quarter ?? 0));
      const newYear = year + sign * (values.year ?? 0) + Math.floor(months / 12), newMonth = (((months % 12) + 12) % 12) + 1;
      let time = this.#time;
      if (values.year || values.month || values.quarter || values.week || values.day) {
        const days = sign * ((values.day ?? 0) + 7 * (values.week ?? 0));
        const shown = utcOf({ ...clockTime, year: newYear, month: newMonth, day: Math.min(day, daysIn(newYear, newMonth)) });
        time = fromLocal(shown + days * DAY, this.#zone);
      }
      for (const unit of ["hour", "minute", "second", "millisecond"]) time += sign * (values[unit] ?? 0) * MILLIS[unit];
      return new DateTime(time, this.#zone, this.#reason);
    }
    set(values) {
      if (!this.isValid) return this;
      const { weekday, ...others } = values;
      if (weekday !== undefined) return this.set(others).plus({ days: weekday - this.set(others).weekday });
      const parts = { ...this.#local, ...partsOf(values) };
      if (values.day === undefined) parts.day = Math.min(parts.day, daysIn(parts.year, parts.month));
      return DateTime.#of(parts, this.#zone);
    }
    startOf(name) {
      if (!this.isValid) return this;
      const unit = unitOf(name);
      if (unit === "day") return new DateTime(fromLocal(Math.floor((this.#time + offsetAt(this.#zone, this.#time)) / DAY) * DAY, this.#zone), this.#zone);
      if (MILLIS[unit] !== undefined && MILLIS[unit] <= MILLIS.hour) {
        // Offsets are whole minutes, so clocks show full hours at the same distance.
        const shown = this.#time + offsetAt(this.#zone, this.#time);
        return new DateTime(this.#time - (((shown % MILLIS[unit]) + MILLIS[unit]) % MILLIS[unit]), this.#zone);
      }
      if (unit === "week") return this.minus({ days: this.weekday - 1 }).startOf("day");
      if (unit === "quarter") return this.set({ month: 3 * (this.quarter - 1) + 1, day: 1 }).startOf("day");
      const kept = UNITS.slice(0, UNITS.indexOf(unit) + 1);
      return DateTime.#of(Object.fromEntries(kept.map((it) => [it, this[it]])), this.#zone);
    }
    endOf(name) {
      const unit = unitOf(name);
      return this.startOf(unit).plus({ [unit]: 1 }).minus({ milliseconds: 1 });
    }
    diff(other, units = "milliseconds") {
      const list = [units].flat().map(unitOf), from = DateTime.parse(other).setZone(this.#zone);
      for (const it of [this, from]) if (!it.isValid) fail(`a difference needs two dates: ${it.invalidReason}`);
      const values = {};
      let at = from;
      list.forEach((unit, index) => {
        if (unit === "year" || unit === "month" || unit === "quarter") {
          const months = { year: 12, quarter: 3, month: 1 }[unit];
          let count = Math.trunc(((this.year - at.year) * 12 + this.month - at.month) / months);
          const sign = this < at ? -1 : 1;
          while (count !== 0 && (sign > 0 ? at.plus({ [unit]: count }) > this : at.plus({ [unit]: count }) < this)) count -= sign;
          const whole = at.plus({ [unit]: count });
          const next = at.plus({ [unit]: count + sign });
          values[unit] = index === list.length - 1 && next - whole ? count + sign * ((this - whole) / (next - whole)) : count;
          at = whole;
        } else {
          const left = unit === "day" || unit === "week" ? (this - at + (this.offset - at.offset) * 60_000) : this - at;
          const count = left / MILLIS[unit];
          values[unit] = index === list.length - 1 ? count : Math.trunc(count);
          at = at.plus({ [unit]: values[unit] });
        }
      });
      return new Duration(values);
    }
    diffNow(units) { return this.diff(DateTime.now(), units); }
    hasSame(other, unit) { return +this.startOf(unit) === +other.setZone(this.#zone).startOf(unit); }
    equals(other) { return other instanceof DateTime && +this === +other && this.#zone === other.zoneName; }
    toMillis() { return this.#time; }
    toSeconds() { return this.#time / 1000; }
    toUnixInteger() { return Math.floor(this.#time / 1000); }
    valueOf() { return this.#time; }
    toJSDate() { return new Date(this.#time); }
    toISODate() { return this.isValid ? `${two(this.year, 4)}-${two(this.month)}-${two(this.day)}` : fail(`this date could not be read: ${this.invalidReason}`); }
    toISOTime({ suppressMilliseconds = false, includeOffset = true } = {}) {
      if (!this.isValid) return null;
      const millis = suppressMilliseconds && this.millisecond === 0 ? "" : `.${two(this.millisecond, 3)}`;
      return `${two(this.hour)}:${two(this.minute)}:${two(this.second)}${millis}${includeOffset ? this.#offsetText(":", "Z") : ""}`;
    }
    toISO(options) {
      if (!this.isValid) return null;
      const shown = new Date(this.#time + offsetAt(this.#zone, this.#time)).toISOString();
      // Years of more than four digits have a sign there.
      if (options === undefined && shown.length === 24) return shown.slice(0, 23) + this.#offsetText(":", "Z");
      return this.#longISO(options);
    }
    #longISO(options) { return this.isValid ? `${this.toISODate()}T${this.toISOTime(options)}` : null; }
    toSQL() { return this.isValid ? `${this.toISODate()} ${this.toISOTime({ includeOffset: false })} ${this.#offsetText(":")}` : null; }
    toSQLDate() { return this.toISODate(); }
    toRFC2822() { return this.isValid ? this.toFormat("EEE, dd MMM yyyy HH:mm:ss ZZZ") : null; }
    toHTTP() { return this.isValid ? this.toUTC().toFormat("EEE, dd MMM yyyy HH:mm:ss 'GMT'") : null; }
    toJSON() { return this.toISO(); }
    toString() { return this.toISO() ?? "Invalid DateTime"; }
    toObject() { const { weekday, ...parts } = this.#local; return parts; }
    #offsetText(colon, zero) {
      const offset = this.offset;
      if (zero !== undefined && offset === 0 && this.#zone === "UTC") return zero;
      return `${offset < 0 ? "-" : "+"}${two(Math.trunc(Math.abs(offset) / 60))}${colon}${two(Math.abs(offset) % 60)}`;
    }
    toFormat(format) {
      if (!this.isValid) fail(`this date could not be read: ${this.invalidReason}`);
      const writers = {
        yyyy: () => two(this.year, 4), yy: () => two(this.year % 100), y: () => this.year, MMMM: () => this.monthLong,
        MMM: () => this.monthShort, MM: () => two(this.month), M: () => this.month, dd: () => two(this.day), d: () => this.day,
        EEEE: () => this.weekdayLong, cccc: () => this.weekdayLong, EEE: () => this.weekdayShort, ccc: () => this.weekdayShort,
        E: () => this.weekday, c: () => this.weekday, HH: () => two(this.hour), H: () => this.hour,
        hh: () => two(this.hour % 12 || 12), h: () => this.hour % 12 || 12, mm: () => two(this.minute), m: () => this.minute,
        ss: () => two(this.second), s: () => this.second, SSS: () => two(this.millisecond, 3), S: () => this.millisecond,
        a: () => (this.hour < 12 ? "AM" : "PM"), ZZZ: () => this.#offsetText(""), ZZ: () => this.#offsetText(":"),
        Z: () => this.#offsetText(":").replace(/:00$/, "").replace(/^([+-])0/, "$1"), z: () => this.#zone, o: () => this.ordinal,
        q: () => this.quarter, W: () => this.weekNumber, WW: () => two(this.weekNumber), kkkk: () => this.weekYear,
        X: () => this.toUnixInteger(), x: () => this.#time,
      };
      return tokens(format).map(([token, literal]) => literal ?? (writers[token] ?? (() => fail(`"${token}" in the format "${format}" is not supported`)))()).join("");
    }
    // As n8n adds them.
    format(format) { return this.toFormat(format); }
    beginningOf(unit = "week") { return this.startOf(unit); }
    endOfMonth() { return this.endOf("month"); }
    isBetween(from, to) { return this > DateTime.parse(from) && this < DateTime.parse(to); }
    extract(part = "week") { return part === "week" ? this.weekNumber : this[unitOf(part)]; }
    diffTo(other, units = "days") { const it = DateTime.parse(other).diff(this, units); return Array.isArray(units) ? it.toObject() : it.as(units); }
    diffToNow(units) { return this.diffTo(DateTime.now(), units); }
    isDst() { return this.offset > Math.min(this.set({ month: 1 }).offset, this.set({ month: 7 }).offset); }
  }
  for (const name of ["toLocaleString", "toRelative", "toRelativeCalendar", "setLocale", "reconfigure"]) {
    DateTime.prototype[name] = () => fail(`DateTime.${name} is not supported, because it needs Intl; use toFormat("dd.MM.yyyy HH:mm")`);
  }

  for (const [prototype, names] of [[Date.prototype, ["toLocaleString", "toLocaleDateString", "toLocaleTimeString"]], [Number.prototype, ["toLocaleString"]]]) {
    for (const name of names) {
      const instead = prototype === Date.prototype ? 'DateTime.fromJSDate(date).toFormat("dd.MM.yyyy")' : "toFixed(2)";
      Object.defineProperty(prototype, name, { value: () => fail(`${name} is not supported, because it needs Intl; use ${instead}`), writable: true, configurable: true });
    }
  }

  const named = (values) => Object.fromEntries(values.map((value, index) => [UNITS[index], value]));
  const monthOf = (text) => MONTHS.findIndex((it) => [it, it.slice(0, 3)].some((name) => name.toLowerCase() === text.toLowerCase())) + 1;
  const clock = (hour, half) => (half === undefined ? hour : (hour % 12) + (/p/i.test(half) ? 12 : 0));
  function week(it) {
    const thursday = it.startOf("day").plus({ days: 4 - it.weekday });
    return [thursday.year, Math.ceil(thursday.ordinal / 7)];
  }
  /** Splits a format into tokens and texts. */
  function tokens(format) {
    const found = [];
    for (const [whole, quoted, letters] of String(format).matchAll(/'((?:[^']|'')*)'|([A-Za-z])\2*|[^A-Za-z']+|'/g)) {
      found.push(letters === undefined ? [undefined, quoted === undefined ? whole : quoted.replace(/''/g, "'")] : [whole]);
    }
    return found;
  }
  const set = (name) => (parts, text) => { parts[name] = +text; };
  const setMonth = (parts, text) => { parts.month = monthOf(text); };
  const ignored = () => {};
  const READERS = {
    yyyy: ["\\d{4}", set("year")], y: ["\\d{1,6}", set("year")], yy: ["\\d{2}", (parts, text) => { parts.year = +text + (+text > 60 ? 1900 : 2000); }],
    MMMM: [MONTHS.join("|"), setMonth], MMM: [MONTHS.map((it) => it.slice(0, 3)).join("|"), setMonth],
    MM: ["\\d{2}", set("month")], M: ["\\d{1,2}", set("month")], dd: ["\\d{2}", set("day")], d: ["\\d{1,2}", set("day")],
    HH: ["\\d{2}", set("hour")], H: ["\\d{1,2}", set("hour")], hh: ["\\d{2}", set("hour")], h: ["\\d{1,2}", set("hour")],
    mm: ["\\d{2}", set("minute")], m: ["\\d{1,2}", set("minute")], ss: ["\\d{2}", set("second")], s: ["\\d{1,2}", set("second")],
    SSS: ["\\d{3}", set("millisecond")], S: ["\\d{1,3}", set("millisecond")], a: ["[ap]m", (parts, text) => { parts.half = text; }],
    ZZZ: ["[+-]\\d{4}", (parts, text) => { parts.zone = text; }], ZZ: ["[+-]\\d{2}:\\d{2}", (parts, text) => { parts.zone = text; }],
    Z: ["[+-]\\d{1,2}(?::\\d{2})?", (parts, text) => { parts.zone = text; }],
    z: ["[A-Za-z/_]+", (parts, text) => { parts.zone = text; }],
    EEEE: [DAYS.join("|"), ignored], cccc: [DAYS.join("|"), ignored], EEE: [DAYS.map((it) => it.slice(0, 3)).join("|"), ignored],
    ccc: [DAYS.map((it) => it.slice(0, 3)).join("|"), ignored],
    X: ["\\d+", (parts, text) => { parts.time = +text * 1000; }], x: ["\\d+", (parts, text) => { parts.time = +text; }],
  };

  globalThis.DateTime = DateTime;
  globalThis.Duration = Duration;
  prelude.DateTime = DateTime;
};
