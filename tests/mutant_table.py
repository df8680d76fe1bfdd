"""The deliberate faults that `tests.mutants` makes: what each breaks, and the test it must fail.

Texts are short, and there is but one like each in the packages, whatever file it moves to.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Mutant:
    """A fault: `old` becomes `new`, which breaks `promise` and fails `test`."""

    name: str
    promise: str
    old: str
    new: str
    test: str


CRASH, AGAIN, ORDER = "no event lost", "redelivery", "per-repo order"
HIDDEN, BAD, FORGED = "account states", "a bad record", "nothing forged"
GAPS, STREAM, MEMORY = "gaps heal", "the stream's faults", "bounded memory"
DISK, DAMAGE = "full disk", "damaged files"
MODERATED, SHARES, SEARCHED = "what is hidden", "strangers' shares", "complete searches"

MUTANTS = (
    Mutant(
        "cursor saved outside the transaction",
        CRASH,
        "        with self._transaction():\n            rows = self._records(changes, now_us)\n",
        "        self._save_cursors(cursors, now_us)\n"
        "        with self._transaction():\n            rows = self._records(changes, now_us)\n",
        "test_store_is_one_transaction.py::test_a_failure_at_any_step_leaves_nothing_behind",
    ),
    Mutant(
        "cursor ahead of what waits",
        CRASH,
        "in (*work.waiting.items(), *undecided):",
        "in undecided:",
        "test_lanes.py::test_the_cursor_stays_below_what_waits_and_what_is_undecided",
    ),
    Mutant(
        "cursor ahead of what is undecided",
        CRASH,
        "in (*work.waiting.items(), *undecided):",
        "in work.waiting.items():",
        "test_lanes.py::test_the_cursor_stays_below_what_waits_and_what_is_undecided",
    ),
    Mutant(
        "outbox skipped",
        CRASH,
        "self._append((c.uri, c.did, c.cid, c.rev, c.op) for c in changes.outbox)",
        "self.head += len(changes.outbox)",
        "test_index_is_derived.py"
        "::test_what_was_stored_but_not_indexed_before_a_crash_is_indexed_after_it",
    ),
    Mutant(
        "rev check off",
        AGAIN,
        "if repo.rev is not None and rev <= repo.rev:",
        "if repo.rev is not None and rev < repo.rev:",
        "test_fold.py::test_a_commit_no_newer_than_its_repo_changes_nothing",
    ),
    Mutant(
        "redelivery applied twice",
        AGAIN,
        "        return again or self.order > order\n",
        "        return self.order > order\n",
        "test_fold.py"
        "::test_the_very_same_change_again_is_no_change_even_where_only_the_row_is_known",
    ),
    Mutant(
        "a late change wins",
        ORDER,
        "        return again or self.order > order\n",
        "        return again\n",
        "test_fold.py::test_a_late_update_never_resurrects_a_deleted_record",
    ),
    Mutant(
        "held events let go behind newer ones",
        ORDER,
        "self._ready.extendleft(reversed(entries))",
        "self._ready.extend(entries)",
        "test_lanes.py::test_a_held_repo_goes_on_in_order_and_ahead_of_what_came_after",
    ),
    Mutant(
        "held events lost",
        ORDER,
        "entries = self._held.pop(did, [])",
        "entries = self._held.pop(did, [])[:0]",
        "test_gaps_heal.py::test_commits_that_come_while_a_repo_is_fetched_are_applied_after_it",
    ),
    Mutant(
        "account state ignored when documents are made",
        HIDDEN,
        """LIVE = "r.state = 'live' AND p.status = 'active'\"""",
        """LIVE = "r.state = 'live'\"""",
        "test_accounts_hide_and_come_back.py"
        "::test_what_a_hidden_account_commits_stays_hidden_until_it_is_active",
    ),
    Mutant(
        "account not hidden at once",
        HIDDEN,
        """hiding cannot wait.
                    self._append([(f"at://{did}", did, None, None, "hide")])""",
        """hiding cannot wait.
                    pass""",
        "test_accounts_hide_and_come_back.py"
        "::test_any_inactive_status_hides_and_active_brings_back",
    ),
    Mutant(
        "purge skipped",
        HIDDEN,
        "self._store.purge(did)",
        "pass",
        "test_accounts_hide_and_come_back.py::test_deletion_purges_every_body_for_good",
    ),
    Mutant(
        "a bad record stops its whole run",
        BAD,
        "except (RecordError, ValidationError) as error:",
        "except KeyError as error:",
        "test_fold.py::test_a_bad_record_beside_good_ones_harms_only_itself",
    ),
    Mutant(
        "quarantine skipped",
        BAD,
        'self._replace("quarantine", tables.QUARANTINE, self._faults(changes, now_us))',
        "pass",
        "test_recording_ends_as_the_pds.py"
        "::test_every_invalid_record_is_in_quarantine_under_its_rule",
    ),
    Mutant(
        "hash check off",
        FORGED,
        "if sha256(block).digest() != cid[4:]:",
        "if len(sha256(block).digest()) != len(cid[4:]):",
        "test_car.py::test_one_bit_changed_in_a_block_is_a_wrong_hash",
    ),
    Mutant(
        "signature check off",
        FORGED,
        "if not signer.signed(signature, cbor2.dumps(fields, canonical=True)):",
        "if not signature:",
        "test_nothing_forged_gets_in.py"
        "::test_a_forged_commit_is_refused_and_its_repo_is_out_of_step",
    ),
    Mutant(
        "delete proof off",
        FORGED,
        'if held != (None if op.action == "delete" else op.cid):',
        'if op.action != "delete" and held != op.cid:',
        "test_nothing_forged_gets_in.py"
        "::test_a_forged_commit_is_refused_and_its_repo_is_out_of_step",
    ),
    Mutant(
        "ops are not undone to prevData",
        FORGED,
        "if tree.cid() != commit.prev_data:",
        "if not tree.cid():",
        "test_nothing_forged_gets_in.py"
        "::test_a_forged_commit_is_refused_and_its_repo_is_out_of_step",
    ),
    Mutant(
        "since and prevData chain off",
        GAPS,
        "gap = _breaks_chain(repo, commit)",
        "gap = False",
        "test_gaps_heal.py::test_commits_that_never_came_are_made_up_for",
    ),
    Mutant(
        "a stale snapshot overwrites what is newer",
        GAPS,
        "before.order[0] > snapshot.rev or ",
        "",
        "test_gaps_heal.py"
        "::test_a_snapshot_older_than_what_is_known_fills_in_and_takes_nothing_back",
    ),
    Mutant(
        "a repo that is behind is forgotten by a restart",
        GAPS,
        "for did in self._store.behind():",
        "for did in ():",
        "test_gaps_heal.py::test_a_restart_goes_on_with_the_repos_that_were_not_in_step",
    ),
    Mutant(
        "a cursor from the future is a disconnect",
        STREAM,
        """return 0, None
        error, message = str(body.get("error", "")), str(body.get("message", ""))
        raise (FutureCursor if error == "FutureCursor" else StreamError)""",
        """return 0, None
        error, message = str(body.get("error", "")), str(body.get("message", ""))
        raise StreamError""",
        "test_frames.py::test_a_cursor_from_the_future_has_an_error_of_its_own",
    ),
    Mutant(
        "an outdated cursor is no gap",
        STREAM,
        'body.get("name") == OUTDATED',
        'body.get("name") == ""',
        "test_frames.py::test_a_notice_has_no_seq_and_only_an_outdated_cursor_is_a_gap",
    ),
    Mutant(
        "a frame that cannot be read is passed over at once",
        STREAM,
        "STRIKES = 3\n",
        "STRIKES = 0\n",
        "test_following_a_relay.py"
        "::test_a_frame_that_is_not_cbor_drops_the_connection_and_is_read_again",
    ),
    Mutant(
        "a deletion drops what came after it",
        HIDDEN,
        "            case Account(did=did) | Sync(did=did):\n",
        "            case Account(did=did) | Sync(did=did):\n"
        "                self._lanes.drop(did)\n",
        "test_gaps_heal.py::test_commits_after_a_return_survive_the_deletion_before_it",
    ),
    Mutant(
        "an older word of another source purges",
        HIDDEN,
        "                elif not active:\n",
        "                if not active:\n",
        "test_accounts_across_sources.py::test_an_older_deletion_told_by_another_purges_nothing",
    ),
    Mutant(
        "an account event that comes again is taken anew",
        AGAIN,
        "WHEN $3 THEN account_seq >= $4",
        "WHEN $3 THEN account_seq < $4",
        "test_accounts_across_sources.py"
        "::test_a_deletion_and_return_that_are_told_again_purge_nothing",
    ),
    Mutant(
        "what found no room is not fetched",
        GAPS,
        "            elif snapshot.did in lost:\n",
        "            elif not snapshot.did:\n",
        "test_gaps_heal.py"
        "::test_what_found_no_room_while_its_repo_was_fetched_is_fetched_afterwards",
    ),
    Mutant(
        "a snapshot older than a forgotten deletion is believed",
        ORDER,
        "if repo.pruned_rev is not None and snapshot.rev < repo.pruned_rev:",
        "if repo.pruned_rev is not None and repo.pruned_rev < '':",
        "test_quarantine_is_bounded.py"
        "::test_tombstones_are_forgotten_and_nothing_that_comes_late_brings_them_back",
    ),
    Mutant(
        "an account that is forgotten while it speaks is not met anew",
        GAPS,
        "            if lost or self._lanes.waits(did):\n",
        "            if lost and not self._lanes.waits(did):\n",
        "test_accounts_are_forgotten.py",
    ),
    Mutant(
        "a stand-in relay begins without a gap",
        GAPS,
        "                self._begins_live = self._position is None\n",
        "                self._begins_live = False\n",
        "test_relays_stand_in.py"
        "::test_a_stand_in_begins_at_its_live_end_and_the_gap_between_is_fetched",
    ),
    Mutant(
        "what waits unread is not bounded",
        MEMORY,
        "if self._bytes > self._limit",
        "if self._bytes < 0",
        "test_following_a_relay.py::test_what_waits_unread_is_bounded_while_the_reader_is_busy",
    ),
    Mutant(
        "reading does not stop while the writer is behind",
        MEMORY,
        "while self._lanes.ready_bytes > self._limit:",
        "while self._lanes.ready_bytes < 0:",
        "test_bounded_memory.py::test_reading_stops_while_the_disk_stands_still_and_goes_on_after",
    ),
    Mutant(
        "a failed write is swallowed",
        DISK,
        'self._db.execute("ROLLBACK")\n                raise\n',
        'self._db.execute("ROLLBACK")\n                return\n',
        "test_store_is_one_transaction.py::test_a_failure_at_any_step_leaves_nothing_behind",
    ),
    Mutant(
        "a damaged index is not made anew",
        DAMAGE,
        "            self._writer = self.rebuild()\n",
        "            raise\n",
        "test_index_is_derived.py::test_a_damaged_index_is_rebuilt_by_itself",
    ),
    Mutant(
        "an index that fails in use goes on",
        DAMAGE,
        "return self._guard.__exit__(type(error), error, error.__traceback__)",
        "return True",
        "test_damaged_files.py"
        "::test_an_index_damaged_in_use_fails_loudly_and_the_next_start_makes_it_anew",
    ),
    Mutant(
        "an index of another database is believed",
        DAMAGE,
        "if epoch != self._store.epoch:",
        "if not epoch:",
        "test_index_is_derived.py::test_an_index_of_another_database_is_rebuilt",
    ),
    Mutant(
        "what is taken down is shown",
        MODERATED,
        "return LIVE + NOT_HIDDEN",
        "return LIVE",
        "test_nothing_hidden_is_exported.py",
    ),
    Mutant(
        "what is hidden is loaded",
        MODERATED,
        "        if not self.hides:\n            return rows\n",
        "        if rows is not None:\n            return rows\n",
        "test_takedowns.py::test_an_update_does_not_bring_a_record_back",
    ),
    Mutant(
        "an export offers what was hidden while it was made",
        MODERATED,
        "if not may_be_offered:",
        "if made is None:",
        "test_nothing_hidden_is_exported.py"
        "::test_what_is_hidden_while_one_is_made_is_never_offered",
    ),
    Mutant(
        "anybody speaks for a labeler",
        FORGED,
        "for one in own if not self._verify or self._is_signed(did, one)]",
        "for one in own]",
        "test_labels.py::test_what_it_did_not_sign_is_refused",
    ),
    Mutant(
        "a token counts again",
        SHARES,
        "if key in used or len(used) >= self._each:",
        "if len(used) >= self._each:",
        "test_service_auth.py::test_a_token_counts_once",
    ),
    Mutant(
        "an account has any number of tokens",
        SHARES,
        "if key in used or len(used) >= self._each:",
        "if key in used:",
        "test_callers_cannot_crowd_out_others.py"
        "::test_an_account_that_has_too_many_tokens_is_not_believed_and_others_are",
    ),
    Mutant(
        "answers are waited for without end",
        SHARES,
        "            async with waited:\n",
        "            if waited:\n",
        "test_answers_come_in_time.py::test_an_answer_that_takes_too_long_is_given_up",
    ),
    Mutant(
        "a record has any length",
        SHARES,
        'if len(text.encode("utf-8", "surrogatepass")) > MAX_BYTES:',
        "if not text:",
        "test_long_records.py::test_a_publisher_is_told_before_anything_is_sent",
    ),
    Mutant(
        "who follows a tag is not told of what loses it",
        STREAM,
        'if entry.op != "update" or entry.view is None:',
        "if entry.view is not entry:",
        "test_changes_tell_what_is_visible.py::test_who_wants_a_tag_is_told_what_loses_it",
    ),
    Mutant(
        "few hits count as very many",
        SEARCHED,
        "if count <= MOST:",
        "if count < 0:",
        "test_common_words.py::test_common_words_that_are_seldom_together_are_counted",
    ),
    Mutant(
        "a part of a group of equals is taken for the whole",
        SEARCHED,
        "whole = values.index(values[-1])",
        "whole = len(values)",
        "test_walks.py::test_many_that_are_equal_come_in_order_on_pages_of_any_size",
    ),
    Mutant(
        "words side by side are looked for in the newest only",
        SEARCHED,
        "    if joined:\n",
        "    if not held:\n",
        "test_common_words.py::test_words_side_by_side_in_a_name_are_found_wherever_they_are",
    ),
    Mutant(
        "a beginning finds every kind",
        SEARCHED,
        "boolean_query([must, kind, *scored])",
        "boolean_query([must, *scored])",
        "test_kinds_stay_apart.py::test_only_records_of_the_kind_are_found",
    ),
    Mutant(
        "deleted records make a total a bound",
        SEARCHED,
        "sure = near - snapshot.deleted > 2 * MOST",
        "sure = near > 2 * MOST",
        "test_strange_dates.py::test_what_is_deleted_makes_no_total_a_bound",
    ),
    Mutant(
        "every day since the year ten is looked up",
        SEARCHED,
        "max(sample[0], sample[-1] - _LONG), sample[-1]",
        "sample[0], sample[-1]",
        "test_strange_dates.py"
        "::test_a_record_of_the_year_ten_does_not_have_every_day_since_looked_up",
    ),
    Mutant(
        "facets are those of other hits",
        SEARCHED,
        "replace(asked, meant=relaxed(snapshot, asked, completing=False).meant)",
        "relaxed(snapshot, asked, completing=False)",
        "test_words_that_say_nothing.py::test_facets_are_those_of_the_hits",
    ),
    Mutant(
        "an author with one similar dataset has no more",
        SEARCHED,
        "for author, count in taken.items() if count >= most)",
        "for author, count in taken.items() if count)",
        "test_similar_datasets.py"
        "::test_an_author_with_one_dataset_among_the_first_may_have_two_more_further_down",
    ),
    Mutant(
        "pages of the index stay for ever",
        MEMORY,
        "mapped.resident() > mapped.MOST_BYTES",
        "mapped.resident() < 0",
        "test_index_pages_are_let_go.py::test_what_was_touched_is_let_go",
    ),
)
