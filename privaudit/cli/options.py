"""Every option, declared once: those of `ScanSettings` as a table that `scan`, `inspect` and `config` share.

An option that is not given is None, so that the environment, a file or the default can speak. Values stay text here:
`privaudit.config` checks them, with the same words whether they come from an option, a variable or a file.
"""

import inspect
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Annotated, Any, get_args

import typer

from privaudit.config import Budget, Dtype, Engine, FailOn, Format, Task

_Command = Callable[..., None]


def _choices(kind: object) -> str:
    """The values of a `Literal` as help shows them."""
    return "|".join(get_args(kind))


ModelArgument = Annotated[
    Path, typer.Argument(metavar="MODEL", help="The checkpoint: .safetensors, its index, or a torch file.")
]
ResultArgument = Annotated[Path, typer.Argument(metavar="RESULT.json", help="What a scan wrote.")]
FormatOption = Annotated[
    list[str] | None,
    typer.Option("--format", metavar=_choices(Format), help="Report format; repeat it or separate by commas."),
]
MaxLeaked = Annotated[str | None, typer.Option(metavar="N", help="Rebuilt records that are allowed; 0 unless said.")]
MaxReadable = Annotated[
    str | None, typer.Option(metavar="N", help="Readable memberships that are allowed; 0 unless said.")
]
FailOnOption = Annotated[
    str | None, typer.Option(metavar=_choices(FailOn), help="Which finding makes leak_found. Default: any.")
]
ExitZero = Annotated[
    bool | None, typer.Option("--exit-zero/--no-exit-zero", help="Exit 0 instead of 1 and 3; errors stay 2.")
]
Reveal = Annotated[
    bool | None, typer.Option("--reveal/--no-reveal", help="Show training images and their names in the report.")
]
OutOption = Annotated[Path | None, typer.Option("--out", metavar="DIR", help="Folder. Default: that of RESULT.json.")]
DecisionOption = Annotated[
    Path | None,
    typer.Option("--gate", metavar="GATE.json", help="What a gate decided on RESULT.json, shown beside it."),
]
Public = Annotated[
    bool,
    typer.Option("--public", help="For publication: no pictures, paths or records; writes report.public.html."),
]
Pdf = Annotated[
    bool, typer.Option("--pdf", help="Print the HTML report to a PDF too, with a Chromium on this machine.")
]
Templates = Annotated[
    Path | None,
    typer.Option("--templates", metavar="DIR", help="Your templates, before the shipped ones (docs: read a report)."),
]
JobSummary = Annotated[
    bool, typer.Option("--job-summary", help="Append the Markdown report to $GITHUB_STEP_SUMMARY as well.")
]
Quiet = Annotated[bool, typer.Option("-q", "--quiet", help="Print nothing but errors to stderr.")]
Verbose = Annotated[
    int,
    typer.Option("-v", "--verbose", count=True, help="Say more; tracebacks of unexpected errors.", show_default=False),
]
NoProgress = Annotated[bool, typer.Option("--no-progress", help="Plain lines instead of bars.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON to stdout instead of a table to stderr.")]

_WHAT = "an ImageFolder directory, .npz or torchvision:NAME"
SCAN_OPTIONS: Mapping[str, Any] = {
    "adapter": Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="As `privaudit adapters` lists them; file.py:factory runs that file.",
        ),
    ],
    "task": Annotated[
        str | None, typer.Option(metavar=_choices(Task), help="What the model was trained for. Default: auto.")
    ],
    "reference": Annotated[str | None, typer.Option(metavar="SOURCE", help=f"Training images: {_WHAT}.")],
    "control": Annotated[str | None, typer.Option(metavar="SOURCE", help=f"Images never trained on: {_WHAT}.")],
    "input_shape": Annotated[
        str | None, typer.Option(metavar="C,H,W", help="Input shape, such as 3,32,32 or 3x32x32.")
    ],
    "stride": Annotated[
        str | None, typer.Option(metavar="N[,N…]", help="Stride of the convolutions, where shapes leave it open.")
    ],
    "padding": Annotated[
        str | None, typer.Option(metavar="N[,N…]", help="Their padding: pixels, same or none; one for all or one each.")
    ],
    "pool": Annotated[str | None, typer.Option(metavar="POOL[,POOL…]", help="Pooling behind them: none, max2, avg2 …")],
    "mean": Annotated[
        str | None,
        typer.Option(metavar="MEAN", help="What inputs were centred by: numbers, a .npy file, or 'reference'."),
    ],
    "std": Annotated[
        str | None, typer.Option(metavar="STD", help="What inputs were divided by: numbers or a .npy file.")
    ],
    "out": Annotated[Path | None, typer.Option(metavar="DIR", help="Folder of the results. Default: audit.")],
    "format": FormatOption,
    "budget": Annotated[
        str | None, typer.Option(metavar=_choices(Budget), help="Effort of the attack. Default: standard.")
    ],
    "time_limit_s": Annotated[
        str | None,
        typer.Option(
            "--time-limit", metavar="SECONDS", help="Stop the attack after that time, whatever --budget plans."
        ),
    ],
    "restarts": Annotated[str | None, typer.Option(metavar="N", help="Restarts a round. Default: by the budget.")],
    "candidates": Annotated[
        str | None, typer.Option(metavar="auto|N", help="Candidate images a restart. Default: auto, from the spectrum.")
    ],
    "seed": Annotated[str | None, typer.Option(metavar="N", help="Seed of everything random. Default: 0.")],
    "device": Annotated[str | None, typer.Option(metavar="NAME", help="cpu, cuda, cuda:0 … Default: auto.")],
    "dtype": Annotated[
        str | None, typer.Option(metavar=_choices(Dtype), help="Arithmetic of the attack. Default: float32.")
    ],
    "engine": Annotated[str | None, typer.Option(metavar=_choices(Engine), help="Where restarts run. Default: local.")],
    "fpr": Annotated[
        str | None, typer.Option(metavar="RATE", help="False-positive rate of the thresholds. Default: 0.01.")
    ],
    "max_leaked": MaxLeaked,
    "max_readable": MaxReadable,
    "fail_on": FailOnOption,
    "exit_zero": ExitZero,
    "reveal": Reveal,
    "instrument_check": Annotated[
        bool | None,
        typer.Option(
            "--instrument-check/--no-instrument-check",
            help="Check the attack on a network that leaks and one that does not. Without it never exit 0.",
        ),
    ],
    "resume": Annotated[
        bool | None, typer.Option("--resume/--no-resume", help="Continue an interrupted scan in the same --out.")
    ],
}


INSPECT_OPTIONS = (
    "adapter",
    "task",
    "reference",
    "control",
    "input_shape",
    "stride",
    "padding",
    "pool",
    "mean",
    "std",
    "seed",
    "device",
    "dtype",
    "fpr",
)


def with_scan_options(names: Collection[str] = SCAN_OPTIONS.keys()) -> Callable[[_Command], _Command]:
    """Give a command that takes `**settings` an option for each of these fields of `ScanSettings`."""
    options = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=SCAN_OPTIONS[name])
        for name in names
    ]

    def decorate(command: _Command) -> _Command:
        signature = inspect.signature(command)
        own = [parameter for parameter in signature.parameters.values() if parameter.name != "settings"]
        leading = [parameter for parameter in own if parameter.kind is not parameter.KEYWORD_ONLY]
        command.__signature__ = signature.replace(  # type: ignore[attr-defined]
            parameters=[*leading, *options, *own[len(leading) :]]
        )
        return command

    return decorate
