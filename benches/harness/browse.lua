-- wrk: product pages by Zipf's law. The argument after `--` is a catalogue as `souk export` writes it: JSON Lines with ids.

local ids, sums, total = {}, {}, 0
local threads = 0

function setup(thread)
   threads = threads + 1
   thread:set("number", threads)
end

function init(args)
   for line in io.lines(args[1] or "catalogue.jsonl") do
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
end
