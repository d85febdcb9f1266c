"""nginx.conf, dunet.socket and certificates, tried as they will stand. `run` says how it is started."""

import html
import json
import os
import re
import socket
import subprocess
import sys
import threading
import time

from acme import acme
from box import NAME, Box
from cluster import cluster
from deploy import deploy
from parts import CALL, Browser, Caller, Curl, Load, Report, fail, free_port, until
from restart import restart
from slope import slope
from unit import unit

JSON = ["-H", "Content-Type: application/json", "-H", "Accept: application/json, text/event-stream"]


def names_and_tls(report, box, curl):
    plain, secure = f"http://{NAME}:{box.http}", f"https://{NAME}:{box.https}"
    answer = curl(f"{plain}/admin/entrar?a=b%20c")
    report.check("80 leads to 443, path and query kept", (answer.status, answer.get("location")) == (301, f"https://{NAME}/admin/entrar?a=b%20c"), answer)
    with open(os.path.join(box.acme(), ".well-known/acme-challenge/abc"), "w") as file:
        file.write("abc.def")
    answer = curl(f"{plain}/.well-known/acme-challenge/abc")
    report.check("the ACME path is served on 80, as plain text", (answer.status, answer.text, answer.get("content-type")) == (200, "abc.def", "text/plain"), answer)
    report.check("and only what is there", curl(f"{plain}/.well-known/acme-challenge/nada").status == 404)
    report.check("nor anything above it", curl(f"{plain}/.well-known/acme-challenge/../../../tls/privkey.pem", "--path-as-is").status in (400, 404))
    for url, what in ((plain, "80"), (secure, "443")):
        report.check(f"a name that is not ours is hung up on ({what})", curl(f"{url}/healthz", "-H", "Host: evil.example").status == 0)
    answer = curl(f"{secure}/healthz", "--http2")
    report.check("HTTP/2", (answer.status, answer.version) == (200, "2"), answer)
    report.check("HTTP/1.1 too", (curl(f"{secure}/healthz", "--http1.1").version) == "1.1")
    report.check("TLS 1.2", curl(f"{secure}/healthz", "--tls-max", "1.2").status == 200)
    report.check("TLS 1.3", curl(f"{secure}/healthz", "--tlsv1.3").status == 200)
    report.check("no TLS 1.1", curl(f"{secure}/healthz", "--tls-max", "1.1", "--tlsv1.0", "--ciphers", "DEFAULT:@SECLEVEL=0").status == 0)
    report.check("no cipher without forward secrecy", curl(f"{secure}/healthz", "--tls-max", "1.2", "--ciphers", "AES128-GCM-SHA256:AES256-SHA").status == 0)


def agents(report, box, curl):
    """The same checks that the demo has to pass without a proxy, of both eras."""
    environment = {
        "PATH": os.environ["PATH"], "MCP_URL": f"https://{NAME}:{box.https}/mcp", "MCP_TOKEN": box.token, "OTHER_TOKEN": box.other_token,
        "CURL_CA_BUNDLE": box.authority, "FOREIGN_HOST_STATUS": "000",
    }
    done = subprocess.run(["bash", os.path.join(box.root, "tests/clients/http.sh")], env=environment, capture_output=True, text=True, timeout=300)
    lines = re.sub(r"^(ok   |FAIL ) HTTP:", r"\1 through nginx:", done.stdout, flags=re.MULTILINE)
    report.lines(lines)
    report.check("through nginx: all of it", done.stdout.count("\n") >= 40, done.stderr)
    url = f"https://{NAME}:{box.https}"
    authorized = [*JSON, "-H", f"Authorization: Bearer {box.token}"]
    answer = curl(f"{url}/mcp", "--http2", *authorized, "-d", CALL)
    report.check("a call over HTTP/2", answer.version == "2" and "INDEXA" in answer.text, answer)
    for path in ("/mcp/", "/mcp/token/"):
        answer = curl(f"{url}{path}", *authorized, "-d", CALL)
        report.check(f"{path} is the same address", "INDEXA" in answer.text, answer)
    # The protected-resource document, the server's, and the doors of OAuth are answered by Dunet, whatever it says to them.
    for path in ("/.well-known/oauth-protected-resource/mcp", "/.well-known/oauth-authorization-server", "/.well-known/openid-configuration", "/oauth/authorize", "/oauth/token"):
        answer = curl(f"{url}{path}")
        report.check(f"{path} reaches Dunet", len(answer.all("x-request-id")) == 1 and answer.status < 500, answer)


def sizes(report, box, curl):
    url, authorized = f"https://{NAME}:{box.https}", [*JSON, "-H", f"Authorization: Bearer {box.token}"]
    for size, who, options in ((1_500_000, "Dunet", []), (3_000_000, "nginx", []), (3_000_000, "nginx, of a body without a length", ["-H", "Transfer-Encoding: chunked"])):
        answer = curl(f"{url}/mcp", "--http1.1", *authorized, *options, "--data-binary", "@-", body=b" " * size)
        error = answer.json().get("error", {})
        ok = answer.status == 413 and error.get("code") == -32600 and answer.get("content-type").startswith("application/json")
        report.check(f"413 as JSON-RPC by {who}", ok and (len(answer.all("x-request-id")) == 1) == (who == "Dunet"), answer)
    answer = curl(f"{url}/admin/entrar", "-H", f"Origin: https://{NAME}", "--data-binary", "@-", body=b"email=" + b"x" * 400_000)
    report.check("a form that is too large is refused by the portal, as a page", answer.status == 413 and "<html" in answer.text and answer.get("x-request-id"), answer)
    answer = curl(f"{url}/admin/padron/import", "-H", f"Origin: https://{NAME}", "-H", "Content-Type: multipart/form-data; boundary=xyz", "--data-binary", "@-", body=b"x" * 4_000_000)
    report.check("the padrón's upload may be larger: it is Dunet who answers", answer.status != 413 and len(answer.all("x-request-id")) == 1, answer)


ONCE = ("strict-transport-security", "x-content-type-options", "referrer-policy")
AT_MOST_ONCE = ("content-security-policy", "x-frame-options", "cross-origin-opener-policy", "permissions-policy", "cache-control", "x-request-id")


def headers(report, box, curl):
    url = f"https://{NAME}:{box.https}"
    page = curl(f"{url}/admin/entrar")
    style = re.search(r"/assets/[\w./-]+\.[0-9a-f]{12}\.css", html.unescape(page.text))
    assert style, page
    style = style[0]
    large = ["--data-binary", "@-", "-H", "Content-Type: application/json"]
    cases = {
        "an agent": curl(f"{url}/mcp", *JSON, "-d", CALL), "a page": page, "a file": curl(f"{url}{style}"), "health": curl(f"{url}/healthz"),
        "what is not there": curl(f"{url}/nada"), "nginx's own 413": curl(f"{url}/mcp", *large, body=b" " * 3_000_000), "nginx's own 404": curl(f"{url}/metrics"),
    }
    for who, answer in cases.items():
        counts = {name: len(answer.all(name)) for name in ONCE + AT_MOST_ONCE}
        ok = all(counts[name] == 1 for name in ONCE) and all(counts[name] <= 1 for name in AT_MOST_ONCE)
        report.check(f"security headers stand once: {who}", ok, (counts, answer))
    report.check("HSTS is two years", page.get("strict-transport-security") == "max-age=63072000")
    report.check("the page has its policy", "default-src 'none'" in page.get("content-security-policy") and page.get("referrer-policy") == "same-origin", page.pairs)
    report.check("nginx does not tell its version", page.get("server") == "nginx", page.get("server"))

    answer = cases["a file"]
    report.check("a file under its hash is for ever", answer.get("cache-control") == "public, max-age=31536000, immutable", answer.pairs)
    plain = re.sub(r"\.[0-9a-f]{12}\.", ".", style)
    answer = curl(f"{url}{plain}")
    report.check("under its plain name for an hour", answer.get("cache-control") == "public, max-age=3600", answer.pairs)
    packed = curl(f"{url}{style}", "-H", "Accept-Encoding: gzip", "-o", "/dev/null", "-D", "-")
    report.check("files are packed", "gzip" in repr(packed), packed)
    for tag in (answer.get("etag"), "W/" + answer.get("etag")):
        again = curl(f"{url}{plain}", "-H", f"If-None-Match: {tag}")
        report.check(f"and not sent twice ({tag[:3]}…)", again.status == 304, again)
    packed = curl(f"{url}/admin/entrar", "-H", "Accept-Encoding: gzip")
    report.check("pages, which carry tokens, are not packed", not packed.get("content-encoding") and "csrf" in packed.text, packed.pairs)


def who_is_there(report, box, curl):
    """Everything here is this machine, but it has many addresses."""
    url = f"https://{NAME}:{box.https}"

    def refused(address, target=f"{url}/mcp", **spoofed):
        spoof = [option for name, value in spoofed.items() for option in ("-H", f"{name.replace('_', '-')}: {value}")]
        return curl(target, "--interface", address, *spoof, *JSON, "-H", "Authorization: Bearer dunet_live_no", "-d", CALL).status

    limit = int(box.env["DUNET_FAILED_AUTH_PER_MINUTE"])
    seen = [refused("127.0.0.7", X_Forwarded_For=f"198.51.100.{i}, 203.0.113.{i}", Forwarded=f"for=198.51.100.{i}", X_Real_IP=f"198.51.100.{i}") for i in range(limit + 15)]
    report.check("an address of one's own making does not help past a limit", seen[0] == 401 and seen[-1] == 429, seen)
    report.check("the neighbour is not made to wait", refused("127.0.0.8") == 401)
    report.check("nor by somebody who takes its address in the header", refused("127.0.0.9", X_Forwarded_For="127.0.0.7") == 401)
    report.check("there is no /metrics from outside", curl(f"{url}/metrics").status == 404)
    direct = f"http://127.0.0.1:{box.node}/metrics"
    report.check("but on the machine itself", "dunet_" in curl(direct).text)
    report.check("nobody else becomes this machine by a header", curl(direct, "--interface", "127.0.0.9", "-H", "X-Forwarded-For: 127.0.0.1").status == 404)


def portal(report, box):
    link = json.loads(box.dunet("--json", "admin", "create", "--email", "olga@example.do", "--name", "Olga", "--link"))["link"]
    browser = Browser(NAME, box.https, box.context)
    path = link.removeprefix(f"https://{NAME}")
    answer = browser.post(path, path, {"name": "Olga", "password": "caballo batería grapa 7"})
    assert answer.status == 303, answer
    browser = Browser(NAME, box.https, box.context)
    answer = browser.post("/admin/entrar", "/admin/entrar", {"email": "olga@example.do", "password": "caballo batería grapa 7"})
    cookies = [cookie for cookie in answer.all("set-cookie") if cookie.startswith("__Host-dunet=")]
    locked = len(cookies) == 1 and all(word in cookies[0] for word in ("Secure", "HttpOnly", "Path=/", "SameSite=Lax")) and "Domain" not in cookies[0]
    report.check("one signs in, with a cookie that is __Host-", answer.status == 303 and locked, (answer, answer.pairs))
    for path in ("/admin", "/admin/clients", "/admin/logs", "/admin/metrics", "/admin/padron", f"/admin/clients/{box.tenant}", "/admin/profile"):
        page = browser.get(path)
        report.check(f"the page {path}", page.status == 200 and "<main" in page.text, page)
    report.check("a page says who its reader is", "127.0.0.1" in browser.get("/admin/profile").text)

    stream = browser.connect()
    stream.request("GET", "/admin/logs", headers={**browser.headers(), "Accept": "text/event-stream"})
    response = stream.getresponse()
    report.check("the live log is a stream", response.status == 200 and response.getheader("Content-Type").startswith("text/event-stream"), response.getheaders())
    rows, times = [], []

    def read():
        try:
            for line in response:
                if b"data:" in line:
                    times.append(time.monotonic())
                    rows.append(line)
        except (OSError, ValueError, AttributeError):
            pass  # closed below

    threading.Thread(target=read, daemon=True).start()
    caller = Caller(NAME, box.https, box.context, box.token)
    # So long the stream looks back for what it may have missed; then what comes is live.
    time.sleep(1.5)
    before = len(rows)
    waits = []
    for number in range(1, 4):
        fault = caller.call()
        assert fault is None, fault
        called = time.monotonic()
        until("the row of a call", lambda: any("consultar_rnc_dgii" in row.decode() for row in rows[before:]) and len(times) > before)
        waits.append(max(0.0, times[before] - called))
        before = len(rows)
    report.check(f"and nothing in between keeps its rows back (≤ {max(waits) * 1000:.0f} ms)", max(waits) < 1.0, waits)
    stream.sock.shutdown(socket.SHUT_RDWR)
    stream.close()


def nodes(report, box, nginx):
    """A second node on the same database, and one that goes away."""
    port = free_port()
    second = box.serve(port=port)
    nginx.write(box.site(box.node, port))
    nginx.reload()
    curl_of = lambda port: subprocess.run(["curl", "-s", f"http://127.0.0.1:{port}/metrics"], capture_output=True, text=True).stdout

    def counts():
        found = [re.findall(r'^dunet_http_requests_total\{[^}]*path="/mcp"[^}]*\} (\d+)', curl_of(node), re.MULTILINE) for node in (box.node, port)]
        return [sum(map(int, each)) for each in found]

    before = counts()
    callers = [Caller(NAME, box.https, box.context, box.token) for _ in range(4)]
    faults = [fault for _ in range(10) for caller in callers if (fault := caller.call())]
    shares = [after - early for after, early in zip(counts(), before)]
    report.check(f"two nodes share the calls ({shares[0]} and {shares[1]})", not faults and min(shares) > 0, (faults, shares))
    second.stop()
    faults = [fault for _ in range(10) for caller in callers if (fault := caller.call())]
    report.check("a node that is gone is not asked, and nobody notices", not faults, faults)
    nginx.write(box.site(box.node))
    nginx.reload()


def away(report, box, curl):
    box.service.stop()
    box.socket.close()
    answer = curl(f"https://{NAME}:{box.https}/mcp", *JSON, "-d", CALL)
    report.check("while no node answers, agents are told so as JSON-RPC", answer.status == 503 and answer.json().get("error", {}).get("code") == -32000, answer)


def stand(report, root, binary, folder, wanted):
    """What is tried on one box."""
    box = None
    try:
        box = Box(root, binary, folder)
        box.service = box.serve()
        nginx = box.nginx(box.site(box.node))
        curl = Curl(NAME, box.https, box.http, box.authority)
        until("nginx", lambda: curl(f"https://{NAME}:{box.https}/readyz").status == 200)
        parts = {
            "names": lambda: names_and_tls(report, box, curl), "agents": lambda: agents(report, box, curl), "sizes": lambda: sizes(report, box, curl),
            "headers": lambda: headers(report, box, curl), "who": lambda: who_is_there(report, box, curl), "portal": lambda: portal(report, box),
            "nodes": lambda: nodes(report, box, nginx), "certificates": lambda: acme(report, box), "restart": lambda: restart(report, box), "deploy": lambda: deploy(report, box),
            "away": lambda: away(report, box, curl),
        }
        for name, part in parts.items():
            if wanted(name):
                report.part(name, part)
    except Exception as error:
        report.check("the box stands", False, f"{type(error).__name__}: {error}")
    finally:
        for stop in reversed(box.open if box else []):
            try:
                stop()
            except Exception as error:
                report.check("everything ends", False, error)


def main():
    root, binary, folder, *only = sys.argv[1:]
    report = Report()
    wanted = lambda name: not only or name in only
    if wanted("unit"):
        report.part("the unit files", lambda: unit(report, root))
    if not only or set(only) - {"unit", "cluster", "slope"}:
        stand(report, root, binary, os.path.join(folder, "box"), wanted)
    if wanted("cluster"):
        report.part("cluster", lambda: cluster(report, root, binary, os.path.join(folder, "cluster")))
    # No check but a measurement, and only when it is asked for.
    if "slope" in only:
        report.part("slope", lambda: slope(report, root, binary, os.path.join(folder, "slope")))
    print(f"proxy: {report.passed} passed, {report.failed} failed")
    if report.failed or not report.passed:
        fail("something failed")


main()
