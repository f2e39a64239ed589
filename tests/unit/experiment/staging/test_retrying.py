"""When an attempt is made again, and when not."""

from __future__ import annotations

import pytest

from toolkit.core.errors import NotPermitted, ToolError, TryLater, Unavailable
from toolkit.experiment.staging.retrying import Unreached, pause, retrying


class Attempts:
    """Fails as it is told, one error after another; counts the work that it did before."""

    def __init__(self, *errors: ToolError, work: int = 0) -> None:
        self.errors, self.work, self.done, self.pauses = list(errors), work, 0, list[float]()

    def __call__(self) -> str:
        if self.errors:
            self.done += self.work
            raise self.errors.pop(0)
        return "done"

    def run(self, retries: int) -> str:
        return retrying(self, retries, lambda: self.done, self.pauses.append)


BROKEN = TryLater("cluster", "the connection broke")
UNREACHED = Unreached("cluster", "connection refused")


def test_a_broken_connection_is_tried_again_and_later_each_time() -> None:
    attempts = Attempts(BROKEN, UNREACHED, BROKEN)
    assert attempts.run(3) == "done"
    assert [1 <= attempts.pauses[1] <= 2, 2 <= attempts.pauses[2] <= 4, 0.5 <= attempts.pauses[0] <= 1] == [True] * 3


def test_it_is_given_up() -> None:
    with pytest.raises(TryLater, match=r"broke \(3 times in a row\); run the same command again"):
        Attempts(BROKEN, BROKEN, BROKEN, BROKEN).run(2)


def test_attempts_that_did_something_do_not_count() -> None:
    assert Attempts(*[BROKEN] * 20, work=1).run(1) == "done"


@pytest.mark.parametrize("error", [Unavailable("cluster", "has no SFTP"), NotPermitted("cluster", "host key unknown")])
def test_what_will_not_mend_by_itself_ends_it(error: ToolError) -> None:
    attempts = Attempts(error)
    with pytest.raises(type(error)):
        attempts.run(5)
    assert attempts.pauses == []


def test_a_host_that_was_never_reached_is_given_up_early() -> None:
    attempts = Attempts(*[UNREACHED] * 9)
    with pytest.raises(Unreached):
        attempts.run(5)
    assert len(attempts.pauses) == 2


def test_pauses_have_a_bound() -> None:
    assert 30 <= pause(1000) <= 60
