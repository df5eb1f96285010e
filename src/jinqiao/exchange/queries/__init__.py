"""Reading movement: what is there, who may see it, and what a grant means in columns.

What pages take from here; every figure has the function that gives the rows it counts:

    visible   {nodes,sources,tasks,runs,services,calls}_visible_to(post), entries_to_bind(post)
    tasks     tasks_found(post, text, state, mode, last_state, provider_id, consumer_id, has_alert), next_times(schedule, 3),
              possible_predecessors(task, post), source_columns(task), limits_of(task), open_reload(task), last_comparison(task)
    progress  stages(run) → StageFigures…, speed(run) → Speed (rows/s, MB/s, share, time left), present_stage(run), waited_s(run)
    contents  chunks(run) → ChunkRow…, findings(run) → FindingRow…, comparisons(run)
    receipts  signatures(receipt) → both sides, verified now
    history   daily(post, task) → DayFigures of 30 days ⇒ runs_of_day(post, on, state);
              supply_map(post) → SupplyMap of Edge ⇒ runs_between, tasks_between, calls_between
    alerts    alerts_found(post, text, is_open, kind, severity, organisation_id, since, until), rules_for(task | None) → Rule…,
              parameters_of(kind), channels_visible_to(post), last_deliveries(channel)
    runs      order_of(run), manifest_of(run), run_by_number(number), LIVE
    terms     table_schema(source, name), binding_of(grant), BoundTable, grant_terms, connection
    policy    services_of, compiled, why_not_served
"""
