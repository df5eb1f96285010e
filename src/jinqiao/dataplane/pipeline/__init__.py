"""The exchange engine of a node: extract → stage → check, then deliver → reconcile.

    extract(order, source, *, spool, progress=None, stop=never) -> BatchManifest
        At the provider's node. Reads one snapshot of `order.source_table`, fits the values to the granted types, checks,
        masks, and stages encrypted chunks in `spool.outgoing(order.run_id)`, sealed to `order.consumer_identity`.
        Idempotent: with a manifest in the spool it is returned and the source is not touched. Bad rows are in
        `spool.outgoing(run_id).quarantine()` (`checks.quarantine.open_quarantine(data, provider's identity)`).

    deliver(order, manifest, target, *, spool, identity, progress=None, stop=never) -> DeliveryCounts
        At the consumer's node, after the chunks named in `manifest.chunks` were put by
        `spool.incoming(order.run_id).write_chunk(number, data)`. Idempotent and resumable by the target's own ledger.

    compare(order, source, target_as_source, *, stop=never) -> Comparison(source, target, .same)
        Content comparison that reads both sides again, for when it is asked for; a delivery does not need it.

    spool     staging.spool.Spool(root): outgoing(run_id), incoming(run_id), purge(run_id), runs(), free_bytes();
              each side a RunSpool: chunk_path(n), write_chunk, has_chunk, read_chunk, manifest(), quarantine(), purge()
    source    connectors.open_source(connection, password)      target   connectors.open_target(connection, password)
    identity  kernel.crypto.identity.Identity of the consumer's node
    progress  called with a kernel Progress, per stage, at most five times a second and at each chunk; from other threads too
    stop      asked between batches and chunks; when it says True the run ends with RunStopped (pipeline.run.stopped)

Errors are those of `dataplane.errors`; `retryable` says whether the same call may succeed later. A node checks before it
calls: the platform's signature on the order, that the grant is live, that it is the node named.
"""

from jinqiao.dataplane.pipeline.compare import Comparison, compare
from jinqiao.dataplane.pipeline.deliver import deliver, verify_manifest
from jinqiao.dataplane.pipeline.extract import extract
from jinqiao.dataplane.staging.spool import RunSpool, Spool

__all__ = ["Comparison", "RunSpool", "Spool", "compare", "deliver", "extract", "verify_manifest"]
