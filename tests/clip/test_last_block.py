import pytest

from ovseg_d2.clip import LastBlock


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"residual": "cls"}, "residual='cls'; choose one of"),
        ({"attention": "vv"}, "attention='vv'; choose one of"),
        ({"neighbourhood_std": 0.0}, "neighbourhood_std=0.0; give a positive"),
        ({"neighbourhood_std": float("nan")}, "neighbourhood_std=nan; give a positive"),
        ({"attention": "full", "residual": "none"}, "unchanged block, but residual='none'"),
        ({"attention": "full", "mlp": False}, "mlp=False"),
    ],
)
def test_impossible_choices_are_refused(values, message):
    with pytest.raises(ValueError, match=message):
        LastBlock(**values)


def test_default_is_the_value_path_of_maskclip_and_can_be_a_key():
    assert LastBlock() == LastBlock("own", True, "value")
    assert len({LastBlock(), LastBlock(), LastBlock(residual="none")}) == 2
