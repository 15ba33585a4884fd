"""What tests in a real browser have in common."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Browser, Page, expect, sync_playwright

from local.npm import Package
from tests.programs import required

# Root's browser has no sandbox; and none of these asks anybody for anything.
ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
# What is expected may come late on a busy machine; as long as clicks wait.
PATIENCE_MILLISECONDS = 30_000
SCREENSHOTS = Path(__file__).parents[3] / "build" / "screenshots"
SIZES = {"telephone": (390, 844), "desk": (1280, 900)}
# Finds what people who see little, or use no mouse, can't use.
AXE = Package(
    "axe-core", "4.14.1", "e6b0ce02b84d892e2e33e403485e7f3d6c29e2be6df65daf44d89ba564139745"
)
# Of WCAG 2.1 A and AA and of good practice: what keeps somebody from using the page.
LOOK = """
    async () => (await axe.run(document, {resultTypes: ['violations']})).violations
        .filter(one => ['serious', 'critical'].includes(one.impact))
        .map(one => one.id + ': ' + one.nodes.map(node => node.html).join(' | '))
"""


@contextmanager
def launched() -> Iterator[Browser]:
    """Chromium, or the test is skipped and says so."""
    path = required("chromium", "chromium-browser", "google-chrome")
    expect.set_options(timeout=PATIENCE_MILLISECONDS)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=ARGUMENTS)
        yield browser
        browser.close()


def axe_source() -> str:
    """axe-core's script. `npm` brings it, once."""
    required("npm")
    return (AXE.provide() / "axe.min.js").read_text()


def findings(tab: Page, axe: str) -> list[str]:
    """What axe-core finds serious or critical on the page as it is shown now."""
    tab.evaluate(axe)
    found: list[str] = tab.evaluate(LOOK)
    return found
