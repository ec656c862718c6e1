"""The name server of the resolver's benchmark: a process of its own, quick, and counting.

    python -m tests.bench.resolve_server ZONE DELAY

ZONE is a JSON file: name -> list of "TYPE rdata". Prints its port, then, for each line on standard
input, how often it was asked since the last, as "questions distinct". Ends with its input.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from tests.nameserver import NameServer


def main() -> None:
    zone = json.loads(Path(sys.argv[1]).read_text())
    with NameServer(zone, delay=float(sys.argv[2]), keep=True) as server:
        print(server.endpoint.port, flush=True)
        for _ in sys.stdin:
            asked, server.asked = server.asked, []
            print(len(asked), len(set(asked)), flush=True)


if __name__ == "__main__":
    main()
