"""Feature maps of any network of timm, at any resolution.

Shape shorthand: B images, C channels, HxW pixels; C_i and s_i channels and stride of map i.
"""

import difflib
import itertools
import logging
import math
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import timm
import torch
import torch.nn.functional as F
from timm.data import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD
from timm.layers import Format
from torch import Tensor, nn

from ovseg_d2.downloads import TIMM_FILES, downloading, find_timm_weights, weights_in_folder
from ovseg_d2.weight_files import below_wrappers, describe_method, read_state_dict

__all__ = ["TimmFeatures", "build_timm_features"]

_logger = logging.getLogger(__name__)

# Options for a network of any size, tried in order: windows (Swin), positions (ViT), no option.
_ANY_SIZE: tuple[dict[str, Any], ...] = (
    {"strict_img_size": False},
    {"dynamic_img_size": True},
    {},
)


class TimmFeatures(nn.Module):
    """A network of timm as a backbone of feature maps, channels first.

    Images may have any size: they are padded with zeros at the bottom and right, and the locations
    that cover only padding are removed from the maps.
    """

    def __init__(self, network: nn.Module, *, size_divisibility: int = 0) -> None:
        """Store the network and the properties of its maps.

        Args:
            network: from ``timm.create_model(..., features_only=True)``.
            size_divisibility: height and width are padded to a multiple of these pixels; 0 means
                the least common multiple of the strides.

        Raises:
            ValueError: a size that is not a multiple of all strides, or maps out of order.
        """
        super().__init__()
        self.network = network
        info: Any = network.feature_info
        self.channels: tuple[int, ...] = tuple(info.channels())
        self.strides: tuple[int, ...] = tuple(info.reduction())
        # timm's numbers of the maps, counted from the start.
        self.indices: tuple[int, ...] = tuple(i % len(info.info) for i in info.out_indices)
        if any(later <= earlier for earlier, later in itertools.pairwise(self.indices)):
            raise ValueError(
                f"out_indices={tuple(info.out_indices)} are not in the network's order of maps; "
                "sort them, without repeats."
            )
        least = math.lcm(*self.strides)
        if size_divisibility < 0 or size_divisibility % least:
            raise ValueError(
                f"size_divisibility={size_divisibility} is not a multiple of {least}, and the "
                f"strides are {self.strides}; give such a multiple, or 0 for {least}."
            )
        self.size_divisibility = size_divisibility or least
        self._channels_last = getattr(network, "output_fmt", Format.NCHW) == Format.NHWC

    @property
    def mean(self) -> tuple[float, ...]:
        """Mean of RGB in [0, 1] in the network's training."""
        return self._statistics("mean", IMAGENET_DEFAULT_MEAN)

    @property
    def std(self) -> tuple[float, ...]:
        """Standard deviation of RGB in [0, 1] in the network's training."""
        return self._statistics("std", IMAGENET_DEFAULT_STD)

    def _statistics(self, key: str, default: tuple[float, ...]) -> tuple[float, ...]:
        about: Any = self.network.pretrained_cfg
        return tuple(about.get(key) or default)

    def forward(self, images: Tensor) -> list[Tensor]:
        """Compute the feature maps of images.

        Args:
            images: (B, C, H, W) normalised; any H and W.

        Returns:
            Maps (B, C_i, ceil(H / s_i), ceil(W / s_i)) float, raw, in timm's order.

        Raises:
            ValueError: the sizes of the network's maps do not fit its strides.
        """
        height, width = images.shape[-2:]
        multiple = self.size_divisibility
        images = F.pad(images, (0, -width % multiple, 0, -height % multiple))
        maps = []
        for feats, stride in zip(self.network(images), self.strides, strict=True):
            feats = feats.permute(0, 3, 1, 2) if self._channels_last else feats
            whole = images.shape[-2] // stride, images.shape[-1] // stride
            if feats.shape[-2:] != whole:
                raise ValueError(
                    f"a map of stride {stride} is {tuple(feats.shape[-2:])} instead of {whole}: "
                    "the network's convolutions do not pad; choose another network of timm."
                )
            maps.append(feats[..., : -(-height // stride), : -(-width // stride)])
        return maps


def build_timm_features(
    name: str,
    *,
    pretrained: bool | str | Path = False,
    out_indices: Sequence[int] | None = None,
    in_channels: int = 3,
    size_divisibility: int = 0,
    output_stride: int = 0,
) -> TimmFeatures:
    """Build a network of timm by its name, for images of any size if timm allows that.

    Args:
        name: from ``timm.list_models()``, with or without a tag of weights after a dot: "resnet50",
            "swin_base_patch4_window12_384.ms_in22k".
        pretrained: False for random weights; True for timm's weights of the name (downloaded if
            necessary); or a file of the network's weights, with or without its classifier, or a
            folder with one, such as a snapshot of the Hugging Face hub.
        out_indices: timm's numbers of the maps, which may count from the end; None means timm's
            default: all stages, or the last three blocks of a network of one stride.
        in_channels: of the images; weights of three channels are spread over another number.
        size_divisibility: as for `TimmFeatures`; but 0 means the native size for a network that
            refuses a single tile of its strides: MaxViT, which needs whole windows, then gets
            multiples of it, and a network of one size takes images up to it.
        output_stride: stride of the coarsest map in pixels, for networks that timm can dilate: 8,
            16 or 32; 0 keeps the network's stride.

    Returns:
        The network, on the CPU.

    Raises:
        ValueError: a network, weights or maps that timm does not have, or a file that does not fit.
        WeightFileError: the file cannot be read.
        DownloadError: timm's weights are not in a cache, and the machine is offline.
        FileNotFoundError: the file of weights does not exist.
    """
    check_name(name)
    options: dict[str, Any] = {"features_only": True, "in_chans": in_channels}
    if out_indices is not None:
        options["out_indices"] = tuple(out_indices)
    if output_stride:
        options["output_stride"] = output_stride
    if isinstance(pretrained, bool):
        network = create_network_from_timm(name, pretrained, **options)
    else:
        network = create_network_from_file(name, Path(pretrained), **options)
    divisibility = size_divisibility or _native_divisibility(network, in_channels)
    return TimmFeatures(network, size_divisibility=divisibility)


def create_network_from_timm(name: str, pretrained: bool, **options: Any) -> nn.Module:
    """Create a network with random weights or timm's weights, from a cache or downloaded."""
    if not pretrained:
        return create_network(name, pretrained=False, **options)
    remedy = (
        f"give a file or folder of weights for {name!r} (MODEL.TIMM.PRETRAINED), or copy the cache "
        "of a machine that has them and let HF_HOME name its folder"
    )
    weights = find_timm_weights(name, remedy)
    with downloading(f"timm's weights of {name!r}", remedy):
        return create_network(name, pretrained=True, **weights, **options)


def create_network_from_file(name: str, path: Path, **options: Any) -> nn.Module:
    """Create a network with the weights of a file or folder, and check that they arrive."""
    if path.is_dir():
        path = weights_in_folder(path, TIMM_FILES)
    if not path.is_file():
        raise FileNotFoundError(
            f"pretrained={str(path)!r} is not a file; give a file of weights for {name!r}, True "
            "for timm's weights, or False for random weights."
        )
    state = read_state_dict(path, ema_first=True)
    state = below_wrappers(state, lambda: _weight_names(name))
    weights = {key: value for key, value in state.items() if isinstance(value, Tensor)}
    # A copy, because timm changes the dict.
    overlay = {"state_dict": dict(weights), "custom_load": False, "source": "", "file": str(path)}
    network = create_network(name, pretrained=True, pretrained_cfg_overlay=overlay, **options)
    about: Any = network.pretrained_cfg
    about.pop("state_dict", None)  # else the network keeps a second copy of its weights
    _check_arrival(network, weights, path)
    return network


def _weight_names(name: str) -> list[str]:
    """Return the names of a network's weights, which are the same with all options."""
    with torch.random.fork_rng(devices=[]):
        return list(timm.create_model(name if ":" in name else name.split(".")[0]).state_dict())


def _native_divisibility(network: Any, in_channels: int) -> int:
    """Return the native size of a network that refuses smaller images; 0 for another network."""
    about = network.pretrained_cfg
    side, *others = about["input_size"][1:]
    if not about.get("fixed_input_size") or others != [side]:
        return 0
    tile = math.lcm(*network.feature_info.reduction())
    network.eval()
    try:
        with torch.no_grad():
            network(torch.zeros(1, in_channels, tile, 2 * tile))
    except (AssertionError, RuntimeError):
        return side
    finally:
        network.train()
    return 0


def check_name(name: str) -> None:
    """Raise a ValueError with similar names for a name that timm does not know."""
    architecture = name.split(".")[0]
    # A name with a colon is a place such as "hf-hub:owner/model", which timm resolves later.
    if ":" in name or timm.is_model(architecture):
        return
    similar = difflib.get_close_matches(architecture, timm.list_models(), n=3)
    hint = f"did you mean {', '.join(similar)}? " if similar else ""
    raise ValueError(
        f"timm has no network {name!r}; {hint}timm.list_models('*{architecture[:6]}*') lists "
        "similar names."
    )


def create_network(name: str, **options: Any) -> nn.Module:
    """Create a network, for images of any size if timm has an option for that."""
    for any_size in _ANY_SIZE:
        try:
            return timm.create_model(name, **any_size, **options)
        except TypeError as error:
            if "output_stride" in str(error):
                raise ValueError(
                    f"timm cannot dilate {name!r} to output_stride={options['output_stride']}; "
                    "give 0, or choose a network of convolutions, such as 'resnet50'."
                ) from error
            if not any(option in str(error) for option in any_size):
                raise
        except (RuntimeError, AssertionError, LookupError, AttributeError) as error:
            shown = dict(options)
            overlay = shown.pop("pretrained_cfg_overlay", None)
            shown |= {"pretrained": overlay["file"]} if overlay else {}
            raise ValueError(
                f"timm cannot build {name!r} with {shown}: {' '.join(str(error).split())[:600]}; "
                "choose other weights, other out_indices or another network."
            ) from error
    raise AssertionError("the last attempt has no option that could be refused")


def _check_arrival(network: nn.Module, weights: dict[str, Any], path: Path) -> None:
    """Check that a network has the weights of the file.

    timm ignores any number of missing keys. It renames keys, so weights are compared by content,
    and it may adapt first convolutions and positions, so some of them may differ.

    Raises:
        ValueError: fewer than half of the network's matrices are in the file.
    """
    by_shape: dict[torch.Size, list[Tensor]] = defaultdict(list)
    for value in weights.values():
        if isinstance(value, Tensor):
            by_shape[value.shape].append(value)
    matrices = {key: value for key, value in network.named_parameters() if value.ndim > 1}
    missing = [
        key
        for key, value in matrices.items()
        if not any(torch.equal(value, other.to(value)) for other in by_shape[value.shape])
    ]
    if 2 * len(missing) > len(matrices):
        method = describe_method(weights)
        raise ValueError(
            f"pretrained={str(path)!r} holds {len(matrices) - len(missing)} of the network's "
            f"{len(matrices)} matrices, {missing[0]} for one is missing"
            f"{f', and is of {method} by its names' if method else ''}; give weights of this "
            "network under timm's keys."
        )
    if missing:
        _logger.warning("not from %s, or adapted: %s", path, ", ".join(missing))
