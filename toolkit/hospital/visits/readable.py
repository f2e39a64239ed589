"""The narrative text of a rebuilt section, made from its codes alone, so that a viewer of CDA documents shows something."""

from __future__ import annotations

from toolkit.hospital.visits.writing import Written, text

STATEMENTS = {"act", "encounter", "observation", "organizer", "procedure", "substanceAdministration", "supply"}


class Statement:
    """What the narrative text says of one statement: an act, observation and so on."""

    code: str | None = None  # a code and its translations
    material: str | None = None  # the code of what is given, where the statement has none
    values: tuple[str, ...] = ()
    ranges: tuple[str, ...] = ()
    number: bool = False  # whether a range can belong to one of the values

    def name(self, holder: str, code: str) -> None:
        """A code of the element `holder`, of which the first of the statement and the first of its material count."""
        if holder == "manufacturedMaterial":
            if self.material is None:
                self.material = code
        elif self.code is None and holder in STATEMENTS:
            self.code = code

    def say(self, written: Written, as_range: bool) -> None:
        """Add a value or a reference range."""
        if as_range:
            self.ranges += (written.shown,)
        else:
            self.values += (written.shown,)
            self.number = self.number or written.number

    def line(self, medication: bool) -> str:
        """As ``718-7: 7.8 g/dl [12.0; 16.0]``; "" when there is nothing to say."""
        codes, values = self.code or (medication and self.material) or "", ", ".join(filter(None, self.values))
        if not codes and not values:
            return ""
        return (codes or "-") + (f": {values}" if values else "") + "".join(f" {shown}" for shown in self.ranges if shown)


def narrative(lines: list[str]) -> str:
    """The element text: a list with an item for each line; "" when there are none."""
    items = text("\n".join([line for line in lines if line])).replace("\n", "</item><item>")  # no line holds a line break
    return f"<text><list><item>{items}</item></list></text>" if items else ""
