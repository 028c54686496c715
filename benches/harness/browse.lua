-- wrk: product pages by Zipf's law. The argument after `--` is a catalogue as `souk export` writes it: JSON Lines with ids.
-- The exit status is 1 where a request failed.

local ids, sums, total = {}, {}, 0
local threads = 0

function setup(thread)
   threads = threads + 1
   thread:set("number", threads)
end

function init(args)
   local file = assert(args[1], "no catalogue: end the command with  -- catalogue.jsonl  (of souk export)")
   for line in io.lines(file) do
      ids[#ids + 1] = assert(line:match('"id":"([^"]+)"'), "a line without an id")
      total = total + 1 / #ids
      sums[#ids] = total
   end
   math.randomseed(number)
end

-- The first rank whose sum reaches a point between 0 and the total.
local function popular()
   local point, low, high = math.random() * total, 1, #sums
   while low < high do
      local middle = math.floor((low + high) / 2)
      if sums[middle] < point then low = middle + 1 else high = middle end
   end
   return low
end

function request()
   return wrk.format("GET", "/products/" .. ids[popular()])
end

function done(summary, latency, requests)
   local errors = summary.errors
   io.write(string.format("answers/s %.0f, p50 %.2f ms, p99 %.2f ms, p99.9 %.2f ms, max %.2f ms; status 4xx or 5xx %d, time-outs %d, broken %d\n",
      summary.requests / summary.duration * 1e6, latency:percentile(50) / 1e3, latency:percentile(99) / 1e3,
      latency:percentile(99.9) / 1e3, latency.max / 1e3, errors.status, errors.timeout,
      errors.connect + errors.read + errors.write))
   local failed = errors.status + errors.timeout + errors.connect + errors.read + errors.write
   if failed > 0 or summary.requests == 0 then
      -- Which 4xx it was, only a slower generator would know.
      io.write(string.format("NO MEASUREMENT: %d of %d requests failed; is the catalogue that of this shop, and was the shop "
         .. "started with SOUK_LIMITS__RATES=off? It answers 429 otherwise, because all requests come from one client.\n", failed,
         summary.requests + errors.timeout + errors.connect + errors.read + errors.write))
      -- wrk itself would end with 0.
      io.stdout:flush()
      os.exit(1)
   end
   io.write("ok: every request was answered with 2xx or 3xx\n")
end
