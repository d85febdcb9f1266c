#!/usr/bin/env bash
# The MCP inspector's command line (npm `@modelcontextprotocol/inspector`) in both eras.
# Reads MCP_URL, MCP_TOKEN, CLIENTS_MODULES; prints one `ok` or `FAIL` line per check.
set -u

# expect NAME EXIT_CODE TEXT ARGS…: the inspector ends with this code, and its output holds this text
expect() {
  local name="inspector: $1" code=$2 text=$3 said rc=0; shift 3
  # a home of its own: it writes a catalogue of servers there
  said=$(HOME=$CLIENTS_HOME timeout 60 "$CLIENTS_MODULES/node_modules/.bin/mcp-inspector" --cli "$MCP_URL" --format json -q "$@" 2>&1 </dev/null) || rc=$?
  if [ "$rc" = "$code" ] && [[ $said == *"$text"* ]]; then echo "ok    $name"
  else echo "FAIL  $name: exit $rc, not $code with '$text': ${said:0:600}"; fi
}

for era in legacy modern; do
  as=(--protocol-era "$era" --header "Authorization: Bearer $MCP_TOKEN")
  look_up=(--method tools/call --tool-name consultar_rnc_dgii)
  expect "$era: tools/list, strict about schemas" 0 '"crear_cotizacion"' "${as[@]}" --method tools/list --strict
  expect "$era: a call answers with the taxpayer" 0 INDEXA "${as[@]}" "${look_up[@]}" --tool-arg 'rnc="131793916"'
  expect "$era: a failed call is a tool's error" 5 que_hacer "${as[@]}" "${look_up[@]}" --tool-arg 'rnc="12345"'
  expect "$era: a wrong token needs a login" 3 '' --protocol-era "$era" --header "Authorization: Bearer ${MCP_TOKEN}x" --method tools/list
done
