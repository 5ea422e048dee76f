"""Template sets and the check of one's own templates."""

import pytest

from ovseg_d2.text import TEMPLATE_SETS, get_templates


@pytest.mark.parametrize(
    ("name", "count"),
    [
        ("bare", 1),
        ("single", 1),
        ("imagenet", 80),
        ("vild", 14),
        ("maskclip", 85),
        ("pixelclip", 8),
        ("pixelclip_single", 1),
    ],
)
def test_get_templates_of_each_set(name: str, count: int) -> None:
    templates = get_templates(name)
    assert len(templates) == len(set(templates)) == count
    assert all(template.count("{}") == 1 for template in templates)


def test_template_sets_are_complete() -> None:
    assert set(TEMPLATE_SETS) == {
        "bare",
        "single",
        "imagenet",
        "vild",
        "maskclip",
        "pixelclip",
        "pixelclip_single",
    }


def test_get_templates_examples() -> None:
    assert get_templates("single") == ("a photo of a {}.",)
    assert get_templates("bare") == ("{}",)
    vild = get_templates("vild")
    assert vild[1] == "This is a photo of a {}"
    assert vild[5:8] == (
        "a photo of a small {}.",
        "a photo of a medium {}.",
        "a photo of a large {}.",
    )
    assert vild[13] == "There is a large {} in the scene."
    maskclip = get_templates("maskclip")
    assert maskclip[:80] == get_templates("imagenet")
    assert maskclip[84] == "this is one {} in the scene."
    assert get_templates("pixelclip")[1] == "a bad photo of the {}."
    assert get_templates("pixelclip")[7:] == get_templates("pixelclip_single")
    assert get_templates("pixelclip_single") == ("a photo of a {} in the scene",)


def test_get_templates_keeps_a_list() -> None:
    assert get_templates(["b {}", "a {}"]) == ("b {}", "a {}")


@pytest.mark.parametrize(
    ("templates", "message"),
    [
        ("nope", r"'nope' is no template set; choose from \['bare', 'imagenet', .*'vild'\]"),
        ("a photo of a {}.", "is no template set"),
        ([], "templates is empty"),
        (["a {}", "a photo"], "'a photo' holds 0 times"),
        (["a {} and a {}"], "holds 2 times"),
    ],
)
def test_get_templates_refuses(templates: str | list[str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        get_templates(templates)
