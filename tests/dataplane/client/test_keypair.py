"""Key pairs of applications, by our command and by openssl, each verified by the other."""

import base64
import shutil
import subprocess
from pathlib import Path

import pytest

from jinqiao import cli
from jinqiao.dataplane.client import SecretNotReadable
from jinqiao.dataplane.client.errors import KeyFileNotWritten
from jinqiao.dataplane.client.keypair import KeyPair
from jinqiao.kernel.crypto.public_keys import ALGORITHMS, is_signed_by, read_public_key, read_signature

OPENSSL = shutil.which("openssl")


def openssl(*arguments: str) -> bytes:
    assert OPENSSL is not None
    return subprocess.run([OPENSSL, *arguments], check=True, capture_output=True).stdout


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_pair_is_kept_in_a_file_that_only_its_owner_reads(tmp_path: Path, algorithm: str) -> None:
    file, pair = tmp_path / "key.pem", KeyPair.generate(algorithm)
    pair.save(file)

    assert KeyPair.load(file) == pair
    assert file.stat().st_mode & 0o777 == 0o600
    with pytest.raises(KeyFileNotWritten):
        pair.save(file)
    assert pair.private.hex() not in repr(pair)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_the_command_makes_a_pair_and_proves_it(
    tmp_path: Path, algorithm: str, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "key.pem"
    assert cli.main(["keypair", "new", str(file), "--algorithm", algorithm]) == 0
    public = read_public_key(algorithm, capsys.readouterr().out)
    assert cli.main(["keypair", "public", str(file)]) == 0
    assert read_public_key(algorithm, capsys.readouterr().out) == public
    assert cli.main(["keypair", "prove", str(file), "a challenge"]) == 0
    signature = read_signature(capsys.readouterr().out)

    assert is_signed_by(algorithm, public, b"a challenge", signature)
    assert not is_signed_by(algorithm, public, b"another challenge", signature)
    assert cli.main(["keypair", "new", str(file)]) == 2
    assert "[gateway.client.key_file_not_written]" in capsys.readouterr().err


@pytest.mark.skipif(OPENSSL is None, reason="no openssl on this machine")
@pytest.mark.parametrize(("algorithm", "name"), [("ed25519", "ED25519"), ("sm2-sm3", "SM2")])
def test_openssl_reads_our_files_and_we_read_its(tmp_path: Path, algorithm: str, name: str) -> None:
    ours, theirs = tmp_path / "ours.pem", tmp_path / "theirs.pem"
    KeyPair.generate(algorithm).save(ours)
    assert openssl("pkey", "-in", str(ours), "-pubout").decode() == KeyPair.load(ours).public_pem
    openssl("genpkey", "-algorithm", name, "-out", str(theirs))

    pair = KeyPair.load(theirs)
    assert openssl("pkey", "-in", str(theirs), "-pubout").decode() == pair.public_pem

    data = tmp_path / "data"
    data.write_bytes(b"a challenge")
    how = ["-rawin"] if algorithm == "ed25519" else ["-rawin", "-digest", "sm3", "-pkeyopt", "distid:1234567812345678"]
    signature = openssl("pkeyutl", "-sign", *how, "-inkey", str(theirs), "-in", str(data))
    assert is_signed_by(algorithm, pair.public, b"a challenge", read_signature(base64.b64encode(signature).decode()))


@pytest.mark.parametrize("text", ["", "a secret", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"])
def test_what_is_no_key_file_says_so(tmp_path: Path, text: str) -> None:
    file = tmp_path / "key.pem"
    file.write_text(text)
    with pytest.raises(SecretNotReadable):
        KeyPair.load(file)
    with pytest.raises(SecretNotReadable):
        KeyPair.load(tmp_path / "nowhere.pem")


def test_other_algorithms_are_none() -> None:
    with pytest.raises(ValueError, match="rsa"):
        KeyPair.generate("rsa")
    with pytest.raises(ValueError, match="rsa"):
        read_public_key("rsa", "")
