"""Reports that are published: what points at a machine, a person or a picture is gone, the counts are not."""

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
from result_builder import LEAK, NO_REFERENCE, build, decision, picture_arrays, write_audit
from safetensors.numpy import save_file

from privaudit.errors import ConfigError
from privaudit.report import REPORTS, write_reports
from privaudit.report.redaction import public_decision, public_result
from privaudit.result import AuditResult
from privaudit.result_file import sealed, to_json

HOME = "/home/anna/patients-2024"
SECRETS = ("anna", "patients", "ward", "scan_0001.png", "C:\\Users", "hostname-7")


def told(case: AuditResult) -> AuditResult:
    """A result in which every text that can hold a place or a name holds one."""
    assert case.evidence is not None
    records = tuple(
        record.model_copy(update={"id": f"ward3/scan_{place:04d}.png"})
        for place, record in enumerate(case.evidence.records)
    )
    evidence = case.evidence.model_copy(
        update={
            "records": records,
            "excluded_duplicates": ("ward3/copy.png",),
            "near_duplicates": (("ward3/scan_0001.png", "ward3/scan_0001 (2).png"),),
            "warnings": (f"The reference {HOME}/train holds ward3/scan_0001.png twice.",),
        }
    )
    config = {
        "model": f"{HOME}/model.safetensors", "reference": f"{HOME}/train", "control": "D:\\ward\\held",
        "out": "audit/ward", "mean": f"{HOME}/mean.npy", "adapter": "ward/net.py:anna", "seed": 3,
    }  # fmt: skip
    command = (
        f"privaudit scan {HOME}/model.safetensors --reference {HOME}/train --adapter ward/net.py:anna --out audit/ward"
    )
    return sealed(
        case.model_copy(
            update={
                "evidence": evidence,
                "model": case.model.model_copy(
                    update={
                        "path": f"{HOME}/model.safetensors",
                        "adapter": "ward/net.py:anna",
                        "metadata": {"note": "C:\\Users\\anna", "author": "anna"},
                    }
                ),
                "preflight": case.preflight.model_copy(
                    update={"reasons": (f"Read by {HOME}/../ward/net.py, see ~/ward.",)}
                ),
                "attack": case.attack.model_copy(update={"knowledge": (f"Preprocessing: mean {HOME}/mean.npy",)}),
                "reproduce": case.reproduce.model_copy(
                    update={"config": config, "command": command, "machine": "hostname-7, Linux"}
                ),
            }
        )
    )


def written(folder: Path, result: AuditResult, **choices: object) -> Path:
    folder.mkdir()
    (folder / "result.json").write_text(to_json(result), encoding="utf-8")
    save_file(picture_arrays(result, LEAK), str(folder / "reconstructions.safetensors"))
    return folder / "result.json"


def test_nothing_of_the_user_is_left_in_any_format(tmp_path: Path) -> None:
    result = told(build(LEAK))
    path = written(tmp_path / "audit", result)
    made = decision(result, policy=f"{HOME}/policy.toml")
    assert all(
        secret in to_json(result) or secret in made.model_dump_json() for secret in SECRETS if "\\" not in secret
    )
    files = write_reports(path, list(REPORTS), decision=made, public=True)
    assert [file.name for file in files] == [
        "report.public.html", "report.public.md", "result.public.sarif", "result.public.junit.xml",
        "modelcard.public.md",
    ]  # fmt: skip
    for file in files:
        text = file.read_text(encoding="utf-8")
        for secret in (*SECRETS, "Privacy office", "Public pictures"):
            assert secret.lower() not in text.lower(), f"{secret} in {file.name}"
        assert "<img" not in text
        assert "base64" not in text
        assert str(tmp_path) not in text


def test_the_same_secrets_are_there_without_public(tmp_path: Path) -> None:
    result = told(build(LEAK))
    (page,) = write_reports(written(tmp_path / "audit", result), ["html"], reveal=True)
    text = page.read_text(encoding="utf-8")
    for secret in ("patients-2024", "ward3/scan_", "hostname-7", "data:image/webp"):
        assert secret in text


def test_counts_bounds_and_digests_stay(tmp_path: Path) -> None:
    result = told(build(LEAK))
    public = public_result(result)
    assert public.verdict.status == result.verdict.status
    assert public.model.sha256 == result.model.sha256
    assert public.self_sha256 == result.self_sha256
    assert public.evidence is not None
    assert result.evidence is not None
    assert public.evidence.calibrated_threshold == result.evidence.calibrated_threshold
    assert [r.ssim for r in public.evidence.records] == [r.ssim for r in result.evidence.records]
    assert public.model.path == "model.safetensors"
    assert (
        public.reproduce.command == "privaudit scan MODEL --reference REFERENCE --control CONTROL --mean MEAN --out OUT"
    )
    assert public.reproduce.config == {"seed": 3}


@pytest.mark.parametrize("name", ["found", "leak_found", "passed", "1", "mean", "linear", "any"])
def test_records_called_like_our_own_words_break_nothing(name: str) -> None:
    result = build(LEAK)
    assert result.evidence is not None
    first = result.evidence.records[0].model_copy(update={"id": name})
    records = (first, *result.evidence.records[1:])
    renamed = result.model_copy(update={"evidence": result.evidence.model_copy(update={"records": records})})
    public = public_result(renamed)
    assert public.verdict.status == result.verdict.status
    assert public.evidence is not None
    assert public.evidence.records[0].id == "record 1"


def test_a_result_without_a_reference_can_be_published(tmp_path: Path) -> None:
    path = write_audit(tmp_path, replace(NO_REFERENCE, path="/srv/models/m.safetensors"))
    (page,) = write_reports(path, ["html"], public=True)
    assert "/srv" not in page.read_text(encoding="utf-8")


def test_waivers_name_records_by_number() -> None:
    result = told(build(LEAK))
    made = decision(result)
    public = public_decision(made, result)
    assert public is not None
    assert {waiver.owner for waiver in public.waivers} == {"withheld"}
    assert "record 1" in {waiver.target for waiver in public.waivers}
    assert json.loads(public.model_dump_json())["comparisons"][0]["gone"] == ["withheld", "withheld"]


def test_the_report_for_the_owner_is_not_replaced(tmp_path: Path) -> None:
    path = write_audit(tmp_path)
    (own,) = write_reports(path, ["html"], reveal=True)
    before = own.read_bytes()
    (public,) = write_reports(path, ["html"], public=True)
    assert own.read_bytes() == before
    assert public != own


def test_reveal_and_public_exclude_each_other(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="--reveal or --public"):
        write_reports(write_audit(tmp_path), ["html"], reveal=True, public=True)


def test_formats_for_programs_never_carry_pixels(tmp_path: Path) -> None:
    path = write_audit(tmp_path)
    for file in write_reports(path, ["markdown", "sarif", "junit", "modelcard"], reveal=True):
        assert not re.search(r"data:|base64|<img|!\[", file.read_text(encoding="utf-8")), file.name
