"""`make demo`: a backup MX is taken for an attack, and mxguard has it let in.

Everything runs in network namespaces of its own and is gone afterwards.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from demo.host import BANNED, RELAY, STRATO, MailHost, mail_host

PROMISED = (
    "strato: 6 of 6 addresses get through to port 25",
    "strato: 36 of 36 SMTP dialogues are accepted",
    "MXG502: strato: a silent-close counts 1 in the jail postfix, which bans for 10m at 3"
    " within 10m; seen on a fail2ban of our own: after 3 times silent-close",
)
"""What the audit must say at the end."""


def main() -> int:
    """Tell the story; 0 where it ended as it must."""
    if os.geteuid() != 0:
        print("demo: needs root, to make network namespaces", file=sys.stderr)
        return 3
    with mail_host(Path(f"/run/mxguard-demo-{os.getpid()}")) as made:
        return tell(made)


def tell(made: MailHost) -> int:
    heading("A mail host with a firewall, fail2ban's bans and Postfix. Who gets through?")
    show(made, (*STRATO, *RELAY, BANNED))
    heading("mxguard audit --no-smtp: what stops them, and what would mend it")
    made.mxguard("resolve")
    print(indented(made.mxguard("audit", "--no-smtp")))
    heading("mxguard sync --wire")
    print(indented(made.mxguard("sync", "--wire")))
    heading("Who gets through now?")
    peers = show(made, (*STRATO, *RELAY))
    strangers = show(made, (BANNED,))
    heading(
        "mxguard audit: and the mail server, and fail2ban, which would ban the backup for testing"
    )
    audited = made.mxguard("audit")
    print(indented(audited))
    heading("mxguard sync, once more")
    print(indented(made.mxguard("sync")))
    good = (
        all(answer == "gets through" for answer in peers)
        and "gets through" not in strangers
        and all(line in audited for line in PROMISED)
    )
    heading("As it must be." if good else "That is not how it must end.")
    return 0 if good else 1


def show(made: MailHost, sources: tuple[str, ...]) -> list[str]:
    answers = []
    for source in sources:
        answers.append(made.greeting(source))
        who = "strato" if source in STRATO else "relay" if source in RELAY else "stranger"
        print(f"  {who:9}{source:16}{answers[-1]}")
    return answers


def heading(text: str) -> None:
    print(f"\n== {text}")


def indented(text: str) -> str:
    return "\n".join(f"  {line}" for line in text.splitlines())


if __name__ == "__main__":
    sys.exit(main())
