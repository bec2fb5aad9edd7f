"""Bars on a terminal, with a line of text above them."""

from __future__ import annotations

from collections.abc import Iterable

from rich.console import RenderableType
from rich.progress import BarColumn, Progress, TextColumn
from rich.text import Text

from docutalk_cli.output import Output

_WIDTH = 24


class Bars(Progress):
    """Each task is its description, a bar, and its field `what`. Nothing is drawn into a pipe, nothing stays on a terminal."""

    headline: Text = Text()

    def __init__(self, output: Output) -> None:
        super().__init__(
            TextColumn("{task.description}", style="bold", markup=False),
            BarColumn(bar_width=_WIDTH),
            TextColumn("{task.fields[what]}", style="dim", markup=False),
            console=output.out,
            transient=True,
            disable=not output.interactive,
        )

    def get_renderables(self) -> Iterable[RenderableType]:
        """The line, and then the bars."""
        if self.headline:
            yield self.headline
        yield from super().get_renderables()
