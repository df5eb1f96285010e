"""Bundles: nothing that was altered, reordered, replayed or meant for others is used."""

import json
import shutil
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from jinqiao.kernel.bundles import (
    MANIFEST,
    BundleBroken,
    BundleMissing,
    BundleNotWritten,
    BundleOutdated,
    BundleSignatureWrong,
    Content,
    check_sequence,
    read_bundle,
    write_bundle,
)
from jinqiao.kernel.contracts.base import canonical_json
from jinqiao.kernel.contracts.bundles import BundleManifest, Direction, PartKind
from jinqiao.kernel.crypto.identity import Identity, PublicIdentity, sign_message
from jinqiao.kernel.crypto.suites import SUITE_NAMES

CONTENTS = [
    Content(PartKind.HEARTBEAT, b"beat"),
    Content(PartKind.CHUNK, bytes(range(256)), run_id="RUN-1", number=1),
    Content(PartKind.CHUNK, b"second", run_id="RUN-1", number=2),
    Content(PartKind.RESULT, b"result"),
]
SIGNER = Identity.generate()


def packed(folder: Path, signer: Identity = SIGNER, contents: list[Content] | None = None, **fields: Any) -> Path:
    given = {"node_id": "n-1", "direction": Direction.UP, "sequence": 3, "since": 2, "acknowledged": 1} | fields
    return write_bundle(folder, signer, CONTENTS if contents is None else contents, **given)


def read(path: Path, signer: PublicIdentity | None = None, direction: Direction = Direction.UP) -> list[Content]:
    bundle = read_bundle(path, direction, lambda node_id, key_id: signer or SIGNER.public)
    return [Content(part.kind, data, part.run_id, part.number) for part, data in bundle.parts()]


@pytest.mark.parametrize("name", SUITE_NAMES)
def test_what_was_packed_is_what_is_read(tmp_path: Path, name: str) -> None:
    signer = Identity.generate(name)
    path = packed(tmp_path, signer)
    assert path.name == "up-n-1-000003.jqb"
    assert read(path, signer.public) == CONTENTS
    manifest = read_bundle(path, Direction.UP, lambda node_id, key_id: signer.public).manifest
    assert (manifest.sequence, manifest.since, manifest.acknowledged) == (3, 2, 1)
    assert list(tmp_path.iterdir()) == [path]


def test_a_bundle_without_parts_is_one(tmp_path: Path) -> None:
    assert read(packed(tmp_path, contents=[])) == []


@given(at=st.integers(min_value=0), bit=st.integers(0, 7))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_flipped_bit_anywhere_is_found_or_changes_nothing(tmp_path: Path, at: int, bit: int) -> None:
    data = bytearray(packed(tmp_path / "whole.jqb").read_bytes())
    data[at % len(data)] ^= 1 << bit
    altered = tmp_path / "altered.jqb"
    altered.write_bytes(bytes(data))
    try:
        found = read(altered)
    except (BundleBroken, BundleSignatureWrong):
        return
    assert found == CONTENTS


def rewritten(path: Path, change: Any) -> Path:
    """The same archive with other entries: `change` maps the list of (name, data)."""
    with zipfile.ZipFile(path) as archive:
        entries = [(name, archive.read(name)) for name in archive.namelist()]
    other = path.with_name("rewritten.jqb")
    with zipfile.ZipFile(other, "w") as archive:
        for name, data in change(entries):
            archive.writestr(name, data)
    return other


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize(
    ("what", "change"),
    [
        ("another order", lambda entries: [entries[1], entries[0], *entries[2:]]),
        (
            "contents exchanged",
            lambda entries: [entries[0], (entries[1][0], entries[2][1]), (entries[2][0], entries[1][1]), *entries[3:]],
        ),
        ("a part left out", lambda entries: entries[1:]),
        ("a part added", lambda entries: [("parts/000009", b"x"), *entries]),
        ("a part doubled", lambda entries: [entries[0], *entries]),
        ("a part altered", lambda entries: [(entries[0][0], b"beaT"), *entries[1:]]),
        ("no manifest", lambda entries: entries[:-1]),
        ("two manifests", lambda entries: [*entries, entries[-1]]),
        ("a manifest that is no JSON", lambda entries: [*entries[:-1], (MANIFEST, b"{")]),
        ("a manifest of another form", lambda entries: [*entries[:-1], (MANIFEST, b"{}")]),
    ],
)
def test_an_archive_that_was_changed_is_refused(tmp_path: Path, what: str, change: Any) -> None:
    with pytest.raises(BundleBroken):
        read(rewritten(packed(tmp_path), change))


def test_a_compressed_part_is_refused_before_it_unfolds(tmp_path: Path) -> None:
    path = packed(tmp_path)
    with zipfile.ZipFile(path) as archive:
        entries = [(name, archive.read(name)) for name in archive.namelist()]
    other = tmp_path / "deflated.jqb"
    with zipfile.ZipFile(other, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in entries:
            archive.writestr(name, data)
    with pytest.raises(BundleBroken):
        read(other)


def test_another_signer_and_an_altered_manifest_are_refused(tmp_path: Path) -> None:
    path = packed(tmp_path)
    with pytest.raises(BundleSignatureWrong):
        read(path, Identity.generate().public)

    def renumbered(entries: list[tuple[str, bytes]]) -> list[tuple[str, bytes]]:
        message = json.loads(entries[-1][1])
        message["body"]["sequence"] = 9
        return [*entries[:-1], (MANIFEST, json.dumps(message).encode())]

    with pytest.raises(BundleSignatureWrong):
        read(rewritten(path, renumbered))


def test_a_bundle_of_the_other_direction_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BundleBroken):
        read(packed(tmp_path), direction=Direction.DOWN)


def test_a_manifest_that_names_more_than_it_can_is_refused(tmp_path: Path) -> None:
    path = packed(tmp_path)

    def resigned(entries: list[tuple[str, bytes]]) -> list[tuple[str, bytes]]:
        manifest = BundleManifest.from_json(json.loads(entries[-1][1])["body"])
        signed = sign_message(replace(manifest, since=9), SIGNER)
        return [*entries[:-1], (MANIFEST, canonical_json(signed.to_json()))]

    with pytest.raises(BundleBroken):
        read(rewritten(path, resigned))


@pytest.mark.parametrize("data", [b"", b"PK", b"no archive at all" * 100])
def test_what_is_no_bundle_is_refused(tmp_path: Path, data: bytes) -> None:
    file = tmp_path / "x.jqb"
    file.write_bytes(data)
    with pytest.raises(BundleBroken):
        read(file)
    with pytest.raises(BundleBroken):
        read(tmp_path / "missing.jqb")


def test_a_bundle_that_is_exchanged_after_it_was_verified_is_found(tmp_path: Path) -> None:
    path = packed(tmp_path)
    bundle = read_bundle(path, Direction.UP, lambda node_id, key_id: SIGNER.public)
    others = [Content(PartKind.HEARTBEAT, b"evil"), *CONTENTS[1:]]
    shutil.copy(packed(tmp_path / "other.jqb", contents=others), path)
    with pytest.raises(BundleBroken):
        list(bundle.parts())


def test_a_medium_that_cannot_be_written_is_named_and_nothing_half_stays(tmp_path: Path) -> None:
    with pytest.raises(BundleNotWritten):
        packed(tmp_path / "missing" / "x.jqb")

    def breaking() -> Any:
        yield CONTENTS[0]
        raise RuntimeError

    with pytest.raises(RuntimeError):
        packed(tmp_path, contents=breaking())
    assert list(tmp_path.iterdir()) == []


def manifest_of(sequence: int, since: int) -> BundleManifest:
    from jinqiao.kernel import moments

    return BundleManifest(
        node_id="n", direction=Direction.UP, sequence=sequence, since=since, parts=(), made_at=moments.now()
    )


def test_numbers_tell_what_is_new_repeated_missing_and_out_of_date() -> None:
    assert check_sequence(manifest_of(1, 1), taken=0, digest="a", digest_taken="")
    assert check_sequence(manifest_of(5, 4), taken=3, digest="a", digest_taken="")  # 4 never came; it is repeated here
    assert not check_sequence(manifest_of(3, 1), taken=3, digest="a", digest_taken="a")
    assert not check_sequence(manifest_of(2, 1), taken=3, digest="a", digest_taken="a")
    with pytest.raises(BundleMissing):
        check_sequence(manifest_of(6, 5), taken=3, digest="a", digest_taken="")
    with pytest.raises(BundleOutdated):
        check_sequence(manifest_of(3, 1), taken=3, digest="b", digest_taken="a")
    with pytest.raises(BundleOutdated):
        check_sequence(manifest_of(2, 1), taken=3, digest="b", digest_taken="")
