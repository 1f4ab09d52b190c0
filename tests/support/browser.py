"""A real browser: Chromium without a window, where there is one."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome")
SERIOUS = ("serious", "critical")


@contextmanager
def chromium() -> Iterator[Any]:
    """A browser of Playwright's; skips the test where Playwright or Chromium is not there."""
    sync_api = pytest.importorskip("playwright.sync_api", reason="needs the package playwright")
    found = next(filter(None, map(shutil.which, NAMES)), None)
    if found is None:
        pytest.skip(f"needs one of {', '.join(NAMES)}; on Debian: apt-get install chromium")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=["--no-sandbox"])
        yield browser
        browser.close()


class Visit:
    """A page that is open in a browser, what its console said, and whom it asked for something."""

    def __init__(self, browser: Any, address: str, **how: Any) -> None:
        self.page = browser.new_page(**how)
        self.page.set_default_timeout(10_000)
        self.faults: list[str] = []
        self.asked: list[str] = []
        self.page.on(
            "console",
            lambda said: said.type in ("error", "warning") and self.faults.append(said.text),
        )
        self.page.on("pageerror", lambda error: self.faults.append(str(error)))
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.page.goto(address)

    def texts(self, selector: str) -> list[str]:
        """What the elements show, without the signs of writing direction."""
        return [" ".join(text.split()) for text in self.page.locator(selector).all_inner_texts()]

    def time(self) -> float:
        """Where the video of the page is, in seconds, once it has got there."""
        wait = "() => { const v = document.querySelector('video'); return v.readyState > 1 && !v.seeking }"
        self.page.wait_for_function(wait)
        return float(self.page.evaluate("document.querySelector('video').currentTime"))

    def require_accessible(self) -> None:
        """Assert that axe-core finds no serious fault in what is shown now."""
        axe = pytest.importorskip("axe_playwright_python", reason="needs axe-playwright-python")
        self.page.evaluate((Path(axe.__file__).parent / "axe.min.js").read_text(encoding="utf-8"))
        found = self.page.evaluate("axe.run(document, { resultTypes: ['violations'] })")
        faults = [each for each in found["violations"] if each["impact"] in SERIOUS]
        assert not faults, [(each["id"], each["nodes"][0]["html"]) for each in faults]
        assert len(found["passes"]) > 10  # it has looked

    def require_narrow(self) -> None:
        """Assert that nothing is wider than the window."""
        wide = self.page.evaluate("document.documentElement.scrollWidth - window.innerWidth")
        assert wide <= 0
