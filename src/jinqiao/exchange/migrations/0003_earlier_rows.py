"""What rows of before mean in the new columns: incremental tasks merge, runs tell their manifest, nodes keep their first key."""

from django.apps.registry import Apps
from django.db import migrations
from django.db.backends.base.schema import BaseDatabaseSchemaEditor


def fill(apps: Apps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    apps.get_model("exchange", "ExchangeTask").objects.filter(mode="watermark").update(delivery="upsert")
    for run in apps.get_model("exchange", "Run").objects.exclude(manifest={}).order_by("id").iterator():
        manifest = run.manifest
        run.bytes = sum(int(chunk["size_bytes"]) for chunk in manifest.get("chunks", []))
        run.rows_read = manifest.get("rows_read")
        run.snapshot = str(manifest.get("snapshot", ""))[:100]
        run.readers = manifest.get("readers", 1)
        run.save(update_fields=["bytes", "rows_read", "snapshot", "readers"])
    identities = apps.get_model("exchange", "NodeIdentity").objects
    for node in apps.get_model("exchange", "Node").objects.exclude(key_id="").order_by("id").iterator():
        identities.get_or_create(
            key_id=node.key_id,
            defaults={"node": node, "identity": node.identity, "since": node.registered_at or node.seen_at},
        )


class Migration(migrations.Migration):
    dependencies = [("exchange", "0002_task_modes_alerts_comparisons")]
    operations = [migrations.RunPython(fill, migrations.RunPython.noop)]
