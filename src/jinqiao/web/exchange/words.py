"""Words of movement that stand on several pages."""

from django.utils.translation import gettext as _


def schedule_words(schedule: str) -> str:
    """A plan as people say it: 每天22:00, 每周一22:00, 每月5日22:00."""
    words = schedule.split()
    if not words:
        return _("不定期")
    kind = words[0]
    if kind == "hourly":
        return _("每小时")
    if kind == "daily":
        return _("每天%(at)s") % {"at": words[1]}
    if kind == "weekly":
        days = (_("周一"), _("周二"), _("周三"), _("周四"), _("周五"), _("周六"), _("周日"))
        return _("每%(day)s%(at)s") % {"day": days[int(words[1]) - 1], "at": words[2]}
    return _("每月%(day)s日%(at)s") % {"day": int(words[1]), "at": words[2]}
