"""A report at the end of a PixelCLIP training: the words nearest to each cluster."""

import json
import logging
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from torch.nn.parallel import DistributedDataParallel

from ..d2.engine import HookBase
from ..files import WriteError, write_atomically
from ..plugin import ClusterDescription, PixelCLIP

__all__ = ["ReportClusters", "write_cluster_report"]

_logger = logging.getLogger(__name__)


class ReportClusters(HookBase):
    """Write ``OUTPUT_DIR/clusters.json`` and ``.md`` at the end of a training of `PixelCLIP`.

    Other models, and trainings that were interrupted, leave no report.
    """

    def __init__(self, output_dir: str) -> None:
        """Write to the run's folder."""
        self._folder = Path(output_dir)

    def after_train(self) -> None:
        """Write the report."""
        model = self.trainer.model
        model = model.module if isinstance(model, DistributedDataParallel) else model
        if self.trainer.iter < self.trainer.max_iter or not isinstance(model, PixelCLIP):
            return
        clusters = model.describe_clusters()
        if not clusters:
            return
        try:
            path = write_cluster_report(self._folder, clusters)
        except WriteError as error:
            # The training is done and its checkpoint written.
            _logger.warning("%s; there is no report of the clusters", error)
            return
        _logger.info("a report of the %d clusters is written to %s", len(clusters), path)


def write_cluster_report(folder: Path, clusters: Sequence[ClusterDescription]) -> Path:
    """Write ``clusters.json`` and ``clusters.md``, with the clusters in their order.

    Returns:
        The path of ``clusters.md``.

    Raises:
        WriteError: a file cannot be written.
    """
    with write_atomically(folder / "clusters.json", "w") as file:
        json.dump([asdict(cluster) for cluster in clusters], file, ensure_ascii=False, indent=1)
        file.write("\n")
    lines = [
        "# Clusters",
        "",
        "The masks per batch that each cluster took lately, and the words nearest to its prompt, "
        "with their cosines.",
        "",
        "| cluster | masks a batch | nearest words |",
        "|---:|---:|---|",
    ]
    for cluster in clusters:
        words = ", ".join(f"{_plain(word)} ({cosine:.2f})" for word, cosine in cluster.words)
        lines.append(f"| {cluster.cluster} | {cluster.masks:.2f} | {words} |")
    path = folder / "clusters.md"
    with write_atomically(path, "w") as file:
        file.write("\n".join(lines) + "\n")
    return path


def _plain(word: str) -> str:
    """A word with its bars escaped, which would end a cell of the table."""
    return word.replace("|", "\\|")
