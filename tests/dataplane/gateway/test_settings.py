"""A slip of the pen in the settings is told, never taken for a setting."""

from pathlib import Path

import pytest

from jinqiao.dataplane.gateway.errors import SettingsNotValid
from jinqiao.dataplane.gateway.settings import SETTINGS, GatewaySettings, read_settings


def test_without_a_file_everything_has_its_default(tmp_path: Path) -> None:
    assert read_settings(tmp_path) == GatewaySettings()


def test_what_stands_there_is_taken(tmp_path: Path) -> None:
    (tmp_path / SETTINGS).write_text(
        '[limits]\nper_source = 7\n[serving]\ndrain_s = 3\n[metrics]\nnetworks = ["10.0.0.0/8"]\n'
    )
    settings = read_settings(tmp_path)
    assert (settings.limits.per_source, settings.limits.in_flight) == (7, 1024)
    assert settings.serving.drain_s == 3.0
    assert settings.metrics.networks == ("10.0.0.0/8",)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("[limit]\n", "limit"),
        ("limits = 3\n", "limits"),
        ("[limits]\nper_sources = 7\n", "limits.per_sources"),
        ("[limits]\nper_source = 0\n", "limits.per_source"),
        ("[limits]\nper_source = true\n", "limits.per_source"),
        ('[limits]\nper_source = "7"\n', "limits.per_source"),
        ("[serving]\ndrain_s = -1\n", "serving.drain_s"),
        ('[metrics]\nnetworks = ["10.0.0.1/8"]\n', "metrics.networks"),
        ('[metrics]\nnetworks = "10.0.0.0/8"\n', "metrics.networks"),
        ("[limits\n", SETTINGS),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, text: str, name: str) -> None:
    (tmp_path / SETTINGS).write_text(text)
    with pytest.raises(SettingsNotValid) as caught:
        read_settings(tmp_path)
    assert caught.value.details == {"name": name}
