"""What this process may still take: memory, and room for a file. What the system does not tell is no limit."""

from __future__ import annotations

import os
import stat

_UNLIMITED = 1 << 60  # cgroup v1 says "no limit" with a number near 2^63


def free_memory(reserved: int = 0) -> tuple[int, str] | None:
    """The bytes that this process can still have without swapping, and who leaves them; None where nothing tells.

    The least of what the machine has available, what control groups on the way to the root leave, and what the limit of address space
    leaves (ulimit -v). Of address space a process also takes what it never touches: threads' stacks, libraries; `reserved` is how many
    bytes it still will.
    """
    import resource

    found = []
    meminfo = kilobytes("/proc/meminfo", "MemAvailable")
    if meminfo is not None:
        found.append((meminfo, "this machine"))
    for place in control_groups(""):
        found += _left(place, "memory.max", "memory.current", "inactive_file")
    for place in control_groups("memory"):
        found += _left(place, "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
    soft, taken = resource.getrlimit(resource.RLIMIT_AS)[0], kilobytes("/proc/self/status", "VmSize")
    if soft != resource.RLIM_INFINITY and taken is not None:
        found.append((max(0, soft - taken - reserved), "ulimit -v"))
    return min(found, default=None)


def free_disk(path: str) -> tuple[int, str] | None:
    """The bytes that `toolkit.core.streams.atomic_output` can write to `path`, and who leaves them.

    ``-`` is standard output. None for what is no regular file, such as a pipe, and for a directory that tells nothing.
    """
    import resource

    try:
        if path == "-":
            place: int | str = 1
            if not stat.S_ISREG(os.fstat(1).st_mode):
                return None
        else:
            target = os.path.realpath(path)
            if os.path.exists(target) and not os.path.isfile(target):
                return None
            place = os.path.dirname(target)  # the new file is written beside an older one
        disk = os.statvfs(place)
    except OSError:
        return None
    largest = resource.getrlimit(resource.RLIMIT_FSIZE)[0]
    found = [(disk.f_bavail * disk.f_frsize, "the disk")]
    if largest != resource.RLIM_INFINITY:
        found.append((largest, "ulimit -f"))
    return min(found)


def control_groups(controller: str) -> list[str]:
    """This process' control group, of one controller of v1 or, of no name, of v2, and those above it: their directories."""
    place = _control_group(controller)
    found = []
    while place and os.path.exists(f"{place}/cgroup.procs"):
        found.append(place)
        place = os.path.dirname(place)
    return found


def limit_of_group(text: str) -> int | None:
    """What a file of a control group says; None for no limit."""
    text = text.strip()
    value = int(text) if text.lstrip("-").isdigit() else None
    return value if value is not None and value < _UNLIMITED else None


def read_text(path: str) -> str:
    """What a small file says; nothing where it does not exist or may not be read."""
    try:
        with open(path, encoding="utf-8", errors="replace") as stream:
            return stream.read()
    except OSError:
        return ""


def kilobytes(path: str, name: str) -> int | None:
    """The bytes that a file of /proc gives as ``name: NUMBER kB``."""
    for row in read_text(path).splitlines():
        words = row.split()
        if words[:1] == [f"{name}:"] and len(words) == 3:
            return int(words[1]) * 1024
    return None


def _left(place: str, limit: str, used: str, cache: str) -> list[tuple[int, str]]:
    """What a control group leaves: files that were read are forgotten when memory is wanted."""
    most, taken = limit_of_group(read_text(f"{place}/{limit}")), limit_of_group(read_text(f"{place}/{used}"))
    if most is None or taken is None:
        return []
    kept = dict(row.split()[:2] for row in read_text(f"{place}/memory.stat").splitlines()).get(cache, "0")
    return [(max(0, most - taken + int(kept)), f"control group {os.path.basename(place)}")]


def _control_group(controller: str) -> str | None:
    """The directory of this process' control group; None where there is none."""
    path = None
    for row in read_text("/proc/self/cgroup").splitlines():
        _, controllers, place = row.split(":", 2)
        if controller in controllers.split(","):
            path = place
    if path is None:
        return None
    for row in read_text("/proc/self/mountinfo").splitlines():
        words, _, kind = row.partition(" - ")
        root, mount = words.split()[3:5]
        kind_words = kind.split()
        right = kind_words[0] == "cgroup2" if not controller else kind_words[0] == "cgroup" and controller in kind_words[2].split(",")
        if right:
            inside = os.path.relpath(path, root) if path.startswith(root) else "."
            return os.path.normpath(os.path.join(mount, inside))
    return None
