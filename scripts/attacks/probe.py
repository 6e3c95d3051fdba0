"""Sends a server the same request every few milliseconds until SIGTERM, then prints the time of each response.

It is a separate process, so that the attacker's other Python code does not delay it. Its argument is a JSON object: `address`,
`path`, and if needed `method`, `headers`, `body`, `every` (seconds), `kept` (one connection for all), `source` (own
address) and `timeout`. Prints a JSON list of [began, seconds, status, late]: `began` on the monotonic clock, `status` 0
where there was no answer, -1 where SIGTERM came first, `late` how much later than asked for the kernel woke this process.
"""
import json, signal, sys, time
from http.client import HTTPConnection, HTTPException


class Stop(Exception):
    pass


def stop(*_):
    raise Stop


def main():
    asked = json.loads(sys.argv[1])
    every, kept, samples = asked.get("every", 0.01), asked.get("kept", False), []
    body, source = asked.get("body"), asked.get("source")
    headers = asked.get("headers", {}) | ({} if kept else {"Connection": "close"})
    connection, began, late = None, None, 0.0
    signal.signal(signal.SIGTERM, stop)
    print("ready", flush=True)
    try:
        while True:
            began = time.monotonic()
            try:
                connection = connection or HTTPConnection(
                    asked["address"], timeout=asked.get("timeout", 60), source_address=source and (source, 0))
                connection.request(asked.get("method", "GET"), asked["path"], body, headers)
                answer = connection.getresponse()
                answer.read()
                status = answer.status
            except (OSError, HTTPException):
                status = 0
            samples.append((began, time.monotonic() - began, status, late))
            if not kept or not status:
                connection.close()
                connection = None
            began, slept = None, time.monotonic()
            time.sleep(every)
            late = time.monotonic() - slept - every
    except Stop:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        if began:
            samples.append((began, time.monotonic() - began, -1, late))
    print(json.dumps(samples))


main()
