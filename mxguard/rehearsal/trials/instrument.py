"""The test of the instrument itself: can this copy, its wire and its trace be believed?

In: a scene whose attempts are done. Its firewall is taken down and its routing opened for one
neighbour; then an attempt must get through, and one that a rule of the test's own forbids must not,
and the trace must have seen both for what they are. Raises UndecidedError with what went wrong:
then nothing that was tried in this scene counts, whatever it looked like. The scene is used up.
"""

from __future__ import annotations

from mxguard.model.errors import UndecidedError
from mxguard.model.network import Network
from mxguard.model.snapshot import Link, Listener
from mxguard.model.verdict import Part
from mxguard.rehearsal.host_copy.copy import Copy
from mxguard.rehearsal.mending import shell
from mxguard.rehearsal.tracing.trace import Step, Tracer, steps_of
from mxguard.rehearsal.trials.attempts import Attempt, Caller, Listeners
from mxguard.rehearsal.trials.plan import Case
from mxguard.rehearsal.trials.scene import Scene
from mxguard.system import sysctls

_TABLE = "mxguard-instrument"
_FREE_TABLE = "2147483000"
"""A routing table that no host is likely to use; the copy is thrown away after the test."""
_OPEN_PORT, _SHUT_PORT = 64998, 64999
_PAIRS = {
    # A neighbour and an address of the host, of documentation networks (RFC 5737, RFC 3849).
    4: (Network(4, 0xCB007102, 32), Network(4, 0xCB007103, 32)),
    6: (
        Network(6, 0x20010DB8FFFF00000000000000000002, 128),
        Network(6, 0x20010DB8FFFF00000000000000000003, 128),
    ),
}


def prove(scene: Scene, case: Case) -> None:
    """Test the instrument where `case` was tried: on its link, from a neighbour made up for it."""
    like = scene.attempt(case)
    source, goal = _PAIRS[case.destination.family]
    _open_everything(scene.copy, case.arrival.interface, source, goal)
    passing, stopped = (
        Attempt(source, goal, port, like.link, like.mac, like.sender)
        for port in (_OPEN_PORT, _SHUT_PORT)
    )
    listening = [Listener(goal.family, goal, port) for port in (_OPEN_PORT, _SHUT_PORT)]
    with Listeners(scene.copy.host, listening) as listeners:
        caller = Caller(scene.wire, listeners)
        with scene.tracer([like]) as tracer:
            _expect(caller, tracer, passing, "accept")
            _expect(caller, tracer, stopped, "drop")


def _expect(caller: Caller, tracer: Tracer, attempt: Attempt, verdict: str) -> None:
    tracer.read()
    (outcome,) = caller.call([attempt])
    seen = [step for step in steps_of(tracer.read(), outcome.sequence)[Part.SYN] if _is_ours(step)]
    if outcome.established != (verdict == "accept"):
        did = "got through" if outcome.established else "did not get through"
        raise UndecidedError(f"the rehearsal's own test failed: what must {verdict} {did}")
    if not seen or seen[-1].verdict != verdict:
        raise UndecidedError(
            f"the rehearsal's own test failed: the trace did not see its rule {verdict} a packet"
        )


def _is_ours(step: Step) -> bool:
    return step.table == _TABLE and step.handle is not None


def _open_everything(copy: Copy, link: Link, source: Network, goal: Network) -> None:
    """Take the firewall down, give the host `goal`, and route the two before anything else."""
    rules = (
        "flush ruleset\n"
        f"table inet {_TABLE} {{ chain input {{ type filter hook input priority 0;\n"
        f"tcp dport {_OPEN_PORT} accept\ntcp dport {_SHUT_PORT} drop\n}}\n}}\n"
    )
    copy.host.command(["nft", "-f", "-"], stdin=rules.encode())
    for program, saved in copy.snapshot.xtables.items():
        if program.endswith("-legacy"):
            argv = [*shell.NO_LOCK, f"{program}-restore"]
            copy.host.command(argv, stdin=_opened(saved).encode())
    copy.host.run(lambda: _forgive(link.name))
    # ip(8) knows a link as "if" and its index, too: its name may hold quotes.
    nodad = " nodad" if source.family == 6 else ""
    ways = (
        f"address replace {goal} dev if{link.index}{nodad}\n"
        f"route replace {source} dev if{link.index} table {_FREE_TABLE}\n"
        f"rule add priority 0 to {source} lookup {_FREE_TABLE}\n"
        f"rule add priority 0 to {goal} lookup local\n"
    )
    copy.host.command(["ip", f"-{source.family}", "-batch", "-"], stdin=ways.encode())


def _forgive(link: str) -> None:
    for name in ("all", link):
        sysctls.write(f"net/ipv4/conf/{name}/rp_filter", "0")
        # Only where the kernel speaks IPv6 at all.
        if sysctls.read(f"net/ipv6/conf/{name}/disable_ipv6") == "1":
            sysctls.write(f"net/ipv6/conf/{name}/disable_ipv6", "0")


def _opened(saved: str) -> str:
    """A -save text's tables without rules, every policy ACCEPT."""
    kept = []
    for line in saved.splitlines():
        if line.startswith(":"):
            chain, policy = line.split()[:2]
            kept.append(f"{chain} {'-' if policy == '-' else 'ACCEPT'} [0:0]\n")
        elif line.startswith("*") or line == "COMMIT":
            kept.append(f"{line}\n")
    return "".join(kept)
