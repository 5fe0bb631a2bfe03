# SPDX-License-Identifier: Apache-2.0
"""`make screenshots`: the pictures of docs/screens, of a site with invented rows.

Starts the web server on a data folder of its own, without workers and engines, opens
the pages in Chromium (CHROMIUM, else /usr/bin/chromium) and writes PNGs of 1360x900.
Figures are the same in every run; times of day are those of the run.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from playwright.sync_api import Page, sync_playwright  # noqa: E402 - needs the path above

from tests.site import Site  # noqa: E402 - as above
from tests.web_server import WebServer, serve  # noqa: E402 - as above

FOLDER = ROOT / "docs" / "screens"
SIZE = {"width": 1360, "height": 900}
# What a page of documentation may load for one picture.
MOST_BYTES = 250_000


@dataclass(frozen=True)
class Shot:
    """A picture: its file, the page, the theme, and what is done before it is taken."""

    name: str
    path: str
    theme: str = "light"
    act: Callable[[Page], object] = lambda page: None


def open_row(page: Page) -> None:
    """The second row, in the drawer."""
    page.locator("#row-1").click()
    page.locator("#row-drawer h2").wait_for()


SHOTS = [
    Shot("home-light", "/"),
    Shot("home-dark", "/", theme="dark"),
    Shot("batches", "/batches/"),
    Shot("batch", "/batches/{batch}/"),
    Shot("results", "/batches/{batch}/results/", act=open_row),
    Shot("errors", "/batches/{batch}/errors/"),
    Shot("submit-check", "/batches/new/files/{file}/"),
    Shot("models", "/models/"),
    Shot("engines", "/engines/"),
    Shot("review", "/reviews/{queue}/review/"),
    Shot("decide", "/reviews/{queue}/items/{torn}/"),
    Shot("agreement", "/reviews/{queue}/agreement/"),
]


@contextmanager
def invented_site(folder: Path) -> Iterator[tuple[WebServer, dict[str, str]]]:
    """The web server of a site with the rows of screen_rows, and what is in them."""
    os.environ["BATCHSITE_DATA"] = str(folder)
    os.environ["DJANGO_SETTINGS_MODULE"] = "batchsite.settings"
    # Playwright runs an event loop in this thread, in which no query waits for another.
    os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"] = "true"
    site = Site(folder)
    try:
        site.run("migrate", "--verbosity", "0")
        import django

        django.setup()
        from deploy import screen_rows

        places = screen_rows.seed()
        yield serve(site, key="none"), places
    finally:
        site.close()


def session_key(email: str) -> str:
    """A session of that person."""
    from django.test import Client

    from batchsite.accounts.models import User

    client = Client()
    client.force_login(User.objects.get(email=email))
    return client.cookies["sessionid"].value


def take(page: Page, shot: Shot, places: dict[str, str], folder: Path) -> int:
    """Open the page and write its picture; its bytes."""
    from deploy.screen_rows import beat

    beat()
    page.emulate_media(
        color_scheme="dark" if shot.theme == "dark" else "light",
        reduced_motion="reduce",
    )
    answer = page.goto(shot.path.format(**places), wait_until="networkidle")
    assert answer is not None
    if answer.status != 200:
        raise SystemExit(f"{shot.path} answered {answer.status}")
    shot.act(page)
    page.evaluate("document.fonts.ready")
    path = folder / f"{shot.name}.png"
    page.screenshot(path=path, animations="disabled", caret="hide")
    return path.stat().st_size


def main() -> int:
    """Write all pictures; 1 when one is too large."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, default=FOLDER)
    parser.add_argument("names", nargs="*", help="only these pictures")
    given = parser.parse_args()
    given.folder.mkdir(parents=True, exist_ok=True)
    large = 0
    with (
        tempfile.TemporaryDirectory() as folder,
        invented_site(Path(folder) / "data") as (server, places),
        sync_playwright() as playwright,
    ):
        address = f"http://127.0.0.1:{server.port}"
        browser = playwright.chromium.launch(
            executable_path=os.environ.get("CHROMIUM", "/usr/bin/chromium"),
            args=["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"],
        )
        context = browser.new_context(
            base_url=address,
            viewport=SIZE,  # type: ignore[arg-type]  # a plain dictionary
            locale="en-GB",
            timezone_id="UTC",
        )
        cookie = session_key("owner@example.com")
        context.add_cookies([{"name": "sessionid", "value": cookie, "url": address}])
        page = context.new_page()
        for shot in SHOTS:
            if given.names and shot.name not in given.names:
                continue
            size = take(page, shot, places, given.folder)
            large += size > MOST_BYTES
            print(f"{shot.name}.png: {size / 1000:,.0f} kB")
        browser.close()
    return 1 if large else 0


if __name__ == "__main__":
    sys.exit(main())
