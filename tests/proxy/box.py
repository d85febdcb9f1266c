"""The box: certificate, Dunet with a socket that outlives it, nginx from nginx.conf."""

import json
import os
import re
import socket

from parts import Child, free_port, run, trusting, until

NAME = "localhost"
WORKERS = 2


class Box:
    """A folder, a padrón and an Odoo lent by `dunet demo`, ports, a certificate. `serve` and `nginx` start what stands on it."""

    def __init__(self, root, binary, folder, more=None):
        self.root, self.binary, self.folder = root, binary, folder
        os.makedirs(folder, exist_ok=True)
        self.http, self.https = free_port(), free_port()
        self.open = []
        self._certificate()
        self._demo()
        self.data = os.path.join(folder, "data")
        self.env = {
            "DUNET_DATA_DIR": self.data,
            "DUNET_VAULT_KEY_FILE": os.path.join(folder, "vault.key"),
            "DUNET_PUBLIC_URL": f"https://{NAME}",
            "DUNET_ALLOW_PRIVATE_ODOO": "1",  # the Odoo of a test is on this machine
            "DUNET_PADRON_ROWS_MIN": "1000",
            "DUNET_TENANT_CALLS_PER_MINUTE": "1000000",
            "DUNET_TENANT_BURST_CALLS": "1000000",
            "DUNET_REPEATED_CALLS_PER_MINUTE": "0",
            "DUNET_FAILED_AUTH_PER_MINUTE": "60",
            "DUNET_PASSWORD_MEMORY_KIB": "64",
            "DUNET_PASSWORD_PASSES": "1",
            **(more or {}),
        }
        self.dunet("keygen", self.env["DUNET_VAULT_KEY_FILE"])
        self.dunet("padron", "import", *self.zips)
        self.tenant, self.token = self.tenant_add("Ferretería Nova")
        self.other_tenant, self.other_token = self.tenant_add("Hotel Costa", with_odoo=False)
        # What systemd does for dunet.socket: it stays open whoever serves.
        self.socket = socket.create_server(("127.0.0.1", 0), backlog=1024)
        self.node = self.socket.getsockname()[1]

    def _certificate(self):
        self.certificates = os.path.join(self.folder, "tls")
        os.mkdir(self.certificates)
        at = lambda name: os.path.join(self.certificates, name)
        self.authority = at("ca.pem")
        key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
        run("openssl", "req", "-x509", *key, "-keyout", at("ca.key"), "-out", self.authority, "-days", "2", "-subj", "/CN=test authority")
        run("openssl", "req", *key, "-keyout", at("privkey.pem"), "-out", at("csr.pem"), "-subj", f"/CN={NAME}")
        with open(at("ext"), "w") as file:
            file.write(f"subjectAltName=DNS:{NAME},DNS:mcp.example.test\nbasicConstraints=CA:FALSE\n")
        run("openssl", "x509", "-req", "-in", at("csr.pem"), "-CA", self.authority, "-CAkey", at("ca.key"), "-days", "2", "-extfile", at("ext"), "-out", at("leaf.pem"))
        with open(at("fullchain.pem"), "w") as file:
            file.write(open(at("leaf.pem")).read() + open(self.authority).read())
        self.context = trusting(self.authority)

    def _demo(self):
        folder = os.path.join(self.folder, "demo")
        os.mkdir(folder)
        child = Child(self.binary, "demo", "--json", "--port", str(free_port()), env={"TMPDIR": folder}, cwd=folder)
        self.open.append(child.stop)
        said = json.loads(child.says(r"^\{.*\}$")[0])
        self.odoo = said["odoo"]
        samples = os.path.join(said["data_dir"], "sample")
        self.zips = [os.path.join(samples, name) for name in os.listdir(samples) if name.endswith(".zip")]

    def dunet(self, *arguments, stdin=None):
        return run(self.binary, *arguments, env=self.env, cwd=self.folder, stdin=stdin)

    def tenant_add(self, name, with_odoo=True):
        odoo = [] if not with_odoo else ["--odoo-url", self.odoo["url"], "--odoo-db", self.odoo["database"], "--odoo-user", self.odoo["user"], "--odoo-secret-file", "-"]
        tenant = json.loads(self.dunet("--json", "tenant", "add", "--name", name, "--plan", "pro", *odoo, stdin=self.odoo["api_key"]))["id"]
        return tenant, json.loads(self.dunet("--json", "token", "issue", "--tenant", tenant, "--name", "prueba"))["token"]

    def serve(self, env=None, port=None):
        """Dunet on the socket that is held for it, or on a port of its own."""
        env = {**self.env, **(env or {})}
        if port is None:
            # As systemd starts it: descriptor 3, and the number of the process that it is meant for.
            shell = f'exec 3<&{self.socket.fileno()}; export LISTEN_FDS=1 LISTEN_PID=$$; exec "$0" serve'
            child = Child("bash", "-c", shell, self.binary, env=env, cwd=self.folder, fds=(self.socket.fileno(),))
        else:
            child = Child(self.binary, "serve", "--port", str(port), env=env, cwd=self.folder)
        self.open.append(child.stop)
        child.says(r" ready ")
        return child

    def site(self, *nodes, only=None, name=NAME, certificates=None):
        """nginx.conf for these nodes."""
        options = [option for node in nodes for option in ("--node", f"127.0.0.1:{node}")] + (["--only", only] if only else [])
        return run(
            os.path.join(self.root, "scripts/deploy/nginx-site"), "--name", name, *options, "--certificates", certificates or self.certificates,
            "--acme", self.acme(), "--http", str(self.http), "--https", str(self.https), "--address", "127.0.0.1",
        )

    def acme(self):
        folder = os.path.join(self.folder, "acme")
        os.makedirs(os.path.join(folder, ".well-known/acme-challenge"), exist_ok=True)
        return folder

    def nginx(self, site):
        return Nginx(self, site)


class Nginx:
    """A real nginx whose http part includes the site, as Debian's does with sites-enabled."""

    def __init__(self, site, text):
        self.folder = os.path.join(site.folder, f"nginx-{len(site.open)}")
        os.mkdir(self.folder)
        self.site = os.path.join(self.folder, "site.conf")
        self.main = os.path.join(self.folder, "main.conf")
        temporary = "".join(f"  {kind}_temp_path {self.folder}/{kind};\n" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
        with open(self.main, "w") as file:
            # What stands in Debian's own nginx.conf, as far as it could change something for the site.
            file.write(
                f"worker_processes {WORKERS};\nworker_shutdown_timeout 5s;\nworker_rlimit_nofile 8192;\npid {self.folder}/pid;\nerror_log {self.folder}/error.log info;\n"
                "events { worker_connections 4096; }\nhttp {\n  include /etc/nginx/mime.types;\n  default_type application/octet-stream;\n  gzip on;\n"
                f"  sendfile on;\n  access_log {self.folder}/access.log;\n{temporary}  include {self.site};\n}}\n"
            )
        self.write(text)
        self.check()
        self.child = Child("nginx", "-c", self.main, "-g", "daemon off;", "-e", f"{self.folder}/error.log")
        site.open.append(self.stop)

    def command(self, *arguments):
        return ["nginx", "-c", self.main, "-e", f"{self.folder}/error.log", *arguments]

    def write(self, text):
        with open(self.site, "w") as file:
            file.write(text)

    def check(self):
        run(*self.command("-t", "-q"))

    def reload(self):
        self.check()
        exited = lambda: len(re.findall(r"worker process \d+ exited", self.said()))
        before = exited()
        run(*self.command("-s", "reload"))
        # Old workers end the connections that are at rest, as they do on the box: whoever calls next comes to a new one.
        until("new workers of nginx", lambda: exited() >= before + WORKERS)

    def said(self):
        with open(f"{self.folder}/error.log") as file:
            return file.read()

    def stop(self):
        self.child.stop()
