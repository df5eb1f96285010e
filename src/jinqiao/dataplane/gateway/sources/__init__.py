"""Where look-ups are made: one parameterised query per call, read-only, on SQLite, PostgreSQL, MariaDB and MySQL."""
