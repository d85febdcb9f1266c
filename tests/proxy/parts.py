"""What the checks are made of: processes that are ended by their own handle, a report, a browser, a caller."""

import http.client
import json
import os
import random
import re
import socket
import ssl
import subprocess
import sys
import threading
import time
import urllib.parse

READY_S = 60
WAIT_S = 20


def free_port():
    """A free port on loopback, below the range from which the system takes the ports of outgoing connections."""
    for port in random.sample(range(20000, 32768), 100):
        with socket.socket() as s:
            try:
                s.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise SystemExit("no free port")


def until(what, look, seconds=WAIT_S):
    """Looks until there is something; says what was missed."""
    end = time.monotonic() + seconds
    while True:
        found = look()
        if found:
            return found
        assert time.monotonic() < end, f"never: {what}"
        time.sleep(0.02)


class Report:
    def __init__(self):
        self.passed = self.failed = 0

    def check(self, name, ok, what=""):
        if ok:
            self.passed += 1
            print(f"ok    {name}", flush=True)
        else:
            self.failed += 1
            print(f"FAIL  {name}: {str(what)[:700]}", flush=True)

    def part(self, name, run):
        """A part that breaks down counts as one failure."""
        try:
            run()
        except Exception as error:  # whatever it is, the other parts go on
            trace = error.__traceback__
            while trace.tb_next and trace.tb_next.tb_frame.f_code.co_filename.startswith(os.path.dirname(__file__)):
                trace = trace.tb_next
            self.check(name, False, f"{type(error).__name__} in line {trace.tb_lineno} of {os.path.basename(trace.tb_frame.f_code.co_filename)}: {error}")

    def lines(self, text):
        """The lines of a script that prints ok and FAIL itself."""
        for line in text.splitlines():
            print(line, flush=True)
            self.passed += line.startswith("ok")
            self.failed += line.startswith("FAIL")


class Child:
    """A process of ours and what it said."""

    def __init__(self, *command, env=None, cwd=None, fds=()):
        self.said = ""
        environment = {"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8", "HOME": cwd or "/", **(env or {})}
        self.process = subprocess.Popen(command, env=environment, cwd=cwd, pass_fds=fds, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def _read(self):
        for line in self.process.stdout:
            self.said += line

    def says(self, pattern, seconds=READY_S):
        def look():
            found = re.search(pattern, self.said, re.MULTILINE)
            assert found or self.process.poll() is None, f"ended: {self.said[-800:]}"
            return found
        return until(f"{pattern} in {self.process.args[:3]}", look, seconds)

    def stop(self, seconds=90):
        """As systemd would; gives how long it took."""
        began = time.monotonic()
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(seconds)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
                raise AssertionError(f"did not end in {seconds} s: {self.said[-600:]}") from None
        self.reader.join(5)
        return time.monotonic() - began


def run(*command, env=None, cwd=None, stdin=None):
    """A command that must succeed; its output."""
    environment = {"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8", "HOME": cwd or "/", **(env or {})}
    done = subprocess.run(command, env=environment, cwd=cwd, input=stdin, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, f"{command[:4]}: exit {done.returncode}: {done.stdout[-400:]} {done.stderr[-600:]}"
    return done.stdout


class Curl:
    """curl, which knows that name and that certificate authority."""

    def __init__(self, name, https, http, authority):
        self.base = ["curl", "-sS", "--noproxy", "*", "--max-time", "30", "--cacert", authority]
        for port in (https, http):
            self.base += ["--resolve", f"{name}:{port}:127.0.0.1"]

    def __call__(self, url, *options, body=None):
        """Status, headers as a list of pairs (small letters), body; status 0 when there was no answer."""
        done = subprocess.run([*self.base, "-i", "-w", "\n%{http_version} %{http_code}", *options, url], input=body, capture_output=True, timeout=60)
        text = done.stdout.decode("utf-8", "replace")
        text, _, tail = text.rpartition("\n")
        version, status = tail.split()
        head, _, rest = text.replace("\r\n", "\n").partition("\n\n")
        while head.startswith("HTTP/1.1 100"):
            head, _, rest = rest.partition("\n\n")
        pairs = [(k.lower(), v.strip()) for k, _, v in (line.partition(":") for line in head.splitlines()[1:])]
        return Answer(int(status), pairs, rest, version)


class Answer:
    def __init__(self, status, pairs, text, version="1.1"):
        self.status, self.pairs, self.text, self.version = status, pairs, text, version

    def all(self, name):
        return [value for key, value in self.pairs if key == name]

    def get(self, name):
        return ", ".join(self.all(name))

    def json(self):
        try:
            return json.loads(self.text)
        except ValueError:
            return {}

    def __repr__(self):
        return f"{self.status} {self.pairs} {self.text[:200]!r}"


class Browser:
    """Keeps cookies, fills in the hidden field, follows no redirect. Connects to that port whatever the name's port is."""

    def __init__(self, name, port, context):
        self.name, self.port, self.context, self.cookies = name, port, context, {}

    def connect(self):
        return http.client.HTTPSConnection(self.name, self.port, context=self.context, timeout=WAIT_S)

    def headers(self):
        return {"Cookie": "; ".join(f"{k}={v}" for k, v in self.cookies.items()), "Accept": "text/html"}

    def send(self, method, path, body=None, headers=None):
        connection = self.connect()
        connection.request(method, path, body, {**self.headers(), **(headers or {})})
        response = connection.getresponse()
        pairs = [(k.lower(), v) for k, v in response.getheaders()]
        answer = Answer(response.status, pairs, response.read().decode("utf-8", "replace"))
        connection.close()
        for cookie in answer.all("set-cookie"):
            key, _, value = cookie.split(";")[0].partition("=")
            self.cookies[key] = value
        return answer

    def get(self, path, **headers):
        return self.send("GET", path, headers=headers)

    def post(self, on, path, fields):
        page = self.get(on)
        csrf = re.search(r'name="csrf" value="([^"]+)"', page.text)
        assert csrf, f"no form on {on}: {page}"
        body = urllib.parse.urlencode({"csrf": csrf[1], **fields})
        origin = f"https://{self.name}"
        return self.send("POST", path, body, {"Content-Type": "application/x-www-form-urlencoded", "Origin": origin, "Sec-Fetch-Site": "same-origin"})


CALL = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "consultar_rnc_dgii", "arguments": {"rnc": "131793916"}}})


class Caller:
    """An agent that keeps its connection."""

    def __init__(self, name, port, context, token):
        self.connection = http.client.HTTPSConnection(name, port, context=context, timeout=60)
        self.headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json", "Accept": "application/json, text/event-stream", "MCP-Protocol-Version": "2025-11-25"}

    def call(self):
        """What went wrong, if anything."""
        self.connection.request("POST", "/mcp", CALL, self.headers)
        response = self.connection.getresponse()
        text = response.read().decode()
        if response.status != 200 or "INDEXA" not in text:
            return f"{response.status} {text[:200]}"
        self.answered_as(response.getheader("x-request-id"))
        return None

    def answered_as(self, request_id):
        """For who wants to know which calls were answered."""


class Load:
    """So many agents, all together so many calls a second, until `stop`. Counts calls and faults and remembers the longest."""

    def __init__(self, agents, per_second):
        self.agents, self.every = agents, len(agents) / per_second
        self.calls, self.faults, self.longest, self.took, self.begun = 0, [], 0.0, [], time.monotonic()
        self.lock, self.stopping = threading.Lock(), threading.Event()
        self.threads = [threading.Thread(target=self._run, args=(agent, i), daemon=True) for i, agent in enumerate(agents)]
        for thread in self.threads:
            thread.start()

    def _run(self, agent, number):
        due = time.monotonic() + self.every * number / len(self.agents)
        while not self.stopping.is_set():
            pause = due - time.monotonic()
            if pause > 0:
                time.sleep(pause)
            due = max(due + self.every, time.monotonic() - 1)
            began = time.monotonic()
            try:
                fault = agent.call()
            except Exception as error:  # a cut connection is a lost call
                fault = f"{type(error).__name__}: {error}"
                agent.connection.close()
            took = time.monotonic() - began
            with self.lock:
                self.calls += 1
                self.longest = max(self.longest, took)
                self.took.append(took)
                if fault:
                    self.faults.append(fault)

    def stop(self):
        self.stopping.set()
        for thread in self.threads:
            thread.join()
        return self.calls / (time.monotonic() - self.begun)


def trusting(authority):
    context = ssl.create_default_context(cafile=authority)
    return context


def fail(text):
    print(text, file=sys.stderr)
    raise SystemExit(1)
