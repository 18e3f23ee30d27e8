"""What the figures were measured on: processor, memory, versions. No names of hosts or paths."""

from __future__ import annotations

import platform
import re
import subprocess
from pathlib import Path

SIMD = ("avx2", "fma", "avx512f", "avx512_bf16", "amx_bf16", "asimd", "sve")
CACHES = {"L1d cache": "L1d", "L2 cache": "L2", "L3 cache": "L3"}


def describe() -> dict[str, str]:
    """The machine, as far as the system tells."""
    lscpu = parse_lscpu(output_of("lscpu"))
    flags = set(lscpu.get("Flags", "").split())
    caches = [f"{short} {lscpu[name]}" for name, short in CACHES.items() if name in lscpu]
    return {
        "cpu": lscpu.get("Model name", platform.machine()),
        "vendor": lscpu.get("Vendor ID", ""),
        "family_and_model": f"{lscpu.get('CPU family', '?')}/{lscpu.get('Model', '?')}",
        "cpus": lscpu.get("CPU(s)", ""),
        "caches": ", ".join(caches),
        "simd": " ".join(flag for flag in SIMD if flag in flags),
        "memory": f"{memory_kb('MemTotal') / 1e6:.0f} GB",
        "rustc": output_of("rustc", "--version").split(" (")[0],
        "python": platform.python_version(),
    }


def parse_lscpu(text: str) -> dict[str, str]:
    """`Name:  value` lines; nothing for other lines."""
    found = re.findall(r"^([^:\n]+):[ \t]+(.+)$", text, re.MULTILINE)
    return {name.strip(): value.strip() for name, value in found}


def memory_kb(field: str, text: str | None = None) -> int:
    """A field of /proc/meminfo in kB; 0 where the system has none."""
    if text is None:
        path = Path("/proc/meminfo")
        text = path.read_text() if path.exists() else ""
    found = re.search(rf"^{field}:\s+(\d+) kB", text, re.MULTILINE)
    return int(found[1]) if found else 0


def output_of(*command: str) -> str:
    """What the command prints; nothing where it is missing or fails."""
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ""
