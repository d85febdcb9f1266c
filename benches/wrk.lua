-- A cross-check of benches/load with wrk (Debian's): TOKEN, TOOL and ARGUMENTS (a JSON object) come from the environment; answers are
-- counted as good when their body is a result and no tool error. docs/performance.md has the command.
local body = string.format('{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"%s","arguments":%s}}', os.getenv("TOOL"), os.getenv("ARGUMENTS"))
local headers = {
  ["Content-Type"] = "application/json",
  ["Accept"] = "application/json, text/event-stream",
  ["MCP-Protocol-Version"] = "2025-11-25",
}
if os.getenv("TOKEN") then headers["Authorization"] = "Bearer " .. os.getenv("TOKEN") end

local threads = {}
function setup(thread) table.insert(threads, thread) end
function init() good, bad = 0, 0 end
function request() return wrk.format("POST", "/mcp", headers, body) end
function response(status, _, answer)
  if status == 200 and answer:find('"result"', 1, true) and not answer:find('"isError":true', 1, true) then good = good + 1 else bad = bad + 1 end
end
function done(summary)
  local good, bad = 0, 0
  for _, thread in ipairs(threads) do good, bad = good + thread:get("good"), bad + thread:get("bad") end
  io.write(string.format("good %d, bad %d, %.0f good answers/s\n", good, bad, good / summary.duration * 1e6))
end
