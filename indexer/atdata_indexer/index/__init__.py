"""The index: DuckDB as the record of truth, tantivy as what searches read.

    the database  database (the file) · tables (its layout) · store, repos (what is in it)
                  sortkeys (unique keys of dates) · bounds (what is forgotten)
    documents     fields (the layout, a record's document) · structure (of schemas)
                  analysis (text → terms) · writer (outbox → tantivy) · sentinel (how far it is)
    a search      language (the parts of `q`) · query, plan (what is asked, as tantivy takes it)
                  searching (one page) · ranking (by relevance) · order (by columns) · page, cursor
                  facets · highlight · spelling · vocabulary (common words)
    other queries links (use, versions, back-links) · lens_graph · similar · suggest
    for all these reader (the way in) · snapshot (one state of tantivy) · panic (its failures)
    the operator  census · audit · backup · files

A reader answers from tantivy alone, and only the writer knows both.

Invariants: the store commits first; tantivy carries, in the same commit as the documents, the
outbox seq it has reached (the sentinel); whatever tantivy holds can be made again from the store.
"""
