#!/usr/bin/python
# Copyright: The mxguard authors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
DOCUMENTATION = r"""
module: mxguard_audit_info
short_description: Find out whether any peer of a mail host would be stopped
version_added: "0.1.0"
description:
  - Runs C(mxguard audit), which tries in a disposable copy of the host whether every peer gets
    through. The kernel decides, on the rules, routes and sysctls as they are now.
  - Nothing on the host is changed, and no packet leaves it.
author:
  - The mxguard authors (@mxguard)
attributes:
  check_mode:
    description: The module changes nothing.
    support: full
  diff_mode:
    description: The module changes nothing.
    support: none
  platform:
    description: The operating systems that the module works on.
    platforms: Debian
    support: full
options:
  config:
    description: The configuration of mxguard on the host.
    type: path
    default: /etc/mxguard/mxguard.toml
  executable:
    description: The program, as a path or as a name that is looked up.
    type: path
    default: mxguard
  peer:
    description: Audit this peer alone.
    type: str
  snapshot:
    description: Audit the host that this snapshot is of, a file on the managed host.
    type: path
  fail_on:
    description:
      - The least severity of a finding that fails the task, if nobody has accepted it.
      - With V(never) the findings are a result like any other.
    type: str
    choices: [never, notice, warning, error]
    default: never
  tolerate:
    description:
      - What is no failure where O(fail_on) is other than V(never). V(undecided) is an audit that
        could not decide everything; where nothing at all could be decided, the task always fails.
        V(refused) is an answer of DNS that was not believed when the list was made.
    type: list
    elements: str
    choices: [undecided, refused]
    default: []
seealso:
  - module: mxguard.mxguard.mxguard_sync
"""

EXAMPLES = r"""
- name: See how the peers fare
  mxguard.mxguard.mxguard_audit_info:
  register: audit

- name: Name those that are stopped
  ansible.builtin.debug:
    msg: "{{ audit.stopped }}"

- name: Go no further with a host that stops a peer
  mxguard.mxguard.mxguard_audit_info:
    fail_on: error
"""

RETURN = r"""
complete:
  description: Whether every question was decided. Where it is false, no finding proves nothing.
  returned: success
  type: bool
undecided:
  description: What kept a part from being decided.
  returned: success
  type: list
  elements: str
stopped:
  description: The peers that do not get through everywhere.
  returned: success
  type: list
  elements: str
  sample: [strato]
findings:
  description: What is wrong or odd.
  returned: success
  type: list
  elements: dict
  contains:
    id:
      description: The check.
      type: str
      returned: always
    severity:
      description: V(error), V(warning) or V(notice).
      type: str
      returned: always
    peer:
      description: The peer that it is about, or null.
      type: str
      returned: always
    subject:
      description: What was found.
      type: str
      returned: always
    evidence:
      description: Where it was seen.
      type: str
      returned: always
    remedy:
      description: Commands or lines that mend it.
      type: list
      elements: str
      returned: always
    accepted:
      description: Whether the administrator has accepted it.
      type: bool
      returned: always
  sample:
    - id: MXG201
      severity: error
      peer: strato
      subject: 81.169.146.154 is dropped on port 25
      evidence: inet f2b-table f2b-chain
      remedy: [nft insert rule inet f2b-table f2b-chain meta mark and 0x40000000 != 0 accept]
      accepted: false
reachability:
  description: What became of the attempts from each class of peer addresses, at the firewall.
  returned: success
  type: list
  elements: dict
smtp:
  description: What became of the dialogues with the copy of the mail server.
  returned: success
  type: list
  elements: dict
exit_code:
  description: The exit code of mxguard.
  returned: always
  type: int
"""

from ansible.module_utils.basic import AnsibleModule  # noqa: E402
from ansible_collections.mxguard.mxguard.plugins.module_utils import cli  # noqa: E402

_RESULTS = ("complete", "undecided", "findings", "reachability", "smtp")


def main():
    module = AnsibleModule(
        argument_spec={
            **cli.ARGUMENTS,
            "peer": {"type": "str"},
            "snapshot": {"type": "path"},
            "fail_on": {
                "type": "str",
                "choices": ["never", "notice", "warning", "error"],
                "default": "never",
            },
            "tolerate": {
                "type": "list",
                "elements": "str",
                "choices": ["undecided", "refused"],
                "default": [],
            },
        },
        supports_check_mode=True,
    )
    fail_on = module.params["fail_on"]
    tolerate = list(module.params["tolerate"])
    if fail_on == cli.NEVER:
        tolerate.append(cli.UNDECIDED)
    done = cli.run(module, "audit", _options(module.params))
    result = {name: done.document[name] for name in _RESULTS}
    result.update(changed=False, exit_code=done.code, stopped=stopped(done.document))
    reason = cli.failure(done, fail_on, tolerate)
    if reason:
        module.fail_json(msg=f"mxguard audit: {reason}", **result)
    module.exit_json(**result)


def _options(given):
    options = []
    for option, value in (
        ("--peer", given["peer"]),
        ("--snapshot", given["snapshot"]),
        ("--fail-on", given["fail_on"] if given["fail_on"] != cli.NEVER else None),
    ):
        if value is not None:
            options.append(f"{option}={value}")
    return options


def stopped(document):
    """The peers with an attempt that did not get through, each once."""
    well = ("delivered", "accepted", "undecided")
    attempts = [*document["reachability"], *document["smtp"]]
    return sorted({item["peer"] for item in attempts if item["verdict"] not in well})


if __name__ == "__main__":
    main()
