"""Settings of a scan and where each came from: command line, `PRIVAUDIT_*`, `privaudit.toml`, default.

In: option values, the environment, a folder. Out: `ScanSettings` without a contradiction, or a `ConfigError` of one
line. Knows no tensors; reads no checkpoint, only the settings file beside it.
"""

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, ValidationError, field_validator, model_validator

from privaudit.config_sources import ENVIRONMENT_PREFIX, find_file, read_environment, read_file
from privaudit.errors import ConfigError

COMMAND_LINE = "command line"
DEFAULT = "default"

Task = Literal["auto", "binary", "multiclass", "regression"]
Budget = Literal["quick", "standard", "thorough"]
Dtype = Literal["float32", "float64"]
Engine = Literal["local"]
FailOn = Literal["rebuilt", "membership", "any"]
Format = Literal["html", "markdown", "sarif", "junit", "modelcard"]


class ScanSettings(BaseModel):
    """Everything a scan can be told. Field names are the command line's, with underscores.

    Attributes:
        model: the checkpoint.
        adapter: `auto`, a registry name, `torchvision:NAME`, `timm:NAME`, or `file.py:factory` (which runs that file).
        reference: training images: ImageFolder directory, `.npz` (optionally `file.npz:PREFIX` for `PREFIX_images` and
            `PREFIX_labels`), or `torchvision:NAME`. None: reconstruct only.
        control: images that were never trained on, same forms.
        input_shape: (C, H, W); None: from metadata, the reference, or the width of the first layer.
        stride: of the convolutions, whole numbers, one for all or one each; `padding` likewise, or `same` or `none`;
            `pool` what follows each, such as `max2`, `avg2` or `none`. None: from metadata, else what the shapes allow.
        mean: `reference` (the mean image of the reference), a `.npy` file, or numbers, one a channel; None: from
            metadata.
        std: a `.npy` file or numbers; None: ones.
        time_limit_s: seconds after which the attack stops, whatever the budget plans; None: no limit.
        restarts: restarts a round of the multiplier equation; None: from the budget.
        candidates: candidates a restart; None: from the spectrum.
        dtype: arithmetic of the attack.
        fpr: false-positive rate of both calibrated thresholds, in (0, 1).
        max_leaked: allowance of rebuilt records, `max_readable` of readable memberships.
        instrument_check: whether the attack is checked on a network that leaks and on one that does not. Without it no
            verdict is `no_leak_found`.

    Raises:
        ConfigError: values that contradict each other or lie outside their range.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: Path
    adapter: str = "auto"
    task: Task = "auto"
    reference: str | None = None
    control: str | None = None
    input_shape: tuple[int, int, int] | None = None
    stride: str | None = None
    padding: str | None = None
    pool: str | None = None
    mean: str | None = None
    std: str | None = None
    out: Path = Path("audit")
    format: tuple[Format, ...] = ("html",)
    budget: Budget = "standard"
    time_limit_s: float | None = None
    restarts: int | None = None
    candidates: int | None = None
    seed: int = 0
    device: str = "auto"
    dtype: Dtype = "float32"
    engine: Engine = "local"
    fpr: float = 0.01
    max_leaked: int = 0
    max_readable: int = 0
    fail_on: FailOn = "any"
    exit_zero: bool = False
    reveal: bool = False
    resume: bool = False
    instrument_check: bool = True

    @field_validator("input_shape", mode="before")
    @classmethod
    def _shape_from_text(cls, value: object) -> object:
        return parse_shape(value) if isinstance(value, str) else value

    @field_validator("format", mode="before")
    @classmethod
    def _formats_from_text(cls, value: object) -> object:
        return split_formats([value] if isinstance(value, str) else value)

    @field_validator("candidates", mode="before")
    @classmethod
    def _candidates_from_text(cls, value: object) -> object:
        return None if value == "auto" else value

    @field_validator("mean", "std", "stride", "padding", "pool", mode="before")
    @classmethod
    def _numbers_to_text(cls, value: object) -> object:
        numbers = value if isinstance(value, list | tuple) else [value]
        is_numeric = all(isinstance(item, int | float) and not isinstance(item, bool) for item in numbers)
        return ",".join(str(item) for item in numbers) if numbers and is_numeric else value

    @model_validator(mode="after")
    def _refuse_contradictions(self) -> "ScanSettings":
        for message in _contradictions(self):
            raise ConfigError(message)
        return self


def parse_shape(text: str) -> tuple[int, ...]:
    """`3,32,32` or `3x32x32` to (3, 32, 32).

    Raises:
        ConfigError: not three whole numbers.
    """
    parts = [part.strip() for part in re.split(r"[,x×]", text.lower())]
    if len(parts) != 3 or not all(part.isdecimal() for part in parts):
        raise ConfigError(f"expected --input-shape as channels,height,width such as 3,32,32, found {text!r}")
    return tuple(int(part) for part in parts)


def split_formats(values: object) -> object:
    """`["html,sarif", "html"]` to `("html", "sarif")`; anything but a sequence of text is returned as it came.

    Raises:
        ConfigError: no format is named.
    """
    if not isinstance(values, Sequence) or not all(isinstance(value, str) for value in values):
        return values
    names = [name.strip().lower() for value in values for name in value.split(",") if name.strip()]
    if not names:
        raise ConfigError(f"expected at least one --format of {', '.join(get_args(Format))}, found none")
    return tuple(dict.fromkeys(names))


def _contradictions(settings: ScanSettings) -> Iterator[str]:
    """One sentence for each value out of range and each pair that cannot both hold."""
    if not 0 < settings.fpr < 1:
        yield f"expected --fpr between 0 and 1 (both excluded), found {settings.fpr}; 0.01 is the default"
    for option, number in (("--restarts", settings.restarts), ("--candidates", settings.candidates)):
        if number is not None and number <= 0:
            yield f"expected {option} of at least 1, found {number}; leave it out to let the tool choose"
    limit = settings.time_limit_s
    if limit is not None and not (limit > 0 and math.isfinite(limit)):
        yield f"expected --time-limit in seconds above 0, found {limit}; leave it out to follow --budget"
    for option, number in (
        ("--max-leaked", settings.max_leaked),
        ("--max-readable", settings.max_readable),
        ("--seed", settings.seed),
    ):
        if number < 0:
            yield f"expected {option} of at least 0, found {number}"
    if settings.input_shape is not None and min(settings.input_shape) < 1:
        yield f"expected --input-shape of positive numbers, found {settings.input_shape}"
    if settings.exit_zero and not settings.instrument_check:
        yield (
            "expected --exit-zero or --no-instrument-check, found both; a scan whose instrument was not checked never "
            "exits 0"
        )
    if settings.reference is None and settings.control is not None:
        yield (
            "expected --reference beside --control, found --control alone; name the training images, "
            "controls only say what chance alone reaches"
        )
    if settings.reference is None and settings.mean == "reference":
        yield "expected --reference beside --mean reference, found none; name the training images or a mean image"
    if settings.reference and settings.control and _is_same_source(settings.reference, settings.control):
        yield (
            f"expected --control to differ from --reference, found {settings.control!r} for both; "
            "controls must be images that were never trained on"
        )


def _is_same_source(one: str, other: str) -> bool:
    """`torchvision:NAME` is the training part as reference and the test part as control."""
    if one.startswith("torchvision:"):
        return False
    return one == other or Path(one).resolve() == Path(other).resolve()


def load_settings(
    model: Path, cli_values: Mapping[str, object], environ: Mapping[str, str], cwd: Path
) -> tuple[ScanSettings, dict[str, str]]:
    """Settings by precedence: command line, environment, file, default.

    Args:
        model: the checkpoint as the user typed it.
        cli_values: field name to value; None means that the option was not given.
        environ: variables; those named `PRIVAUDIT_` and a field in capitals count, empty ones do not.
        cwd: what a relative `model` is relative to.

    Returns:
        The settings, and for each field where it came from: `command line`, the name of a variable, the path of a
        `privaudit.toml`, or `default`.

    Raises:
        ConfigError: an unknown key, a value of the wrong kind, a contradiction, an unreadable file, or a file or
            variable that names an adapter which would run code.
    """
    keys = [name for name in ScanSettings.model_fields if name != "model"]
    path = find_file(model, cwd)
    from_file = read_file(path, keys) if path is not None else {}
    variables = read_environment(environ, keys)
    given = {**{name: value for name, value in cli_values.items() if value is not None}, "model": model}
    merged: dict[str, object] = {**from_file, **variables, **given}
    origins = {
        **dict.fromkeys(ScanSettings.model_fields, DEFAULT),
        **dict.fromkeys(from_file, str(path)),
        **{name: ENVIRONMENT_PREFIX + name.upper() for name in variables},
        **dict.fromkeys(given, COMMAND_LINE),
    }
    return _validated(merged, origins), origins


def check_options(**values: object) -> dict[str, Any]:
    """Single options of other commands, checked and converted as a scan would; None stays None (not given).

    Raises:
        ConfigError: a value of the wrong kind or out of range.
    """
    given = {name: value for name, value in values.items() if value is not None}
    checked = _validated({**given, "model": Path()}, dict.fromkeys([*given, "model"], COMMAND_LINE))
    return {name: getattr(checked, name) if name in given else None for name in values}


def _validated(values: Mapping[str, object], origins: Mapping[str, str]) -> ScanSettings:
    try:
        return ScanSettings.model_validate(values)
    except ValidationError as error:
        first: Any = error.errors()[0]
        name = str(first["loc"][0])
        origin = origins[name]
        subject = f"{name} in {origin}"
        if origin == COMMAND_LINE:
            subject = "--" + name.removesuffix("_s").replace("_", "-")
        elif origin.startswith(ENVIRONMENT_PREFIX):
            subject = origin
        raise ConfigError(f"expected {_expectation(first)} for {subject}, found {first['input']!r}") from None
    except ConfigError as error:
        others = [f"{name} from {origins[name]}" for name in values if origins[name] != COMMAND_LINE]
        raise ConfigError(f"{error} ({', '.join(others)})" if others else str(error)) from None


def _expectation(error: Mapping[str, Any]) -> str:
    """What a field wants, in words, from a pydantic error."""
    kind = error["type"]
    if kind == "literal_error":
        return f"one of {error['ctx']['expected']}"
    if error["loc"][0] == "input_shape":
        return "three whole numbers (channels, height, width)"
    starts = {"int": "a whole number", "float": "a number", "bool": "true or false", "path": "a path", "string": "text"}
    return next((words for start, words in starts.items() if kind.startswith(start)), "another kind of value")
