"""The index: DuckDB as the record of truth, tantivy as what searches read.

`database` owns the file, `tables` its layout, and `store` what is in it; `fields` says how a record
becomes a tantivy document; `writer` derives tantivy from the store's outbox; `reader` answers
searches from tantivy alone; `query` turns what a user typed into a bounded query; `cursor` is the
paging token; `census`, `audit` and `backup` are what an operator asks for.

Invariants: the store commits first; tantivy carries, in the same commit as the documents, the
outbox seq it has reached (the sentinel); whatever tantivy holds can be made again from the store.
"""
