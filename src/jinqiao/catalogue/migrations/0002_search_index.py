"""The table of the full-text index: FTS5 on SQLite, tsvector with GIN on PostgreSQL. It holds no facts of its own."""

from django.db import migrations


def create(apps, schema_editor):
    if schema_editor.connection.vendor == "postgresql":
        # no foreign key: the test runner truncates tables, and a reference would forbid it
        schema_editor.execute("CREATE TABLE catalogue_search (entry_id bigint PRIMARY KEY, document tsvector NOT NULL)")
        schema_editor.execute("CREATE INDEX catalogue_search_document ON catalogue_search USING gin (document)")
    else:
        schema_editor.execute(
            "CREATE VIRTUAL TABLE catalogue_search USING fts5(name, pinyin, body, tokenize='unicode61 remove_diacritics 0')"
        )


def drop(apps, schema_editor):
    schema_editor.execute("DROP TABLE catalogue_search")


class Migration(migrations.Migration):
    dependencies = [("catalogue", "0001_initial")]

    operations = [migrations.RunPython(create, drop, elidable=False)]
