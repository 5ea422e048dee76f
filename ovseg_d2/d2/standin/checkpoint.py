"""Saving, loading and resuming; saving at intervals."""

import logging
from typing import Any
from urllib.parse import parse_qs, urlparse

from fvcore.common.checkpoint import Checkpointer, PeriodicCheckpointer
from torch import Tensor, nn

from ...weight_files import read_checkpoint, read_last_checkpoint, read_weight_file
from .utils import comm
from .utils.file_io import PathManager

__all__ = ["DetectionCheckpointer", "PeriodicCheckpointer"]

logger = logging.getLogger("detectron2.checkpoint.detection_checkpoint")


class DetectionCheckpointer(Checkpointer):
    """fvcore's checkpointer; saves from the main process, and reads weights of any format.

    A file has the weights at its top level, or under "model" or another name that trainers use; no
    code in it runs. A "module." before all keys is removed; missing keys, unused keys and other
    shapes are logged, not raised.
    Where the file or a ``?matching_heuristics=True`` behind its name asks for it, weights are
    matched to parameters by the longest common end of their names.
    """

    def __init__(
        self,
        model: nn.Module,
        save_dir: str = "",
        *,
        save_to_disk: bool | None = None,
        **checkpointables: Any,
    ):
        """Set model, folder and further objects to save.

        Args:
            model: taken out of DistributedDataParallel if it is inside.
            save_dir: folder of the files.
            save_to_disk: by default, whether this is the main process.
            checkpointables: further objects with a state dict, by the name they are saved under.
        """
        if save_to_disk is None:
            save_to_disk = comm.is_main_process()
        super().__init__(model, save_dir, save_to_disk=save_to_disk, **checkpointables)
        self.path_manager = PathManager
        self._match_by_end = False

    def load(self, path: str, checkpointables: list[str] | None = None) -> dict[str, Any]:
        """Load weights and, where the file has them, the other objects.

        Args:
            path: a file, or empty to load nothing.
            checkpointables: names of the other objects to load; all by default.

        Returns:
            The other entries of the file.

        Raises:
            AssertionError: there is no such file.
            WeightFileError: it is no weight file, is damaged, or holds code or values that are not
                finite.
            ValueError: an entry of the weights is neither tensor nor array, the weights are in
                Caffe2's naming, or there is an unknown query behind the path.
        """
        logger.info("[DetectionCheckpointer] Loading from %s ...", path)
        url = urlparse(path)
        query = parse_qs(url.query)
        self._match_by_end = query.pop("matching_heuristics", ["False"]) == ["True"]
        if query:
            raise ValueError(f"Unsupported query remaining: {query}, original filename: {path}")
        return super().load(url._replace(query="").geturl(), checkpointables)

    def get_checkpoint_file(self) -> str:
        """Path of the last checkpoint; "" where none is named.

        Raises:
            ValueError: ``last_checkpoint`` names a file outside of its folder.
        """
        return read_last_checkpoint(self.save_dir)

    def _load_file(self, f: str) -> dict[str, Any]:
        if f.endswith(".pkl"):
            content = read_weight_file(f)
            if not isinstance(content, dict) or not {"model", "__author__"} <= content.keys():
                raise ValueError(
                    f"{f} looks like a Caffe2 model, whose names only detectron2 itself can "
                    "convert: install it, or use a file converted to its names."
                )
        return read_checkpoint(f)

    def _load_model(self, checkpoint: dict[str, Any]) -> Any:
        if checkpoint.pop("matching_heuristics", False) or self._match_by_end:
            self._convert_ndarray_to_tensor(checkpoint["model"])
            checkpoint["model"] = match_names_by_end(checkpoint["model"], self.model.state_dict())
        incompatible = super()._load_model(checkpoint)
        # A model sets its pixel statistics from its config; files may lack them.
        for name in ("pixel_mean", "pixel_std"):
            if name in dict(self.model.named_buffers(recurse=False)):
                if name in incompatible.missing_keys:
                    incompatible.missing_keys.remove(name)
        return incompatible


def match_names_by_end(
    weights: dict[str, Tensor], model_state: dict[str, Tensor]
) -> dict[str, Tensor]:
    """Rename weights to the model's entries that end like them.

    An entry of the model takes the weight with the longest name that is its own or follows a dot
    in it; so "stem.conv1.weight" goes to "backbone.stem.conv1.weight".

    Args:
        weights: of a part of the model, usually.
        model_state: the model's state dict.

    Returns:
        The weights under the model's names; weights without a match keep their names.

    Raises:
        ValueError: one weight would go to two entries.
    """
    targets: dict[str, str] = {}
    for name, value in model_state.items():
        parts = name.split(".")
        # From the whole name on to its last part, so that the first hit is the longest.
        ends = (".".join(parts[i:]) for i in range(len(parts)))
        source = next((end for end in ends if end in weights), None)
        if source is None:
            continue
        if weights[source].shape != value.shape:
            logger.warning(
                "Shape of %s in the checkpoint is %s, but of %s in the model %s; it is not loaded.",
                *(source, tuple(weights[source].shape), name, tuple(value.shape)),
            )
            continue
        if source in targets:
            raise ValueError(
                f"{source} in the checkpoint matches both {targets[source]} and {name} in the "
                "model; rename the weights first."
            )
        targets[source] = name
    return {targets.get(name, name): value for name, value in weights.items()}
