"""Errors about weight files: one sentence with the file, what it is, and the remedy."""

__all__ = ["UnreadableError", "WeightFileError"]

DOWNLOAD_AGAIN = "download it again, or give another file"
TRUST = "give a file of tensors alone, from a source that you trust"


class WeightFileError(ValueError):
    """A file holds no weights that can be used.

    Attributes:
        path: the file.
        problem: what it is or holds.
        remedy: what to do.
    """

    def __init__(self, path: str, problem: str, remedy: str) -> None:
        """Keep the parts of the sentence."""
        super().__init__(path, problem, remedy)
        self.path, self.problem, self.remedy = path, problem, remedy

    def __str__(self) -> str:
        """The sentence."""
        return f"cannot read the weights {self.path!r}: {self.problem}; {self.remedy}"


class UnreadableError(ValueError):
    """A part of a file cannot be read; `read_weight_file` adds the file's name.

    Attributes:
        problem: what it is or holds.
        remedy: what to do.
    """

    def __init__(self, problem: str, remedy: str = DOWNLOAD_AGAIN) -> None:
        """Keep the parts of the sentence."""
        super().__init__(problem, remedy)
        self.problem, self.remedy = problem, remedy
