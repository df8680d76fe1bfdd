"""What is asked and changed of takedowns, labels and what they hide, in SQL."""

TAKE_DOWN = "INSERT OR REPLACE INTO takedowns VALUES (?, ?, ?)"
PUT_BACK = "DELETE FROM takedowns WHERE subject = ? RETURNING subject, reason, made_us"
TAKEDOWNS = "SELECT subject, reason, made_us FROM takedowns ORDER BY made_us DESC, subject"
LABELLED = "SELECT DISTINCT l.uri FROM labels l JOIN incoming i ON l.src = i.src AND l.val = i.val"
UNSAY = "DELETE FROM labels WHERE (src, val) IN (SELECT src, val FROM incoming WHERE hides IS NULL)"
REJUDGE = (
    "UPDATE labels l SET hides = i.hides FROM incoming i WHERE l.src = i.src AND l.val = i.val"
)
LABELS_ANEW = "DELETE FROM cursors WHERE starts_with(source, ?)"
LABELERS_GONE = (
    "DELETE FROM cursors WHERE starts_with(source, ?) AND source NOT IN (SELECT unnest(?))"
)
# With any condition but this one DuckDB reads all labels and uses no index.
LABELS_OF = "SELECT src, uri, val, cid, cts, hides FROM labels WHERE uri IN"
TAKEN_DOWN = "SELECT subject FROM takedowns WHERE subject IN"
HIDE_ANEW = "DELETE FROM hidden WHERE uri IN"
HIDDEN_AMONG = "SELECT uri, cid FROM hidden WHERE uri IN"
BEYOND_STRANGE = (
    "DELETE FROM labels WHERE rowid IN (SELECT l.rowid FROM labels l WHERE l.src = ?"
    " AND NOT EXISTS (SELECT 1 FROM records r WHERE r.uri = l.uri)"
    " AND NOT EXISTS (SELECT 1 FROM repos p WHERE p.did = l.uri)"
    " QUALIFY sum(strlen(l.uri) + strlen(l.src) + strlen(l.val) + strlen(l.cid) + strlen(l.cts))"
    " OVER (ORDER BY l.hides DESC, l.rowid DESC) > ?)"
)
UNHIDE = (
    "DELETE FROM hidden WHERE NOT EXISTS (SELECT 1 FROM hiding g"
    " WHERE g.uri = hidden.uri AND g.cid IS NOT DISTINCT FROM hidden.cid)"
)
EXPIRED_LABELS = "SELECT rowid, uri FROM labels WHERE exp_us <= ? LIMIT ?"
LIVE_AMONG = "SELECT uri, did, cid, rev, kind FROM records WHERE state = 'live' AND uri IN"
