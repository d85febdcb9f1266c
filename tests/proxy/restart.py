"""Started anew under load: what systemd is told, how long it takes, and that no call is lost or counted twice."""

import json
import os
import re
import socket
import threading
import time

from box import NAME
from parts import Caller, Load, until

AGENTS = 24
CALLS_PER_SECOND = 200  # what a debug build, nginx and the callers manage on two busy cores; the deploy's own test says its own
RESTARTS = 3
WATCHDOG_S = 2
# An agent waits while one process ends and the next one begins.
PAUSE_S_MAX = 20


class Systemd:
    """The other end of NOTIFY_SOCKET."""

    def __init__(self, folder):
        self.path = os.path.join(folder, "notify")
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(self.path)
        self.heard = []
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self):
        while True:
            self.heard += self.socket.recv(4096).decode().splitlines()


def restart(report, box):
    systemd = Systemd(box.folder)
    environment = {"NOTIFY_SOCKET": systemd.path, "WATCHDOG_USEC": str(WATCHDOG_S * 1_000_000)}
    count = lambda: sum(int(row["calls"]) for row in json.loads(box.dunet("--json", "usage", "--tenant", box.tenant))["tools"])
    box.service.stop()
    box.service = box.serve(environment)
    report.check("systemd is told that it is ready", "READY=1" in systemd.heard, systemd.heard)
    until("two signs of life", lambda: systemd.heard.count("WATCHDOG=1") >= 3, 10)
    report.check("and that it is alive, in time", True)
    box.dunet("tool", "limit", "--tenant", box.tenant, "consultar_rnc_dgii", "--per-hour", "1000000")
    before = count()
    load = Load([Caller(NAME, box.https, box.context, box.token) for _ in range(AGENTS)], CALLS_PER_SECOND)
    took = []
    try:
        until("a load", lambda: load.calls > 200, 60)
        for _ in range(RESTARTS):
            time.sleep(1)
            took.append(box.service.stop())
            box.service = box.serve(environment)
        time.sleep(1)
    finally:
        rate = load.stop()
    report.check("systemd is told that it stops", systemd.heard.count("STOPPING=1") == RESTARTS, systemd.heard)
    lost = load.faults
    report.check(f"{RESTARTS} restarts under {rate:.0f} calls/s lose none of {load.calls} (ends in ≤ {max(took):.1f} s, the longest call {load.longest:.1f} s)", not lost and load.longest < PAUSE_S_MAX, (len(lost), lost[:5]))
    took = box.service.stop()
    report.check(f"it ends in time and says so ({took:.1f} s)", took < 10 and re.search(r" stopped$", box.service.said, re.MULTILINE), box.service.said[-600:])
    journal = [name for name in os.listdir(os.path.join(box.data, "journal")) if name.endswith(".jsonl")]
    report.check("and leaves no journal", not journal, journal)
    counted = count() - before
    report.check("each call is counted once", counted == load.calls, (counted, load.calls))
    box.service = box.serve()
