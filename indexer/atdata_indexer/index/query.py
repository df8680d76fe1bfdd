"""From what a user typed to a bounded tantivy query. Pure; never touches tantivy's own parser.

tantivy's parser is recursive and knows field names: a few thousand parentheses end the process.
Here text is cut into words, at most MAX_WORDS of at most MAX_TEXT characters, without recursion.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import tantivy

from atdata_indexer.index.fields import fold_tag, normalise

MAX_TEXT = 512
MAX_WORDS = 32


@dataclass(frozen=True, slots=True)
class Search:
    """One search: `words` all match, `tags` are all carried, `author` is a DID or a handle."""

    kind: str
    q: str = ""
    tags: Sequence[str] = ()
    schema: str | None = None
    author: str | None = None

    @property
    def identity(self) -> str:
        """What a cursor of this search is bound to."""
        return json.dumps([self.kind, self.q, sorted(self.tags), self.schema, self.author])


def words(q: str, analyzer: tantivy.TextAnalyzer) -> list[str]:
    """The distinct terms of `q`, analysed as documents are, in order."""
    return list(dict.fromkeys(analyzer.analyze(normalise(q[:MAX_TEXT]))))[:MAX_WORDS]


def build(search: Search, terms: Iterable[str], schema: tantivy.Schema) -> tantivy.Query:
    """The query of a search; what filters does not score."""

    def term(field: str, value: str) -> tantivy.Query:
        return tantivy.Query.term_query(schema, field, value, "basic")

    filters = [term("kind", search.kind)]
    filters += [term("tag", fold_tag(tag)) for tag in search.tags]
    if search.schema is not None:
        filters.append(term("schema", search.schema))
    if search.author is not None:
        is_did = search.author.startswith("did:")
        author = search.author if is_did else search.author.lower()
        filters.append(term("did" if is_did else "handle", author))
    scored = [tantivy.Query.term_query(schema, "text", word, "freq") for word in terms]
    parts = [tantivy.Query.const_score_query(part, 0.0) for part in filters] + scored
    return tantivy.Query.boolean_query([(tantivy.Occur.Must, part) for part in parts])
