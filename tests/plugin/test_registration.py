"""Registered names: on both tiers, without clashes with other plugins, once per process."""

import importlib
import subprocess
import sys
from pathlib import Path

import ovseg_d2
from ovseg_d2.d2 import HAS_DETECTRON2
from ovseg_d2.d2.data import DatasetCatalog, MetadataCatalog
from ovseg_d2.d2.modeling import (
    BACKBONE_REGISTRY,
    META_ARCH_REGISTRY,
    SEM_SEG_HEADS_REGISTRY,
)

SYSTEMS = {
    *("CLIPPretrain", "MaskedDistillCLIP", "MaskCLIP", "MaskCLIPPlus", "PixelCLIP", "OVSeg"),
    *("MaskAdaptedCLIP", "OVSegMaskFormer", "CLIPFineTune"),
}
# Names that MaskFormer, OVSeg, CAT-Seg and PixelCLIP register on import.
NEIGHBOUR = """
for registry, names in (
    (META_ARCH_REGISTRY, ("MaskFormer", "CATSeg", "OVSegDEMO")),
    (BACKBONE_REGISTRY, ("D2SwinTransformer",)),
    (SEM_SEG_HEADS_REGISTRY, ("MaskFormerHead", "PerPixelBaselineHead", "OpenVocabMaskFormerHead")),
):
    for name in names:
        registry.register(type(name, (), {}))
for name in ("coco_2017_train_stuff_all_sem_seg", "ade20k_full_sem_seg_val", "pascalvoc20_val"):
    DatasetCatalog.register(name, list)
    MetadataCatalog.get(name).set(stuff_classes=["a"])
"""
FROM = """
from {0}.data import DatasetCatalog, MetadataCatalog
from {0}.modeling import BACKBONE_REGISTRY, META_ARCH_REGISTRY, SEM_SEG_HEADS_REGISTRY
"""


def ours(registry):
    return {name: value for name, value in registry if value.__module__.split(".")[0] == "ovseg_d2"}


def test_models_are_registered_by_class_name():
    models = ours(META_ARCH_REGISTRY)
    models = {n: v for n, v in models.items() if ".standin." not in v.__module__}
    assert {"MaskCLIP", "CLIPPretrain"} <= set(models) <= SYSTEMS
    assert all(name == value.__name__ for name, value in models.items())


def test_other_registered_names_have_a_prefix():
    for registry in (BACKBONE_REGISTRY, SEM_SEG_HEADS_REGISTRY):
        for name, value in ours(registry).items():
            if ".standin." not in value.__module__:
                assert name.startswith(("ovseg_", "OVSeg", "CLIP")), name
    for split in ("train", "dev", "val"):
        assert f"ovseg_shapes_{split}" in DatasetCatalog.list()
        assert len(MetadataCatalog.get(f"ovseg_shapes_{split}").stuff_classes) > 72


def test_importing_again_registers_nothing():
    assert importlib.import_module("ovseg_d2") is ovseg_d2
    assert importlib.import_module("ovseg_d2.plugin").MaskCLIP is META_ARCH_REGISTRY.get("MaskCLIP")


def test_names_do_not_clash_with_other_plugins():
    # detectron2's own registries are there before this package is; the stand-in's come with it.
    source = FROM.format("detectron2" if HAS_DETECTRON2 else "ovseg_d2.d2")
    program = f"{source}{NEIGHBOUR}\nimport ovseg_d2\nprint(META_ARCH_REGISTRY.get('MaskCLIP'))"
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=Path(ovseg_d2.__file__).parents[1],
        capture_output=True,
        text=True,
    )
    # A clash is an AssertionError of a registry or a catalog.
    assert done.returncode == 0, done.stderr
    assert "ovseg_d2.plugin.maskclip.MaskCLIP" in done.stdout
