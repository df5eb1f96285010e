"""Each kind of damage to a pack is told by its own code; a whole pack is whole, in both suites; no byte changes unseen."""

import json
import zipfile
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jinqiao.dataplane.verify import main
from jinqiao.kernel.contracts.evidence import BodiesDeleted
from jinqiao.kernel.crypto.suites import suite
from jinqiao.kernel.evidence.codes import OPEN, Code, code_texts
from jinqiao.kernel.evidence.packs import open_pack, verify_pack, write_pack
from jinqiao.kernel.evidence.proofs import (
    AnswerSays,
    CallNotInEvidence,
    answer_says,
    find_call,
    prove_inclusion,
    verify_proof,
)
from jinqiao.kernel.evidence.statements import verify_statement
from tests.dataplane.evidence.fixtures.build import BESIDE, CODES, FOLDER, arguments, build
from tests.dataplane.evidence.fixtures.parts import (
    ANSWER,
    BEGAN,
    EXPORTED,
    GATEWAY,
    LANE,
    SALT,
    content_of,
    make_parts,
    write,
)

CALL = f"{1:032x}"
SUITES = ["international", "guomi"]


def codes(path: Path) -> list[str]:
    return [finding.code.value for finding in verify_pack(path).findings]


@pytest.mark.parametrize("suite_name", SUITES)
def test_a_whole_pack_is_whole(suite_name: str) -> None:
    verdict = verify_pack(FOLDER / f"whole-{suite_name}.zip")

    assert verdict.findings == []
    assert (verdict.batches, verdict.records, verdict.anchors, verdict.suite) == (4, 12, 2, suite_name)
    assert set(verdict.witnesses) == {"platform", "node-2"}
    assert {signer.node for signer in verdict.signers} == {"gw-1", "platform", "node-2"}


@pytest.mark.parametrize("suite_name", SUITES)
def test_a_deletion_by_rule_is_told_and_is_no_damage(suite_name: str) -> None:
    verdict = verify_pack(FOLDER / f"deleted-{suite_name}.zip")

    assert verdict.findings == []
    (one,) = verdict.deleted
    assert (one.first_batch, one.last_batch, one.keep_days) == (1, 2, 1096)


def told(capsys: pytest.CaptureFixture[str], arguments: list[str]) -> tuple[int, list[str]]:
    """What the command says of a file: exit code and codes of findings."""
    capsys.readouterr()
    exit_code = main([*arguments, "--json"])
    return exit_code, [finding["code"] for finding in json.loads(capsys.readouterr().out)["findings"]]


@pytest.mark.parametrize("suite_name", SUITES)
@pytest.mark.parametrize("code", CODES)
def test_each_damage_is_told_by_its_code(code: str, suite_name: str, capsys: pytest.CaptureFixture[str]) -> None:
    exit_code, found = told(capsys, arguments(code, suite_name))

    assert found[0] == code, found
    assert exit_code == (3 if Code(code) in OPEN else 1)


@pytest.mark.parametrize("suite_name", SUITES)
@pytest.mark.parametrize("code", BESIDE)
def test_what_only_another_can_tell_is_whole_without_his_word(
    code: str, suite_name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert told(capsys, arguments(code, suite_name)[:1]) == (0, [])


@pytest.mark.parametrize("suite_name", SUITES)
@pytest.mark.parametrize("name", ["proof", "receipt"])
def test_a_whole_statement_is_whole(name: str, suite_name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert told(capsys, [str(FOLDER / f"{name}-{suite_name}.json")]) == (0, [])


def test_the_builder_still_makes_these_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names = build(tmp_path)

    assert {file.name for file in FOLDER.iterdir() if file.suffix in (".zip", ".json", ".trust")} == set(names)
    for suite_name in SUITES:
        for code in CODES:
            assert told(capsys, arguments(code, suite_name, tmp_path))[1][0] == code, suite_name


def test_every_kind_of_damage_that_a_file_can_have_has_its_file() -> None:
    of_an_answer = {Code.CALL_UNKNOWN, Code.ANSWER_DIFFERS}
    assert set(CODES) == {code.value for code in Code if code not in of_an_answer}


def test_every_code_has_words_in_both_languages() -> None:
    assert set(code_texts()) == {code.value for code in Code}
    assert all(text["message"] and text["message_en"] for text in code_texts().values())


def test_the_documentation_tells_every_code_and_its_words() -> None:
    page = (Path(__file__).resolve().parents[3] / "docs" / "evidence.md").read_text(encoding="utf-8")
    for code in Code:
        text = code_texts()[code.value]
        kind = "open" if code in OPEN else "yes"
        assert f"| `{code.value}` | {kind} | {text['message']} | {text['message_en']} |" in page


def test_other_tools_open_a_pack() -> None:
    with zipfile.ZipFile(FOLDER / "whole-international.zip") as pack:
        assert pack.testzip() is None
        assert pack.namelist()[-1] == "manifest.json"
        assert len(pack.read("lanes/1.jsonl").splitlines()) == 4


@pytest.fixture(scope="module")
def whole() -> dict[str, bytes]:
    return {name: (FOLDER / f"whole-{name}.zip").read_bytes() for name in SUITES}


@given(data=st.data())
def test_no_byte_of_a_pack_changes_unseen(
    data: st.DataObject, whole: dict[str, bytes], tmp_path_factory: pytest.TempPathFactory
) -> None:
    pack = whole[data.draw(st.sampled_from(SUITES))]
    at = data.draw(st.integers(0, len(pack) - 1))
    bit = data.draw(st.integers(1, 255))
    file = tmp_path_factory.getbasetemp() / "flipped.zip"
    file.write_bytes(pack[:at] + bytes([pack[at] ^ bit]) + pack[at + 1 :])

    assert not verify_pack(file).ok, (at, bit)


@given(data=st.data())
def test_no_pack_that_was_cut_off_is_taken_for_whole(
    data: st.DataObject, whole: dict[str, bytes], tmp_path_factory: pytest.TempPathFactory
) -> None:
    pack = whole["international"]
    file = tmp_path_factory.getbasetemp() / "cut.zip"
    file.write_bytes(pack[: data.draw(st.integers(0, len(pack) - 1))])

    assert verify_pack(file).reason in ("pack.truncated", "pack.unreadable")


@given(data=st.data())
def test_no_byte_of_a_statement_changes_unseen(data: st.DataObject) -> None:
    name = f"{data.draw(st.sampled_from(['proof', 'receipt']))}-{data.draw(st.sampled_from(SUITES))}.json"
    raw = (FOLDER / name).read_bytes()
    at = data.draw(st.integers(0, len(raw) - 1))
    bit = data.draw(st.integers(1, 255))

    changed = raw[:at] + bytes([raw[at] ^ bit]) + raw[at + 1 :]
    assert not verify_statement(changed).verdict.ok, (name, at, bit)


class Foreign:
    """What somebody else's program wrote in the place of something of ours."""

    def __init__(self, told: Any) -> None:
        self._told = told

    def to_json(self) -> Any:
        return self._told

    def canonical(self) -> bytes:
        return json.dumps(self._told).encode()


NO_MOMENTS = {"a time without a place": "2026-03-18T01:00:00", "the end of all times": "9999-12-31T23:59:59+00:00"}


@pytest.mark.parametrize("value", ["\ud800", float("nan")], ids=["half a surrogate", "no number"])
@pytest.mark.parametrize("member", ["anchors", "countersignatures", "deletions"])
def test_a_foreign_message_that_has_no_canonical_form_is_damage(member: str, value: object, tmp_path: Path) -> None:
    parts = make_parts()
    message = parts.anchors[0].to_json()
    foreign: Any = Foreign({**message, "body": {**message["body"], "chain": value}})
    setattr(parts, member, [*getattr(parts, member), foreign])
    write(parts, tmp_path / "pack.zip")
    assert verify_pack(tmp_path / "pack.zip").reason == Code.MEMBER_FORM


@pytest.mark.parametrize("at", NO_MOMENTS.values(), ids=NO_MOMENTS)
def test_an_identity_whose_time_is_no_moment_is_damage(at: str, tmp_path: Path) -> None:
    parts = make_parts()
    foreign: Any = Foreign({**parts.identities[0].to_json(), "since": at})
    parts.identities[0] = foreign
    write(parts, tmp_path / "pack.zip")
    verdict = verify_pack(tmp_path / "pack.zip")
    assert verdict.reason == Code.IDENTITY_BROKEN


@pytest.mark.parametrize("at", NO_MOMENTS.values(), ids=NO_MOMENTS)
def test_what_was_signed_for_a_time_that_is_no_moment_is_damage(at: str, tmp_path: Path) -> None:
    when = datetime.fromisoformat(at)
    parts = make_parts()
    parts.anchors[0] = parts.anchor(parts.batches[1], when)
    write(parts, tmp_path / "anchor.zip")
    assert verify_pack(tmp_path / "anchor.zip").reason == Code.ANCHOR_SIGNATURE

    write_pack(
        tmp_path / "manifest.zip", content_of(make_parts()), exporter=parts.gateway, exported_by=GATEWAY, at=when
    )
    assert verify_pack(tmp_path / "manifest.zip").reason == Code.MANIFEST_FORM

    parts = make_parts()
    word = BodiesDeleted(at=when, gateway=GATEWAY, of_lane=LANE, first_batch=1, last_batch=1, records=3,
                         older_than=when, keep_days=1096, reason="retention", lane=LANE, number=1)  # fmt: skip
    lines = [list(batch.lines or ()) for batch in parts.batches]
    lines[0][0] = word.canonical().decode()
    parts.rechain(lines)
    parts.anchors, parts.countersignatures = [parts.anchor(parts.batches[3], BEGAN)], []
    write(parts, tmp_path / "deletion.zip")
    assert verify_pack(tmp_path / "deletion.zip").reason == Code.BATCH_FORM


def test_a_record_whose_number_is_no_text_is_the_call_of_no_receipt(tmp_path: Path) -> None:
    parts = make_parts()
    lines = [list(batch.lines or ()) for batch in parts.batches]
    lines[0][0] = json.dumps({**json.loads(lines[0][0]), "call_id": {}})
    parts.rechain(lines)
    parts.anchors, parts.countersignatures = [parts.anchor(parts.batches[3], BEGAN)], []
    write(parts, tmp_path / "pack.zip")
    assert Code.RECEIPT_WITHOUT_CALL in {finding.code for finding in verify_pack(tmp_path / "pack.zip").findings}


def test_options_that_do_not_go_with_a_file_are_refused(tmp_path: Path) -> None:
    proof, pack = str(FOLDER / "proof-international.json"), str(FOLDER / "whole-international.zip")
    seen = str(FOLDER / "lane.head_differs-international.seen.json")
    anchors = tmp_path / "anchors"
    with open_pack(Path(pack)) as opened:
        anchors.write_bytes(opened.messages("anchors.jsonl")[0].canonical())

    assert main([proof, "--seen", seen]) == 2
    assert main([proof, "--anchors", str(anchors)]) == 2
    assert main([pack, "--identities", seen]) == 2
    assert main([proof, "--identities", seen]) == 2
    assert main([pack, "--seen", str(anchors)]) == 2
    assert main([str(tmp_path), "--seen", seen]) == 2


@pytest.mark.parametrize("purpose", ["period", "archive", "export"])
def test_a_part_is_held_against_what_was_seen_of_its_batches_only(purpose: str, tmp_path: Path) -> None:
    parts = make_parts()
    kept = parts.anchors[1]
    heads = {"1": (4, parts.batches[3].chain.hex()), "2": (1, "00")}
    parts.batches, parts.anchors = parts.batches[:2], parts.anchors[:1]
    parts.countersignatures = parts.countersignatures[:2]
    content = content_of(parts)
    pack = tmp_path / "pack.zip"
    write_pack(pack, content, exporter=parts.gateway, exported_by="gw-1", at=EXPORTED, purpose=purpose)

    cut_off = ["lane.cut_off", "lane.missing", "lane.cut_off"]
    found = [one.code.value for one in verify_pack(pack, anchors=[kept], heads=heads).findings]
    assert found == ([] if purpose != "export" else [*cut_off, "countersignature.missing"])
    anew = {"1": (2, "00" * 32)}
    assert verify_pack(pack, heads=anew).reason == "lane.head_differs"


def test_keys_that_the_reader_does_not_trust_are_told(tmp_path: Path) -> None:
    parts = make_parts()
    write(parts, tmp_path / "pack.zip")
    trusted = frozenset({parts.gateway.key_id, parts.platform.key_id})

    assert codes_of(tmp_path / "pack.zip", trusted) == ["identity.not_trusted"]
    assert codes_of(tmp_path / "pack.zip", trusted | {parts.witness.key_id}) == []


def codes_of(path: Path, trusted: frozenset[str]) -> list[str]:
    return [finding.code.value for finding in verify_pack(path, trusted=trusted).findings]


def test_an_anchor_that_a_witness_kept_shows_a_pack_that_was_cut_before_it_was_signed(tmp_path: Path) -> None:
    parts = make_parts()
    kept = parts.anchors[1]
    parts.batches, parts.anchors = parts.batches[:2], parts.anchors[:1]
    parts.countersignatures = parts.countersignatures[:2]
    write(parts, tmp_path / "pack.zip")

    assert verify_pack(tmp_path / "pack.zip").findings == []
    assert verify_pack(tmp_path / "pack.zip", anchors=[kept]).reason == "lane.cut_off"


# ── proofs ──


@pytest.mark.parametrize("suite_name", SUITES)
def test_an_answer_is_proved_and_a_claim_refuted(suite_name: str) -> None:
    with open_pack(FOLDER / f"whole-{suite_name}.zip") as pack:
        record = find_call(pack, CALL).record
        with pytest.raises(CallNotInEvidence):
            find_call(pack, "ff" * 16)
    by = suite(suite_name)

    assert answer_says(by, record, SALT, ANSWER) is AnswerSays.FITS
    assert answer_says(by, record, SALT, ANSWER + b" ") is AnswerSays.DIFFERS
    assert answer_says(by, record, bytes(32), ANSWER) is AnswerSays.DIFFERS
    assert answer_says(by, record, SALT, ANSWER, claimed=b"{}") is AnswerSays.REFUTED
    assert answer_says(by, record, SALT, ANSWER, claimed=ANSWER) is AnswerSays.FITS


@pytest.mark.parametrize("suite_name", SUITES)
@pytest.mark.parametrize("number", [1, 5, 11])
def test_a_record_is_proved_without_the_others(suite_name: str, number: int) -> None:
    with open_pack(FOLDER / f"whole-{suite_name}.zip") as pack:
        proof = prove_inclusion(pack, f"{number:032x}")
    text = proof.canonical().decode()

    verdict, record = verify_proof(proof)

    assert verdict.findings == []
    assert record is not None
    assert record.number == number
    assert text.count("GZF-") == 1  # nothing of any other record
    changed = replace(proof, line=proof.line.replace(f"GZF-{number}", "GZF-0"))
    assert verify_proof(changed)[0].reason == "proof.path"


def test_the_command_tells_by_its_exit_code(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pack, answer, claim = FOLDER / "whole-international.zip", tmp_path / "answer", tmp_path / "claim"
    answer.write_bytes(ANSWER)
    claim.write_bytes(b"{}")
    shown = [str(pack), "--call", CALL, "--answer", str(answer), "--salt", SALT.hex()]

    assert main([str(pack)]) == 0
    assert main([str(FOLDER / "record.altered-international.zip"), "--language", "zh"]) == 1
    assert "[record.altered] 通道 1，第 2 批，第 5 条：记录的内容被改动。" in capsys.readouterr().out
    assert main([str(FOLDER / "receipt.contradicts-international.zip"), "--language", "en"]) == 3
    assert main([str(tmp_path / "nothing.zip")]) == 2
    assert main(shown) == 0
    assert main([*shown, "--claim", str(claim)]) == 4
    assert main([*shown[:-1], "00"]) == 1
    assert main([str(pack), "--prove", CALL, "--out", str(tmp_path / "proof.json")]) == 0
    capsys.readouterr()
    assert main([str(tmp_path / "proof.json"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["record"]["call_id"] == CALL
