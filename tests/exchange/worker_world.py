"""Run as a program: fills an empty database with work for workers: an alert for the webhook that is named, and a task that is due."""

import sys

import django
from django.core.management import call_command


def main(hook: str) -> None:
    django.setup()
    call_command("migrate", run_syncdb=True, verbosity=0)
    from jinqiao.exchange import actions
    from jinqiao.exchange.models import ExchangeTask, Node
    from jinqiao.kernel import moments
    from tests.exchange.factories import make_world
    from tests.factories import seed_calendar

    seed_calendar()
    world = make_world()
    world.task(schedule="hourly")
    ExchangeTask.objects.update(next_run_at=moments.now())
    actions.add_alert_channel(by=world.provider_admin, kind="webhook", address=hook)
    Node.objects.filter(pk=world.provider_node.node.pk).update(spool_free_bytes=1)
    assert actions.watch() == 1


if __name__ == "__main__":
    main(sys.argv[1])
