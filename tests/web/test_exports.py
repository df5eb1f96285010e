"""Lists as workbooks."""

from datetime import UTC, date, datetime
from decimal import Decimal
from io import BytesIO

import openpyxl
import pytest

from jinqiao.web import exports
from jinqiao.web.exports import neutral, xlsx_response


def _read(response):
    return openpyxl.load_workbook(BytesIO(response.getvalue())).active


def test_values_keep_their_kinds():
    sheet = _read(
        xlsx_response(
            "清单",
            ["名称", "数", "额", "日", "时", "是", "空", "代码"],
            [["甲", 3, Decimal("1.50"), date(2026, 3, 18), datetime(2026, 3, 18, 1, tzinfo=UTC), True, None, "0012"]],
        )
    )

    assert [cell.value for cell in sheet[1]] == ["名称", "数", "额", "日", "时", "是", "空", "代码"]
    assert [cell.value for cell in sheet[2]] == [
        "甲",
        3,
        1.5,
        datetime(2026, 3, 18),  # noqa: DTZ001 -- a workbook knows no zones
        datetime(2026, 3, 18, 9),  # noqa: DTZ001 -- China's time
        True,
        None,
        "0012",
    ]


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1"])
def test_text_never_becomes_a_formula(text):
    cell = _read(xlsx_response("x", ["值"], [[text]]))["A2"]

    assert cell.data_type == "s"
    assert cell.value.startswith("'")
    assert neutral("甲-乙") == "甲-乙"


def test_numbers_that_a_spreadsheet_would_round_stay_text():
    sheet = _read(xlsx_response("x", ["值"], [[123456789012345678], [float("nan")]]))

    assert [sheet["A2"].value, sheet["A3"].value] == ["123456789012345678", "nan"]


def test_the_name_of_the_file_is_readable_in_chinese():
    response = xlsx_response("审计日志", ["a"], [])

    assert "filename*=utf-8''%E5%AE%A1" in response["Content-Disposition"]
    assert response["Content-Disposition"].endswith(".xlsx")


def test_a_large_workbook_stays_on_disk_until_it_is_sent(monkeypatch):
    monkeypatch.setattr(exports, "_IN_MEMORY_BYTES", 1000)

    response = xlsx_response("大", ["值"], ([f"第{number}行"] for number in range(2000)))

    assert b"".join(response).startswith(b"PK")
    response.file_to_stream.close()
