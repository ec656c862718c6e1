"""Host states, by what they are made of."""

from states import nftables, programs, routing, xtables

STATES = (*nftables.STATES, *routing.STATES, *xtables.STATES, *programs.STATES)
