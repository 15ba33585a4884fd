"""What axe-core finds wrong with a page in a browser, for those who can't see it or can't point."""

from functools import cache
from typing import Any

from playwright.sync_api import Page

from local.npm import Package

AXE = Package(
    "axe-core", "4.14.1", "e6b0ce02b84d892e2e33e403485e7f3d6c29e2be6df65daf44d89ba564139745"
)
RUN = """
    async () => (await axe.run(document)).violations.map(
        (one) => [one.impact, one.id, one.nodes.map((node) => node.html.slice(0, 200))])
"""


def serious_findings(tab: Page) -> list[Any]:
    """Of the page that the tab shows: (impact, rule, elements), of the two worst impacts."""
    # Told to the page from outside, as its policy lets it load no such script by itself.
    tab.evaluate(_source())
    return [one for one in tab.evaluate(RUN) if one[0] in ("serious", "critical")]


@cache
def _source() -> str:
    return (AXE.provide() / "axe.min.js").read_text()
