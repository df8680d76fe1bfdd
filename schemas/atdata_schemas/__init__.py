"""What a typed-dataset record is: lexicons, identifier syntax, validation, typed values.

Owns the lexicon JSON of every record and query, the strict syntax of AT Protocol identifiers,
the lexicon validator, and the frozen values built from validated records. It does no I/O beyond
reading its own lexicon files and depends on the standard library alone.

Invariants: a value of `records` exists only for a record that passed its lexicon; every refusal
names the path and the rule that was broken (`errors.ValidationError`).
"""
