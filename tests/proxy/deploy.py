"""scripts/deploy/update under load: to another version without losing a call, and back from one that is not well."""

import http.server
import json
import os
import shutil
import subprocess
import threading
import time

from box import NAME
from parts import Caller, Load, free_port, until

AGENTS = 40
CALLS_PER_SECOND = 500


class Systemd(http.server.ThreadingHTTPServer):
    """`systemctl restart` of the box: ends the process, keeps the socket, starts what is installed."""

    daemon_threads = True

    def __init__(self, box):
        self.box = box
        super().__init__(("127.0.0.1", free_port()), Handler)
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def command(self, what):
        return f"curl -fsS --noproxy * --max-time 120 http://127.0.0.1:{self.server_address[1]}/{what}"


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        box, status = self.server.box, 200
        try:
            box.service.stop()
            if self.path == "/restart":
                box.service = box.serve()
        except AssertionError:
            status = 500
        self.send_response(status)
        self.end_headers()

    def log_message(self, *_):
        pass


def deploy(report, box):
    installed, backups = os.path.join(box.folder, "bin/dunet"), os.path.join(box.folder, "backups")
    os.makedirs(os.path.dirname(installed))
    os.makedirs(backups)
    shutil.copy(box.binary, installed)
    with open(os.path.join(box.folder, "dunet.env"), "w") as file:
        file.write("# settings\n" + "".join(f'{key}="{value}"\n' for key, value in box.env.items()))
    systemd = Systemd(box)
    environment = {
        "PATH": os.environ["PATH"], "DUNET_PROGRAM": installed, "DUNETCTL": os.path.join(box.folder, "ctl"), "DUNET_BACKUPS": backups, "DUNET_READY_S": "20",
        "DUNET_READY_URL": f"http://127.0.0.1:{box.node}/readyz", "DUNET_RESTART": systemd.command("restart"), "DUNET_STOP": systemd.command("stop"),
    }
    with open(environment["DUNETCTL"], "w") as file:
        # The commands' own wrapper, for the user and the folder of the test.
        file.write(f'#!/bin/sh\nDUNET_ENV={box.folder}/dunet.env DUNET_USER=$(id -un) exec {box.root}/scripts/deploy/dunetctl "$@"\n')
    os.chmod(environment["DUNETCTL"], 0o755)

    def update(program):
        done = subprocess.run([f"{box.root}/scripts/deploy/update", "--binary", program], env=environment, capture_output=True, text=True, timeout=200)
        return done.returncode, done.stdout + done.stderr

    count = lambda: sum(int(row["calls"]) for row in json.loads(box.dunet("--json", "usage", "--tenant", box.tenant))["tools"])
    box.dunet("tool", "limit", "--tenant", box.tenant, "consultar_rnc_dgii", "--per-hour", "1000000")
    box.service.stop()
    before = count()
    box.binary = installed
    box.service = box.serve()
    # "Another version": the same program and some bytes behind it.
    newer, bad, mute = (os.path.join(box.folder, name) for name in ("newer", "bad", "mute"))
    shutil.copy(installed, newer)
    with open(newer, "ab") as file:
        file.write(b"newer")
    with open(bad, "w") as file:
        file.write("#!/bin/sh\nexit 1\n")
    # It answers every command, but does not serve.
    with open(mute, "w") as file:
        file.write(f'#!/bin/sh\n[ "$1" != serve ] || exit 1\nexec {newer} "$@"\n')
    for name in (bad, mute):
        os.chmod(name, 0o755)
    size = os.path.getsize(installed)

    load = Load([Caller(NAME, box.https, box.context, box.token) for _ in range(AGENTS)], CALLS_PER_SECOND)
    try:
        until("a load", lambda: load.calls > 300, 60)
        code, said = update(newer)
        ok = code == 0 and os.path.getsize(installed) == size + 5 and "serves" in said
        report.check("update: the new version serves", ok, said)
        code, said = update(bad)
        report.check("update: what does not run is not installed", code == 1 and os.path.getsize(installed) == size + 5, said)
        code, said = update(mute)
        report.check("update: what does not come up is taken back", code == 3 and os.path.getsize(installed) == size + 5 and "serves again" in said, said)
        time.sleep(1)
    finally:
        rate = load.stop()
    report.check(f"update: none of {load.calls} calls is lost ({rate:.0f} a second; the longest waited {load.longest:.1f} s)", not load.faults, (len(load.faults), load.faults[:4]))
    report.check("update: there are backups, which only their owner can read", (files := os.listdir(backups)) and all(os.stat(os.path.join(backups, name)).st_mode & 0o77 == 0 for name in files), files)
    box.service.stop()
    counted = count() - before
    report.check("update: each call is counted once", counted == load.calls, (counted, load.calls))
    box.service = box.serve()
    systemd.shutdown()
