"""In how many ways a name, an id, a date or an institution may be written: what `scrub` looks for in text.

Everything here works on folded text: lower case, without accents, hiragana for katakana (see `fold`). Precision gives way to privacy,
within these bounds:

- Words of a name are cut wherever they stand as whole words, also when the language has the same word (Brown, Young, Head). Alone they
  stay when they are one letter or one of the few of `UNTELLING` (von, CT, Dr); beside a word that is cut, those go as well.
- An id of digits needs four of them to be looked for, any other id three characters with a digit.
- Of an institution or address the words that name no place (hospital, radiology, street) stay when they stand alone.
"""

import unicodedata
from dataclasses import dataclass
from datetime import date
from functools import lru_cache
from itertools import islice, permutations, product

from toolkit.hospital.dicom.cleaning.vocabulary import SMALL, UNTELLING

_ENDINGS = ("s", "a", "u", "y", "em", "om", "owi", "iego", "emu", "im", "ego", "ie", "m", "n", "en")
_LETTERS = {"ł": "l", "ø": "o", "đ": "d", "ð": "d", "þ": "th", "æ": "ae", "œ": "oe", "ß": "ss", "ħ": "h", "ı": "i", "ŋ": "n", "ŧ": "t"}
_TWO_LETTERS = {"ä": "ae", "ö": "oe", "ü": "ue", "å": "aa", "ø": "oe", "ñ": "ny", "ő": "oe", "ű": "ue"}


class _Folds(dict[int, str]):
    """What `fold` makes of one character, found when it first occurs."""

    def __missing__(self, code: int) -> str:
        letters = unicodedata.normalize("NFKD", chr(code).casefold())
        kept = [_LETTERS.get(letter, letter) for letter in letters.casefold() if not unicodedata.combining(letter)]
        self[code] = "".join(_plain(letter) for letter in kept)
        return self[code]


def _plain(letter: str) -> str:
    if letter.isdecimal():
        return str(int(letter))  # of whatever script
    # katakana U+30A1 to U+30F6 stand 0x60 behind the hiragana of the same sound
    return chr(ord(letter) - 0x60) if "\u30a1" <= letter <= "\u30f6" else letter


FOLDS = _Folds()


def fold(text: str) -> str:
    """Text in the one form in which it is compared; all its decimal digits are those of ASCII.

    >>> fold("MÜLLER-Łukasz")
    'muller-lukasz'
    """
    return text.lower() if text.isascii() else text.translate(FOLDS)


def letter_runs(folded: str) -> list[str]:
    """Words, in the sense of unbroken letters."""
    return "".join(character if character.isalpha() else " " for character in folded).split()


def spaced(word: str) -> bool:
    """Whether the word's script puts spaces between words (Latin, Greek, Cyrillic); elsewhere names run into their neighbours."""
    return all(character < "\u0530" for character in word)


@lru_cache(1024)
def word_spellings(word: str) -> frozenset[str]:
    """Folded spellings of one word of a name: without accents, with umlauts as two letters, and the other way round.

    >>> sorted(word_spellings("Müller"))
    ['mueller', 'muller']
    """
    lower = word.lower()
    found = {fold(word), fold("".join(_TWO_LETTERS.get(letter, letter) for letter in lower))}
    if len(lower) > 4:
        found |= {spelling.replace("ae", "a").replace("oe", "o").replace("ue", "u") for spelling in tuple(found)}
    return frozenset(spelling for spelling in found if spelling)


def inflections(spelling: str) -> set[str]:
    """What grammar does to a surname or given name of five letters or more: the genitives and datives of Slavic languages, plurals and
    possessives.

    >>> "kowalskiego" in inflections("kowalski") and "nowakowi" in inflections("nowak") and "annie" in inflections("anna")
    True
    """
    if len(spelling) < 4 or not spaced(spelling):
        return {spelling}
    if spelling.endswith("a"):
        return {spelling} | {spelling[:-1] + ending for ending in ("y", "i", "e", "ie", "o", "ow", "om")}
    if len(spelling) < 5:
        return {spelling}
    found = {spelling} | {spelling + ending for ending in _ENDINGS}
    if spelling.endswith(("ki", "gi")):
        found |= {spelling + "ego", spelling + "emu", spelling + "ch", spelling[:-1] + "a", spelling[:-1] + "iej"}
    return found


@dataclass
class Name:
    """How a person's name may stand in text, folded.

    `alone`: words that are cut wherever they stand; `beside`: initials, particles and technical words that are cut next to one of those;
    `run_on`: names in scripts without spaces between words, each a tuple of the words that follow each other.
    """

    alone: set[str]
    beside: set[str]
    run_on: set[tuple[str, ...]]


def name_spellings(components: list[str]) -> Name:
    """The spellings of one group (alphabetic, ideographic or phonetic) of a person's name, whose components are family, given, middle,
    prefix, suffix.
    """
    name = Name(set(), set(), set())
    ordered: list[frozenset[str]] = []
    run_on: list[str] = []
    for component in components:
        words = letter_runs(component)
        for word in words:
            if not spaced(word):
                run_on.append(fold(word))
                if len(word) > 1:
                    name.run_on.add((fold(word),))
                continue
            spellings = word_spellings(word)
            ordered.append(spellings)
            name.beside.add(fold(word[0]))
            for spelling in spellings:
                name.beside |= {spelling, spelling[:1]}
                if len(spelling) > 1 and spelling not in UNTELLING:
                    name.alone |= inflections(spelling)
        if len(words) > 1 and all(map(spaced, words)):
            name.alone |= {"".join(choice(word_spellings(word)) for word in words) for choice in (min, max)}
    name.run_on |= set(permutations(run_on[:3], 2)) | ({tuple(run_on)} if len(run_on) > 1 else set())
    for count in (2, 3):
        for some in permutations(ordered[:5], count):
            if not any(name.alone & spellings for spellings in some):
                continue
            # every pair of spellings; of three words, those that are spelled in the same manner
            choices = product(*some) if count == 2 else zip(*(sorted(spellings) * 4 for spellings in some), strict=False)
            for chosen in islice(choices, 24):
                initials = "".join(word[0] for word in chosen)
                name.alone |= {"".join(chosen), initials[:-1] + chosen[-1], chosen[0] + initials[1:]}
    name.alone = {word for word in name.alone if len(word) > 1 and word not in UNTELLING}
    return name


def acronyms(phrase: str) -> set[str]:
    """The initials (folded) of an institution's words, with and without its articles; only those of three letters or more.

    >>> sorted(acronyms("Hospital of the Holy Spirit"))
    ['hhs', 'hoths']
    """
    words = letter_runs(fold(phrase))
    found = {"".join(word[0] for word in some) for some in (words, [word for word in words if word not in SMALL])}
    return {initials for initials in found if len(initials) > 2 and initials not in UNTELLING}


def parse_dates(value: str) -> list[date]:
    """The days of a DA or DT value, ranges and several values included; what is no date is left out."""
    found = []
    for text in value.replace("-", "\\").replace(".", "").split("\\"):
        try:
            found.append(date(int(text[:4]), int(text[4:6]), int(text[6:8])))
        except ValueError:
            continue
    return found


def date_digits(day: date) -> set[str]:
    """The digits, separators left out, of every spelling of a day in figures."""
    years, months = {f"{day.year:04d}", f"{day.year % 100:02d}"}, {f"{day.month:02d}", str(day.month)}
    days = {f"{day.day:02d}", str(day.day)}
    found = {order for y in years for m in months for d in days for order in (y + m + d, d + m + y, m + d + y)}
    return {digits for digits in found if not any(other != digits and other in digits for other in found)}
