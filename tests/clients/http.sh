#!/usr/bin/env bash
# The wire itself, with curl: both eras, and every way to knock at the door badly.
# Reads MCP_URL, MCP_TOKEN, OTHER_TOKEN; prints one `ok` or `FAIL` line per check. FOREIGN_HOST_STATUS: what a foreign name is
# answered with (000: a proxy in front hangs up).
set -u
T=$(mktemp -d)
trap 'rm -rf "$T"' EXIT

JSON=(-H 'Content-Type: application/json' -H 'Accept: application/json, text/event-stream')
AUTH=(-H "Authorization: Bearer $MCP_TOKEN")
ORIGIN=${MCP_URL%/mcp}

# expect NAME STATUS CONDITION CURL_ARGS…: the condition is Python over `body` (parsed JSON, or None), `text` and `head`
expect() {
  local name="HTTP: $1" status=$2 condition=$3 got; shift 3
  : >"$T/body"; : >"$T/head"
  got=$(curl -sS --noproxy '*' --max-time 30 -o "$T/body" -D "$T/head" -w '%{http_code}' "$@" 2>"$T/error")
  if [ "$got" = "$status" ] && /usr/bin/python3 - "$condition" "$T/body" "$T/head" <<'PY' 2>"$T/error"
import json, sys
condition, body, head = sys.argv[1], open(sys.argv[2]).read(), open(sys.argv[3]).read()
text, head = body, {k.strip().lower(): v.strip() for k, _, v in (line.partition(":") for line in head.splitlines())}
try: body = json.loads(text)
except ValueError: body = None
sys.exit(0 if eval(condition) else 1)
PY
  then echo "ok    $name"
  else echo "FAIL  $name: status $got, not $status with ${condition:0:150}: $(head -c 500 "$T/body" | tr '\n' ' ') $(tail -1 "$T/error")"; fi
}

# The requests. A modern one says its version, method and name in headers too, and its _meta in every body.
rpc() { printf '{"jsonrpc":"2.0","id":7,"method":"%s","params":%s}' "$1" "${2:-{\}}"; }
META='"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientInfo":{"name":"curl","version":"1"},"io.modelcontextprotocol/clientCapabilities":{}}'
modern() {  # METHOD [NAME]: sets MODERN
  MODERN=("${JSON[@]}" -H 'MCP-Protocol-Version: 2026-07-28' -H "Mcp-Method: $1")
  if [ -n "${2:-}" ]; then MODERN+=(-H "Mcp-Name: $2"); fi
}
INITIALIZE='{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"curl","version":"1"}}'
LOOK_UP='"name":"consultar_rnc_dgii","arguments":{"rnc":"131793916"}'
FOUND="'INDEXA' in body['result']['structuredContent']['nombre'] and not body['result'].get('isError')"

# --- the eras of initialize ---
expect 'initialize' 200 "body['result']['protocolVersion'] == '2025-11-25' and body['result']['serverInfo']['name'] and 'mcp-session-id' not in head" \
  "$MCP_URL" "${AUTH[@]}" "${JSON[@]}" -d "$(rpc initialize "$INITIALIZE")"
for version in 2025-06-18 2025-03-26; do
  expect "initialize with $version" 200 "body['result']['protocolVersion'] == '$version'" \
    "$MCP_URL" "${AUTH[@]}" "${JSON[@]}" -d "$(rpc initialize "${INITIALIZE/2025-11-25/$version}")"
done
expect 'notifications/initialized' 202 "text == ''" \
  "$MCP_URL" "${AUTH[@]}" "${JSON[@]}" -d '{"jsonrpc":"2.0","method":"notifications/initialized"}'
expect 'tools/list without a version header' 200 "'consultar_rnc_dgii' in [t['name'] for t in body['result']['tools']]" \
  "$MCP_URL" "${AUTH[@]}" "${JSON[@]}" -d "$(rpc tools/list)"
expect 'tools/call' 200 "$FOUND and 'resultType' not in body['result'] and body['id'] == 7" \
  "$MCP_URL" "${AUTH[@]}" "${JSON[@]}" -H 'MCP-Protocol-Version: 2025-11-25' -d "$(rpc tools/call "{$LOOK_UP}")"
expect 'tools/call with any Accept' 200 "$FOUND" \
  "$MCP_URL" "${AUTH[@]}" -H 'Content-Type: application/json' -d "$(rpc tools/call "{$LOOK_UP}")"
expect 'ping' 200 "body['result'] == {}" "$MCP_URL" "${AUTH[@]}" "${JSON[@]}" -d "$(rpc ping)"

# --- the era of 2026-07-28 ---
modern server/discover
expect 'server/discover' 200 "'2026-07-28' in body['result']['supportedVersions'] and body['result']['resultType'] == 'complete'" \
  "$MCP_URL" "${AUTH[@]}" "${MODERN[@]}" -d "$(rpc server/discover "{$META}")"
modern tools/list
expect 'modern tools/list, private to its caller' 200 "body['result']['cacheScope'] == 'private' and 'io.modelcontextprotocol/serverInfo' in body['result']['_meta']" \
  "$MCP_URL" "${AUTH[@]}" "${MODERN[@]}" -d "$(rpc tools/list "{$META}")"
modern tools/call consultar_rnc_dgii
expect 'modern tools/call' 200 "$FOUND and body['result']['resultType'] == 'complete' and 'io.modelcontextprotocol/serverInfo' in body['result']['_meta']" \
  "$MCP_URL" "${AUTH[@]}" "${MODERN[@]}" -d "$(rpc tools/call "{$LOOK_UP,$META}")"
modern tools/list
expect 'a header that contradicts the body' 400 "body['error']['code'] == -32020 and body['id'] == 7" \
  "$MCP_URL" "${AUTH[@]}" "${MODERN[@]}" -d "$(rpc tools/call "{$LOOK_UP,$META}")"
modern tools/list; MODERN=("${MODERN[@]/2026-07-28/2031-01-01}")
expect 'a version of the future' 400 "body['error']['code'] == -32022 and '2026-07-28' in body['error']['data']['supported']" \
  "$MCP_URL" "${AUTH[@]}" "${MODERN[@]}" -d "$(rpc tools/list "{${META/2026-07-28/2031-01-01}}")"
expect 'a version of the future in the header alone' 400 "body['error']['code'] in (-32020, -32022)" \
  "$MCP_URL" "${AUTH[@]}" "${MODERN[@]}" -d "$(rpc tools/list)"
modern foo/bar
expect 'an unknown method' 404 "body['error']['code'] == -32601" "$MCP_URL" "${AUTH[@]}" "${MODERN[@]}" -d "$(rpc foo/bar "{$META}")"
modern tools/call nada
expect 'an unknown tool' 200 "body['error']['code'] == -32602" \
  "$MCP_URL" "${AUTH[@]}" "${MODERN[@]}" -d "$(rpc tools/call "{\"name\":\"nada\",\"arguments\":{},$META}")"
modern tools/call consultar_rnc_dgii
expect 'arguments that do not fit the schema' 200 "body['result']['isError'] and 'que_hacer' in text" \
  "$MCP_URL" "${AUTH[@]}" "${MODERN[@]}" -d "$(rpc tools/call "{\"name\":\"consultar_rnc_dgii\",\"arguments\":{\"rnc\":[1]},$META}")"

# --- broken requests ---
error() { echo "body['jsonrpc'] == '2.0' and body['error']['code'] == $1"; }
expect 'malformed JSON' 400 "$(error -32700)" "$MCP_URL" "${AUTH[@]}" "${JSON[@]}" -d '{"jsonrpc":"2.0",'
expect 'an empty body' 400 "$(error -32700)" "$MCP_URL" "${AUTH[@]}" "${JSON[@]}" -d ''
expect 'a batch' 400 "$(error -32600)" "$MCP_URL" "${AUTH[@]}" "${JSON[@]}" -d "[$(rpc ping),$(rpc tools/list)]"
expect 'another jsonrpc' 400 "$(error -32600)" "$MCP_URL" "${AUTH[@]}" "${JSON[@]}" -d '{"jsonrpc":"1.0","id":1,"method":"ping"}'
expect 'an id that is null' 400 "$(error -32600)" "$MCP_URL" "${AUTH[@]}" "${JSON[@]}" -d '{"jsonrpc":"2.0","id":null,"method":"ping"}'
expect 'parameters of the wrong type' 200 "$(error -32602)" "$MCP_URL" "${AUTH[@]}" "${JSON[@]}" -d "$(rpc tools/call '{"name":5}')"
head -c 2000000 /dev/zero | tr '\0' ' ' >"$T/large"
expect 'a body of 2 MB' 413 True "$MCP_URL" "${AUTH[@]}" "${JSON[@]}" --data-binary "@$T/large"
expect 'GET' 405 "'POST' in head['allow']" "$MCP_URL" "${AUTH[@]}"
expect 'DELETE' 405 True "$MCP_URL" "${AUTH[@]}" -X DELETE

# --- who may come in ---
LIST=("${JSON[@]}" -d "$(rpc tools/list)")
CHALLENGE="head['www-authenticate'].startswith('Bearer')"
expect 'no token' 401 "$CHALLENGE" "$MCP_URL" "${LIST[@]}"
expect 'a token with a slip in it' 401 "$CHALLENGE" "$MCP_URL" -H "Authorization: Bearer ${MCP_TOKEN%?}" "${LIST[@]}"
expect 'initialize without a token' 401 "$CHALLENGE" "$MCP_URL" "${JSON[@]}" -d "$(rpc initialize "$INITIALIZE")"
expect 'a page of another site' 403 True "$MCP_URL" "${AUTH[@]}" -H 'Origin: https://evil.example' "${LIST[@]}"
expect 'another host name (DNS rebinding)' "${FOREIGN_HOST_STATUS:-403}" True "$MCP_URL" "${AUTH[@]}" -H 'Host: evil.example' "${LIST[@]}"
expect 'the other tenant sees its own customers only' 200 "'Grupo Hotelero' not in text" \
  "$MCP_URL" -H "Authorization: Bearer $OTHER_TOKEN" "${JSON[@]}" -d "$(rpc tools/call '{"name":"buscar_cliente","arguments":{"consulta":"Costa Coral"}}')"

# --- the door for tokens alone: no trace of OAuth ---
expect '/mcp/token' 200 "$FOUND" "$MCP_URL/token" "${AUTH[@]}" "${JSON[@]}" -d "$(rpc tools/call "{$LOOK_UP}")"
modern tools/call consultar_rnc_dgii
expect '/mcp/token, modern' 200 "$FOUND" "$MCP_URL/token" "${AUTH[@]}" "${MODERN[@]}" -d "$(rpc tools/call "{$LOOK_UP,$META}")"
expect '/mcp/token without a token' 401 "$CHALLENGE and 'resource_metadata' not in head['www-authenticate']" "$MCP_URL/token" "${LIST[@]}"
for page in oauth-protected-resource oauth-authorization-server openid-configuration; do
  expect "no /.well-known/$page for it" 404 True "$ORIGIN/.well-known/$page/mcp/token"
done
expect "nor below it" 404 True "$MCP_URL/token/.well-known/openid-configuration"
expect '/healthz' 200 True "$ORIGIN/healthz"
