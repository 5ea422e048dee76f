"""Errors about weight files: one sentence with the file, the problem and the remedy."""

__all__ = ["UnreadableError", "WeightFileError"]

DOWNLOAD_AGAIN = "download it again, or give another file"
TRUST = "give a file of tensors only, from a source that you trust"


class WeightFileError(ValueError):
    """A file holds no usable weights.

    Attributes:
        path: the file.
        problem: clause about the file.
        remedy: clause about what to do.
    """

    def __init__(self, path: str, problem: str, remedy: str) -> None:
        """Store the parts of the sentence."""
        super().__init__(path, problem, remedy)
        self.path, self.problem, self.remedy = path, problem, remedy

    def __str__(self) -> str:
        """Return the sentence."""
        return f"cannot read the weights {self.path!r}: {self.problem}; {self.remedy}"


class UnreadableError(ValueError):
    """A part of a file cannot be read; `read_weight_file` adds the file's name.

    Attributes:
        problem: clause about the file.
        remedy: clause about what to do.
    """

    def __init__(self, problem: str, remedy: str = DOWNLOAD_AGAIN) -> None:
        """Store the parts of the sentence."""
        super().__init__(problem, remedy)
        self.problem, self.remedy = problem, remedy
