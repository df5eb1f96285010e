"""Bundles as files: a zip archive without compression, its parts in order, and last a manifest that the sender signed.

    parts/000001, parts/000002, …    what is carried; each named in the manifest with its size and digest
    manifest.json                    SignedMessage of a BundleManifest

Nothing of a bundle is used before all of it was verified: the signature, every digest, and that nothing was added, left out,
doubled or put in another order. Sequence numbers find bundles that are missing, replayed or out of date (`check_sequence`).
"""

import contextlib
import json
import os
import secrets
import zipfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from jinqiao.kernel import moments
from jinqiao.kernel.contracts.base import ContractBroken, canonical_json
from jinqiao.kernel.contracts.bundles import BundleManifest, BundlePart, Direction, PartKind
from jinqiao.kernel.contracts.exchange import SignedMessage
from jinqiao.kernel.crypto.errors import SignatureInvalid
from jinqiao.kernel.crypto.identity import Identity, PublicIdentity, open_message, sign_message
from jinqiao.kernel.crypto.suites import suite
from jinqiao.kernel.errors import InvalidInput, NotAllowed, Unavailable, WrongState
from jinqiao.kernel.keystore import sync_folder

SUFFIX = ".jqb"
MANIFEST = "manifest.json"
MOST_MANIFEST_BYTES = 64 * 1024**2
_BLOCK = 1024**2
_DAY = (1980, 1, 1, 0, 0, 0)  # entries bear no time: it stands, signed, in the manifest


class BundleBroken(InvalidInput):
    """A bundle was altered, cut off, or is none. Details: reason, part."""

    code = "bundle.broken"


class BundleSignatureWrong(NotAllowed):
    """The bundle is not signed by whom it says it comes from. Details: node."""

    code = "bundle.signature"


class BundleOfAnotherNode(NotAllowed):
    """The bundle is meant for, or comes from, another node. Details: node, wanted."""

    code = "bundle.other_node"


class BundleMissing(WrongState):
    """Earlier bundles are missing whose contents this one does not repeat. Details: expected, since, sequence."""

    code = "bundle.missing"


class BundleOutdated(WrongState):
    """A newer bundle was taken already, and this one is none of those that were taken. Details: sequence, taken."""

    code = "bundle.outdated"


class BundleNotWritten(Unavailable):
    """The medium is full or cannot be written."""

    code = "bundle.not_written"


@dataclass(frozen=True, slots=True)
class Content:
    """One thing to carry."""

    kind: PartKind
    data: bytes
    run_id: str = ""
    number: int = 0


@dataclass(frozen=True, slots=True)
class Bundle:
    """A bundle whose every byte was verified. `digest` names it: of its signed manifest. `signer` is the id of the key."""

    path: Path
    manifest: BundleManifest
    digest: str
    signer: str

    def parts(self) -> Iterator[tuple[BundlePart, bytes]]:
        """Each part with its contents, in order; verified once more, for the file may have changed since. Raises BundleBroken."""
        digest = suite(_suite_of(self.path)).digest
        with _opened(self.path) as archive:
            for part in self.manifest.parts:
                data = _read(archive, part.name, part.size_bytes)
                if digest(data).hex() != part.digest:
                    raise BundleBroken(reason="digest", part=part.name)
                yield part, data


def file_name(node_id: str, direction: Direction, sequence: int) -> str:
    return f"{direction.value}-{node_id}-{sequence:06d}{SUFFIX}"


def write_bundle(
    to: Path,
    signer: Identity,
    contents: Iterable[Content],
    *,
    node_id: str,
    direction: Direction,
    sequence: int,
    since: int,
    acknowledged: int,
) -> Path:
    """Write a bundle to a file, or under its own name into a folder; whole or not at all. Gives the file. Raises BundleNotWritten."""
    path = to / file_name(node_id, direction, sequence) if to.is_dir() else to
    aside = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    algorithms = suite(signer.suite)
    parts = []
    try:
        with aside.open("xb") as file:
            with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
                for number, content in enumerate(contents, 1):
                    part = BundlePart(
                        name=f"parts/{number:06d}",
                        kind=content.kind,
                        size_bytes=len(content.data),
                        digest=algorithms.digest(content.data).hex(),
                        run_id=content.run_id,
                        number=content.number,
                    )
                    archive.writestr(zipfile.ZipInfo(part.name, _DAY), content.data)
                    parts.append(part)
                manifest = BundleManifest(
                    node_id=node_id,
                    direction=direction,
                    sequence=sequence,
                    since=since,
                    acknowledged=acknowledged,
                    parts=tuple(parts),
                    made_at=moments.now(),
                )
                signed = canonical_json(sign_message(manifest, signer).to_json())
                archive.writestr(zipfile.ZipInfo(MANIFEST, _DAY), signed)
            file.flush()
            os.fsync(file.fileno())
        aside.replace(path)
        sync_folder(path.parent)
    except OSError as problem:
        with contextlib.suppress(OSError):
            aside.unlink()
        raise BundleNotWritten(file=path.name) from problem
    except BaseException:
        aside.unlink(missing_ok=True)
        raise
    return path


def read_bundle(path: Path, direction: Direction, signer_of: Callable[[str, str], PublicIdentity]) -> Bundle:
    """Verify all of a bundle. `signer_of(node_id, key_id)` gives whose signature it must bear, where it says that it bears that
    of the key, and may raise.

    Raises BundleBroken, BundleSignatureWrong.
    """
    message = _message(path)
    try:
        claimed = BundleManifest.from_json(message.body)
    except ContractBroken as problem:
        raise BundleBroken(reason="manifest", part=MANIFEST) from problem
    signer = signer_of(claimed.node_id, message.key_id)
    try:
        manifest = open_message(message, signer, BundleManifest)
    except SignatureInvalid as problem:
        raise BundleSignatureWrong(node=claimed.node_id) from problem
    if manifest.direction is not direction or not 1 <= manifest.since <= manifest.sequence or manifest.acknowledged < 0:
        raise BundleBroken(reason="manifest", part=MANIFEST)
    names = [part.name for part in manifest.parts]
    with _opened(path) as archive:
        if archive.namelist() != [*names, MANIFEST] or len(set(names)) != len(names):
            raise BundleBroken(reason="parts", part=MANIFEST)
        for part in manifest.parts:
            _verify(archive, part, signer.suite)
    digest = suite(signer.suite).digest(canonical_json(message.to_json())).hex()
    return Bundle(path, manifest, digest, signer.key_id)


def check_sequence(manifest: BundleManifest, *, taken: int, digest: str, digest_taken: str) -> bool:
    """Whether the bundle is to be taken now; False where this very bundle was taken before, which changes nothing.

    `taken` is the last sequence number that was taken, `digest_taken` the digest of the bundle that was taken under this
    one's number, empty where none was. Raises BundleMissing, BundleOutdated.
    """
    if digest_taken == digest:
        return False
    if manifest.sequence <= taken:
        raise BundleOutdated(sequence=manifest.sequence, taken=taken)
    if manifest.since > taken + 1:
        raise BundleMissing(expected=taken + 1, since=manifest.since, sequence=manifest.sequence)
    return True


# -- the archive


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[zipfile.ZipFile]:
    try:
        with zipfile.ZipFile(path) as archive:
            yield archive
    except (OSError, zipfile.BadZipFile, NotImplementedError, EOFError, ValueError, RuntimeError) as problem:
        raise BundleBroken(reason=type(problem).__name__, part=path.name) from problem


def _message(path: Path) -> SignedMessage:
    with _opened(path) as archive:
        found = [info for info in archive.infolist() if info.filename == MANIFEST]
        if len(found) != 1 or found[0].file_size > MOST_MANIFEST_BYTES:
            raise BundleBroken(reason="manifest", part=MANIFEST)
        data = _read(archive, MANIFEST, found[0].file_size)
    try:
        return SignedMessage.from_json(json.loads(data))
    except (ValueError, RecursionError, ContractBroken) as problem:
        raise BundleBroken(reason="manifest", part=MANIFEST) from problem


def _suite_of(path: Path) -> str:
    return _message(path).suite


def _read(archive: zipfile.ZipFile, name: str, size_bytes: int) -> bytes:
    _check_stored(archive, name, size_bytes)
    with archive.open(name) as file:
        return file.read(size_bytes + 1)


def _check_stored(archive: zipfile.ZipFile, name: str, size_bytes: int) -> None:
    """An entry that is as large as it says, uncompressed: nothing unfolds into more than it is."""
    try:
        info = archive.getinfo(name)
    except KeyError:
        raise BundleBroken(reason="parts", part=name) from None
    if info.compress_type != zipfile.ZIP_STORED or info.file_size != size_bytes or info.compress_size != size_bytes:
        raise BundleBroken(reason="size", part=name)


def _verify(archive: zipfile.ZipFile, part: BundlePart, suite_name: str) -> None:
    _check_stored(archive, part.name, part.size_bytes)
    hasher = suite(suite_name).hasher()
    with archive.open(part.name) as file:
        while block := file.read(_BLOCK):
            hasher.update(block)
    if hasher.hexdigest() != part.digest:
        raise BundleBroken(reason="digest", part=part.name)
