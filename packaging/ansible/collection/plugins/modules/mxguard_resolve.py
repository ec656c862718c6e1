#!/usr/bin/python
# Copyright: The mxguard authors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
DOCUMENTATION = r"""
module: mxguard_resolve
short_description: Look the peers up in DNS and refresh the lock
version_added: "0.1.0"
description:
  - Runs C(mxguard resolve), which asks DNS for the networks of the configured peers and locks them.
    Nothing is installed.
  - Meant for the control node, once for a fleet. M(mxguard.mxguard.mxguard_sync) hands the lock to
    each host, so that all have the same list after one set of questions. Needs no root there.
author:
  - The mxguard authors (@mxguard)
attributes:
  check_mode:
    description: Asks DNS and says what would change, but leaves the lock as it is.
    support: full
  diff_mode:
    description: Shows the list of networks before and after.
    support: full
  platform:
    description: The operating systems that the module works on.
    platforms: posix
    support: full
options:
  config:
    description: The configuration that lists the peers and says where the lock is kept.
    type: path
    default: /etc/mxguard/mxguard.toml
  executable:
    description: The program, as a path or as a name that is looked up.
    type: path
    default: mxguard
  accept:
    description: Peers whose answers are believed although they pass the limits.
    type: list
    elements: str
    default: []
  tolerate:
    description:
      - What is no failure. V(undecided) is a peer that could not be looked up and never was before;
        V(refused) an answer that was not believed, so that the peer keeps what it had.
      - A lookup that fails while the lock has the peer's networks is only a warning.
    type: list
    elements: str
    choices: [undecided, refused]
    default: []
seealso:
  - module: mxguard.mxguard.mxguard_sync
"""

EXAMPLES = r"""
- name: Ask DNS once for all hosts
  mxguard.mxguard.mxguard_resolve:
    config: /srv/mxguard/mxguard.toml
  delegate_to: localhost
  run_once: true
"""

RETURN = r"""
changes:
  description: What is new in the list. Times in the lock that move are no change.
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
  sample: [{"kind": "held", "peer": "relay", "network": "198.51.100.16/30"}]
networks:
  description: The whole list, each network with its peer, origin and state.
  returned: success
  type: list
  elements: dict
findings:
  description: What is odd in what DNS said, as M(mxguard.mxguard.mxguard_audit_info) returns it.
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


def main():
    module = AnsibleModule(
        argument_spec={
            **cli.ARGUMENTS,
            "accept": {"type": "list", "elements": "str", "default": []},
            "tolerate": {
                "type": "list",
                "elements": "str",
                "choices": ["undecided", "refused"],
                "default": [],
            },
        },
        supports_check_mode=True,
    )
    options = [f"--accept={peer}" for peer in module.params["accept"]]
    if module.check_mode:
        options.append("--dry-run")
    done = cli.run(module, "resolve", options)
    changes = done.document["changes"]
    networks = done.document["allowlist"]["networks"]
    result = {
        "changed": bool(changes),
        "changes": changes,
        "networks": networks,
        "findings": done.document["findings"],
        "exit_code": done.code,
    }
    if module._diff:
        result["diff"] = diff_of(changes)
    reason = cli.failure(done, cli.NEVER, module.params["tolerate"])
    if reason:
        module.fail_json(msg=f"mxguard resolve: {reason}", **result)
    module.exit_json(**result)


def diff_of(changes):
    """The changed networks as lines before and after; those that stay are left out."""
    before = {"added": None, "restored": "held", "held": "current", "removed": "listed"}
    after = {"added": "current", "restored": "current", "held": "held", "removed": None}

    def lines(states):
        return "".join(
            f"{item['peer']} {item['network']} {states[item['kind']]}\n"
            for item in changes
            if states[item["kind"]]
        )

    return {
        "before_header": "list of networks",
        "after_header": "list of networks",
        "before": lines(before),
        "after": lines(after),
    }


if __name__ == "__main__":
    main()
