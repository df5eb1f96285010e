-- Sends each request of a file once. The file: length (4 bytes, little endian) and bytes of each request.
local requests, at = {}, 0
local threads = {}

function setup(thread) table.insert(threads, thread) end

function init(args)
  local file = io.open(args[1], "rb")
  while true do
    local head = file:read(4)
    if head == nil or #head < 4 then break end
    local a, b, c, d = head:byte(1, 4)
    requests[#requests + 1] = file:read(a + b * 256 + c * 65536 + d * 16777216)
  end
  file:close()
  left = #requests
end

function request()
  at = at + 1
  left = #requests - at
  if at > #requests then at = #requests end
  return requests[at]
end

function done(summary, latency, _)
  local left_over = threads[1]:get("left")
  if left_over < 0 then left_over = 0 end
  io.write(string.format("RESULT %d %d %d %d %d %d %d\n", summary.requests, summary.duration, latency:percentile(50),
    latency:percentile(99), summary.errors.status,
    summary.errors.connect + summary.errors.read + summary.errors.write + summary.errors.timeout, left_over))
end
