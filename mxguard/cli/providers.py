"""`mxguard providers`: the catalogue of known services."""

from __future__ import annotations

import click

from mxguard.cli.common import Session, mxguard_command
from mxguard.cli.completion import provider_names
from mxguard.jobs.load import shipped_catalogue
from mxguard.report.providers import provider_text, providers_document, providers_text


@click.argument("name", required=False, shell_complete=provider_names)
@mxguard_command
def command(session: Session, name: str | None) -> int:
    """Show the services that are known, or all that is known of NAME, with its sources."""
    catalogue = shipped_catalogue()
    providers = catalogue.providers() if name is None else (catalogue.provider(name),)
    if session.is_json:
        session.document(providers_document(providers))
    elif name is None:
        session.out(providers_text(providers))
    else:
        session.out(provider_text(providers[0]))
    return 0
