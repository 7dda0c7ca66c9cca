"""What people read on stderr, laid out for the width, colours and encoding of what stderr is.

In: labels, texts and rows, also from hostile files. Out: lines. Must not know results. Loads rich, so that commands
import it when they have something to print.
"""

import sys
from collections.abc import Collection, Iterable, Sequence
from typing import Literal, final

from rich.box import Box
from rich.console import RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from privaudit.cli.console import LONGEST_LINE, is_interactive, stderr_console
from privaudit.cli.signs import SIGNS, STYLES, Sign, encoding, fitted, plain

LABEL_WIDTH = 10
"""Columns of the labels at the left: the longest has nine letters."""

NARROW = 60
"""Columns under which nothing is laid out side by side but label and text."""


@final
class Screen:
    """Prints to stderr at once, a call a block; no line is wider than the terminal."""

    def __init__(self) -> None:
        self._console = stderr_console()
        self.is_interactive = is_interactive()
        self.width = self._console.width
        self.is_narrow = self.width < NARROW
        self.encoding = encoding()

    def gap(self) -> None:
        """An empty line."""
        self._print(Text(""))

    def line(self, text: str | Text, style: str = "", indent: int = 0) -> None:
        """A paragraph; wrapped lines start under its first letter."""
        self._print(Padding(self.text(text, style), (0, 0, 0, indent)))

    def fact(self, label: str, texts: Iterable[str | Text], style: str = "") -> None:
        """Paragraphs beside a label."""
        grid = Table.grid(padding=0)
        grid.add_column(width=LABEL_WIDTH)
        grid.add_column(overflow="fold")
        for index, text in enumerate(texts):
            grid.add_row(Text("" if index else label, style="dim"), self.text(text, style))
        self._print(grid)

    def files(self, label: str, paths: Sequence[str]) -> None:
        """Paths beside a label; in a log each stays on one line, so that it can be copied."""
        if self.is_interactive and not self.is_narrow:
            self.fact(label, paths)
            return
        if self.is_interactive:
            self.line(label, "dim")
            for path in paths:
                self.line(path, indent=2)
            return
        for index, path in enumerate(paths):
            shown = f"{'' if index else label:<{LABEL_WIDTH}}{plain(path, LONGEST_LINE)}"
            print(shown, file=sys.stderr)

    def signed(self, sign: Sign, text: str, is_verdict: bool = True) -> None:
        """A line that says how something came out: sign and colour say the same. A verdict is coloured whole."""
        grid = Table.grid(padding=0)
        grid.add_column(width=2)
        grid.add_column(overflow="fold")
        grid.add_row(self.text(SIGNS[sign], STYLES[sign]), self.text(text, STYLES[sign] if is_verdict else ""))
        self._print(grid)

    def table(
        self,
        headings: Sequence[str],
        rows: Sequence[Sequence[str | Text]],
        right: Collection[str] = (),
        whole: Collection[str] = (),
        n_titles: int = 1,
    ) -> None:
        """A table; where it does not fit without breaking words, each row as a list under its first cells.

        Args:
            headings: one a column.
            rows: cells.
            right: headings of columns of numbers.
            whole: headings of columns whose cells are not wrapped.
            n_titles: cells at the left that head a row's list.
        """
        table = Table(
            box=self._rule(),
            show_edge=False,
            padding=(0, 1, 0, 0),
            pad_edge=False,
            header_style="dim",
            border_style="dim",
        )
        for heading in headings:
            justify: Literal["left", "right"] = "right" if heading in right else "left"
            table.add_column(Text(heading), justify=justify, overflow="fold", no_wrap=heading in whole)
        cells = [[self.text(cell) for cell in row] for row in rows]
        for row in cells:
            table.add_row(*row)
        if not self.is_narrow and self._console.measure(table).minimum <= self.width:
            self._print(table)
            return
        for row in cells:
            self._print(Text(" ").join(row[:n_titles]))
            self._list(headings[n_titles:], row[n_titles:])

    def _list(self, headings: Sequence[str], cells: Sequence[Text]) -> None:
        """One row of a table as lines; cells with nothing in them are left out."""
        grid = Table.grid(padding=(0, 1, 0, 0))
        grid.add_column(no_wrap=True)
        grid.add_column(overflow="fold")
        for heading, cell in zip(headings, cells, strict=True):
            if cell.plain:
                grid.add_row(Text(heading, style="dim"), cell)
        self._print(Padding(grid, (0, 0, 0, 2)))

    def _rule(self) -> Box:
        """A line under the headings and nothing else."""
        is_ascii = not self.encoding.lower().startswith("utf")
        rows = ["    "] * 8
        rows[2] = " -- " if is_ascii else " ── "
        return Box("\n".join(rows) + "\n", ascii=is_ascii)

    def text(self, text: str | Text, style: str = "") -> Text:
        """As stderr can carry it; text of our own that is laid out already stays as it is."""
        if isinstance(text, Text):
            return text
        return Text(plain(text, LONGEST_LINE), style=style, overflow="fold")

    def sign(self, sign: Sign, text: str = "") -> Text:
        """A sign and a word in its colour."""
        return Text(fitted(f"{SIGNS[sign]} {text}".rstrip(), self.encoding), style=STYLES[sign], overflow="fold")

    def _print(self, renderable: RenderableType) -> None:
        """Without the spaces that fill a table's lines up."""
        with self._console.capture() as captured:
            self._console.print(renderable)
        for line in captured.get().splitlines():
            print(line.rstrip(), file=sys.stderr)
        sys.stderr.flush()
