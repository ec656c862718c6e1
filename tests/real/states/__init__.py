"""Host states, by what they are made of."""

from states import nftables, routing

STATES = (*nftables.STATES, *routing.STATES)
