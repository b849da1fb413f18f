"""A real browser, if this machine has one: pages are rendered, measured and photographed by a headless Chromium."""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
SECONDS = 90.0

FOUND = next((path for name in NAMES if (path := shutil.which(name))), None)

DARK = "--blink-settings=preferredColorScheme=0"


def measured(page: str, script: str, *options: str, width: int = 390) -> Any:
    """What `script` (the body of a function of the page's window `w` and document `d`) returns, in a frame of this width in CSS pixels."""
    harness = (
        f'<!DOCTYPE html><meta charset="utf-8"><iframe style="border:0;width:{width}px;height:800px" srcdoc="{html.escape(page)}"></iframe>'
        "<script>addEventListener('load', function () { var w = frames[0], d = w.document, told;"
        f"try {{ told = {{value: (function () {{ {script} }})()}}; }} catch (error) {{ told = {{error: String(error)}}; }}"
        "var out = document.createElement('pre'); out.id = 'told'; out.textContent = JSON.stringify(told); document.body.append(out); });</script>"
    )
    shown = _run(harness, "--dump-dom", *options)
    found = re.search(r'<pre id="told">(.*?)</pre>', shown, re.DOTALL)
    assert found, f"the page did not load: {shown[-500:]}"
    told = json.loads(html.unescape(found[1]))
    assert "error" not in told, told
    return told["value"]


def _run(page: str, *options: str) -> str:
    """Chromium's output on a page, in a profile of its own that is gone afterwards. No network: nothing of the page may need one."""
    assert FOUND is not None
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "page.html").write_text(page)
        flags = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-extensions", "--proxy-server=127.0.0.1:1", f"--user-data-dir={folder}/profile"]
        command = [FOUND, *flags, *options, f"file://{folder}/page.html"]
        return subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=True).stdout
