"""`jinqiao call`: the answer or the problem with its mend, and exit codes that scripts can use."""

import io
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from jinqiao.dataplane import call
from jinqiao.kernel.ports import free_port
from tests.dataplane.gateway.test_process import process
from tests.dataplane.gateway.world import ANN, PURPOSE, SECRET, SERVICE, make_world


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    world = make_world(tmp_path_factory.mktemp("call"))
    world.publish()
    port = free_port()
    with process(world, port):
        yield f"http://127.0.0.1:{port}"


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    file = tmp_path / "secret"
    file.write_text(SECRET + "\n")
    return file


def arguments(url: str, secret: Path | str, *more: str, items: str = "xm,hyzk") -> list[str]:
    return [
        url, SERVICE, "--key-id", "key-housing", "--secret-file", str(secret), "--by", f"sfzh={ANN}", "--items", items,
        "--purpose", PURPOSE, "--language", "zh", *more,
    ]  # fmt: skip


def test_an_answer_is_printed_item_by_item(url: str, secret: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call.main(arguments(url, secret, "--case-number", "A-1", "--end-user", "李经办")) == call.ANSWERED
    told = capsys.readouterr()
    assert told.out == "xm: 安**\nhyzk: married\n"
    assert told.err.startswith("共 1 条 · ")


def test_json_is_for_programs(url: str, secret: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call.main(arguments(url, secret, "--case-number", "A-1", "--json")) == call.ANSWERED
    answer = json.loads(capsys.readouterr().out)
    assert answer["rows"] == [{"xm": "安**", "hyzk": "married"}]
    assert set(answer) == {"call_id", "items", "rows", "count", "truncated", "salt"}


def test_a_refusal_is_told_with_code_and_mend(url: str, secret: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call.main(arguments(url, secret)) == call.REFUSED
    told = capsys.readouterr()
    assert told.out == ""
    assert "[gateway.case_number.missing]" in told.err
    assert "怎么办: 在 case_number 字段填写" in told.err
    assert "调用编号: " in told.err


def test_a_refusal_as_json(url: str, secret: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert (
        call.main(arguments(url, secret, "--json", "--language", "en", "--case-number", "A", items="phone"))
        == call.REFUSED
    )
    problem = json.loads(capsys.readouterr().out)
    assert (problem["code"], problem["status"]) == ("gateway.items.not_granted", 403)
    assert problem["message"].isascii()


def test_the_secret_may_come_from_standard_input(
    url: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(SECRET + "\n"))
    assert call.main(arguments(url, "-", "--case-number", "A-1")) == call.ANSWERED


@pytest.mark.parametrize("content", [None, "", "\n"])
def test_a_secret_that_cannot_be_read_is_told_before_anything_is_sent(
    tmp_path: Path, content: str | None, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "none"
    if content is not None:
        file.write_text(content)
    assert call.main(arguments("http://nowhere.test", file)) == call.WRONG
    assert "[gateway.client.secret_not_readable]" in capsys.readouterr().err


def test_no_gateway_has_its_own_exit_code(secret: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call.main(arguments(f"http://127.0.0.1:{free_port()}", secret, "--json")) == call.NOT_THERE
    problem = json.loads(capsys.readouterr().out)
    assert problem["code"] == "gateway.client.unreachable"
    assert problem["mend"]


@pytest.mark.parametrize("change", [["--by", "sfzh"], ["--by", "=1"], ["--algorithm", "md5"], ["--timeout", "soon"]])
def test_a_wrong_command_ends_with_two(secret: Path, change: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        call.main(arguments("http://nowhere.test", secret, *change))
    assert caught.value.code == call.WRONG


def test_the_secret_is_never_printed(url: str, secret: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for more in (["--case-number", "A-1"], [], ["--json"], ["--algorithm", "hmac-sm3"]):
        call.main(arguments(url, secret, *more))
        told = capsys.readouterr()
        assert SECRET not in told.out + told.err
