-- wrk script: posts one JSON body to several addresses, and prints the figures as one line of JSON.
-- BODY is the body's text, KEY the API key, TARGETS the addresses (HOST:PORT with spaces between), each of which gets a
-- thread. UNIQUE names a header that has another value in every request, which begins with RUN.
local targets, thread_number = {}, 0
for target in os.getenv("TARGETS"):gmatch("%S+") do table.insert(targets, target) end

function setup(thread)
  local host, port = targets[thread_number % #targets + 1]:match("(.*):(%d+)")
  thread.addr = wrk.lookup(host, port)[1]
  thread:set("number", thread_number)
  thread_number = thread_number + 1
end

local sent, unique, run = 0, os.getenv("UNIQUE"), os.getenv("RUN")
wrk.method = "POST"
wrk.body = os.getenv("BODY")
wrk.headers["Content-Type"] = "application/json"
wrk.headers["X-API-Key"] = os.getenv("KEY")

if unique then
  function request()
    sent = sent + 1
    wrk.headers[unique] = run .. "-" .. number .. "-" .. sent
    return wrk.format()
  end
end

-- wrk counts responses with status 400 and above as errors.
function done(summary, latency)
  local e = summary.errors
  io.write(string.format('\n{"answers": %d, "refused": %d, "broken": %d, "seconds": %.6f, "p50_ms": %.3f, "p99_ms": %.3f}\n',
    summary.requests, e.status, e.connect + e.read + e.write + e.timeout, summary.duration / 1e6,
    latency:percentile(50) / 1000, latency:percentile(99) / 1000))
end
