import pytest

from ovseg_d2.clip import LastBlock
from ovseg_d2.clip.last_block import require_attention


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
def test_last_block_refuses_impossible_options(values, message):
    with pytest.raises(ValueError, match=message):
        LastBlock(**values)


def test_last_block_default_is_maskclips_and_hashable():
    assert LastBlock() == LastBlock("own", True, "value")
    assert len({LastBlock(), LastBlock(), LastBlock(residual="none")}) == 2


def test_require_attention_names_the_reason():
    require_attention(LastBlock(attention="full"), ("value", "full"), "it is round")
    require_attention(LastBlock(neighbourhood_std=2.0), ("value",), "it is round")
    for changes in ({"attention": "qq"}, {"residual": "none"}, {"mlp": False}):
        with pytest.raises(ValueError, match=r"but it is round; choose attention from \('value'"):
            require_attention(LastBlock(**changes), ("value", "full"), "it is round")
