"""What a report format is.

In: a finished result, its pictures if there are any, options. Out: the text of one file. Must not know torch, the
command line or where files lie.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from privaudit.gate_decision import GateDecision
from privaudit.report.pictures import Pictures
from privaudit.result import AuditResult


@dataclass(frozen=True)
class ReportOptions:
    """Choices of whoever renders.

    Attributes:
        reveal: show pictures as they are; False destroys their pixels before they are embedded.
        seed: of the random draw of records to show, so that a report rendered twice is the same file.
        n_shown: records shown best first, and as many again drawn at random.
        decision: what a gate decided on this result; None where none was asked.
        public: the report is to be published: no picture at all, no path, no name or score of a single record.
        templates: folder of templates that come before the shipped ones; None for those alone.
    """

    reveal: bool = False
    seed: int = 0
    n_shown: int = 12
    decision: GateDecision | None = None
    public: bool = False
    templates: Path | None = None


class AbstractReport(ABC):
    """One format. Rendering is deterministic: the same result, pictures and options give the same text."""

    name: ClassVar[str]
    """As `--format` spells it."""

    file_name: ClassVar[str]
    """Of the file written beside `result.json`."""

    needs_pictures: ClassVar[bool] = False
    """Whether pictures are read at all; formats that never carry pixels leave this False."""

    @abstractmethod
    def render(self, result: AuditResult, pictures: Pictures | None, options: ReportOptions) -> str:
        """The whole file as text, ending in a newline."""
