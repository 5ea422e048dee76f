"""Package metadata of ovseg_d2; the tools are configured in pyproject.toml."""

import re
from pathlib import Path

from setuptools import find_packages, setup

ROOT = Path(__file__).parent


def read_version() -> str:
    """Read the version from the package's text: importing the package needs torch."""
    text = (ROOT / "ovseg_d2" / "__init__.py").read_text(encoding="utf-8")
    match = re.search(r'^__version__ = "([^"]+)"$', text, flags=re.MULTILINE)
    if match is None:
        raise RuntimeError('ovseg_d2/__init__.py has no line __version__ = "..."')
    return match.group(1)


def read_readme() -> str:
    """Read the README, which an unpacked package may lack."""
    readme = ROOT / "README.md"
    return readme.read_text(encoding="utf-8") if readme.is_file() else ""


# Each lower bound was tested on Python 3.10: all of them together, with the suite in parts. There
# are no upper bounds.
REQUIREMENTS = [
    "torch>=2.6",
    "torchvision>=0.21",
    "open_clip_torch>=3.1",
    "timm>=1.0.17",
    # What open_clip and timm download through.
    "huggingface_hub>=0.27",
    "fvcore>=0.1.5.post20221221",
    # detectron2 itself asks for iopath below 0.1.10.
    "iopath>=0.1.9",
    "yacs>=0.1.8",
    "numpy>=1.26.4",
    "pillow>=10.3",
    # The same cv2 as opencv-python without its windows, for which that one needs libGL and libglib
    # from the system: a server or a container often lacks them, and `import cv2` fails.
    "opencv-python-headless>=4.10.0.84",
    "pycocotools>=2.0.8",
    "segment-anything>=1.0",
    "scipy>=1.12",
    "scikit-image>=0.22",
    "matplotlib>=3.8.4",
    "pyyaml>=6.0.1",
    "safetensors>=0.4.5",
    "tabulate>=0.9",
    "termcolor>=2.4",
    "tqdm>=4.66.4",
    # Nouns of captions, for mining; the one tagger whose English model is in its package, so that
    # nothing has to be downloaded apart.
    "HanTa>=1.2.1",
    # Every training writes TensorBoard events, as detectron2's does.
    "tensorboard>=2.17.1",
]

EXTRAS = {
    "dev": ["mypy>=1.11", "packaging", "pytest>=8.2", "ruff>=0.6", "setuptools>=69"],
    # What detectron2 imports and we do not, for a checkout of it that is only put on PYTHONPATH.
    # detectron2 itself is not on the package index, and never required.
    "d2": ["cloudpickle", "hydra-core", "omegaconf", "packaging"],
    # Two libraries that TEST.AMBIGUITY wordnet takes WordNet from, and that have to get its data:
    # python -m nltk.downloader wordnet, or python -m wn download oewn:2024.
    "nltk": ["nltk>=3.9.1"],
    "wn": ["wn>=0.10"],
    # Tokenizers of SigLIP, CLIPA and MetaCLIP 2, and text halves such as XLM-RoBERTa.
    "hf": ["transformers>=4.45"],
}

setup(
    name="ovseg_d2",
    version=read_version(),
    description="Open-vocabulary semantic segmentation: a Detectron2 plugin that also runs alone",
    long_description=read_readme(),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    license_files=["LICENSE"],
    python_requires=">=3.10",
    packages=find_packages(include=["ovseg_d2", "ovseg_d2.*"]),
    package_data={
        "ovseg_d2": ["assets/*.*"],
        "ovseg_d2.data.datasets": ["*.tsv"],
        "ovseg_d2.prepare.datasets": ["*.tsv"],
        "ovseg_d2.vocab": ["*.txt", "*/*.txt"],
    },
    install_requires=REQUIREMENTS,
    extras_require=EXTRAS,
    # Weights and word lists are opened as files.
    zip_safe=False,
)
