"""What became of what was tried, counted and printed."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class Counts:
    """Of attacks of one kind; every one tried ends as one of the others."""

    name: str = ""
    tried: int = 0
    refused: int = 0
    harmless: int = 0
    wrong: int = 0
    hung: int = 0
    notes: list[str] = field(default_factory=list)

    def report(self) -> str:
        """Print, and return, one line of numbers and what is to be known of the bad ones."""
        line = (
            f"{self.name}: tried {self.tried}, refused {self.refused}, harmless {self.harmless}, "
            f"wrong {self.wrong}, hung {self.hung}"
        )
        text = "\n".join([line, *self.notes])
        print(text)
        return text
