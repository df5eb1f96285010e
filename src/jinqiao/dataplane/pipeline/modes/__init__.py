"""Modes of a run beyond reading everything: watermark, diff, log. `docs/exchange-modes.md` says what they promise.

    state = StateStore(spool.root / "state", key, suite_name).task(order.task_id)        staging.state; key: state_key(keystore)

    DiffSession(state, order)                           with … as session
        .filter(batch) -> RecordBatch                   target columns in, those rows out that are new or changed; thread-safe
        .deletes() -> Iterator[RecordBatch]             after the last filter: keys (target names and types) that are gone
        .save(batch_id)                                 before the manifest is written; new_cursor = batch_id
        .complete                                       True: nothing was known, every row comes: deliver as a full batch
        .counts                                         inserted, updated, deleted, unchanged

    WatermarkSession(state, order, schema, clock)       clock = source.clock(table, column), taken before the snapshot is opened
        .column, .conditions                            what to read besides the items; conditions besides the grant's
        .see(marks)                                     watermarks of every row read, as they come from the source
        .filter(batch, marks) -> RecordBatch            rows not delivered as they are; marks of these rows; thread-safe
        .findings()                                     rows without a watermark
        .save(batch_id) -> str                          the new cursor; empty for a backfill (`order.until`)

    with source.log(order.source_table, order.key_columns, slot_of(order)) as log:      connectors.postgresql_log
        start = log.start()                             first run: slot made, snapshot exported while `log` is open
            .snapshot, .cursor                          read everything in that snapshot, complete; new_cursor = cursor
        changes = log.read(order.after, columns, row_filter)
            .rows, .deletes                             RecordBatches of source columns, as Source.read gives them; of key columns
            .cursor, .complete, .more                   new_cursor; True after TRUNCATE; the log holds more than one run takes

    check_delivery(order)                               mode × delivery; raises DeliveryNotPossible, ReloadNotApproved

A batch that is `complete` (BatchManifest.complete) holds every granted row: it is delivered as one of mode FULL.
"""
