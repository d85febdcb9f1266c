"""A certificate from an ACME server by the scripts that are used on the box: Debian's certbot asks, pebble (Let's Encrypt's own test server) looks
at port 80 of nginx. What differs from the real thing: names are resolved by pebble's little DNS server, and its CA is nobody's."""

import json
import os
import re
import ssl
import subprocess

from parts import Child, free_port, run, until

NAME = "mcp.example.test"


def acme(report, box):
    folder = os.path.join(box.folder, "pebble")
    os.mkdir(folder)
    directory, dns = free_port(), free_port()
    # pebble validates on the port of our nginx instead of 80.
    nginx_http = box.http_two = free_port()
    nginx_https = free_port()
    run("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2", "-subj", "/CN=localhost",
        "-addext", "subjectAltName=DNS:localhost", "-keyout", f"{folder}/key.pem", "-out", f"{folder}/cert.pem")
    with open(f"{folder}/config.json", "w") as file:
        json.dump({"pebble": {
            "listenAddress": f"127.0.0.1:{directory}", "managementListenAddress": f"127.0.0.1:{free_port()}", "certificate": f"{folder}/cert.pem", "privateKey": f"{folder}/key.pem",
            "httpPort": nginx_http, "tlsPort": nginx_https, "ocspResponderURL": "", "externalAccountBindingRequired": False,
        }}, file)
    names = Child("pebble-challtestsrv", "-defaultIPv4", "127.0.0.1", "-defaultIPv6", "", "-dns01", f"127.0.0.1:{dns}", "-http01", "", "-https01", "", "-tlsalpn01", "",
                  "-management", f"127.0.0.1:{free_port()}")
    box.open.append(names.stop)
    pebble = Child("pebble", "-config", f"{folder}/config.json", "-dnsserver", f"127.0.0.1:{dns}", "-strict", env={"PEBBLE_VA_NOSLEEP": "1", "PEBBLE_WFE_NONCEREJECT": "0"})
    box.open.append(pebble.stop)
    url = f"https://localhost:{directory}/dir"
    until("pebble", lambda: subprocess.run(["curl", "-sk", url], capture_output=True).returncode == 0)

    # The certificate that is not there yet, and an nginx that must start without it.
    certbot = f"{folder}/certbot"
    site = ["--node", f"127.0.0.1:{box.node}", "--certificates", f"{certbot}/live/{NAME}", "--acme", f"{folder}/acme", "--http", str(nginx_http), "--https", str(nginx_https), "--address", "127.0.0.1"]
    scripts = os.path.join(box.root, "scripts/deploy")
    nginx = box.nginx(run(f"{scripts}/nginx-site", "--name", NAME, *site, "--only", "http"))
    report.check("nginx starts without the certificate, for port 80 alone", nginx.child.process.poll() is None)
    environment = {"NGINX_CHECK": " ".join(nginx.command("-t", "-q")), "NGINX_RELOAD": " ".join(nginx.command("-s", "reload"))}
    folders = ["--config-dir", certbot, "--work-dir", f"{folder}/work", "--logs-dir", f"{folder}/logs", "--no-random-sleep-on-renew"]
    said = run(f"{scripts}/certificate", "--name", NAME, "--email", "ops@example.test", "--site", nginx.site, *site, "--", "--server", url, "--no-verify-ssl", *folders, env=environment)
    report.check("scripts/deploy/certificate gets one through nginx's port 80", "certbot-hook: nginx has the certificate" in said, said)

    def served():
        """Serial number and issuer of what nginx serves."""
        try:
            pem = ssl.get_server_certificate(("127.0.0.1", nginx_https))
        except OSError:
            return None
        text = run("openssl", "x509", "-noout", "-serial", "-issuer", "-ext", "subjectAltName", stdin=pem)
        return text if "Pebble" in text else None

    first = until("nginx with a certificate of pebble's", served)
    report.check("nginx serves it, for our name", f"DNS:{NAME}" in first, first)
    run("certbot", "renew", "--cert-name", NAME, "--force-renewal", "--no-verify-ssl", *folders, env=environment)
    serial = lambda text: re.search(r"serial=(\w+)", text)[1]
    renewed = until("the renewed certificate", lambda: (found := served()) and serial(found) != serial(first) and found)
    report.check("certbot renew brings another, and the hook makes nginx take it", bool(renewed), renewed)
    with open(nginx.site, "a") as file:
        file.write("nonsense;\n")
    broken = subprocess.run([f"{scripts}/certbot-hook"], env={"PATH": os.environ["PATH"], **environment}, capture_output=True, text=True)
    report.check("the hook does not reload a site that is broken", broken.returncode != 0 and served(), broken.stderr)
