"""The indexer: reads the network's firehose and keeps the index of typed-dataset records.

Where to look, one noun a file:

    what comes       sources/ (relay, Jetstream, recorded files) · following (reads one again and
                     again) · frames, jetstream (bytes → events) · lanes (what waits, what is held)
    what is believed repo (CAR, blocks) · mst · keys · verify
    what it changes  changes (the values) · fold (commits) · snapshot (whole repos) · rows (records)
                     limits (how much one may have)
    what is kept     ingest (work → transactions) · applying (turns of the writer)
                     index/ (DuckDB, tantivy; searches)
    repos in step    sync (fetches) · fetch, hosts, net (HTTP) · discovery · reconcile
                     rounds (what comes due) · housekeeping · errands (queues of DIDs) · notes
    who they are     identity (DID documents, handles) · lookups
    the program      daemon (the composition root) · settings · log · errors
    the operator     admin, admin_client (the socket) · upkeep · overview, rates, metrics · sampling
    for trying       playback (a recorded network on loopback)

It answers nobody beyond this machine's operator over HTTP: that is `atdata_api`.

Invariants: one transaction holds rows, repo state, cursors and outbox; tantivy is derived from the
outbox and may be deleted at any time; changes of one record are ordered by (rev, op index).
"""
