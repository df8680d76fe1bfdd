"""The indexer: reads the network's firehose and keeps the index of typed-dataset records.

Owns everything from the bytes of an event to a searchable document: sources (I/O), frames and repo
(decoding), fold (what an event changes), index (DuckDB store, tantivy writer and reader), identity
and the daemon that puts them together; upkeep (what an operator has done) and the admin socket.
It answers nobody beyond this machine's operator over HTTP: that is `atdata_api`.

Invariants: one transaction holds rows, repo state, cursor and outbox; tantivy is derived from the
outbox and may be deleted at any time; changes of one record are ordered by (rev, op index).
"""
