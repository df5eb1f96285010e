"""`jinqiao manage reset_password NAME`: a new password for who cannot be helped from the pages; shown once, recorded."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from jinqiao.accounts import actions
from jinqiao.accounts.models import Person


class Command(BaseCommand):
    help = __doc__

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("username")

    def handle(self, *args: Any, **options: Any) -> None:
        del args
        person = Person.objects.filter(username=options["username"]).first()
        if person is None:
            raise CommandError(f"没有这个登录名 no such name: {options['username']}")
        self.stdout.write(actions.reset_password(person, by=None))
