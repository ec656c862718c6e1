"""Real name servers for the tests: nsd holds the zones, unbound validates and answers in front.

Both run in one host of a lab, on its loopback: unbound on port 53, nsd on NSD_PORT. The zone
`signed.example` is signed and its key is unbound's only trust anchor; `bogus.example` is signed
too, but what is served differs from what was signed; `plain.example` is not signed.
"""

from __future__ import annotations

import contextlib
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from lab import Host

from mxguard.model.configuration import Endpoint

NSD_PORT = 5300
UNBOUND = Endpoint("127.0.0.1", 53)
NSD = Endpoint("127.0.0.1", NSD_PORT)

RECORDS = """
@       SOA ns hostmaster 1 3600 600 86400 60
@       NS  ns
ns      A   192.0.2.53
@       MX  10 mx1
@       MX  20 alias
mx1     A   192.0.2.1
mx1     AAAA 2001:db8::1
alias   CNAME mx2
mx2     300 A 192.0.2.2
@       TXT "v=spf1 mx -ip4:198.51.100.7 ip4:198.51.100" ".0/29 include:_spf ~all"
"""


def zone_text(name: str, networks: int = 60) -> str:
    """The zone `name`; `_spf` holds so many networks that its record needs TCP."""
    terms = " ".join(f"ip4:203.{n}.113.0/24" for n in range(networks))
    strings = f"v=spf1 {terms} -all"
    quoted = " ".join(f'"{strings[at : at + 255]}"' for at in range(0, len(strings), 255))
    body = RECORDS.replace("include:_spf", f"include:_spf.{name}")
    return f"$ORIGIN {name}.\n$TTL 3600\n{body}_spf TXT {quoted}\n"


@contextlib.contextmanager
def name_servers(host: Host, folder: Path) -> Iterator[None]:
    """Run nsd and unbound in `host`, with their files in `folder`."""
    anchor = _write_zones(folder)
    (folder / "nsd.conf").write_text(_nsd_conf(folder))
    (folder / "unbound.conf").write_text(_unbound_conf(folder, anchor))
    with contextlib.ExitStack() as running:
        for program, port in (("nsd", NSD_PORT), ("unbound", UNBOUND.port)):
            log = running.enter_context((folder / f"{program}.log").open("wb"))
            process = host.popen(
                program, "-d", "-c", str(folder / f"{program}.conf"), stdout=log, stderr=log
            )
            running.callback(_end, process)
            _await_answer(host, port, folder / f"{program}.log")
        yield


def _write_zones(folder: Path) -> Path:
    """Write and sign the zones; the file with the trust anchors."""
    anchors = []
    for name in ("signed.example", "bogus.example", "plain.example"):
        file = folder / name
        file.write_text(zone_text(name))
        if name == "plain.example":
            continue
        key = _ldns(folder, "ldns-keygen", "-a", "ECDSAP256SHA256", "-k", name).strip()
        _ldns(folder, "ldns-signzone", "-f", f"{name}.signed", name, key)
        anchors.append((folder / f"{key}.key").read_text())
        signed = (folder / f"{name}.signed").read_text()
        if name == "bogus.example":
            signed = signed.replace("192.0.2.1\n", "203.0.113.66\n")
        file.write_text(signed)
    anchor = folder / "anchors"
    anchor.write_text("".join(anchors))
    return anchor


def _ldns(folder: Path, *argv: str) -> str:
    done = subprocess.run(argv, cwd=folder, check=True, capture_output=True, text=True, timeout=30)
    return done.stdout


def _nsd_conf(folder: Path) -> str:
    zones = "".join(
        f'zone:\n  name: "{name}"\n  zonefile: "{folder / name}"\n'
        for name in ("signed.example", "bogus.example", "plain.example")
    )
    return f"""
server:
  ip-address: 127.0.0.1
  port: {NSD_PORT}
  username: ""
  chroot: ""
  database: ""
  zonesdir: "{folder}"
  pidfile: "{folder}/nsd.pid"
  xfrdfile: "{folder}/xfrd.state"
  zonelistfile: "{folder}/zone.list"
  xfrdir: "{folder}"
remote-control:
  control-enable: no
{zones}"""


def _unbound_conf(folder: Path, anchor: Path) -> str:
    stubs = "".join(
        f'stub-zone:\n  name: "{name}"\n  stub-addr: 127.0.0.1@{NSD_PORT}\n'
        for name in ("signed.example", "bogus.example", "plain.example")
    )
    return f"""
server:
  interface: 127.0.0.1
  username: ""
  chroot: ""
  directory: "{folder}"
  pidfile: "{folder}/unbound.pid"
  use-syslog: no
  do-daemonize: no
  do-ip6: no
  do-not-query-localhost: no
  module-config: "validator iterator"
  trust-anchor-file: "{anchor}"
  ede: yes
remote-control:
  control-enable: no
{stubs}"""


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    process.wait(10)


def _await_answer(host: Host, port: int, log: Path) -> None:
    until = time.monotonic() + 15
    while time.monotonic() < until:
        answer = host.run(
            "dig", "+short", "+tries=1", "+time=1", "-p", str(port), "@127.0.0.1",
            "plain.example", "SOA", check=False,
        )  # fmt: skip
        if "hostmaster" in answer:
            return
        time.sleep(0.1)
    raise AssertionError(f"no answer on port {port}: {log.read_text()}")
