"""The query API: XRPC over HTTP, answered from the tantivy index.

Owns the HTTP surface: routes made from the lexicons, error bodies, views put together, the OpenAPI
document, and the programs that run the service. It reads the index through `atdata_indexer` and
asks the indexer (`ledger.Ledger`) only for what tantivy cannot answer.

Invariants: every failure is an XRPC error body; nothing a client sends can end in a 500; searches
never depend on the ledger.
"""
