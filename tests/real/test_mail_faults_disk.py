"""A full disk during an audit with the mail server: it decides what it can, and leaves nothing."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from mail_audit_lab import AuditedMail, audited_mail
from mailserver_lab import PEER

CHECKOUT = Path(__file__).parents[2]
BANNED = {"main": {"smtpd_client_restrictions": f"check_client_access inline:{{{PEER}=REJECT}}"}}


def full(*places: str) -> str:
    """Shell commands after which no page is free in these folders, nor in the one it is run in."""
    script = ["mkdir -p /mnt/here /mnt/checkout", "cd /mnt/here", "mount -o remount,ro /mnt"]
    for place in places:
        kept = CHECKOUT.is_relative_to(place)
        if kept:
            script.append(f"mount --bind {CHECKOUT} /mnt/checkout")
        script.append(f"mount -t tmpfs -o size=16k none {place}")
        if kept:
            script.append(f"mkdir -p {CHECKOUT}; mount --move /mnt/checkout {CHECKOUT}")
        script.append(f"head -c 1M /dev/zero >{place}/fill 2>/dev/null || true")
    return "\n".join(script)


def full_everywhere(host: AuditedMail) -> str:
    """The same for every place where temporary files go; the host's own files stay to be seen."""
    return "\n".join(
        (
            "mount -t tmpfs none /mnt",
            "mkdir /mnt/kept",
            f"mount --bind {host.folder} /mnt/kept",
            "mount -t tmpfs none /var/tmp",
            f"mkdir {host.folder}",
            f"mount --move /mnt/kept {host.folder}",
            "mount -o remount,size=16k /var/tmp",
            "head -c 1M /dev/zero >/var/tmp/fill 2>/dev/null || true",
            full("/tmp", "/run"),
        )
    )


LISTED = 'code=0\n"$@" || code=$?\nls -A /tmp /var/tmp /run >&2\nexit $code'
"""Run mxguard, and tell on standard error what is in those folders then."""


def test_verdicts_and_causes_need_no_disk() -> None:
    with audited_mail(BANNED) as host, host.made.running():
        around = f"{full_everywhere(host)}\n{LISTED}"
        state = sorted(os.listdir(host.folder / "state"))
        done = host.audit(around=around)
        report = host.audit("--output", "/run/report", around=around)
        assert sorted(os.listdir(host.folder / "state")) == state
        here = host.folder.name
    assert done.returncode == 1, done.stderr
    assert "1 of 1 addresses get through" in done.stdout
    assert f"because of check_client_access inline:{{{PEER}=REJECT}}" in done.stdout
    assert "could not be tried in a rehearsal" in done.stdout
    assert (report.returncode, report.stdout) == (3, "")
    said, _, left = report.stderr.partition("\n")
    assert said == "mxguard: /run/report cannot be written: No space left on device"
    seen = {"/run": ["fill"], "/tmp": ["fill"], "/var/tmp": ["fill", here]}
    for place, names in seen.items():
        if CHECKOUT.is_relative_to(place):
            names.append(CHECKOUT.relative_to(place).parts[0])
    wanted = [word for place, names in seen.items() for word in (f"{place}:", *sorted(names))]
    for listed in (done.stderr, left):
        assert listed.split() == wanted


def test_a_full_state_folder_is_no_hindrance() -> None:
    with audited_mail({}) as host, host.made.running():
        state = host.folder / "state"
        cover = "\n".join(
            (
                "mount -t tmpfs -o mode=755,size=64k none /mnt",
                f"cp -a {state}/. /mnt",
                f"mount --move /mnt {state}",
                f"head -c 1M /dev/zero >{state}/fill 2>/dev/null || true",
            )
        )
        done = host.audit(around=cover)
    assert done.returncode == 0, done.stderr
    assert "5 of 5 SMTP dialogues are accepted" in done.stdout


def test_a_queue_without_room_defers_as_in_the_real_postfix() -> None:
    with audited_mail({"main": {"message_size_limit": "8000000"}}) as host:
        queue = host.made.queue
        small = "\n".join(
            (
                "mount -t tmpfs -o mode=755,size=4m none /mnt",
                f"cp -a {queue}/. /mnt",
                f"mount --move /mnt {queue}",
            )
        )
        enter = host.made._enter

        def enter_and_cover() -> None:
            enter()
            subprocess.run(["sh", "-ec", small], check=True)

        host.made._enter = enter_and_cover  # type: ignore[method-assign]
        with host.made.running():
            truth = host.made.talk(PEER, "recipient")
            document = host.document(around=small)
    (seen,) = [one for one in document["smtp"] if one["dialogue"] == "recipient"]
    assert (truth.verdict, truth.stage, truth.code) == ("deferred", "mail", 452)
    assert (seen["verdict"], seen["stage"], seen["code"]) == ("deferred", "mail", 452)
    assert "Insufficient system storage" in seen["text"]
    # No setting that could be left out is to blame: the reply says what is.
    assert seen["stopped_by"] is None
