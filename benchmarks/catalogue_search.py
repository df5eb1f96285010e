"""How long a search and a list page take in a catalogue of 10,000 entries, on a fresh SQLite home.

    .venv/bin/python benchmarks/catalogue_search.py [--entries 10000] [--rounds 15]

Prints one line per query: median and slowest of the rounds in milliseconds, for the query alone (results with facets and the
first page of entries) and for the whole page as a signed-in data officer gets it. The limit is 100 ms for each median.
"""

import argparse
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

LIMIT_MS = 100.0
QUERIES = (
    "",
    "登记",
    "企业 信息",
    "婚姻登记信息",
    "hydj",
    "qiye",
    "食品经营许可第77",
    "3070110403/12",
    "没有这种数据",
    "信息",
)
TOPICS = [
    "企业注册",
    "婚姻登记",
    "食品经营",
    "不动产登记",
    "社会保险",
    "住房公积金",
    "机动车",
    "学籍",
    "医疗机构",
    "环境监测",
    "低保救助",
    "道路运输",
    "残疾人",
    "纳税信用",
    "行政处罚",
    "建设工程",
]
KINDS = ["信息", "许可", "名录", "统计", "档案", "证照", "处罚", "变更", "注销", "年报"]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--entries", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=15)
    wanted = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="jinqiao-bench-") as home:
        os.environ["JINQIAO_HOME"] = home
        os.environ.pop("DATABASE_URL", None)
        os.environ["DJANGO_SETTINGS_MODULE"] = "jinqiao.config.settings"
        sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
        import django

        django.setup()
        from django.core.management import call_command

        call_command("migrate", verbosity=0, skip_checks=True)
        call_command("collectstatic", verbosity=0, interactive=False, skip_checks=True)
        client = fill(wanted.entries)
        return measure(client, wanted.rounds)


def fill(count: int) -> Any:
    """Published entries of twelve departments in three classes, written directly, and the index built over them."""
    from django.db import transaction
    from django.test import Client

    from jinqiao.accounts.enums import Role
    from jinqiao.catalogue import search
    from jinqiao.catalogue.models import CatalogueEntry, ClassificationNode, DataItem, EntryVersion
    from jinqiao.kernel import moments
    from tests.factories import make_organisation, make_post

    with transaction.atomic():
        bodies = [make_organisation(f"金昌市第{number}局") for number in range(12)]
        post = make_post(Role.OPERATOR, bodies[0])
        codes = ("3070110403", "1010010001", "2010010001")
        nodes = [ClassificationNode.objects.create(code=code, name=f"类目{code}", level=4) for code in codes]
        now = moments.now()
        entries = CatalogueEntry.objects.bulk_create(
            CatalogueEntry(
                provider=bodies[n % 12],
                node=nodes[n % 3],
                sequence=n // 3 + 1,
                code=f"{codes[n % 3]}/{n // 3 + 1}",
                created_at=now,
            )
            for n in range(count)
        )
        versions = EntryVersion.objects.bulk_create(
            EntryVersion(
                entry=entry,
                number=1,
                state="published",
                rule_set="rules-2025",
                name=f"{TOPICS[n % 16]}{KINDS[n // 16 % 10]}第{n // 160}类",
                abstract=f"全市{TOPICS[n % 16]}的当前有效{KINDS[n // 7 % 10]}，按年度归集，含办理机关和日期。",
                format_class="3",
                format_type="oracle",
                sharing_category="123"[n % 3],
                means_class="platform",
                means=("database", "interface")[n % 2],
                update_cycle=("daily", "weekly", "monthly", "yearly")[n % 4],
                compiled_by=post,
                changed_at=now,
                published_at=now,
            )
            for n, entry in enumerate(entries)
        )
        DataItem.objects.bulk_create(
            DataItem(version=version, position=at, name=name, code=f"C{at}", data_type="C", length=60)
            for version in versions
            for at, name in enumerate(("名称", "证件号码", "登记机关", "登记日期"), start=1)
        )
        for entry, version in zip(entries, versions, strict=True):
            entry.live_version = version
        CatalogueEntry.objects.bulk_update(entries, ["live_version"], batch_size=500)
        started = time.perf_counter()
        indexed = search.rebuild()
    print(f"{indexed} entries indexed in {time.perf_counter() - started:.1f} s")
    client = Client(headers={"host": "localhost"})
    client.force_login(post.person, backend="jinqiao.accounts.backends.PersonBackend")
    return client


def measure(client: Any, rounds: int) -> int:
    from django.urls import reverse

    from jinqiao.catalogue import queries

    def query_only(text: str) -> int:
        results = queries.search(text)
        for entry in results.page_rows[:20]:
            assert entry.provider.short_name
        return results.total

    def page(text: str) -> int:
        response = client.get(reverse("catalogue:search"), {"q": text})
        assert response.status_code == 200
        return len(response.content)

    def own(text: str) -> int:
        response = client.get(reverse("catalogue:mine"), {"q": text})
        assert response.status_code == 200
        return len(response.content)

    slow = 0
    print(f"{'':<22}{'found':>8}{'query ms':>12}{'slowest':>10}{'page ms':>12}{'slowest':>10}")
    for text in QUERIES:
        found = query_only(text)
        alone, whole = timed(query_only, text, rounds), timed(page, text, rounds)
        slow += alone[0] > LIMIT_MS or whole[0] > LIMIT_MS
        print(f"{text or '(list)':<22}{found:>8}{alone[0]:>12.1f}{alone[1]:>10.1f}{whole[0]:>12.1f}{whole[1]:>10.1f}")
    mine = timed(own, "", rounds)
    slow += mine[0] > LIMIT_MS
    print(f"{'(own department)':<22}{'':>8}{'':>12}{'':>10}{mine[0]:>12.1f}{mine[1]:>10.1f}")
    print(f"limit {LIMIT_MS:.0f} ms: {'kept' if not slow else f'{slow} above it'}")
    return 1 if slow else 0


def timed(action: Callable[[str], int], text: str, rounds: int) -> tuple[float, float]:
    """Median and slowest in milliseconds, after one round to warm up."""
    action(text)
    taken = []
    for _round in range(rounds):
        started = time.perf_counter()
        action(text)
        taken.append(1000 * (time.perf_counter() - started))
    return statistics.median(taken), max(taken)


if __name__ == "__main__":
    raise SystemExit(main())
