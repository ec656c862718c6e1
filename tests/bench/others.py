"""mxguard beside two programs that try a firewall's rules: `python -m tests.bench.others`.

The same host states, each real in namespaces; what really becomes of a connection from each of the
peer's IPv4 addresses is the truth. Counted for each program: addresses answered rightly, wrongly,
and not at all, and the time of its whole processes.

network-sandbox-engine loads the text of `nft list ruleset` into a namespace of its own, in which
the host is always 10.0.0.2 on veth-nse: routes, sysctls, ipsets, iptables-legacy, listeners and
the answers' way are none of its input. Its verdicts are counted as its own runner counts them.
firewall-test simulates from `nft -j list ruleset`, `ip -j addr`, `ip -j route` and `ip -j rule`;
it, too, is told of neither iptables-legacy nor sysctls. Both are installed from the index into
.cache/bench. Ends with 1 where mxguard is wrong or silent.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from attrs import define

_ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(_ROOT / "tests/real"))

from lab import Host, Lab  # noqa: E402
from states import STATES  # noqa: E402
from states.stage import Fate, Stage, State, set_up, truth  # noqa: E402

_CACHE = _ROOT / ".cache/bench"
_OTHERS = ("network-sandbox-engine", "firewall-test")
_NAMES = (
    "nothing at all",
    "one address dropped",
    "policy drop, some let in",
    "an anonymous set",
)
_STATES_OF_EACH_KIND = 4
_MAIL = "192.0.2.10"
_CONFIGURATION = """
[host]
addresses = ["{mail}"]
[resolver]
nameservers = ["127.0.0.1:9"]
timeout = 0.1
deadline = 0.2
[limits]
allow_private = true
[[peer]]
name = "peer"
networks = ["198.51.100.0/29"]
[targets.nftables]
path = "{folder}/mxguard.nft"
[targets.postfix]
enabled = false
[rehearsal]
connections = {connections}
[paths]
state = "{folder}/state"
"""
_SANDBOX = """
import asyncio, json, sys
from nse.cli.runner import reduce_verdicts
from nse.core.netns_controller import NetnsController
from nse.core.pipeline import run_test_pipeline
from nse.models.test_request import PacketSpec, TestRequest
asked = json.load(sys.stdin)
packets = [
    PacketSpec(protocol="tcp", src_ip=source, dst_ip="10.0.0.2", dst_port=25, tcp_flags=["S"])
    for source in asked["sources"]
]
request = TestRequest(rules=asked["rules"] or "table inet empty { }", packets=packets)
events = asyncio.run(run_test_pipeline(request=request, controller=NetnsController()))
if any(event.type == "error" for event in events):
    sys.exit("error")
found = reduce_verdicts(events)
if len(found) != len(packets):
    sys.exit(f"{len(found)} verdicts")
print(json.dumps([one == "ACCEPT" for one in found]))
"""

Answers = list[bool | None]
"""Whether each source gets through; None where a program does not say."""


@define
class Tally:
    right: int = 0
    wrong: int = 0
    failed: int = 0
    seconds: float = 0.0

    def count(self, answers: Answers, fates: Sequence[bool], seconds: float) -> None:
        for answer, fate in zip(answers, fates, strict=True):
            self.failed += answer is None
            self.right += answer is fate
            self.wrong += answer is not None and answer is not fate
        self.seconds += seconds


def chosen() -> list[State]:
    """A few states of each kind: nftables, routing, iptables, and other programs' own rules."""
    from states import nftables, programs, routing, xtables

    simple = [state for state in STATES if state.name in _NAMES]
    kinds = (nftables.STATES, routing.STATES, xtables.STATES, programs.STATES)
    spread = [
        kind[len(kind) * step // _STATES_OF_EACH_KIND]
        for kind in kinds
        for step in range(_STATES_OF_EACH_KIND)
    ]
    return [
        state
        for state in dict.fromkeys((*simple, *spread))
        if _MAIL in state.addresses and 25 in state.ports and not state.remembers
    ]


def programs_installed() -> Path:
    """The folder of the other programs' commands."""
    if not (_CACHE / "bin/ftf-cli").exists():
        subprocess.run([sys.executable, "-m", "venv", str(_CACHE)], check=True)
        pip = [str(_CACHE / "bin/pip"), "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*pip, "pyyaml", *_OTHERS], check=True, stderr=subprocess.DEVNULL)
    return _CACHE / "bin"


def run(host: Host, *argv: str, stdin: str = "") -> subprocess.CompletedProcess[str] | None:
    """A program run in a host; None where it is not done in time."""
    try:
        return subprocess.run(
            ["ip", "netns", "exec", host.namespace, *argv],
            input=stdin,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
    except subprocess.TimeoutExpired:
        return None


def of_mxguard(state: State, stage: Stage, sources: Sequence[str]) -> tuple[Answers, float]:
    """What `mxguard audit` says; the lock is made before the clock starts."""
    with tempfile.TemporaryDirectory() as name:
        config = Path(name) / "mxguard.toml"
        config.write_text(
            _CONFIGURATION.format(mail=_MAIL, folder=name, connections=state.connections)
        )
        program = str(Path(sys.executable).parent / "mxguard")
        run(stage.mail, program, "resolve", "--config", str(config))
        words = ("audit", "--offline", "--no-smtp", "--format", "json", "--config", str(config))
        started = time.perf_counter()
        done = run(stage.mail, program, *words)
        seconds = time.perf_counter() - started
    if done is None or not done.stdout:
        return [None] * len(sources), seconds
    verdicts: dict[str, str] = {}
    for item in json.loads(done.stdout)["reachability"]:
        for network in item["represents"]:
            first, length = network.split("/")
            number = int(first.rpartition(".")[2])
            for last in range(number, number + (1 << 32 - int(length))):
                verdicts[f"198.51.100.{last}"] = item["verdict"]
    said = [verdicts.get(source, "undecided") for source in sources]
    return [None if one == "undecided" else one == "delivered" for one in said], seconds


def of_sandbox(state: State, stage: Stage, sources: Sequence[str]) -> tuple[Answers, float]:
    """What network-sandbox-engine says, in a host of its own."""
    rules = stage.mail.run("nft", "list", "ruleset")
    asked = json.dumps({"rules": rules, "sources": list(sources)})
    with Lab() as lab:
        host = lab.host("nse")
        started = time.perf_counter()
        done = run(host, str(_CACHE / "bin/python"), "-c", _SANDBOX, stdin=asked)
        seconds = time.perf_counter() - started
    if done is None or done.returncode:
        return [None] * len(sources), seconds
    return json.loads(done.stdout.splitlines()[-1]), seconds


def of_simulator(state: State, stage: Stage, sources: Sequence[str]) -> tuple[Answers, float]:
    """What firewall-test says: a process for each source."""
    answers: Answers = []
    with tempfile.TemporaryDirectory() as name:
        files = []
        for option, command in (
            ("--file-ruleset", "nft -j list ruleset"),
            ("--file-interfaces", "ip -j -d addr"),
            ("--file-routes", "ip -j route show table all"),
            ("--file-route-rules", "ip -j rule"),
        ):
            path = Path(name) / option.removeprefix("--")
            path.write_text(stage.mail.run(*command.split()))
            files += [option, str(path)]
        words = ["--firewall-system", "linux_netfilter", "--no-color", *files]
        started = time.perf_counter()
        for source in sources:
            packet = ["--src-ip", source, "--dst-ip", _MAIL, "--port", "25"]
            done = run(stage.mail, str(_CACHE / "bin/ftf-cli"), *words, *packet)
            answers.append(_simulated(done))
        seconds = time.perf_counter() - started
    return answers, seconds


def _simulated(done: subprocess.CompletedProcess[str] | None) -> bool | None:
    if done is None or "Traceback" in done.stderr:
        return None
    return done.returncode == 0


_PROGRAMS: dict[str, Callable[[State, Stage, Sequence[str]], tuple[Answers, float]]] = {
    "mxguard": of_mxguard,
    "network-sandbox-engine": of_sandbox,
    "firewall-test": of_simulator,
}


def main() -> int:
    """0 where mxguard answered everything, and rightly."""
    programs_installed()
    tallies = {name: Tally() for name in _PROGRAMS}
    states = chosen()
    for state in states:
        with set_up(state) as stage:
            fates = {
                trial.source.address: fate is Fate.DELIVERED
                for trial, fate in truth(state, stage).items()
                if trial.source.family == 4
                and trial.port == 25
                and trial.destination.address == _MAIL
            }
            words = []
            for name, ask in _PROGRAMS.items():
                answers, seconds = ask(state, stage, list(fates))
                here = Tally()
                here.count(answers, list(fates.values()), seconds)
                tallies[name].count(answers, list(fates.values()), seconds)
                words.append(f"{here.right}/{here.wrong}/{here.failed}")
        print(f"{state.name[:60]:<60} {'   '.join(words)}", flush=True)
    print(f"\n{len(states)} states, IPv4, port 25{'':<8} right  wrong  failed  s a state")
    for name, tally in tallies.items():
        seconds = tally.seconds / len(states)
        print(f"{name:<34}{tally.right:>6}{tally.wrong:>7}{tally.failed:>8}{seconds:>11.2f}")
    ours = tallies["mxguard"]
    return 1 if ours.wrong or ours.failed else 0


if __name__ == "__main__":
    sys.exit(main())
