"""What odekit raises: each error names the value at fault and says what to do."""

from __future__ import annotations

from collections.abc import Iterable

from odekit.base.status import Status

__all__ = [
    "CheckpointError",
    "CheckpointWarning",
    "FluctuationWarning",
    "NotCompletedWarning",
    "OdekitError",
    "ProblemError",
    "ScenarioError",
    "StoreError",
    "StoreExistsError",
    "SweepError",
    "Unreached",
    "printable",
]


def printable(text: str) -> str:
    r"""A text whose control characters are written out, so that no terminal obeys them.

    Line ends stay; so do the letters of every language. Bytes of file names that are no text, and
    marks that turn the direction of writing, are written out too.

    Examples
    --------
    >>> print(printable("\x1b[31mred\x1b[0m"))
    \x1b[31mred\x1b[0m
    """
    return "".join(c if c == "\n" or c.isprintable() else ascii(c)[1:-1] for c in text)


class OdekitError(Exception):
    """Base of all errors that odekit raises on purpose."""


class ProblemError(OdekitError, ValueError):
    """A problem, or an argument of a function, breaks a rule.

    Parameters
    ----------
    argument : str
        Name of the value at fault, as the user wrote it: ``"R"``, ``"phases[1].duration"``.
    rule : str
        What it must be, as the end of a sentence: ``"must have shape (K, P) = (3, 2)"``.
    given : str
        What it is instead: ``"(2, 3)"``.
    remedy : str, optional
        One sentence: what to do.

    Examples
    --------
    >>> print(ProblemError("R", "must have shape (K, P) = (3, 2)", "(2, 3)",
    ...                    "Rows are student units; did you pass R transposed?"))
    `R` must have shape (K, P) = (3, 2), got (2, 3). Rows are student units; did you pass R
    transposed?
    """

    def __init__(self, argument: str, rule: str, given: object, remedy: str = "") -> None:
        self.argument = argument
        self.rule = rule
        self.given = " ".join(str(given).split())
        self.remedy = remedy
        super().__init__(argument, rule, given, remedy)

    def __str__(self) -> str:
        """Say it in one or two sentences."""
        sentence = f"`{self.argument}` {self.rule}, got {self.given}."
        return printable(f"{sentence} {self.remedy}".rstrip())


class Unreached(ProblemError):
    """A run that is to be differentiated does not reach its end.

    Parameters
    ----------
    status : Status
        How it ended instead.
    given, remedy : str
        As of `ProblemError`.
    """

    def __init__(self, status: Status, given: str, remedy: str) -> None:
        super().__init__("problem", "must run to its end", given, remedy)
        self.status = status

    def __reduce__(self) -> tuple[type[Unreached], tuple[Status, str, str]]:
        """What rebuilds it in another process."""
        return Unreached, (self.status, self.given, self.remedy)


class ScenarioError(OdekitError, ValueError):
    """All the mistakes of one scenario at once.

    Parameters
    ----------
    problems : iterable of (key, message)
        Each mistake with the key at which it stands, such as ``"phases[0].duration"``.

    Examples
    --------
    >>> print(ScenarioError([("phases[0].duration", "must be positive, got -1"),
    ...                      ("activation", "must be one of erf, linear, relu, got 'tanh'")]))
    2 mistakes in the scenario:
      phases[0].duration: must be positive, got -1
      activation: must be one of erf, linear, relu, got 'tanh'
    """

    def __init__(self, problems: Iterable[tuple[str, str]]) -> None:
        self.problems = [(str(key), str(message)) for key, message in problems]
        super().__init__(self.problems)

    def __str__(self) -> str:
        """List the mistakes, one a line."""
        count = len(self.problems)
        head = f"{count} mistake{'' if count == 1 else 's'} in the scenario:"
        listed = [head, *(f"  {key}: {message}" for key, message in self.problems)]
        return printable("\n".join(listed))


class StoreError(OdekitError, OSError):
    """A file cannot be written, or is not one that odekit may read.

    Parameters
    ----------
    path : str
        The file.
    reason : str
        What is wrong, as the end of a sentence that starts with the path.
    remedy : str, optional
        One sentence: what to do.
    """

    def __init__(self, path: object, reason: str, remedy: str = "") -> None:
        self.path = str(path)
        self.reason = reason
        self.remedy = remedy
        super().__init__(self.path, reason, remedy)

    def __str__(self) -> str:
        """Say it in one or two sentences."""
        return printable(f"{self.path}: {self.reason}. {self.remedy}".rstrip())


class StoreExistsError(StoreError, FileExistsError):
    """There is a file of this name, which may not be replaced."""


class CheckpointError(OdekitError):
    """A checkpoint is damaged, or belongs to another problem."""


class SweepError(OdekitError):
    """No chunk of a sweep could be computed by the workers of its executor."""


class NotCompletedWarning(UserWarning):
    """A result whose `status` says that not every trajectory ran to its end.

    Examples
    --------
    To hear of it no more:

    >>> import warnings, odekit
    >>> warnings.simplefilter("ignore", odekit.NotCompletedWarning)
    """


class FluctuationWarning(UserWarning):
    """Predicted fluctuations are no error bars at some of the times."""


class CheckpointWarning(UserWarning):
    """A checkpoint could not be written; the run goes on."""
