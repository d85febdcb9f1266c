"""What a second node costs and brings: the processor's time of each part for a call, by one node, by one that asks Redis, and by two. Of a release build:

    DUNET_BIN=target/release/dunet tests/proxy/run slope
"""

import glob
import os
import statistics
import time

from box import NAME
from cluster import Nodes, ask, metric
from parts import Caller, Load, until

AGENTS = 16
CALLS_PER_SECOND = 200
SECONDS = 20
TICKS = os.sysconf("SC_CLK_TCK")


def processor_s(pids):
    """Seconds of processor that these have had, with those of their children that ended."""
    used = 0
    for pid in pids:
        try:
            with open(f"/proc/{pid}/stat") as file:
                used += sum(map(int, file.read().rpartition(")")[2].split()[11:15]))
        except FileNotFoundError:
            pass  # it has ended: what it had is its parent's
    return used / TICKS


def postgres(cluster):
    """All processes of a server."""
    found = []
    for entry in glob.glob("/proc/[0-9]*"):
        try:
            if os.readlink(f"{entry}/cwd") == cluster.data:
                found.append(int(os.path.basename(entry)))
        except OSError:
            pass
    return found


def row(nodes, ports, children):
    """Milliseconds of processor for a call, by part, and how long a call took."""
    agents = [Caller(NAME, nodes.box.https, nodes.box.context, nodes.box.token) for _ in range(AGENTS)]
    for agent in agents:
        assert agent.call() is None
    parts = {"nodes": [child.process.pid for child in children], "PostgreSQL": postgres(nodes.primary), "Redis": [nodes.redis.child.process.pid]}
    before = {name: processor_s(pids) for name, pids in parts.items()}
    load = Load(agents, CALLS_PER_SECOND)
    time.sleep(SECONDS)
    rate = load.stop()
    time.sleep(1)  # the last batch
    cost = {name: (processor_s(parts[name] if name != "PostgreSQL" else postgres(nodes.primary)) - before[name]) * 1000 / load.calls for name in parts}
    took = statistics.quantiles(load.took, n=100)
    return load, f"{cost['nodes']:.3f} | {cost['PostgreSQL']:.3f} | {cost['Redis']:.3f} | {took[49] * 1000:.2f} | {took[98] * 1000:.2f} | {rate:.0f}"


def slope(report, root, binary, folder):
    nodes = Nodes(root, binary, folder)
    lines, good = [], True
    try:
        until("both", lambda: [metric(port, "dunet_nodes") for port in nodes.ports] == [2, 2])
        until("the listing on both", lambda: [ask(port, nodes.box.token)[1].get("isError") for port in nodes.ports] == [False, False])
        for child in nodes.children:
            child.stop()
        for name, count, redis in (("one node", 1, False), ("one node that asks Redis", 1, True), ("two nodes", 2, True)):
            children = [nodes.box.serve({"DUNET_DATA_DIR": nodes.box.data if which == 0 else os.path.join(nodes.box.folder, "second"), **({} if redis else {"REDIS_URL": ""})}, port=nodes.ports[which]) for which in range(count)]
            nodes.nginx.write(nodes.box.site(*nodes.ports[:count]))
            nodes.nginx.reload()
            until("all of them", lambda: metric(nodes.ports[0], "dunet_nodes") == count)
            load, line = row(nodes, nodes.ports[:count], children)
            good = good and not load.faults
            lines.append(f"| {name} | {line} |")
            for child in children:
                child.stop()
    finally:
        nodes.end()
    print("| | nodes, ms of processor a call | PostgreSQL | Redis | a call, p50 ms | p99 ms | calls/s |\n|---|---|---|---|---|---|---|\n" + "\n".join(lines), flush=True)
    report.check("each was measured without a fault", good)
