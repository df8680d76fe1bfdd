"""PostgreSQL as the index of the straightforward AppView: one table of datasets.

A weighted text vector under a GIN index, GIN on the tags, and B-trees for what is listed by time.
"""

from benchmarks.corpus import VERSION, Corpus
from benchmarks.postgres import Connection

TUNED = {
    "shared_buffers": "2GB",
    "effective_cache_size": "8GB",
    "maintenance_work_mem": "1GB",
    "work_mem": "64MB",
    "random_page_cost": "1.1",
    "max_wal_size": "8GB",
    "jit": "off",
}
"""More memory than it ships with, and plans for disks that seek fast; otherwise its defaults."""

TABLE = """
DROP TABLE IF EXISTS datasets;
CREATE TABLE datasets (
    uri text NOT NULL, did text NOT NULL, name text NOT NULL, description text NOT NULL,
    tags text[] NOT NULL, schema text NOT NULL, license text NOT NULL, created bigint NOT NULL,
    body jsonb NOT NULL,
    tsv tsvector GENERATED ALWAYS AS (
        setweight(to_tsvector('english', name), 'A')
        || setweight(array_to_tsvector(tags), 'B')
        || setweight(to_tsvector('english', description), 'C')) STORED);
"""
INDEXES = (
    "ALTER TABLE datasets ADD PRIMARY KEY (uri)",
    "CREATE INDEX ON datasets USING gin (tsv)",
    "CREATE INDEX ON datasets USING gin (tags)",
    "CREATE INDEX ON datasets (schema, created DESC)",
    "CREATE INDEX ON datasets (did, created DESC)",
    "CREATE INDEX ON datasets (created DESC)",
)


def load(connection: Connection, corpus: Corpus) -> bool:
    """Put the datasets into PostgreSQL; False when it holds them already."""
    identity = f"{corpus.size} {corpus.seed} {VERSION}"
    about = "SELECT obj_description(to_regclass('datasets'))"
    row = connection.execute(about).fetchone()
    if row is not None and row[0] == identity:
        return False
    connection.execute(TABLE)
    columns = "uri, did, name, description, tags, schema, license, created, body"
    with (
        connection.cursor() as cursor,
        cursor.copy(f"COPY datasets ({columns}) FROM STDIN") as copy,
    ):
        for number in range(corpus.chunks):
            some = corpus.chunk(number)
            for row in zip(
                some.uri, some.did, some.name, some.description, some.tags, some.schema,
                some.license, some.created, some.body, strict=True,
            ):  # fmt: skip
                copy.write_row(row)
    for statement in INDEXES:
        connection.execute(statement)
    connection.execute("VACUUM ANALYZE datasets")
    connection.execute(f"COMMENT ON TABLE datasets IS '{identity}'")
    return True
