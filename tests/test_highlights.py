"""Highlights show where a record matched: whole characters, in the text as its author wrote it."""

from hypothesis import assume, given
from hypothesis import strategies as st

from atdata_indexer.index.analysis import Word, pairs, phrase, plain_words, stems, values, words
from atdata_indexer.index.highlight import EXCERPT, LOOKED_AT, Highlight, Highlighter
from atdata_indexer.index.language import parse

FILLER = "Some further words that nobody asks for are standing here. " * 10
ATOMS = [
    *(
        "ImageNet",
        "image-net",
        "image net",
        "imaging",
        "images",
        "COCO2017",
        "x-ray",
        "state-of-the-art",
    ),
    *(
        "Café",
        "cafe\u0301",
        "STRASSE",
        "Straße",
        "naïve",
        "ﬁle",
        "İSTANBUL",
        "ΟΔΌΣ",
        "Ёлка",
        "a²",
    ),
    *("深度学習", "ｶﾞｲﾄﾞ", "ガイド", "か\u3099", "猫", "한국어", "กำลังเรียน", "हिन्दी", "מִלָּה", "مُحَمَّد"),
    *("🧬", "👩‍🔬", "…", "-", " ", " ", " ", "\n", ".", "\u00ad", "\u200d"),
]
TEXTS = st.lists(st.sampled_from(ATOMS), max_size=60).map("".join)


def asked(q: str) -> list[Word]:
    question = parse(q)
    phrases = [phrase(part.value) for part in question.phrases]
    return words(question.words) + [found for found in phrases if found]


def marked(q: str, text: str) -> list[str]:
    return [part for shown in Highlighter(asked(q)).highlight(text, "") for part in parts(shown)]


def parts(shown: Highlight) -> list[str]:
    data = shown.text.encode()
    return [data[one.byte_start : one.byte_end].decode() for one in shown.slices]


def test_words_are_marked_in_whatever_form_they_stand() -> None:
    assert marked("image", "Images, imaging and an image") == ["Images", "imaging", "image"]
    assert marked("cafe strasse", "Café STRASSE cafe\u0301!") == ["Café", "STRASSE", "cafe\u0301"]
    assert marked("istanbul", "İSTANBUL") == ["İSTANBUL"]
    assert marked("οδος", "ΟΔΌΣ οδός") == ["ΟΔΌΣ", "οδός"]
    assert marked("محمد", "عن مُحَمَّد") == ["مُحَمَّد"]


def test_compounds_are_marked_whole_or_in_part() -> None:
    assert marked("imagenet", "ImageNet image-net Image Net") == ["ImageNet", "image-net"]
    assert marked("net", "ImageNet image-net network") == ["Net", "net"]
    assert marked("2017", "COCO2017") == ["2017"]
    assert marked("ImageNet", "an image; a net; image net") == ["image", "net"]
    assert marked("imagenet", "The Image Net") == ["Image Net"]  # as names are indexed
    assert marked("fi*", "\ufb01le") == ["\ufb01le"]


def test_unspaced_scripts_are_marked_to_the_character() -> None:
    assert marked("深度学習", "深度学習モデル、深度と学習") == ["深度学習"]
    assert marked("猫", "大きい猫と猫") == ["猫", "猫"]
    assert marked("ガイド", "新ｶﾞｲﾄﾞ集 ガイド") == ["ｶﾞｲﾄﾞ", "ガイド"]
    assert marked("ガ*", "ｶﾞｲﾄﾞ か\u3099") == ["ｶﾞ"]
    assert marked("เรียน", "กำลังเรียนอยู่") == ["เรียน"]


def test_the_words_of_a_phrase_are_marked_only_side_by_side() -> None:
    assert marked('"lung scans"', "Scans of the lung. Lung scan") == ["Lung", "scan"]
    assert marked('"lung scans"', "Lung and other scans") == []


def test_prefixes_and_exclusions() -> None:
    assert marked("imag*", "Images imagine damage ImagesNet") == ["Images", "imagine", "ImagesNet"]
    assert marked("image -net", "image net") == ["image"]


def test_a_field_without_a_match_is_left_out() -> None:
    found = Highlighter(asked("lung")).highlight("Scans", "of a lung")
    assert [(shown.field, shown.text, parts(shown)) for shown in found] == [
        ("description", "of a lung", ["lung"])
    ]
    assert Highlighter(asked("")).highlight("Scans", "of a lung") == []
    assert Highlighter(asked("heart")).highlight("Scans", "of a lung") == []


def test_an_excerpt_shows_where_most_of_the_words_are() -> None:
    text = f"lung {FILLER[:400]} lung lung {FILLER[:300]}scans of the lung by night{FILLER[:200]}"
    (shown,) = Highlighter(asked("lung scans")).highlight("", text)
    assert parts(shown) == ["scans", "lung"]
    assert len(shown.text) <= EXCERPT
    assert shown.text[0] == shown.text[-1] == "…"
    assert f" {shown.text[1:-1]} " in text  # cut between words


def test_only_the_beginning_of_a_text_is_looked_at() -> None:
    before = "x " * (LOOKED_AT // 2 - 2)
    assert marked("image", f"{before}imagery") == []  # `imag` is within, the word is not
    assert marked("image", f"{'x ' * (LOOKED_AT // 2)}image") == []


@given(TEXTS, TEXTS)
def test_every_slice_is_whole_characters_that_match(text: str, q: str) -> None:
    searched = asked(q)
    assume(searched)
    wanted = {stem for word in searched for sequence in word.alternatives for stem in sequence}
    prefixes = tuple(word.prefix for word in searched if word.prefix)
    for shown in Highlighter(searched).highlight(text, text):
        assert shown.slices
        assert len(shown.text) <= EXCERPT or shown.field == "name"
        assert shown.text == text or shown.text.strip("…") in text
        ends = [0, *(end for one in shown.slices for end in (one.byte_start, one.byte_end))]
        assert ends == sorted(set(ends) | {0}) or ends[:2] == [0, 0]
        for part in parts(shown):
            forms = [*values(part), *pairs(part)]
            held = {stem for form in forms for stem in stems(form)}
            begun = [word for form in forms for word in plain_words(form)]
            assert held & wanted or any(word.startswith(prefixes) for word in begun if prefixes)


@given(st.text(), st.text(max_size=40))
def test_no_text_is_refused(text: str, q: str) -> None:
    for shown in Highlighter(asked(f"{q} {text[:40]}")).highlight(text, text * 3):
        assert parts(shown)


@given(TEXTS)
def test_what_a_text_is_found_by_is_marked_in_it(text: str) -> None:
    searched = asked(text)
    assume(searched and stems(text))
    assert Highlighter(searched).highlight(text[:LOOKED_AT], "")
