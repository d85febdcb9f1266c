"""Two nodes behind nginx on one PostgreSQL with a replica, counting in one Redis, under load; and each of them killed in turn."""

import glob
import json
import os
import pwd
import re
import signal
import socket
import socketserver
import subprocess
import threading
import time
import urllib.error
import urllib.parse
import urllib.request

from box import NAME, Box
from parts import Caller, Child, Curl, Load, free_port, run, until

AGENTS = 24
CALLS_PER_SECOND = 80
QUOTA = 100  # calls a month of the plan "gratis"
REVOKED_S_MAX = 5
BEHIND_S_MAX = 4
USER = "dunettest"  # scripts/lib.sh makes it: PostgreSQL refuses to run as root


class Cluster:
    """A PostgreSQL of its own, on a port; a second one follows it."""

    def __init__(self, folder, name, of=None):
        self.bin = os.path.dirname(sorted(glob.glob("/usr/lib/postgresql/*/bin/initdb"))[-1])
        self.folder, self.data, self.port = folder, os.path.join(folder, name), free_port()
        self.log = os.path.join(folder, f"{name}.log")
        if of:
            self.as_user(f"{self.bin}/pg_basebackup", "-D", self.data, "-R", "-X", "stream", "-c", "fast", "-h", "127.0.0.1", "-p", str(of.port), "-U", "dunet")
        else:
            self.as_user(f"{self.bin}/initdb", "-D", self.data, "-U", "dunet", "-A", "trust", "-E", "UTF8", "--locale=C.UTF-8", "--no-sync")
        with open(os.path.join(self.data, "postgresql.auto.conf"), "a") as file:
            file.write(
                f"\nlisten_addresses = '127.0.0.1'\nport = {self.port}\nunix_socket_directories = '{folder}'\nfsync = off\nmax_connections = 100\nwal_level = replica\n"
                "hot_standby = on\nshared_buffers = 64MB\njit = off\n"
            )
        self.start()
        self.url = f"postgres://dunet@127.0.0.1:{self.port}/dunet"

    def as_user(self, *command):
        options = {}
        if os.geteuid() == 0:
            entry = pwd.getpwnam(USER)
            options = {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}
        done = subprocess.run(command, env={"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8"}, cwd=self.folder, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=120, **options)
        assert done.returncode == 0, f"{command[:2]}: {done.stdout[-600:]}"

    def start(self):
        # Its children keep our descriptors: nothing of it may be a pipe.
        self.as_user("/bin/sh", "-c", f'"{self.bin}/pg_ctl" -D "{self.data}" -w -t 60 -l "{self.log}" start >/dev/null 2>&1')

    def stop(self, how="fast"):
        self.as_user(f"{self.bin}/pg_ctl", "-D", self.data, "-m", how, "-w", "-t", "60", "stop")

    def kill(self):
        with open(os.path.join(self.data, "postmaster.pid")) as file:
            os.kill(int(file.readline()), signal.SIGKILL)
        # Its children end when they notice; a new one refuses to begin before.
        time.sleep(1)

    def sql(self, text, database="dunet"):
        return run(f"{self.bin}/psql", "-h", "127.0.0.1", "-p", str(self.port), "-U", "dunet", "-d", database, "-v", "ON_ERROR_STOP=1", "-XAtqc", text).strip()


class Redis:
    def __init__(self, folder):
        self.folder, self.port = folder, free_port()
        self.start()

    def start(self):
        self.child = Child("redis-server", "--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", cwd=self.folder)
        self.child.says("Ready to accept connections")

    def kill(self):
        self.child.process.kill()
        self.child.process.wait()


class Witness(Caller):
    """An agent that writes down which calls were answered."""

    def __init__(self, *arguments, answered, lock):
        super().__init__(*arguments)
        self.answered, self.lock = answered, lock

    def answered_as(self, request_id):
        with self.lock:
            self.answered.append(request_id)


class Doorman(socketserver.ThreadingTCPServer):
    """In front of an Odoo: lets through, or hangs up."""

    daemon_threads, allow_reuse_address = True, True

    def __init__(self, url):
        self.open, self.to, self.under_way = True, urllib.parse.urlparse(url), []
        super().__init__(("127.0.0.1", 0), Through)
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def close_door(self):
        self.open = False
        for connection in self.under_way:
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass  # it ended by itself


class Through(socketserver.BaseRequestHandler):
    def handle(self):
        if not self.server.open:
            return
        self.server.under_way.append(self.request)
        with socket.create_connection((self.server.to.hostname, self.server.to.port)) as odoo:
            def pump(source, sink):
                try:
                    while data := source.recv(65536):
                        sink.sendall(data)
                except OSError:
                    pass
                try:
                    sink.shutdown(socket.SHUT_WR)
                except OSError:
                    pass
            back = threading.Thread(target=pump, args=(odoo, self.request), daemon=True)
            back.start()
            pump(self.request, odoo)
            back.join()


def ask(port, token, name="consultar_rnc_dgii", arguments=None):
    """A call at one node, past nginx: status and the tool's answer."""
    body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": name, "arguments": arguments or {"rnc": "131793916"}}})
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json", "Accept": "application/json, text/event-stream", "MCP-Protocol-Version": "2025-11-25", "Host": NAME}
    request = urllib.request.Request(f"http://127.0.0.1:{port}/mcp", body.encode(), headers)
    try:
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=60) as answer:
            return answer.status, json.load(answer).get("result", {})
    except urllib.error.HTTPError as error:
        return error.code, {}


def metric(port, name):
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
        found = re.findall(rf"^{name}(?:{{[^}}]*}})? (\S+)$", answer.read().decode(), re.MULTILINE)
    return sum(map(float, found)) if found else None


class Nodes:
    """What the parts of the test share."""

    def __init__(self, root, binary, folder):
        os.mkdir(folder)
        os.chmod(folder, 0o777)
        self.primary = Cluster(folder, "primary")
        self.primary.sql("create database dunet", "postgres")
        self.replica = Cluster(folder, "replica", of=self.primary)
        self.redis = Redis(folder)
        self.more = {
            "DATABASE_URL": self.primary.url, "DATABASE_READ_URL": self.replica.url, "REDIS_URL": f"redis://127.0.0.1:{self.redis.port}",
            "DUNET_REPLICA_BEHIND_S_MAX": str(BEHIND_S_MAX),
        }
        self.box = Box(root, binary, os.path.join(folder, "box"), self.more)
        self.ports = [free_port(), free_port()]
        self.box.dunet("tool", "limit", "--tenant", self.box.tenant, "consultar_rnc_dgii", "--per-hour", "1000000")
        self.children = [self.serve(0), self.serve(1)]
        self.nginx = self.box.nginx(self.box.site(*self.ports))
        self.answered, self.lock = [], threading.Lock()

    def serve(self, which):
        data = self.box.data if which == 0 else os.path.join(self.box.folder, "second")
        return self.box.serve({"DUNET_DATA_DIR": data}, port=self.ports[which])

    def witnesses(self):
        return [Witness(NAME, self.box.https, self.box.context, self.box.token, answered=self.answered, lock=self.lock) for _ in range(AGENTS)]

    def end(self):
        for stop in reversed(self.box.open):
            stop()
        self.redis.kill()
        for each in (self.replica, self.primary):
            each.stop("immediate")


def cluster(report, root, binary, folder):
    nodes = Nodes(root, binary, folder)
    try:
        together(report, nodes)
        shares(report, nodes)
        breaker(report, nodes)
        revoked(report, nodes)
        quota(report, nodes)
        each_in_turn(report, nodes)
    finally:
        nodes.end()


def together(report, nodes):
    box, ports = nodes.box, nodes.ports
    until("both know of each other", lambda: [metric(port, "dunet_nodes") for port in ports] == [2, 2])
    report.check("two nodes know of each other, and one leads", sum(metric(port, "dunet_leads") for port in ports) == 1)
    until("the listing on both", lambda: [ask(port, box.token)[1].get("isError") for port in ports] == [False, False])
    report.check("the listing that one has answers on both", True)
    until("the replica", lambda: [metric(port, "dunet_replica_near") for port in ports] == [1, 1])
    report.check("both read their reports from the replica", True)
    report.check("both count in Redis", [metric(port, "dunet_redis_up") for port in ports] == [1, 1])
    curl = Curl(NAME, box.https, box.http, box.authority)
    until("nginx", lambda: curl(f"https://{NAME}:{box.https}/readyz").status == 200)


def shares(report, nodes):
    """The load goes to both."""
    before = [metric(port, "dunet_tool_calls_total") or 0 for port in nodes.ports]
    load = Load(nodes.witnesses(), CALLS_PER_SECOND)
    time.sleep(3)
    rate = load.stop()
    took = [(metric(port, "dunet_tool_calls_total") or 0) - early for port, early in zip(nodes.ports, before)]
    report.check(f"{rate:.0f} calls/s through nginx go to both ({took[0]:.0f} and {took[1]:.0f}), none is lost", not load.faults and min(took) > load.calls / 4, (load.faults[:3], took))


def breaker(report, nodes):
    """An Odoo that fails is left alone by the node that saw it fail, not by the other."""
    box = nodes.box
    doorman = Doorman(box.odoo["url"])
    odoo = ["--odoo-url", f"http://127.0.0.1:{doorman.server_address[1]}", "--odoo-db", box.odoo["database"], "--odoo-user", box.odoo["user"], "--odoo-secret-file", "-"]
    tenant = json.loads(box.dunet("--json", "tenant", "add", "--name", "Con Odoo lento", "--plan", "pro", *odoo, stdin=box.odoo["api_key"]))["id"]
    token = json.loads(box.dunet("--json", "token", "issue", "--tenant", tenant, "--name", "prueba"))["token"]
    search = lambda node: ask(nodes.ports[node], token, "buscar_cliente", {"consulta": "a"})[1]
    both = [search(node).get("isError") for node in (0, 1)]
    doorman.close_door()
    codes = []
    while "odoo_en_pausa" not in codes and len(codes) < 20:
        codes.append(search(0).get("structuredContent", {}).get("codigo"))
    doorman.open = True
    other, own = search(1), search(0)
    ok = both == [False, False] and codes[-1] == "odoo_en_pausa" and other.get("isError") is False
    report.check("one node leaves an Odoo alone that failed; the other still asks it", ok and own.get("structuredContent", {}).get("codigo") == "odoo_en_pausa", (both, codes, other, own))
    doorman.shutdown()


def revoked(report, nodes):
    """The command is a third process."""
    box = nodes.box
    issued = json.loads(box.dunet("--json", "token", "issue", "--tenant", box.other_tenant, "--name", "corto"))
    served = [ask(port, issued["token"])[0] for port in nodes.ports]
    box.dunet("token", "revoke", "--tenant", box.other_tenant, issued["id"])
    began = time.monotonic()
    until("both refuse", lambda: [ask(port, issued["token"])[0] for port in nodes.ports] == [401, 401], REVOKED_S_MAX)
    took = time.monotonic() - began
    report.check(f"a revoked token is refused by both within {took:.2f} s", served == [200, 200] and took <= REVOKED_S_MAX, (served, took))


def quota(report, nodes):
    """The month's last call is one call, whoever is asked for it, and though Redis goes away in the middle and comes back empty."""
    box = nodes.box
    tenant = json.loads(box.dunet("--json", "tenant", "add", "--name", "Con poco", "--plan", "gratis"))["id"]
    token = json.loads(box.dunet("--json", "token", "issue", "--tenant", tenant, "--name", "prueba"))["token"]
    took, lock = [0, 0], threading.Lock()

    def call(which, times):
        for _ in range(times):
            ok = ask(nodes.ports[which], token)[1].get("isError") is False
            with lock:
                took[which] += ok

    def both(times):
        threads = [threading.Thread(target=call, args=(which, times)) for which in (0, 1) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    both(6)
    first = sum(took)
    nodes.redis.kill()
    both(3)
    without = sum(took) - first
    time.sleep(5)  # the count begins with what the database has, and what each node took in the last moments is held against the limit once more
    nodes.redis.start()
    until("both count in Redis again", lambda: [ask(port, box.token)[0] for port in nodes.ports] and [metric(port, "dunet_redis_up") for port in nodes.ports] == [1, 1])
    both(12)
    counted = lambda: int(nodes.primary.sql(f"select count(*) from tool_usage where client_id = '{tenant}' and counted"))
    until("all calls in the table", lambda: counted() >= sum(took))
    report.check(f"a month of {QUOTA} calls over both nodes: {sum(took)} ({first}, {without} while Redis was away, {sum(took) - first - without} after)", sum(took) == QUOTA == counted() and (first, without) == (48, 24), (took, first, without, counted()))


def each_in_turn(report, nodes):
    box, ports = nodes.box, nodes.ports
    load = Load(nodes.witnesses(), CALLS_PER_SECOND)
    faults = lambda: len(load.faults)
    try:
        until("a load", lambda: load.calls > 100, 60)

        # A node. What was under way on it is lost to its caller, and no more; nothing that was answered is lost to the bill.
        before, began = faults(), time.monotonic()
        nodes.children[1].process.kill()
        nodes.children[1].process.wait()
        until("the other leads, alone", lambda: metric(ports[0], "dunet_nodes") == 1 and metric(ports[0], "dunet_leads") == 1, 30)
        alone = time.monotonic() - began
        nodes.children[1] = nodes.serve(1)
        until("both again", lambda: [metric(port, "dunet_nodes") for port in ports] == [2, 2])
        cut = faults() - before
        report.check(f"a node is killed: {cut} calls were cut, the other goes on and leads within {alone:.0f} s", cut <= AGENTS, (cut, load.faults[-3:]))

        # Redis: nobody notices.
        before = faults()
        nodes.redis.kill()
        until("both know that it is away", lambda: [metric(port, "dunet_redis_up") for port in ports] == [0, 0])
        time.sleep(2)
        nodes.redis.start()
        until("both know that it is back", lambda: [metric(port, "dunet_redis_up") for port in ports] == [1, 1])
        report.check("Redis is killed and comes back empty: no call fails", faults() == before, load.faults[before:before + 3])

        # The database, away for some seconds: calls go on, their usage waits in the journals.
        before = faults()
        nodes.primary.kill()
        until("nobody leads", lambda: sum(metric(port, "dunet_leads") for port in ports) == 0, 30)
        nodes.primary.start()
        until("the leader is found again", lambda: sum(metric(port, "dunet_leads") for port in ports) == 1, 30)
        report.check("the database is killed and started again: no call fails", faults() == before, load.faults[before:before + 3])

        # The replica falls behind, ends, and comes back.
        before = faults()
        until("the replica is near again", lambda: [metric(port, "dunet_replica_near") for port in ports] == [1, 1], 30)
        nodes.replica.sql("select pg_wal_replay_pause()")
        until("nobody asks a replica that is behind", lambda: [metric(port, "dunet_replica_near") for port in ports] == [0, 0], 30)
        nodes.replica.sql("select pg_wal_replay_resume()")
        until("it is asked again", lambda: [metric(port, "dunet_replica_near") for port in ports] == [1, 1], 30)
        nodes.replica.stop("immediate")
        until("nobody asks one that is away", lambda: [metric(port, "dunet_replica_near") for port in ports] == [0, 0], 30)
        nodes.replica.start()
        until("and again", lambda: [metric(port, "dunet_replica_near") for port in ports] == [1, 1], 30)
        report.check("a replica that is behind or away is not asked, and is when it is near again", faults() == before, load.faults[before:before + 3])
    finally:
        rate = load.stop()
    for child in nodes.children:
        child.stop()
    # What was answered, by the request's own number, and what the table has.
    answered = set(nodes.answered)
    rows = nodes.primary.sql(f"select request_id, count(*) from tool_usage where client_id = '{box.tenant}' group by request_id").splitlines()
    stored = {line.rpartition("|")[0]: int(line.rpartition("|")[2]) for line in rows}
    lost, doubled = answered - stored.keys(), [name for name, count in stored.items() if count > 1]
    report.check(f"of {len(answered)} calls that were answered ({rate:.0f} a second) none is lost and none doubled", len(answered) > 500 and not lost and not doubled, (len(lost), len(doubled)))
    report.check("and the sums are those of the table", nodes.primary.sql(
        "select (select sum(calls) from usage_months) = (select count(*) from tool_usage where counted or not counted)") == "t", nodes.primary.sql("select sum(calls) from usage_months union all select count(*) from tool_usage"))
