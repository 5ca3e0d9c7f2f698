"""What `fastsnn methods` does: every conversion method, and what has to be known of it before it is used."""

import argparse
import json
from dataclasses import asdict
from typing import Any

from rich.table import Table
from rich.text import Text

from fastsnn.commands import output
from fastsnn.methods import METHODS, build
from fastsnn.methods.card import Card

UNVERIFIED = "not compared with a published number"


def run(args: argparse.Namespace) -> None:
    """Two tables that fit a terminal, or one JSON list."""
    cards = {name: build(name).card for name in METHODS}
    if args.json:
        print(json.dumps([described(name, card) for name, card in cards.items()], indent=1))
        return
    console = output.console()
    for table in (_what(cards), _whence(cards)):
        console.print(table)


def described(name: str, card: Card) -> dict[str, Any]:
    """One method as JSON: its name, the card, and what it was compared with in words."""
    return {"name": name, **asdict(card), "verified": card.verified or UNVERIFIED}


def _what(cards: dict[str, Card]) -> Table:
    table = Table(title="conversion methods: fastsnn.convert(model, images, method=name)", title_justify="left")
    for name in ("name", "what it does", "state", "data", "passes", "causal", "bits a spike", "latency"):
        table.add_column(name, overflow="fold", no_wrap=name == "name")
    for name, card in cards.items():
        causal, bits = "yes" if card.causal else "no", f"{card.bits:g}"
        cells = (card.title, card.state, card.data, card.passes, causal, bits, card.latency)
        table.add_row(*map(Text, (name, *cells)))
    return table


def _whence(cards: dict[str, Card]) -> Table:
    table = Table(title="where they are from, and what they were compared with", title_justify="left")
    for name in ("name", "source", "verified"):
        table.add_column(name, overflow="fold", no_wrap=name == "name")
    for name, card in cards.items():
        table.add_row(*map(Text, (name, card.source, card.verified or UNVERIFIED)))
    return table
