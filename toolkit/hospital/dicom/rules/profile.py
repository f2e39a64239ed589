"""PS3.15 Annex E as decisions: which action is taken on an attribute, by the profile, its options, a recipe and the kind of object.

What decides, the first that has something to say: the recipe, the attributes named to be kept, the hospital profile's own three attributes,
the options, the basic profile. Table E.1-1 is the data file `dicom_profile.csv`; editions differ in the basic profile's column, and
attributes that 2026c added follow it under every option, because no machine-readable list of its option columns exists.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from toolkit import __version__
from toolkit.core.errors import UsageError
from toolkit.hospital.dicom.encoding.dictionary import dictionary_vr, keyword_of, spelt, standard_tags
from toolkit.hospital.dicom.rules import attribute_types, safe_private
from toolkit.hospital.dicom.rules.actions import Action, Rule
from toolkit.hospital.dicom.rules.confidentiality_table import CLASS_UIDS, EDITIONS, OPTIONS, Row, identifying, read_table
from toolkit.hospital.dicom.rules.recipe import Instruction, Recipe, hashes

__all__ = ["Context", "Options", "Policy", "compile_policy", "dictionary_vr"]

PROFILES = ("hospital", "basic")
BASIC = ("113100", "Basic Application Confidentiality Profile")
CLEAN_PIXELS = ("113101", "Clean Pixel Data Option")
TEXT = frozenset({"LO", "LT", "SH", "ST", "UC", "UT"})
_CLEANED = TEXT | {"AE", "AS", "CS", "PN", "UR"}
_DATES = frozenset({"DA", "DT"})
_BITMAPS = (0x5000, 0x6000)  # curves and overlays: repeating groups 50xx, 60xx

PATIENT_ID, ACCESSION_NUMBER, STUDY_ID = 0x00100020, 0x00080050, 0x00200010


@dataclass(frozen=True)
class Options:
    """What the command line asks for; see dicom-anon(1). `recipe` and `keep` (tags) change the profile."""

    profile: str = "hospital"
    edition: str = "2026c"
    retain_uids: bool = False
    retain_dates: bool = False
    modified_dates: bool = False
    retain_device: bool = False
    retain_institution: bool = False
    retain_patient: bool = False
    safe_private: bool = False
    clean_descriptors: bool = False
    clean_structured: bool = False
    clean_graphics: bool = False
    clean_pixels: bool = False
    recipe: Recipe | None = None
    keep: frozenset[int] = frozenset()


# Unlisted names, dates and addresses of servers (they name the host, and original UIDs) are treated as if they were listed.
_TELLING = {"DA", "DT", "TM", "PN", "UR"}
_UNLISTED = "X/Z/D"


def compile_policy(options: Options) -> Policy:
    """The policy for `options`. Raises UsageError for unknown profiles and editions and for options that contradict each other."""
    if options.profile not in PROFILES:
        raise UsageError("--profile", f"knows no {options.profile!r}", f"give {' or '.join(PROFILES)}")
    if options.edition not in EDITIONS:
        raise UsageError("--edition", f"knows no {options.edition!r}", f"give {' or '.join(EDITIONS)}")
    if options.retain_dates and options.modified_dates:
        raise UsageError("--retain-dates", "contradicts --modified-dates", "give one of them")
    return Policy(options)


class Policy:
    """Decisions for every kind of object under one set of options."""

    def __init__(self, options: Options) -> None:
        self.options = options
        hospital = options.profile == "hospital"
        on = {name: getattr(options, name) for name in OPTIONS}
        on["retain_patient"] |= hospital
        on["modified_dates"] |= hospital and not options.retain_dates
        self.on = frozenset(name for name, wanted in on.items() if wanted)
        self.dates = "K" if "retain_dates" in self.on else "C" if "modified_dates" in self.on else ""
        self.rows, self.masks = read_table(options.edition, self.on)
        recipe = options.recipe
        kept_private = any(tag & 0x10000 for tag in options.keep)
        self.removes_all_private = not (options.safe_private or kept_private or (recipe is not None and recipe.touches_private))
        self.private = safe_private.signatures() if options.safe_private else None
        self._contexts: dict[tuple[attribute_types.Place, safe_private.Node | None], Context] = {}
        self._weakened: list[str] | None = None

    def context(self, sop_class: str) -> Context:
        """The context of a whole object. Of an unknown `sop_class` (or none) every attribute has the strictest type that any IOD gives
        it."""
        return self.context_at(attribute_types.root(sop_class), self.private)

    def context_at(self, place: attribute_types.Place, private: safe_private.Node | None) -> Context:
        """The one context of a place; there are no more than the tables have places."""
        context = self._contexts.get((place, private))
        if context is None:
            context = self._contexts[place, private] = Context(self, place, private)
        return context

    def row(self, tag: int) -> Row | None:
        """The row of the table that lists `tag`, which is not private."""
        return self.rows.get(tag) or next((row for mask, bits, row in self.masks if tag & mask == bits), None)

    def method_text(self) -> list[str]:
        """The values of DeidentificationMethod (0012,0063), none longer than 64 characters."""
        values = [f"scape-toolkit {__version__} dicom-anon", f"PS3.15 Table E.1-1 {self.options.edition}, profile {self.options.profile}"]
        values += [meaning[:64] for name, (_, meaning) in OPTIONS.items() if name in self.on]
        if self.options.recipe is not None:
            values.append(f"Recipe SHA-256 {self.options.recipe.digest[:48]}")
        values += [f"Kept on demand {spelt(tag)} {keyword_of(tag)}"[:64].rstrip() for tag in sorted(self.options.keep)]
        if self.weakened():
            values.append("Weaker than the basic profile by recipe or kept attributes")
        return values

    def method_codes(self, pixels_cleaned: bool) -> list[tuple[str, str]]:
        """(code, meaning) of CID 7050 for DeidentificationMethodCodeSequence (0012,0064).

        The basic profile is not claimed when a recipe or kept attributes weaken it.
        """
        codes = [] if self.weakened() else [BASIC]
        codes += [CLEAN_PIXELS] if pixels_cleaned else []
        return codes + [code for name, code in OPTIONS.items() if name in self.on]

    def temporal_modified(self) -> str:
        """LongitudinalTemporalInformationModified (0028,0303)."""
        return {"K": "UNMODIFIED", "C": "MODIFIED", "": "REMOVED"}[self.dates]

    def weakened(self) -> list[str]:
        """Where the recipe or kept attributes let more through than the profile and its options would: attributes as the user spelt them.

        Removing, emptying and replacing never do. Keeping does where the profile would act on the value or remove it; so does shifting,
        unless the dates are shifted anyway, and hashing, unless the profile puts some other value there.
        """
        if self._weakened is None:
            self._weakened = list(dict.fromkeys(self._weaknesses()))
        return self._weakened

    def _weaknesses(self) -> Iterable[str]:
        plain = Policy(_without_changes(self.options)).context("") if self.options.recipe or self.options.keep else self.context("")
        for tag in sorted(self.options.keep):
            if _weakens(Action.KEEP, plain, tag):
                yield keyword_of(tag) or spelt(tag)
        for one in self.options.recipe.instructions if self.options.recipe else ():
            telling = one.action in (Action.KEEP, Action.SHIFT, Action.HASH)
            if telling and any(_weakens(one.action, plain, tag) for tag in self._reached(one)):
                yield one.word

    def _reached(self, instruction: Instruction) -> Iterable[int]:
        """Tags that an instruction is for: itself, or all that the standard and the table have."""
        selector = instruction.selector
        if selector.exact or selector.private:
            return [selector.bits]
        masked = [bits for _, bits, _ in self.masks]
        return [tag for tag in {*standard_tags(), *self.rows, *masked} if selector.fits(tag, None)] or [selector.bits]


class Context:
    """One kind of object at one place in it."""

    def __init__(self, policy: Policy, place: attribute_types.Place, private: safe_private.Node | None) -> None:
        self._policy, self._place, self._private = policy, place, private
        self._rules: dict[tuple[int, str, str | None], Rule] = {}

    def child(self, tag: int, creator: str | None = None) -> Context:
        """The context within items of the sequence `tag`; `creator` is its private creator when its group is odd."""
        inside = None if self._private is None else self._private.items(tag, creator)
        return self._policy.context_at(attribute_types.items(self._place, tag), inside)

    def rule(self, tag: int, vr: str, creator: str | None = None) -> Rule:
        """What happens to the attribute `tag`, whose VR is `vr`.

        `creator`: of a private attribute the private creator of its block, of a private creator element (gggg,00bb) its own value.
        """
        key = tag, vr, creator
        rule = self._rules.get(key)
        if rule is None:
            if len(self._rules) > 20_000:  # creators are free text: an object could fill the memory with them
                self._rules.clear()
            rule = self._rules[key] = self._decide(tag, vr, creator)
        return rule

    def _decide(self, tag: int, vr: str, creator: str | None) -> Rule:
        if tag & 0xFFFF == 0:
            return Rule(Action.REMOVE, code="group length")
        if vr == "UN" or (vr != "SQ" and dictionary_vr(tag) == "SQ"):
            vr = dictionary_vr(tag) or vr
        options = self._policy.options
        if tag & 0x10000 and tag & 0xFFFF < 0x100:
            return self._private_creator(tag, creator)
        instruction = options.recipe.find(tag, creator) if options.recipe is not None else None
        if instruction is not None:
            return _by_recipe(instruction, tag, vr)
        if tag in options.keep:
            return Rule(Action.DESCEND if vr == "SQ" else Action.KEEP, code="kept")
        if tag & 0x10000:
            return self._private_attribute(tag, vr, creator)
        if tag == PATIENT_ID:
            return Rule(Action.PATIENT, True, "Z/D")
        if tag in (ACCESSION_NUMBER, STUDY_ID) and options.profile == "hospital":
            return Rule(Action.TOKEN, True, "Z")
        if tag >> 16 & 0xFF00 in _BITMAPS and tag >> 16 <= 0x60FF:
            return self._bitmap(tag)
        row = self._policy.row(tag)
        return self._unlisted(tag, vr) if row is None else self._listed(row, tag, vr)

    def _listed(self, row: Row, tag: int, vr: str) -> Rule:
        if row.option == "K":
            return Rule(Action.DESCEND if vr == "SQ" else Action.KEEP, code="K")
        if row.option == "C":
            cleaned = _cleaned(row, tag, vr)
            if cleaned is not None:
                return Rule(cleaned, cleaned is Action.SHIFT and vr == "DA", "C")
        action = self._by_type(row.code, tag, vr)
        return Rule(action, _identifies(tag, vr), row.code)

    def _by_type(self, code: str, tag: int, vr: str) -> Action:
        """The action that a code of the table means for an attribute of this type (PS3.15 Table E.1-1a)."""
        letters = code.split("/")
        if "U" in letters:
            return Action.UID
        kind = attribute_types.attribute_type(self._place, tag)
        if "X" in letters and (kind == 3 or code == "X"):
            return Action.REMOVE
        if "U*" in letters:  # the UIDs within are replaced; without them a segmentation would not be of anything, and objects that list
            return Action.DESCEND  # their references elsewhere too would be invalid, so they stay where they may be empty as well
        if "Z" in letters and kind >= 2:
            return Action.EMPTY
        if vr == "SQ":
            return Action.DESCEND_DUMMY
        return Action.UID if vr == "UI" else Action.DUMMY

    def _unlisted(self, tag: int, vr: str) -> Rule:
        meant = dictionary_vr(tag)
        if meant is None or tag >> 16 < 4:  # groups 0000 and 0002 do not belong into a data set
            return Rule(Action.REMOVE, _identifies(tag, vr), "unknown")
        dates = self._policy.dates
        if vr == "SQ":
            return Rule(Action.DESCEND)
        if vr == meant and (vr in _DATES or vr == "TM") and dates:
            shifted = dates == "C" and vr in _DATES
            return Rule(Action.SHIFT, vr == "DA") if shifted else Rule(Action.KEEP)
        if {vr, meant} & _TELLING or tag in identifying():
            return Rule(self._by_type(_UNLISTED, tag, vr), _identifies(tag, vr))
        if vr == "UI" and "retain_uids" not in self._policy.on and not any(word in keyword_of(tag) for word in CLASS_UIDS):
            return Rule(Action.UID)
        if vr in TEXT or meant in TEXT:
            return Rule(Action.SCRUB)
        return Rule(Action.KEEP)

    def _bitmap(self, tag: int) -> Rule:
        """Overlays and curves go as wholes: what is drawn cannot be searched for names, and without data the rest of the group is
        invalid."""
        row = self._policy.row(tag)
        return Rule(Action.REMOVE, code=row.code if row else "")

    def _private_creator(self, tag: int, creator: str | None) -> Rule:
        """(gggg,00bb) stays when an attribute of its block may stay, because without it nobody knows what that means."""
        options = self._policy.options
        block = tag & 0xFFFF0000 | (tag & 0xFF) << 8
        stays = any(kept & 0xFFFFFF00 == block for kept in options.keep) or (
            creator is not None
            and (
                (options.recipe is not None and options.recipe.keeps_block(tag, creator))
                or (self._private is not None and self._private.has_creator(tag >> 16, creator))
            )
        )
        return Rule(Action.KEEP if stays and tag & 0xFF >= 0x10 else Action.REMOVE, code="private")

    def _private_attribute(self, tag: int, vr: str, creator: str | None) -> Rule:
        disposition = None if self._private is None or creator is None else self._private.disposition(tag, creator)
        if disposition is None:
            return Rule(Action.REMOVE, code="private")
        if vr == "SQ":
            return Rule(Action.DESCEND, code="private")
        if disposition == "o" and self._policy.dates != "K":
            return Rule(Action.SHIFT if vr in _DATES and self._policy.dates else Action.REMOVE, code="private")
        if vr in _DATES and self._policy.dates != "K":
            return Rule(Action.SHIFT if self._policy.dates else Action.REMOVE, code="private")
        if vr == "UI" and "retain_uids" not in self._policy.on:
            return Rule(Action.UID, code="private")
        if vr == "PN":
            return Rule(Action.REMOVE, True, "private")
        return Rule(Action.SCRUB if vr in TEXT or vr in ("AE", "CS", "UN", "OB") else Action.KEEP, code="private")


def _by_recipe(instruction: Instruction, tag: int, vr: str) -> Rule:
    """A recipe's action, or removal where the attribute turns out to hold what the action cannot be done to."""
    action, identifies = instruction.action, _identifies(tag, vr)
    if action is Action.KEEP:
        return Rule(Action.DESCEND if vr == "SQ" else action, code="recipe")
    if action is Action.HASH and vr == "UI":
        return Rule(Action.UID, code="recipe")
    if action is Action.REPLACE:
        value = instruction.bytes_for(vr)
        return Rule(Action.REMOVE, identifies, "recipe") if value is None else Rule(action, identifies, "recipe", value)
    possible = {Action.HASH: hashes(vr), Action.SHIFT: vr in _DATES}.get(action, True)
    return Rule(action if possible else Action.REMOVE, identifies, "recipe")


def _cleaned(row: Row, tag: int, vr: str) -> Action | None:
    """What an option's C means for a VR; None: it cannot be cleaned, so the basic profile decides."""
    if row.date:
        if vr in _DATES:
            return Action.SHIFT
        time = vr == dictionary_vr(tag) and vr in ("TM", "SH")  # SH: TimezoneOffsetFromUTC; a date written as TM is none
        return Action.KEEP if time else None
    if vr == "SQ":
        return Action.DESCEND
    return Action.SCRUB if vr in _CLEANED else None


def _identifies(tag: int, vr: str) -> bool:
    return vr in ("PN", "DA") or tag in identifying()


def _weakens(action: Action, plain: Context, tag: int) -> bool:
    """Whether `action` tells more of the attribute than `plain`, the context without recipe and kept attributes, lets through."""
    rule = plain.rule(tag, dictionary_vr(tag) or "UN")
    if action is Action.HASH:
        return rule.action in (Action.REMOVE, Action.EMPTY) and not set(rule.code.split("/")) & {"Z", "D"}
    if action is Action.SHIFT:
        return rule.action not in (Action.SHIFT, Action.KEEP)
    return rule.action not in (Action.KEEP, Action.SCRUB, Action.DESCEND) or (rule.action is Action.SCRUB and rule.code != "")


def _without_changes(options: Options) -> Options:
    return replace(options, recipe=None, keep=frozenset())
