"""The errors of file systems and of four client libraries as ours, one line each."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator

from toolkit.core.errors import InputOutput, NoInput, NotPermitted, ToolError, Unavailable

_LIBRARIES = ("requests", "urllib3", "aiohttp", "botocore", "aiobotocore")
_NATIVE = re.compile(r'\w+\((?:"[\w.$]+", )?"(.*)"\)', re.DOTALL)  # hdfs-native's errors: Kind("class of Java", "words")
_SERVER = "look whether the server runs and the URL is right, then run it again; nothing was half written"
_RIGHTS = "ask for the right to use it, or give the right credentials"
_CERTIFICATE = "name the file of its authority in AWS_CA_BUNDLE, or look whether the server speaks TLS at all"


@contextlib.contextmanager
def failures_named(place: str) -> Iterator[None]:
    """Turn an exception of the body into one of `toolkit.core.errors` about `place`, an URL or a path; ours pass through."""
    try:
        yield
    except ToolError:
        raise
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError) as error:
        raise NoInput(place, "is not there", "look at the name, and at the store's URL") from error
    except PermissionError as error:
        raise NotPermitted(place, _first_line(error), _RIGHTS) from error
    except Exception as error:
        name, library = type(error).__name__, type(error).__module__.partition(".")[0]
        if name in ("NoCredentialsError", "PartialCredentialsError"):
            raise NotPermitted(place, "there are no credentials for it", "set AWS_PROFILE, or AWS_ACCESS_KEY_ID and its secret") from error
        if name == "ProfileNotFound":
            raise NotPermitted(place, _first_line(error), "give AWS_PROFILE a name that ~/.aws holds") from error
        if "AccessControlException" in str(error):
            raise NotPermitted(place, _first_line(error), _RIGHTS) from error
        if "quota" in str(error) and "exceeded" in str(error):  # of HDFS
            raise InputOutput(place, _first_line(error), "make room there, or have the quota raised") from error
        if "://" not in place and isinstance(error, OSError):
            raise InputOutput(place, _first_line(error), "make room or repair the disk, then run it again") from error
        if library in _LIBRARIES and "SSL" in f"{name} {error}":
            raise Unavailable(place, _first_line(error), _CERTIFICATE) from error
        if library in _LIBRARIES or isinstance(error, (OSError, RuntimeError)):
            raise Unavailable(place, _first_line(error), _SERVER) from error
        raise


def package_missing(name: str, extra: str) -> Unavailable:
    """The error for a Python package that is not installed, and which of our extras brings it."""
    return Unavailable(f"Python package {name}", "is not installed", f"pip install 'scape-toolkit[{extra}]'")


def _first_line(error: BaseException) -> str:
    """What it says, without the stack that Java's exceptions bring; of requests', which nest four others, what the system said."""
    inner: BaseException | None = error
    if type(error).__module__.startswith("requests"):
        while inner is not None:
            if isinstance(inner, OSError) and inner.errno and inner.strerror:
                error = inner
            inner = inner.__cause__ or inner.__context__
    words = getattr(error, "strerror", None) or str(error)
    if native := _NATIVE.fullmatch(words):
        words = native[1].replace("\\n", "\n").replace('\\"', '"')
    return (words.strip().splitlines() or [type(error).__name__])[0][:300]
