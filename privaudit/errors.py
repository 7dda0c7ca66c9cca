"""The exception tree and the exit-code table.

Every error a user can cause is a `PrivauditError` whose message is one line: what was expected, what was found, what to
do. The command line prints it and exits with 2; nothing else in the package catches it.
"""

from enum import IntEnum


class ExitCode(IntEnum):
    """What the process returns; a CI gate relies on these numbers."""

    NO_LEAK_FOUND = 0
    LEAK_FOUND = 1
    ERROR = 2
    INCONCLUSIVE = 3
    INTERRUPTED = 130


class PrivauditError(Exception):
    """Base of all errors with a message for the user."""


class CheckpointError(PrivauditError):
    """The checkpoint is missing, damaged or in a format that is not read."""


class UnsafeCheckpointError(CheckpointError):
    """Reading the checkpoint would execute code."""


class AdapterError(PrivauditError):
    """No adapter knows the architecture, or a named one does not fit."""


class DataError(PrivauditError):
    """Reference or control images, or a mean image, cannot be used."""


class ConfigError(PrivauditError):
    """Options contradict each other or cannot be understood."""


class ResultError(PrivauditError):
    """A `result.json` is damaged, was edited or has another schema."""


class OutputError(PrivauditError):
    """The output directory cannot be written."""


class StudyError(PrivauditError):
    """A cell of a study cannot go on, or some of its cells failed."""
