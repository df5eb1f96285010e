"""`jinqiao manage sampling_draw PERIOD [--seed HEX]`: draws the calls of a period once more and compares with what was drawn. Changes nothing. Exits 0 when both agree, 1 when not."""

import sys
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from jinqiao.exchange.drawing import seed_digest
from jinqiao.exchange.models import SampledCall, Sampling
from jinqiao.exchange.queries.samples import draw


class Command(BaseCommand):
    help = __doc__

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("period")
        parser.add_argument("--seed", default="", help="hex; without it the seed that was told with the draw")

    def handle(self, *args: Any, **options: Any) -> None:
        del args
        sampling = Sampling.objects.filter(number=options["period"]).first()
        if sampling is None:
            raise CommandError(f"没有这个抽查期 no such period: {options['period']}")
        try:
            seed = bytes.fromhex(options["seed"] or sampling.seed)
        except ValueError as problem:
            raise CommandError("种子不是十六进制 the seed is no hex") from problem
        if not seed:
            raise CommandError("种子还没有公布 the seed has not been told yet")
        fits = seed_digest(seed, sampling.suite) == sampling.seed_digest
        self.stdout.write(
            f"种子与公布的摘要{'一致' if fits else '不一致'} seed {'fits' if fits else 'does not fit'} its digest"
        )
        kept = set(SampledCall.objects.filter(sampling=sampling).values_list("number", flat=True))
        again = {}
        for one in draw(sampling, seed):
            again.update({call_id: score for score, call_id in one.calls})
            self.stdout.write(f"{one.consumer}: {one.candidates} → {len(one.calls)}")
        for call_id, score in sorted(again.items(), key=lambda pair: pair[1]):
            self.stdout.write(f"{score} {call_id}{'' if call_id in kept else '  未在抽中之列 not among those drawn'}")
        missing = sorted(kept - again.keys())
        for call_id in missing:
            self.stdout.write(f"重算没有抽到 not drawn again: {call_id}")
        if not fits or missing or again.keys() - kept:
            sys.exit(1)
