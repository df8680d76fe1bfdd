"""Between sample classes and schemas, in both directions: made, compared, and kept.

`annotations` and `drafts` lead from a class to its schema; `linked`, `generate` and `module` from a
published schema to a class, or to its source.
"""
