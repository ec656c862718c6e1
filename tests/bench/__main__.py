"""Every benchmark, one after the other, each in a process of its own: `make bench`.

Ratios are measured within one run; a figure past its limit makes the exit code 1.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

NOT_BENCHMARKS = {"__init__", "__main__", "resolve_server", "resolve_walks"}


def main() -> int:
    """0 where every benchmark kept its limits."""
    names = sorted(
        path.stem for path in Path(__file__).parent.glob("*.py") if path.stem not in NOT_BENCHMARKS
    )
    codes = {}
    for name in names:
        print(f"\n== {name}", flush=True)
        codes[name] = subprocess.run([sys.executable, "-m", f"tests.bench.{name}"]).returncode
    past = [name for name, code in codes.items() if code]
    print(f"\npast a limit, or failed: {', '.join(past) or 'none'}")
    return 1 if past else 0


if __name__ == "__main__":
    sys.exit(main())
