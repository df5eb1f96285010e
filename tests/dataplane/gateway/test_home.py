"""A home is prepared once, keeps its identity, and shows no secret."""

import json
import os
from pathlib import Path

import pytest

from jinqiao.dataplane.gateway import home as homes
from jinqiao.dataplane.gateway.errors import HomeInUse, HomeNotPrepared
from jinqiao.dataplane.gateway.main import main
from jinqiao.dataplane.gateway.settings import SETTINGS, read_settings, trusting
from jinqiao.kernel.contracts.exchange import NodeAdmission
from jinqiao.kernel.crypto.identity import Identity, fingerprint
from jinqiao.kernel.keystore import KeyStore
from tests.certificates import Authority
from tests.web_servers import Answer, serving

PLATFORM = Identity.generate()


def test_preparing_again_keeps_the_identity_and_takes_the_new_address(tmp_path: Path) -> None:
    first = homes.prepare(tmp_path, "https://old.example/", "gw-1", PLATFORM.public)
    secret = homes.load(tmp_path).evidence_secret
    second = homes.prepare(tmp_path, "https://new.example", "gw-1", PLATFORM.public.to_json())

    home = homes.load(tmp_path)
    assert first == second == home.identity.public
    assert (home.platform_url, home.gateway_id, home.evidence_secret) == ("https://new.example", "gw-1", secret)
    assert home.platform == PLATFORM.public


def test_no_file_of_a_home_can_be_read_by_others_or_holds_a_secret_in_clear(tmp_path: Path) -> None:
    homes.prepare(tmp_path / "gw", "https://platform.example", "gw-1", PLATFORM.public)
    home = homes.load(tmp_path / "gw")
    private = json.dumps(home.identity.to_json())
    assert (tmp_path / "gw").stat().st_mode & 0o077 == 0
    for file in (tmp_path / "gw").iterdir():
        assert file.stat().st_mode & 0o077 == 0, file.name
        if file.name != "master.key":
            assert home.evidence_secret.hex() not in file.read_text()
            assert json.loads(private)["signing_private_key"] not in file.read_text()
    assert home.evidence_secret.hex() not in repr(home)


def test_a_rotated_master_key_opens_the_same_home(tmp_path: Path) -> None:
    homes.prepare(tmp_path, "https://platform.example", "gw-1", PLATFORM.public)
    before = homes.load(tmp_path)
    KeyStore(tmp_path).rotate()
    after = homes.load(tmp_path)
    assert (after.identity.public, after.evidence_secret) == (before.identity.public, before.evidence_secret)


@pytest.mark.parametrize("missing", ["gateway.toml", "platform.json"])
def test_a_home_with_a_part_missing_is_not_prepared(tmp_path: Path, missing: str) -> None:
    homes.prepare(tmp_path, "https://platform.example", "gw-1", PLATFORM.public)
    (tmp_path / missing).unlink()
    with pytest.raises(HomeNotPrepared):
        homes.load(tmp_path)


def test_a_gateway_id_with_quotes_survives_its_file(tmp_path: Path) -> None:
    name = 'gw "一" \\ 1'
    homes.prepare(tmp_path, "https://platform.example", name, PLATFORM.public)
    assert homes.load(tmp_path).gateway_id == name


def test_a_home_is_locked_for_one(tmp_path: Path) -> None:
    homes.prepare(tmp_path, "https://platform.example", "gw-1", PLATFORM.public)
    home = homes.load(tmp_path)
    held = home.lock()
    with pytest.raises(HomeInUse):
        home.lock()
    os.close(held)
    os.close(home.lock())


def test_a_gateway_registers_where_only_a_named_authority_vouches_for_the_platform(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    authority = Authority.make(tmp_path)
    admission = NodeAdmission(node_id="gw-1", platform_identity=PLATFORM.public.to_json())
    home = tmp_path / "gw"
    with serving(
        lambda asked: Answer(body=json.dumps(admission.to_json()).encode()),
        certificate=authority.issue(tmp_path, "127.0.0.1"),
    ) as platform:
        words = ["register", str(home), "--platform", platform.url("").rstrip("/"), "--code", "c", "--name", "网关"]
        assert main(words) == 1
        assert "node.platform.away" in capsys.readouterr().err
        assert main([*words, "--ca-file", str(authority.file)]) == 0
    told = json.loads(platform.asked[0].body)
    shown = f"密钥指纹 fingerprint: {fingerprint(told['identity']['key_id'])}\n"
    assert capsys.readouterr().out == f"gw-1\n{shown}"
    assert main(["fingerprint", str(home)]) == 0
    assert capsys.readouterr().out == shown

    assert homes.load(home).ca_file == authority.file
    homes.prepare(home, "https://new.example", "gw-1", PLATFORM.public)  # renewed: what the operator named stays
    assert homes.load(home).ca_file == authority.file
    other = Authority.make(tmp_path, "other").file
    (home / SETTINGS).write_text(f'[platform]\nca_file = "{other}"\n')
    assert trusting(homes.load(home), read_settings(home)).ca_file == other
