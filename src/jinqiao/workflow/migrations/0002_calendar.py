"""The years whose notices are known when the platform is set up: 国务院办公厅关于部分节假日安排的通知."""

from django.db import migrations

from jinqiao.kernel import moments
from jinqiao.kernel.clocks import published_years


def enter(apps, schema_editor):
    year_model = apps.get_model("workflow", "CalendarYear")
    day_model = apps.get_model("workflow", "CalendarDay")
    for published in published_years():
        year, made = year_model.objects.get_or_create(
            year=published.year,
            defaults={"notice": f"国务院办公厅关于{published.year}年部分节假日安排的通知", "entered_at": moments.now()},
        )
        if made:
            day_model.objects.bulk_create(
                day_model(on=day.on, kind=day.kind, name=day.name, year=year) for day in published.days
            )


def take_out(apps, schema_editor):
    seeded = [published.year for published in published_years()]
    apps.get_model("workflow", "CalendarYear").objects.filter(year__in=seeded).delete()


class Migration(migrations.Migration):
    dependencies = [("workflow", "0001_initial")]

    operations = [migrations.RunPython(enter, take_out)]
