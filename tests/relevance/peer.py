"""The same records in PostgreSQL, searched as the peer does: one weighted text vector and ts_rank.

PostgreSQL is given what it can use: it understands quotes and `-word` itself, and what our language
of queries says about tags, licences, authors and structure becomes SQL conditions.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from atdata_schemas.records import Dataset, Field, NDArray, Primitive, Schema
from benchmarks import postgres
from benchmarks.postgres import Connection

_TABLES = """
CREATE TABLE fields (
    schema_uri text NOT NULL, name text NOT NULL, kind text NOT NULL, dtype text, ndim int);
CREATE TABLE datasets (
    uri text PRIMARY KEY, did text NOT NULL, handle text NOT NULL, name text NOT NULL,
    tags text[] NOT NULL, license text, description text NOT NULL, schema_uri text NOT NULL,
    structure text NOT NULL, created_at timestamptz NOT NULL,
    search tsvector GENERATED ALWAYS AS (
        setweight(to_tsvector('english', name), 'A')
        || setweight(to_tsvector('english', immutable_words(tags)), 'B')
        || setweight(to_tsvector('english', structure), 'C')
        || setweight(to_tsvector('english', description), 'C')
        || setweight(to_tsvector('english', replace(handle, '.', ' ')), 'D')) STORED);
"""
# array_to_string is only stable, for types whose text depends on settings; that of text does not
_WORDS = """
CREATE FUNCTION immutable_words(text[]) RETURNS text LANGUAGE sql IMMUTABLE
    AS $$ SELECT array_to_string($1, ' ') $$
"""
_INSERT = "INSERT INTO datasets VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s)"
_SEARCH = """
WITH asked AS (SELECT
    websearch_to_tsquery('english', %(words)s) && websearch_to_tsquery('english', %(without)s)
    AS query)
SELECT uri FROM datasets, asked
WHERE (numnode(query) = 0 OR search @@ query)
    AND (SELECT coalesce(array_agg(lower(tag)), '{}') FROM unnest(tags) AS tag) @> %(tags)s::text[]
    AND (%(license)s::text IS NULL OR lower(license) = %(license)s)
    AND (%(author)s::text IS NULL OR %(author)s IN (handle, did))
    AND NOT EXISTS (
        SELECT FROM unnest(%(names)s::text[], %(kinds)s::text[], %(dtypes)s::text[],
            %(ndims)s::text[]) AS wanted (name, kind, dtype, ndim)
        WHERE NOT EXISTS (
            SELECT FROM fields WHERE fields.schema_uri = datasets.schema_uri
            AND wanted.name IN ('', '*', fields.name)
            AND (wanted.kind IN ('', '*', fields.kind)
                OR wanted.kind = 'primitive' AND fields.kind NOT IN ('ndarray', 'nested'))
            AND wanted.dtype IN ('', '*', fields.dtype)
            AND wanted.ndim IN ('', '*', fields.ndim::text)))
ORDER BY ts_rank(search, query) DESC, created_at DESC, uri
LIMIT %(limit)s
"""
_TOKEN = re.compile(r'-?"[^"]*"|\S+')


@dataclass(frozen=True, slots=True)
class Question:
    """A query taken apart: words and phrases, what must not occur, and conditions."""

    words: tuple[str, ...]
    without: tuple[str, ...]
    tags: tuple[str, ...]
    license: str | None
    author: str | None
    fields: tuple[tuple[str, ...], ...]


def question(q: str, fields: Sequence[str] = (), tags: Sequence[str] = ()) -> Question:
    """`q` with filters, as PostgreSQL has to be asked."""
    tokens = _TOKEN.findall(q)
    said: dict[str, list[str]] = {"tag": [*tags], "license": [], "author": [], "field": [*fields]}
    text = []
    for token in tokens:
        key, _, value = token.partition(":")
        if value and key in said:
            said[key].append(value)
        else:
            text.append(token)
    return Question(
        words=tuple(token for token in text if not token.startswith("-")),
        without=tuple(token for token in text if token.startswith("-")),
        tags=tuple(tag.lower() for tag in said["tag"]),
        license=said["license"][0].lower() if said["license"] else None,
        author=said["author"][0] if said["author"] else None,
        fields=tuple(tuple((pattern + ":::").split(":")[:4]) for pattern in said["field"]),
    )


@contextmanager
def filled(records: Iterable[tuple[str, str, Schema | Dataset]]) -> Iterator[Connection]:
    """A PostgreSQL of one's own with the records in it: URI, handle and value."""
    held = list(records)
    schemas = {uri: value for uri, _, value in held if isinstance(value, Schema)}
    with postgres.running() as connection, connection.cursor() as cursor:
        cursor.execute(_WORDS)
        cursor.execute(_TABLES)
        cursor.executemany(
            "INSERT INTO fields VALUES (%s, %s, %s, %s, %s)",
            [(uri, *_column(field)) for uri, schema in schemas.items() for field in schema.fields],
        )
        rows = [
            (
                uri,
                uri.split("/")[2],
                handle,
                value.name,
                list(value.tags),
                value.license,
                value.description or "",
                value.schema_ref,
                _structure(schemas[value.schema_ref]),
                value.created_at,
            )
            for uri, handle, value in held
            if isinstance(value, Dataset)
        ]
        cursor.executemany(_INSERT, rows)
        yield connection


def search(connection: Connection, asked: Question, *, limit: int, any_word: bool) -> list[str]:
    """The URIs of datasets that match, best first: all words, or any of them."""
    names, kinds, dtypes, ndims = zip(*asked.fields, strict=True) if asked.fields else ((),) * 4
    parameters = {
        "words": (" or " if any_word else " ").join(asked.words),
        "without": " ".join(asked.without),
        "tags": list(asked.tags),
        "license": asked.license,
        "author": asked.author,
        "names": list(names),
        "kinds": list(kinds),
        "dtypes": list(dtypes),
        "ndims": list(ndims),
        "limit": limit,
    }
    return [uri for (uri,) in connection.execute(_SEARCH, parameters)]


def _column(field: Field) -> tuple[str, str, str | None, int | None]:
    match field.type:
        case Primitive(primitive):
            return field.name, primitive, None, None
        case NDArray(dtype, shape):
            return field.name, "ndarray", dtype, None if shape is None else len(shape)
        case _:
            return field.name, "nested", None, None


def _structure(schema: Schema) -> str:
    return " ".join([schema.name, *(field.name for field in schema.fields)])
