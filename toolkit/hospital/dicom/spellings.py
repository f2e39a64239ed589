"""In how many ways a name, an id, a date or an institution may be written: what `scrub` looks for in text.

Everything here works on folded text: lower case, without accents, hiragana for katakana (see `fold`). Precision gives way to privacy, within these bounds:

- Words of a name are cut wherever they stand as whole words, also when the language has the same word (Brown, Young, Mark). Alone they stay when they are one
  letter, a particle (von, de), or one of the few words of `TECHNICAL` without which no series description could be read (test, chest, CT, male); beside a
  word that is cut, those go as well.
- An id of digits needs four of them to be looked for, any other id three characters with a digit.
- Of an institution or address the words that name no place (hospital, radiology, street) stay when they stand alone.
"""

import unicodedata
from dataclasses import dataclass
from datetime import date
from functools import lru_cache
from itertools import permutations

TECHNICAL = frozenset(
    # modalities, body parts, views and what phantoms and test objects are called
    "abdomen anon anonymized anonymous ap arm axial brain breast cardiac cervix chest coronal cr ct dicom dx elbow female foot fov hand head heart hip image iv "
    "io knee left leg liver localizer lung male mammo medical mg mm mr mri ms name neck nm no none not null pa patient pelvis pet phantom pt qa qc rf right rt "
    "sagittal scan scout series shoulder skull slice spine study subject te test ti tr unknown us volume wrist xa xr xray sc sr tse flair dwi adc spect cta mra "
    # words of grammar that are also names
    "am an and are as at be by do for from he if in is it le me my of on or so the to up we with who un im am ist und la les des el los das die der den de di da "
    "du van von vom zu zum zur bin ibn al ter ten te dos das do e y i z w o a "
    # forms of address
    "dr med prof mrs mr miss ms sir md phd jr sr ii iii iv pan pani herr frau mme lek hab inz mgr dipl ing rn rt arrt".split()
)
GENERIC = TECHNICAL | frozenset(
    "academic associates avenue bereich c center centers central centre centrum chirurgie city clinic clinica clinical clinico clinics clinique co college "
    "community company county department departement dept diagnostic diagnostics district division emergency europe eye facility faculty first foundation "
    "fundacja gabinet general georges gesellschaft gmbh group hauptstrasse health healthcare hopital hospital hospitals hospitalier house imaging inc institut "
    "institute instituto international internal klinik kliniken klinika kliniczny klinikum krankenhaus kreis lab laboratory llc ltd magnetic medicine "
    "medizin medizinische medyczne medyczny memorial miasto miejski ministry national neurology neuroradiology new north nuclear nzoz oddzial office "
    "oncology ortho orthopedics ospedale osrodek outpatient pavilion pediatric pediatrics platz poliklinik poradnia practice pracownia praxis private public "
    "radiologia radiologie radiology radiologii region regional research resonance road room saint san sant santa sanitaire school science sciences "
    "section service services sint site south east west southern northern eastern western specialist spitalul spital spzoz square sp state station strasse "
    "street surgery szpital systems technology tomography town trust ulica unit universitaire universitat universitats universitatsklinikum university "
    "uniwersytecki uniwersytet veterinary ward wojewodzki women womens children childrens zaklad zentrum ziekenhuis zoz und fur nhs".split()
)
_ENDINGS = ("s", "a", "u", "y", "em", "om", "owi", "iego", "emu", "im", "ego", "ie", "m", "n", "en")
_MONTHS = (
    "jan january januar janvier enero gennaio janeiro januari styczen stycznia sty ene gen leden ledna",
    "feb february februar fevrier fev febrero febbraio fevereiro februari luty lutego lut unor unora",
    "mar march marz mrz maerz mars marzo marco maart mrt marzec marca brezen brezna",
    "apr april avril avr abril abr aprile kwiecien kwietnia kwi duben dubna",
    "may mai mayo maggio mag maio mei maj maja kveten kvetna",
    "jun june juni juin junio giugno giu junho czerwiec czerwca cze cerven cervna",
    "jul july juli juillet juil julio luglio lug julho lipiec lipca lip cervenec cervence",
    "aug august aout agosto ago augustus sierpien sierpnia sie srpen srpna",
    "sep sept september septembre septiembre settembre set setembro wrzesien wrzesnia wrz zari",
    "oct october oktober okt octobre octubre ottobre ott outubro out pazdziernik pazdziernika paz rijen rijna",
    "nov november novembre noviembre novembro listopad listopada lis",
    "dec december dezember dez decembre diciembre dic dicembre dezembro grudzien grudnia gru prosinec prosince",
)
MONTH_NUMBERS = {name: number for number, names in enumerate(_MONTHS, 1) for name in names.split()}
_LETTERS = {"ł": "l", "ø": "o", "đ": "d", "ð": "d", "þ": "th", "æ": "ae", "œ": "oe", "ß": "ss", "ħ": "h", "ı": "i", "ŋ": "n", "ŧ": "t", "ĸ": "k", "ſ": "s"}
_TWO_LETTERS = {"ä": "ae", "ö": "oe", "ü": "ue", "å": "aa", "ø": "oe", "ñ": "ny", "ő": "oe", "ű": "ue"}


class _Folds(dict[int, str]):
    """What `fold` makes of one character, found when it first occurs."""

    def __missing__(self, code: int) -> str:
        letters = unicodedata.normalize("NFKD", chr(code).casefold())
        kept = [_LETTERS.get(letter, letter) for letter in letters.casefold() if not unicodedata.combining(letter)]
        # katakana U+30A1 to U+30F6 stand 0x60 behind the hiragana of the same sound
        self[code] = "".join(chr(ord(letter) - 0x60) if "\u30a1" <= letter <= "\u30f6" else letter for letter in kept)
        return self[code]


FOLDS = _Folds()


def fold(text: str) -> str:
    """Text in the one form in which it is compared.

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
    """What grammar does to a surname or given name of five letters or more: the genitives and datives of Slavic languages, plurals and possessives.

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

    `alone`: words that are cut wherever they stand; `beside`: initials, particles and technical words that are cut next to one of those; `run_on`: names in scripts
    without spaces between words, each a tuple of the words that follow each other.
    """

    alone: set[str]
    beside: set[str]
    run_on: set[tuple[str, ...]]


def name_spellings(components: list[str]) -> Name:
    """The spellings of one group (alphabetic, ideographic or phonetic) of a person's name, whose components are family, given, middle, prefix, suffix."""
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
            for spelling in spellings:
                name.beside |= {spelling, spelling[:1]}
                if len(spelling) > 1 and spelling not in TECHNICAL:
                    name.alone |= inflections(spelling)
        if len(words) > 1 and all(map(spaced, words)):
            name.alone |= {"".join(choice(word_spellings(word)) for word in words) for choice in (min, max)}
    name.run_on |= set(permutations(run_on[:3], 2)) | ({tuple(run_on)} if len(run_on) > 1 else set())
    for count in (2, 3):
        for some in permutations(ordered[:5], count):
            if not any(name.alone & spellings for spellings in some):
                continue
            for choice in (min, max):
                words = [choice(spellings) for spellings in some]
                initials = "".join(word[0] for word in words)
                name.alone |= {"".join(words), initials[:-1] + words[-1], words[0] + initials[1:]}
    name.alone = {word for word in name.alone if len(word) > 1 and word not in TECHNICAL}
    return name


def acronym(phrase: str) -> str:
    """The initials of an institution's words, upper case; empty when they are fewer than three or read as a technical word."""
    small = {"of", "the", "and", "for", "de", "la", "le", "du", "des", "der", "die", "fur", "und", "w", "im", "i", "di", "del", "at", "e", "y", "v", "a"}
    initials = "".join(word[0] for word in letter_runs(fold(phrase)) if word not in small)
    return initials.upper() if len(initials) >= 3 and initials not in TECHNICAL else ""


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
    years, months, days = {f"{day.year:04d}", f"{day.year % 100:02d}"}, {f"{day.month:02d}", str(day.month)}, {f"{day.day:02d}", str(day.day)}
    found = {order for y in years for m in months for d in days for order in (y + m + d, d + m + y, m + d + y)}
    return {digits for digits in found if not any(other != digits and other in digits for other in found)}
