"""Pictures of the terminal for the README: real commands on a pseudo-terminal, drawn by rich and Chromium.

    python tools/terminal_pictures.py [NAME ...]

Runs the demo in a temporary folder, then each command of `PICTURES` as a user would see it (minutes in all), and writes
docs/terminal-NAME.png. Needs Chromium on the PATH and the font DejaVu Sans Mono. Nothing is fetched: the web fonts that
rich names in its SVG are taken out.
"""

import fcntl
import os
import re
import shutil
import struct
import subprocess
import sys
import tempfile
import termios
from dataclasses import dataclass
from pathlib import Path

from PIL import Image
from rich.console import Console
from rich.terminal_theme import TerminalTheme
from rich.text import Text

DOCS = Path(__file__).parents[1] / "docs"
SCALE = 1
"""Device pixels a pixel of rich's SVG, whose letters are 20 pixels high: twice the size at which they are read."""

COLOURS = 64
FONT = "DejaVu Sans Mono"
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
SCAN = ("model.safetensors", "--reference", "reference.npz", "--control", "control.npz")

THEME = TerminalTheme(
    (18, 21, 26),
    (222, 226, 230),
    [
        (73, 80, 87), (255, 107, 107), (105, 219, 124), (255, 212, 59),
        (116, 192, 252), (218, 119, 242), (102, 217, 232), (222, 226, 230),
    ],
)  # fmt: skip
"""Every colour has a contrast of more than 4.5 on the background."""


@dataclass(frozen=True)
class Picture:
    """One command and the terminal it runs in; `start`: how the first line that is shown begins, empty for all."""

    arguments: tuple[str, ...]
    columns: int = 80
    start: str = ""


PICTURES = {
    "scan": Picture(("scan", *SCAN, "--out", "audit", "--no-progress"), start="audited"),
    "scan-narrow": Picture(("scan", *SCAN, "--out", "audit", "--no-progress"), columns=40, start="audited"),
    "inspect": Picture(("inspect", *SCAN, "--no-progress")),
    "doctor": Picture(("doctor", "--no-progress")),
    "compare": Picture(("compare", "untrained/result.json", "leaky/result.json")),
}


def main() -> None:
    """Make the pictures that are named, or all."""
    browser = next((found for name in BROWSERS if (found := shutil.which(name))), None)
    if browser is None:
        sys.exit(f"expected one of {', '.join(BROWSERS)} on the PATH, found none")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        privaudit(folder, "demo", "--out", ".", "-q", columns=80)
        for chosen in sys.argv[1:] or PICTURES:
            picture = PICTURES[chosen]
            printed = privaudit(folder, *picture.arguments, columns=picture.columns)
            target = DOCS / f"terminal-{chosen}.png"
            photograph(browser, drawn(picture, printed), folder, target)
            print(f"{target.relative_to(DOCS.parent)}: {target.stat().st_size / 1000:.0f} kB")


def privaudit(folder: Path, *arguments: str, columns: int) -> str:
    """What the program prints on a terminal of that width, with escape codes."""
    controller, terminal = os.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    environ = {key: value for key, value in os.environ.items() if key not in ("NO_COLOR", "CI", "COLUMNS", "LINES")}
    environ |= {
        "TERM": "xterm-256color",
        "COLORTERM": "truecolor",
        "OMP_NUM_THREADS": "1",
        "PRIVAUDIT_SALT": "pictures",
        "PRIVAUDIT_CACHE": str(folder / "cache"),
        "PYTHONPATH": os.pathsep.join((str(DOCS.parent), os.environ.get("PYTHONPATH", ""))),
    }
    command = [sys.executable, "-m", "privaudit", *arguments]
    process = subprocess.Popen(
        command, cwd=folder, env=environ, stdin=terminal, stdout=subprocess.DEVNULL, stderr=terminal
    )
    os.close(terminal)
    printed = b""
    try:
        while chunk := os.read(controller, 65536):
            printed += chunk
    except OSError:  # Linux ends a pseudo-terminal with an error instead of an empty read
        pass
    os.close(controller)
    process.wait()
    return printed.decode().replace("\r\n", "\n").replace(str(folder / "cache"), "~/.cache/privaudit")


def drawn(picture: Picture, printed: str) -> Console:
    """The prompt, the command and the end of what it printed, recorded."""
    with Path(os.devnull).open("w", encoding="utf-8") as nowhere:
        console = Console(
            record=True, width=picture.columns, file=nowhere, force_terminal=True, color_system="truecolor"
        )
        shown = [argument for argument in picture.arguments if argument != "--no-progress"]
        console.print(Text.assemble(("$ ", "bold green"), " ".join(("privaudit", *shown))))
        lines = [Text.from_ansi(line) for line in printed.splitlines()]
        first = next((index for index, line in enumerate(lines) if line.plain.startswith(picture.start)), 0)
        for line in lines[max(first - 1, 0) :]:
            console.print(line, overflow="fold")
        console.print()  # rich cuts the lowest line off under its letters
    return console


def photograph(browser: str, console: Console, folder: Path, target: Path) -> None:
    """SVG by rich, without its web fonts, and a PNG of it by the browser."""
    svg = console.export_svg(title="privaudit", theme=THEME)
    svg = re.sub(r"@font-face\s*{.*?}", "", svg, flags=re.DOTALL).replace("Fira Code", FONT)
    if "http" in svg.replace("http://www.w3.org/", "").replace("https://www.textualize.io", ""):
        raise ValueError("expected an SVG that fetches nothing, found an address in it")
    width, height = (float(number) for number in re.search(r'viewBox="0 0 ([\d.]+) ([\d.]+)"', svg).groups())
    page = folder / "page.html"
    page.write_text(
        f'<!doctype html><meta charset="utf-8"><style>body{{margin:0}}svg{{display:block;width:{width}px}}</style>{svg}'
    )
    subprocess.run(
        [
            browser, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars",
            f"--force-device-scale-factor={SCALE}", "--default-background-color=00000000",
            f"--window-size={round(width)},{round(height)}", f"--screenshot={target}", page.as_uri(),
        ],
        check=True, capture_output=True, timeout=60,
    )  # fmt: skip
    with Image.open(target) as picture:
        picture.quantize(COLOURS, method=Image.Quantize.FASTOCTREE).save(target, optimize=True)


if __name__ == "__main__":
    main()
