-- One line of JSON at the end of a run of wrk; its own times are in microseconds.
done = function(summary, latency, _)
  local errors = summary.errors
  io.write(string.format(
    '{"number":%d,"seconds":%f,"p50":%f,"p99":%f,"errors":%d}\n',
    summary.requests, summary.duration / 1e6,
    latency:percentile(50) / 1e3, latency:percentile(99) / 1e3,
    errors.connect + errors.read + errors.write + errors.status + errors.timeout))
end
