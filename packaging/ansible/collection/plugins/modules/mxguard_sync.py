#!/usr/bin/python
# Copyright: The mxguard authors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
DOCUMENTATION = r"""
module: mxguard_sync
short_description: Bring a mail host in line with its list of peers
version_added: "0.1.0"
description:
  - Runs C(mxguard sync), which lets the configured peers through nftables and Postfix.
  - Every change of the firewall is first tried in a disposable copy of the host. A run that finds
    nothing to do writes and reloads nothing, and one that fails puts back what was there.
author:
  - The mxguard authors (@mxguard)
attributes:
  check_mode:
    description: Says exactly what would change, and changes nothing.
    support: full
  diff_mode:
    description: Shows every file before and after, and the commands for guard rules.
    support: full
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
  offline:
    description: Ask no DNS, and install what the host's own lock says.
    type: bool
    default: false
  lock:
    description:
      - A lock that M(mxguard.mxguard.mxguard_resolve) wrote, on the control node. It is copied to
        the host for the run and taken over in place of asking DNS.
      - Peers that the host's configuration lacks are left out. A lock that was resolved for other
        sources than the host's configuration states, or that passes its limits, is refused.
    type: path
  remote_src:
    description: Whether O(lock) is a path on the host already.
    type: bool
    default: false
  accept:
    description: Peers whose networks are believed although they pass the limits.
    type: list
    elements: str
    default: []
  wire:
    description: Have Postfix's own configuration name the tables, too.
    type: bool
    default: false
  audit:
    description: Try the peers on the host as it is afterwards. Check mode never does.
    type: bool
    default: true
  fail_on:
    description:
      - The least severity of a finding that fails the task, if nobody has accepted it. A peer that
        is stopped is of severity V(error).
      - With V(never) what is found is only reported.
    type: str
    choices: [never, notice, warning, error]
    default: error
  tolerate:
    description:
      - What is no failure of a run that otherwise went well. V(undecided) is a part that could not
        be looked up, rehearsed or audited; V(refused) an answer of DNS that was not believed.
    type: list
    elements: str
    choices: [undecided, refused]
    default: []
  wait:
    description: How long to wait for another run on the host to end, in seconds.
    type: float
    default: 60.0
seealso:
  - module: mxguard.mxguard.mxguard_audit_info
  - module: mxguard.mxguard.mxguard_resolve
"""

EXAMPLES = r"""
- name: Let the peers in, as DNS names them now
  mxguard.mxguard.mxguard_sync:
    wire: true

- name: Let the peers in, as they were resolved once on the control node
  mxguard.mxguard.mxguard_sync:
    lock: /srv/mxguard/state/lock.json
    wire: true

- name: Mend whatever somebody changed since the last run
  mxguard.mxguard.mxguard_sync:
    offline: true
    fail_on: never
"""

RETURN = r"""
changes:
  description: What is new in the list of networks.
  returned: success
  type: list
  elements: dict
  contains:
    kind:
      description: V(added), V(restored), V(held) or V(removed).
      type: str
      returned: always
    peer:
      description: The peer.
      type: str
      returned: always
    network:
      description: The network.
      type: str
      returned: always
  sample: [{"kind": "added", "peer": "strato", "network": "81.169.146.152/31"}]
files:
  description: The files of mxguard that were written or removed.
  returned: success
  type: list
  elements: dict
  contains:
    path:
      description: The file.
      type: str
      returned: always
    action:
      description: V(created), V(changed) or V(removed).
      type: str
      returned: always
  sample: [{"path": "/etc/nftables.d/mxguard.nft", "action": "created"}]
activated:
  description: The programs that were told of it.
  returned: success
  type: list
  elements: str
  sample: [nftables, postfix]
guards:
  description: The commands that changed guard rules in chains of other programs.
  returned: success
  type: list
  elements: str
wired:
  description: The settings of Postfix that were changed.
  returned: success
  type: list
  elements: str
  sample: [postscreen_access_list]
wiring:
  description: What the administrator's own configuration must say for all of it to take effect.
  returned: success
  type: list
  elements: dict
  contains:
    command:
      description: A command, or a line to add.
      type: str
      returned: always
    why:
      description: What it is for.
      type: str
      returned: always
    done:
      description: Whether it is so already.
      type: bool
      returned: always
findings:
  description: What is wrong or odd, as M(mxguard.mxguard.mxguard_audit_info) returns it.
  returned: success
  type: list
  elements: dict
audit:
  description: The audit that was made afterwards, null where there was none.
  returned: success
  type: dict
exit_code:
  description: The exit code of mxguard.
  returned: always
  type: int
"""

from ansible.module_utils.basic import AnsibleModule  # noqa: E402
from ansible_collections.mxguard.mxguard.plugins.module_utils import cli  # noqa: E402

_RESULTS = ("changes", "files", "activated", "guards", "wired", "wiring", "findings", "audit")


def main():
    module = AnsibleModule(
        argument_spec={
            **cli.ARGUMENTS,
            "offline": {"type": "bool", "default": False},
            "lock": {"type": "path"},
            "remote_src": {"type": "bool", "default": False},
            "accept": {"type": "list", "elements": "str", "default": []},
            "wire": {"type": "bool", "default": False},
            "audit": {"type": "bool", "default": True},
            "fail_on": {
                "type": "str",
                "choices": ["never", "notice", "warning", "error"],
                "default": "error",
            },
            "tolerate": {
                "type": "list",
                "elements": "str",
                "choices": ["undecided", "refused"],
                "default": [],
            },
            "wait": {"type": "float", "default": 60.0},
        },
        supports_check_mode=True,
    )
    fail_on, tolerate = module.params["fail_on"], module.params["tolerate"]
    done = cli.run(module, "sync", _options(module))
    result = {name: done.document[name] for name in _RESULTS}
    result.update(changed=done.document["changed"], exit_code=done.code)
    if module._diff:
        result["diff"] = diff_of(done.document)
    reason = cli.failure(done, fail_on, tolerate)
    if reason:
        module.fail_json(msg=f"mxguard sync: {reason}", **result)
    module.exit_json(**result)


def _options(module):
    given = module.params
    options = ["--wait", str(given["wait"])]
    options += [f"--accept={peer}" for peer in given["accept"]]
    if given["lock"]:
        options += ["--lock", given["lock"]]
    if given["fail_on"] != cli.NEVER:
        options += ["--fail-on", given["fail_on"]]
    for option, wanted in (
        ("--dry-run", module.check_mode),
        ("--diff", module._diff),
        ("--offline", given["offline"]),
        ("--wire", given["wire"]),
        ("--no-audit", not given["audit"]),
    ):
        if wanted:
            options.append(option)
    return options


def diff_of(document):
    """A report as Ansible shows differences: each file, and the commands for guard rules."""
    shown = [
        {
            "before_header": item["path"] if item["before"] is not None else "/dev/null",
            "after_header": item["path"] if item["after"] is not None else "/dev/null",
            "before": item["before"] or "",
            "after": item["after"] or "",
        }
        for item in document["diff"] or []
    ]
    if document["guards"]:
        shown.append({"prepared": "".join(f"+{line}\n" for line in document["guards"])})
    return shown


if __name__ == "__main__":
    main()
