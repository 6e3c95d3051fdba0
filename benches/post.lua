-- wrk script: posts one JSON body. BODY is a file name or the text itself, KEY the API key, and PREFER the value of the
-- Prefer header. UNIQUE names a header that has another value in every request, which begins with RUN.
local text = os.getenv("BODY")
local file = io.open(text, "r")
if file then text = file:read("a") file:close() end
wrk.method = "POST"
wrk.body = text
wrk.headers["Content-Type"] = "application/json"
wrk.headers["X-API-Key"] = os.getenv("KEY")
wrk.headers["Prefer"] = os.getenv("PREFER")

local unique, run, sent = os.getenv("UNIQUE"), os.getenv("RUN") or "", 0
if unique then
  function request()
    sent = sent + 1
    wrk.headers[unique] = run .. sent
    return wrk.format()
  end
end

-- wrk counts socket errors and responses with status 400 and above; this prints them in a separate line.
function done(summary, latency)
  local e = summary.errors
  io.write(string.format("answers %d, errors %d, p50 %.1f ms, p99 %.1f ms, %.0f/s\n", summary.requests,
    e.connect + e.read + e.write + e.status + e.timeout, latency:percentile(50) / 1000, latency:percentile(99) / 1000,
    summary.requests / summary.duration * 1e6))
end
