"""What an index can be asked and what it answers, as typed values.

Nothing here sends anything: `IndexClient` and `AsyncIndexClient` do. Only `wait` asks, through an
`IndexClient` that it is given.
"""
