"""Take the pictures of a report that README shows: a desk's screen in light, a phone's in the dark.

python -m tests.browser.take_screenshots REPORT FOLDER
"""

import sys
from pathlib import Path

from playwright.sync_api import sync_playwright

from tests.browser.chromium import chromium_path

PICTURES = {
    "report-desktop.png": ({"width": 1280, "height": 1180}, "light"),
    "report-phone.png": ({"width": 390, "height": 844}, "dark"),
}


def main() -> int:
    """Take both."""
    report, folder = (Path(word).resolve() for word in sys.argv[1:])
    folder.mkdir(exist_ok=True)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium_path(), args=["--no-sandbox"])
        for name, (viewport, scheme) in PICTURES.items():
            page = browser.new_page(viewport=viewport, color_scheme=scheme)
            page.goto(report.as_uri())
            page.screenshot(path=folder / name)
            sys.stdout.write(f"{folder / name}\n")
        browser.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
