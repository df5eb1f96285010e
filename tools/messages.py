"""Collects the texts of the pages into the English catalogue and says which still lack their English."""

import sys

from jinqiao.config import messages


def main() -> int:
    texts, missing = messages.update()
    print(f"{texts} texts, {missing} without English in {messages.CATALOGUE.relative_to(messages.PACKAGE.parent)}")
    return 1 if missing else 0


if __name__ == "__main__":
    import django
    from django.conf import settings

    settings.configure(USE_I18N=True)
    django.setup()
    sys.exit(main())
