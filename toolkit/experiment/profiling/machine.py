"""The machine that a command runs on: processor, memory, limits, load, graphics; and the pressure on it."""

from __future__ import annotations

import os

from toolkit.core.limits import control_groups, limit_of_group, read_text

TYPE_CHECKING = False  # typing's, which takes a tenth of the whole start to load
if TYPE_CHECKING:
    from typing import Any


def machine() -> dict[str, Any]:
    """What is known of this machine; what the system does not tell is None."""
    system = os.uname()
    return {
        "host": system.nodename,
        "system": _system_name() or system.sysname,
        "kernel": system.release,
        "architecture": system.machine,
        "cpu": _processor(),
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "cgroup": _cgroup_limits(),
        "load_average": list(os.getloadavg()),
        "graphics": _graphics(),
    }


def pressure() -> dict[str, dict[str, int]] | None:
    """Time in ns that tasks have waited for each resource until now (PSI); None where the kernel does not count it.

    ``some`` is the time in which at least one task waited, ``full`` that in which all did. It is counted for the whole machine, or for
    the control group where cgroup v2 is in use.
    """
    place = next(iter(control_groups("")), None)
    grouped = place is not None and os.path.exists(f"{place}/cpu.pressure")
    found = {}
    for name in ("cpu", "memory", "io"):
        text = read_text(f"{place}/{name}.pressure" if grouped else f"/proc/pressure/{name}")
        kinds = {row.split()[0]: int(row.rsplit("total=", 1)[1]) * 1000 for row in text.splitlines() if "total=" in row}
        if kinds:
            found[name] = {f"{kind}_ns": total for kind, total in kinds.items()}
    return found or None


def pressure_between(before: dict[str, Any] | None, after: dict[str, Any] | None) -> dict[str, Any] | None:
    """What was waited between two moments."""
    if before is None or after is None:
        return None
    both = before.keys() & after.keys()
    return {name: {kind: total - before[name].get(kind, 0) for kind, total in after[name].items()} for name in sorted(both)}


def _processor() -> dict[str, Any]:
    text = read_text("/proc/cpuinfo")
    first = dict(_pair(row) for row in text.split("\n\n")[0].splitlines() if ":" in row)
    blocks = [block for block in text.split("\n\n") if "processor" in block]
    cores = {(_value(block, "physical id"), _value(block, "core id")) for block in blocks if "core id" in block}
    model = next((first[name] for name in ("model name", "Model", "cpu model", "Hardware", "cpu", "uarch") if name in first), "")
    threads = os.cpu_count() or 1
    flags = first.get("flags") or first.get("Features") or ""
    return {"model": model or os.uname().machine, "flags": flags.split(), "cores": len(cores) or threads, "threads": threads}


def _cgroup_limits() -> dict[str, Any]:
    """The strictest limits of memory and processors on the way from this process' control group to the root; v1 and v2."""
    memory = [limit_of_group(read_text(f"{place}/memory.max")) for place in control_groups("")]
    memory += [limit_of_group(read_text(f"{place}/memory.limit_in_bytes")) for place in control_groups("memory")]
    known = [limit for limit in memory if limit is not None]
    shares = [_share(*(read_text(f"{place}/cpu.max").split() or ["max"])[:2]) for place in control_groups("")]
    for place in control_groups("cpu"):
        shares.append(_share(read_text(f"{place}/cpu.cfs_quota_us"), read_text(f"{place}/cpu.cfs_period_us")))
    limits = [share for share in shares if share is not None]
    allowed = len(os.sched_getaffinity(0))
    return {"memory_max_bytes": min(known, default=None), "cpu_limit": min(limits, default=None), "cpus_allowed": allowed}


def _share(quota: str, period: str = "100000") -> float | None:
    used, whole = limit_of_group(quota), limit_of_group(period)
    return used / whole if used is not None and whole and used > 0 else None


def _graphics() -> str | None:
    """The graphics processors that this machine has a driver for."""
    names = []
    drivers = "/proc/driver/nvidia/gpus"
    for card in sorted(os.listdir(drivers)) if os.path.isdir(drivers) else []:
        names.append(_value(read_text(f"{drivers}/{card}/information"), "Model") or "NVIDIA")
    version = _value(read_text("/proc/driver/nvidia/version").replace("NVRM version", "NVRM version "), "NVRM version")
    nodes = "/sys/class/drm"
    for node in sorted(os.listdir(nodes)) if not names and os.path.isdir(nodes) else []:
        if node.startswith("renderD"):
            event = dict(row.split("=", 1) for row in read_text(f"{nodes}/{node}/device/uevent").splitlines() if "=" in row)
            names.append(f"{event.get('DRIVER', 'unknown driver')} {event.get('PCI_ID', '')}".strip())
    return ", ".join(names + ([" ".join(version.split())] if version else [])) or None


def _system_name() -> str:
    text = read_text("/etc/os-release")
    return next((row.split("=", 1)[1].strip("\"'") for row in text.splitlines() if row.startswith("PRETTY_NAME=")), "")


def _pair(row: str) -> tuple[str, str]:
    name, _, value = row.partition(":")
    return name.strip(), value.strip()


def _value(text: str, name: str) -> str:
    """What follows ``name :`` on a line of its own."""
    return next((value for key, value in map(_pair, text.splitlines()) if key == name), "")
