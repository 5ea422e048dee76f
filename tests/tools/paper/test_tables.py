"""The tables of published numbers and of releases: their form, and the names in them."""

import re
import runpy
from functools import cache
from pathlib import Path

import pytest
from paper import choose_rows, read_published, read_releases, read_rows

from ovseg_d2.config import load_config
from ovseg_d2.d2.data import DatasetCatalog
from ovseg_d2.data.corruptions import CORRUPTIONS

ROOT = Path(__file__).resolve().parents[3]
FOLDER = ROOT / "configs" / "paper"
ROWS = {(row.method, row.name): row for row in read_rows()}
NUMBERS = read_published()


def test_tool_offers_the_methods_of_the_table():
    tool = runpy.run_path(str(ROOT / "tools" / "benchmark.py"), run_name="benchmark")
    assert list(tool["PAPERS"]) == sorted({row.method for row in read_rows()})


def test_published_values_are_percentages_with_a_source():
    papers = re.findall(r"^\| \[(\w+)\] \|", (ROOT / "docs/papers.md").read_text(), re.MULTILINE)
    assert len(NUMBERS) > 100
    for number in NUMBERS:
        known = r"\d{1,2}\.\d{1,2}" if "corruptions" not in number.method else r"\d\d\.\d|-"
        assert re.fullmatch(known, number.value), number
        paper = re.match(r"\[(\w+)\]", number.source)
        assert paper[1] in papers if paper else re.search(r", .+\.\w+:", number.source), number
        assert number.dataset in DatasetCatalog.list()


def test_rows_and_numbers_belong_together():
    keys = [(n.method, n.row, n.dataset, n.metric) for n in NUMBERS]
    assert len(set(keys)) == len(keys)
    assert len(ROWS) == len(read_rows())
    assert {key[:2] for key in keys} == set(ROWS)


@cache
def read(config_file):
    return load_config(ROOT / config_file)


@pytest.mark.parametrize("method", sorted({method for method, _ in ROWS}))
def test_configs_exist_and_take_the_keys_of_their_row(method):
    for row, numbers in choose_rows(method):
        for dataset, short in {(number.dataset, number.short) for number in numbers}:
            assert dataset in read(row.config_file(short)).DATASETS.TEST, (row, dataset)
            sources = row.weight_files(short)
            for _, source in sources:
                trained = source.removeprefix("train:")
                assert source in read_releases() or (FOLDER / f"{trained}.yaml").is_file(), row
        if row.opts or len(sources) > 1:
            load_config(
                ROOT / row.config_file(short), [*row.opts, *(w for pair in sources for w in pair)]
            )


def test_releases_have_digests_pages_and_licences():
    for release in read_releases().values():
        assert re.fullmatch(r"([0-9a-f]{64})?", release.sha256)
        assert re.fullmatch(r"[0-9a-f]{0,32}", release.md5)
        assert release.page.startswith("https://")
        assert release.licence and release.group and release.content
        # OpenAI's and MaskFormer's addresses hold the digests.
        assert not release.sha256 or release.sha256 in release.page


def test_page_lists_exactly_the_releases():
    page = (ROOT / "docs/model_zoo.md").read_text(encoding="utf-8")
    shown = [line for line in page.splitlines() if line.startswith("| [`")]
    expected = []
    for release in read_releases().values():
        digest = f"`{release.sha256}`" if release.sha256 else "to fill"
        digest += f" (md5 `{release.md5}`...)" if release.md5 else ""
        cells = (f"[`{release.file}`]({release.page})", release.content, digest, release.licence)
        expected.append(f"| {' | '.join(cells)} |")
    assert shown == expected


def test_rows_and_datasets_are_chosen_by_name_or_part():
    ((row, numbers),) = choose_rows("maskclip", ["RN50x16"], ["voc20", "ovseg_context59_val"])
    assert row.name == "RN50x16"
    assert [(number.short, number.value) for number in numbers] == [
        ("voc20", "50.9"),
        ("context59", "20.3"),
    ]
    assert len(choose_rows("maskclip", ["speckle"])) == 1
    with pytest.raises(ValueError, match="the table of sclip has no dataset 'voc'; it has"):
        choose_rows("sclip", datasets=["voc"])
    with pytest.raises(ValueError, match="no row's name contains any of"):
        choose_rows("sclip", ["ViT-H"])


def test_corruptions_are_rows_of_both_backbones_with_their_keys():
    rows = choose_rows("maskclip_corruptions")
    assert len(rows) == 2 * (1 + 8 * 5)
    (chosen,) = choose_rows("maskclip_corruptions", ["RN50, jpeg_compression 4"])
    row, (number,) = chosen
    words = "NAME jpeg_compression LEVEL 4 FIXED_LENGTHS True".split()
    assert [word.removeprefix("INPUT.CORRUPTION.") for word in row.opts] == words
    assert (number.short, number.value) == ("context59", "-")
    names = {row.opts[1] for row, _ in rows if row.opts}
    assert names <= set(CORRUPTIONS) and len(names) == 8
