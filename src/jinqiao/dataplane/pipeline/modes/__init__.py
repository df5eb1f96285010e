"""Modes of a run beyond reading everything: watermark, diff, log. `docs/exchange-modes.md` says what they promise.

Each is a `pipeline.session.Session`; `pipeline.sessions.session_of` makes the one of an order.

    WatermarkSession(state, order, schema, facts)   facts = source.watermark_facts(plan, column), asked before a snapshot is opened
    DiffSession(state, order)                       .complete: nothing was known, every row comes; .counts after the last row
    LogSession(order, source, schema)               its `open_snapshot` is the table in the slot's snapshot, then the log
    check_delivery(order)                           mode and delivery, keys, sign-off of a reload

    state = StateStore(home / "states", state_key(keystore, suite), suite).task(order.task_id)        (staging.state)

A batch that is `complete` (BatchManifest.complete) holds every granted row: it is delivered as one of mode FULL.
"""
