"""dunet.service and dunet.socket, as far as they can be judged without a running systemd."""

import os
import re
import shutil
import subprocess
import tempfile
import tomllib

EXPOSURE_MAX = 1.5


def unit(report, root):
    with tempfile.TemporaryDirectory() as folder:
        # What they start is looked for: the program stands in this folder instead of /usr/bin.
        program = os.path.join(folder, "dunet")
        shutil.copy("/bin/true", program)
        for name in ("dunet.service", "dunet.socket"):
            with open(os.path.join(root, name)) as file:
                text = file.read()
            with open(os.path.join(folder, name), "w") as file:
                file.write(text.replace("/usr/bin/dunet", program))
        files = [os.path.join(folder, name) for name in ("dunet.service", "dunet.socket")]
        done = subprocess.run(["systemd-analyze", "verify", "--man=no", *files], capture_output=True, text=True)
        report.check("systemd-analyze verify is content", done.returncode == 0 and not done.stdout + done.stderr, done.stdout + done.stderr)
    done = subprocess.run(["systemd-analyze", "security", "--offline=true", "--no-pager", os.path.join(root, "dunet.service")], capture_output=True, text=True)
    found = re.search(r"Overall exposure level for dunet.service: ([0-9.]+)", done.stdout)
    level = float(found[1]) if found else 10.0
    report.check(f"systemd-analyze security: {level}, at most {EXPOSURE_MAX}", level <= EXPOSURE_MAX, done.stdout + done.stderr)

    with open(os.path.join(root, "dunet.service")) as file:
        denied = " ".join(re.findall(r"^IPAddressDeny=(.*)$", file.read(), re.MULTILINE)).split()
    with open(os.path.join(root, "src/odoo/address.rs")) as file:
        guard = file.read()
    four = [f"{a}.{b}.{c}.{d}/{n}" for a, b, c, d, n in re.findall(r"^    v4\((\d+), (\d+), (\d+), (\d+), (\d+)\)", guard, re.MULTILINE)]
    six = [f"{int(a, 16):x}:{int(b, 16):x}:{int(c, 16):x}::/{n}" for a, b, c, n in re.findall(r"^    v6\(0x(\w+), (?:0x)?(\w+), (?:0x)?(\w+), (\d+)\)", guard, re.MULTILINE)]
    six = [re.sub(r"(:0)+::", "::", net) for net in six]
    missing = [net for net in four + six if net not in denied and net != "127.0.0.0/8"]
    report.check("IPAddressDeny= has every network that the address guard refuses", len(four) >= 16 and len(six) >= 5 and not missing, missing)

    with open(os.path.join(root, "Cargo.toml"), "rb") as file:
        package = tomllib.load(file)["package"]["metadata"]["deb"]
    missing = [source for source, _, _ in package["assets"] if not source.startswith("target/") and not os.path.isfile(os.path.join(root, source))]
    report.check("the package's files are there", len(package["assets"]) > 10 and not missing, missing)
    scripts = sorted(os.path.join(package["maintainer-scripts"], name) for name in os.listdir(os.path.join(root, package["maintainer-scripts"])))
    faults = [name for name in scripts if subprocess.run(["sh", "-n", os.path.join(root, name)], capture_output=True).returncode != 0]
    report.check("and its scripts are scripts", len(scripts) == 3 and not faults, faults)
    with tempfile.TemporaryDirectory() as folder:
        os.mkdir(os.path.join(folder, "etc"))
        users = subprocess.run(["systemd-sysusers", f"--root={folder}", os.path.join(root, "scripts/deploy/dunet.sysusers")], capture_output=True, text=True)
        folders = subprocess.run(["systemd-tmpfiles", f"--root={folder}", "--create", os.path.join(root, "scripts/deploy/dunet.tmpfiles")], capture_output=True, text=True)
        made = [name for name in ("etc/dunet", "var/lib/dunet", "var/backups/dunet", "var/www/dunet-acme") if os.path.isdir(os.path.join(folder, name))]
        report.check("user and folders can be made", users.returncode == 0 and len(made) == 4, (users.stderr, folders.stderr, made))
