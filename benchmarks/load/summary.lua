-- For wrk: walks through the paths of a file where one is named after `--`, and at the end of a run prints one line
-- of JSON. wrk's own times are in microseconds.
local threads = 0

setup = function(thread)
  thread:set("number", threads)
  threads = threads + 1
end

init = function(args)
  if args[1] == nil then
    return
  end
  local requests = {}
  for path in io.lines(args[1]) do
    requests[#requests + 1] = wrk.format("GET", path)
  end
  -- Threads begin apart, so that they do not all ask for the same.
  local at = number * math.floor(#requests / 2)
  request = function()
    at = at % #requests + 1
    return requests[at]
  end
end

done = function(summary, latency, _)
  local errors = summary.errors
  io.write(string.format(
    '{"number":%d,"seconds":%f,"p50":%f,"p99":%f,"p999":%f,"errors":%d}\n',
    summary.requests, summary.duration / 1e6,
    latency:percentile(50) / 1e3, latency:percentile(99) / 1e3, latency:percentile(99.9) / 1e3,
    errors.connect + errors.read + errors.write + errors.status + errors.timeout))
end
