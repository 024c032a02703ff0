"""Checks the locked requirements for known vulnerabilities by pip-audit (`make audit`).

Asks OSV, which collects the advisories of PyPI, GitHub and others, about each version that the locks install on this
system with this Python. Installs nothing of it.
"""

import argparse
import json
import re
import subprocess
from typing import Any

from stages.support.errors import PipelineError, command

OSV = "https://api.osv.dev/v1/query"
PIP_AUDIT = "pip-audit --disable-pip --require-hashes --format=json --desc=off --aliases=off --progress-spinner=off"


def ask(url: str, locks: list[str]) -> list[dict[str, Any]]:
    """Asks the service about all that these files lock; returns what pip-audit prints of each package."""
    asked = [*PIP_AUDIT.split(), "--vulnerability-service=osv", f"--osv-url={url}", *(f"-r{lock}" for lock in locks)]
    try:
        done = subprocess.run(asked, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        raise PipelineError("pip-audit is not installed; run: make audit") from None
    if done.stdout:
        return json.loads(done.stdout)["dependencies"]
    failed = re.findall(r"^requests\.exceptions\.\w+: (.+)|(Could not connect .+)", done.stderr, re.MULTILINE)
    if not failed:
        last = (done.stderr.splitlines() or [f"exit status {done.returncode}"])[-1]
        raise PipelineError(f"pip-audit: {last.removeprefix('ERROR:pip_audit._cli:')}; nothing was checked")
    text = "".join(failed[-1])
    reason = (re.findall(r"\[Errno -?\d+\] ([\w ]+)", text) or [text.partition(" for url: ")[0]])[0]
    told = f"no advisory source can be reached ({reason}), so nothing was checked; try again online"
    raise PipelineError(f"{url}: {told}")


@command
def main() -> None:
    """Checks the locked requirements for known vulnerabilities."""
    parser = argparse.ArgumentParser(prog="make audit", description=main.__doc__)
    parser.add_argument("--osv-url", metavar="URL", default=OSV, help="a service with the interface of %(default)s")
    parser.add_argument("lock", nargs="+", help="a requirements.txt with hashes")
    arguments = parser.parse_args()
    packages = ask(arguments.osv_url, arguments.lock)
    rows = [("name", "version", "vulnerability", "fixed in")]
    for each in packages:
        found = each.get("vulns", [])
        rows += [(each["name"], each["version"], one["id"], ", ".join(one["fix_versions"]) or "–") for one in found]
    if len(rows) > 1:
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        for row in rows:
            print("  ".join(map(str.ljust, row, widths)).rstrip())
        told = f"known vulnerabilities in {len({row[0] for row in rows[1:]})} of {len(packages)} locked packages"
        raise PipelineError(f"{told}; where there is a fixed version, edit the pin or run: make lock UPGRADE=NAME")
    if skipped := [f"{each['name']} ({each['skip_reason']})" for each in packages if "skip_reason" in each]:
        raise PipelineError(f"not checked: {', '.join(skipped)}")
    print(f"no known vulnerability in {len(packages)} locked packages")


if __name__ == "__main__":
    main()
