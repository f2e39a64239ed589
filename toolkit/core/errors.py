"""What can go wrong, with the exit status that says so (sysexits(3)).

Each error is one line for the user: ``place: problem; remedy``. The class says which kind it is.
"""


class ToolError(Exception):
    """Some inputs failed."""

    exit_status = 1

    def __init__(self, place: str, problem: str, remedy: str = "") -> None:
        self.place, self.problem, self.remedy = str(place), problem, remedy
        super().__init__(f"{place}: {problem}" + (f"; {remedy}" if remedy else ""))


class UsageError(ToolError):
    """The command line asks for something impossible."""

    exit_status = 2


class BadData(ToolError):
    """An input was read and is not what it must be."""

    exit_status = 65


class NoInput(ToolError):
    """An input does not exist or cannot be read."""

    exit_status = 66


class Unavailable(ToolError):
    """A program, package or service that is needed is missing."""

    exit_status = 69


class Internal(ToolError):
    """The program itself is at fault."""

    exit_status = 70


class CannotCreate(ToolError):
    """An output cannot be created."""

    exit_status = 73


class InputOutput(ToolError):
    """Reading or writing failed half-way: a full disk, a broken device."""

    exit_status = 74


class TryLater(ToolError):
    """Something waits; running the same command again later can succeed."""

    exit_status = 75


class NotPermitted(ToolError):
    """The operation is refused to this user."""

    exit_status = 77
