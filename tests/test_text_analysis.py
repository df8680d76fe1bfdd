"""A word finds the documents that hold it, in whatever form, script or spelling of characters."""

import unicodedata
from collections.abc import Iterable
from time import perf_counter

import pytest
import tantivy
from hypothesis import assume, given
from hypothesis import strategies as st

from atdata_indexer.index.analysis import (
    CHUNK,
    MAX_EXTRAS,
    MAX_WORD,
    PLAIN,
    STEMMED,
    Word,
    pairs,
    phrase,
    plain_words,
    prepare,
    register,
    stems,
    values,
    words,
)
from atdata_indexer.index.language import parse

HOSTILE = {
    "capitals": "aB" * 2_500,
    "capital run": "A" * 5_000,
    "digits": "a1" * 2_500,
    "hyphens": "a-" * 2_500,
    "dots": "é.'" * 1_700,
    "one word": "a" * 5_000,
    "compounds": "aB c-d " * 700,
    "accents": "a" + "\u0301\u0316" * 2_500,
    "characters": "漢字" * 2_500,
    "Thai": "ก็" * 2_500,
    "vowel signs": "कि" * 2_500,
    "ligatures of 18": "\ufdfa" * 5_000,
    "selectors": "\ufe0f" * 5_000,
    "voicing marks": "か" + "\u3099\u309a" * 2_500,
}
SCRIPTS = st.text(
    st.sampled_from(
        "aBz9 -_.'ßİıéøŁﬁ①½ΣςσЙё漢字かガｶﾞー한국กำ็ລາວខ្មែរမြန်မာहिन्दीسلاםשם\u0301\u0327\u3099"
        "\u200b\u200c\u200d\ufe0f\u00ad\0🧬👩‍🔬\ufdfa"
    ),
    max_size=40,
)


class Shelf:
    """A small index with one analysed field; each document is a name."""

    def __init__(self, *names: str) -> None:
        builder = tantivy.SchemaBuilder()
        builder.add_text_field("text", tokenizer_name=STEMMED, index_option="position")
        builder.add_text_field("word", tokenizer_name=PLAIN, index_option="basic")
        builder.add_integer_field("place", stored=True)
        self._schema = builder.build()
        index = tantivy.Index(self._schema)
        register(index)
        with index.writer(15_000_000, 1) as writer:
            for place, name in enumerate(names):
                texts = [*values(name), *pairs(name)]
                fields = {"text": texts, "word": values(name), "place": place}
                writer.add_document(tantivy.Document.from_dict(fields, self._schema))
        index.reload()
        self._names = names
        self._searcher = index.searcher()

    def find(self, q: str) -> set[str]:
        question = parse(q)
        asked = words(question.words)
        asked += [found for part in question.phrases if (found := phrase(part.value))]
        if not asked:
            return set()
        query = tantivy.Query.boolean_query(
            [(tantivy.Occur.Must, self._any(word)) for word in asked]
        )
        hits = self._searcher.search(query, 100).hits
        return {self._names[self._searcher.doc(at)["place"][0]] for _, at in hits}

    def _any(self, word: Word) -> tantivy.Query:
        either: list[tantivy.Query] = []
        for sequence in word.alternatives:
            if len(sequence) == 1:
                either.append(tantivy.Query.term_query(self._schema, "text", sequence[0]))
            else:
                either.append(tantivy.Query.phrase_query(self._schema, "text", list(sequence)))
        if word.prefix:
            begun = tantivy.Query.regex_query(self._schema, "word", f"{word.prefix}.*")
            either.append(begun)
        return tantivy.Query.boolean_query([(tantivy.Occur.Should, query) for query in either])


# --- compounds --------------------------------------------------------------------------------

IMAGENET = ("imagenet", "image net", "ImageNet", "image-net", "image_net", "Image Nets")


@pytest.mark.parametrize("q", IMAGENET)
def test_every_form_of_a_compound_finds_every_other(q: str) -> None:
    assert Shelf(*IMAGENET, "imaging", "nets").find(q) == set(IMAGENET)


@pytest.mark.parametrize("q", ["COCO2017", "coco 2017", "coco-2017", "coco2017", "2017", "coco"])
def test_digits_and_letters_part_and_join(q: str) -> None:
    forms = {"COCO2017", "COCO 2017", "coco_2017"}
    assert Shelf(*forms, "cocoa 20177").find(q) == forms


@pytest.mark.parametrize(
    ("q", "name"),
    [
        ("xray", "Chest x-ray"),
        ("x-ray", "Chest xray"),
        ("x ray", "Chest X-Ray"),
        ("imagenet 21k", "ImageNet-21k"),
        ("ImageNet21K", "imagenet-21k"),
        ("gpus", "Rented GPUs"),
        ("mnist", "MNISTDataset"),
        ("dont", "We don’t know"),
        ("author", "The author's cut"),
        ("img*", "ImgSet"),
        ("net*", "ImageNet"),
        ("image-n*", "ImageNet"),
        ("Über-Net", "überNet"),
    ],
)
def test_a_compound_is_found_by_its_parts_and_by_its_whole(q: str, name: str) -> None:
    assert Shelf(name, "something else").find(q) == {name}


def test_further_forms_stand_apart_from_phrases() -> None:
    shelf = Shelf("ImageNet COCO2017 labels", "net coco")
    assert shelf.find('"ImageNet COCO2017"') == {"ImageNet COCO2017 labels"}
    assert shelf.find('"image net"') == {"ImageNet COCO2017 labels"}
    assert shelf.find('"net coco"') == {"net coco"}
    assert shelf.find('"labels image"') == set()


def test_a_phrase_finds_its_words_written_as_one() -> None:
    shelf = Shelf("imagenet labels", "image-net labels", "ImageNet labels", "image labels net")
    assert shelf.find('"image net labels"') == {
        "imagenet labels",
        "image-net labels",
        "ImageNet labels",
    }


# --- scripts ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("q", "name"),
    [
        ("学習", "機械学習のデータ"),
        ("猫", "大きな猫の画像"),
        ("猫", "猫"),
        ("データ", "機械学習のﾃﾞｰﾀ"),
        ("深度学习 bert", "bert深度学习"),
        ("번역", "한국어번역"),
        ("เรียน", "กำลังเรียนอยู่"),
        ("ປະເທດ", "ປະເທດລາວ"),
        ("ភាសា", "ភាសាខ្មែរ"),
        ("မြန်မာ", "မြန်မာစာ"),
        ("istanbul", "İSTANBUL"),
        ("İstanbul", "istanbul"),
        ("strasse", "Straße"),
        ("STRASSE", "straße"),
        ("οδοσ", "ΟΔΌΣ"),
        ("ΟΔΟΣ", "οδός"),
        ("елка", "Ёлка"),
        ("محمد", "مُحَمَّد"),
        ("میخواهم", "می\u200cخواهم"),
        ("שלום", "שָׁלוֹם"),
        ("हिन्दी", "हिन्दी भाषा"),
        ("cafe", "Cafe\u0301"),
        ("ｉｍａｇｅ", "Images"),
        ("dataset", "data\u00adset"),
        ("gene", "🧬gene👩‍🔬"),
    ],
)
def test_a_word_is_found_in_every_script(q: str, name: str) -> None:
    assert Shelf(name, "other", "他").find(q) == {name}


def test_characters_that_do_not_meet_are_no_word() -> None:
    assert Shelf("学校の練習", "学習").find("学習") == {"学習"}


# tantivy may know characters of a later Unicode than Python does; those are left out.
ASSIGNED = st.text(st.characters(exclude_categories=["Cn", "Cs"]), max_size=60)


@given(SCRIPTS | ASSIGNED, st.data())
def test_a_word_taken_from_a_document_finds_it(name: str, data: st.DataObject) -> None:
    typed = unicodedata.normalize("NFKC", name)  # as a query is, before it is cut up
    taken = [chunk for chunk in CHUNK.findall(typed) if stems(chunk)]
    assume(taken)
    word = data.draw(st.sampled_from(taken))
    assume(len(prepare(word)) <= MAX_WORD)
    asked = phrase(word)
    assert asked
    texts = [stems(value) for value in values(name)]
    assert any(holds(text, sequence) for text in texts for sequence in asked.alternatives)


def holds(text: list[str], sequence: Iterable[str]) -> bool:
    wanted = list(sequence)
    return any(text[at : at + len(wanted)] == wanted for at in range(len(text)))


# --- bounds -----------------------------------------------------------------------------------


@given(st.text(st.characters(), max_size=200) | st.text(st.characters(categories=["Cs"])))
def test_no_text_is_refused(text: str) -> None:
    # Lone surrogates too: a query may hold them, and tantivy refuses them.
    assert all(isinstance(term, str) for term in stems(text) + plain_words(text))
    for value in [*values(text), *pairs(text)]:
        value.encode()
    phrase(text)


@given(SCRIPTS | st.text())
def test_text_of_a_document_and_its_terms_are_bounded(text: str) -> None:
    decomposed = unicodedata.normalize("NFKD", text.encode(errors="replace").decode())
    found = [*values(text), *pairs(text)]
    assert len(found) <= 2 * MAX_EXTRAS + 1
    assert sum(map(len, found)) <= 10 * len(decomposed) + 10


@pytest.mark.parametrize("kind", HOSTILE)
def test_hostile_text_takes_time_and_room_by_its_length(kind: str) -> None:
    text = HOSTILE[kind]
    started = perf_counter()
    found = [*values(text), *pairs(text)]
    assert perf_counter() - started < 0.5  # 20 ms at the most; what is quadratic takes seconds
    assert sum(map(len, found)) <= 5 * len(unicodedata.normalize("NFKC", text))
    asked = phrase(text[:512])
    assert sum(map(len, asked.alternatives if asked else ())) <= 100


def test_only_the_first_hundred_characters_of_a_word_count() -> None:
    name = "a" * 5_000
    assert [len(term) for term in stems(name)] == [MAX_WORD]
    assert Shelf(name).find("a" * 300) == {name}
