import copy
import pickle

import open_clip
import pytest
import torch
from open_clip.timm_model import TimmModel
from torch import nn

from ovseg_d2.clip import CLIPTower, LastBlock, encode_stages

END = 49407


def test_properties_are_read_from_the_model(build_tower):
    tower = build_tower(
        vision={"image_size": (16, 40), "width": 48}, text={"context_length": 12}, embed_dim=24
    )
    assert tower.mean == open_clip.OPENAI_DATASET_MEAN
    assert tower.std == open_clip.OPENAI_DATASET_STD
    assert tower.patch_size == (8, 8)
    assert tower.image_size == (16, 40)
    assert tower.grid == (2, 5)
    assert tower.width == 48
    assert tower.embed_dim == 24
    assert tower.context_length == 12
    assert tower.device == torch.device("cpu")
    assert tower.dtype == torch.float32
    assert tower.double().dtype == torch.float64


@pytest.mark.parametrize(
    ("name", "patch", "grid", "width", "dim"),
    [("ViT-B-16", 16, 14, 768, 512), ("ViT-B-32", 32, 7, 768, 512)]
    + [("ViT-L-14-336", 14, 24, 1024, 768), ("RN50", 32, 7, 2048, 1024)]
    + [("RN50x16", 32, 12, 3072, 768), ("convnext_base_w", 32, 8, 1024, 640)]
    + [("convnext_large_d_320", 32, 10, 1536, 768)],
)
def test_properties_of_published_models(tokenizer, name, patch, grid, width, dim):
    with torch.device("meta"):
        model = open_clip.CLIP(**open_clip.get_model_config(name))
    tower = CLIPTower(model, tokenizer, (0.5,) * 3, (0.5,) * 3)
    assert tower.patch_size == (patch, patch)
    assert tower.grid == (grid, grid)
    assert tower.image_size == (patch * grid, patch * grid)
    assert tower.width == width
    assert tower.embed_dim == dim
    assert tower.context_length == 77
    assert tower.dense_feats(torch.empty(2, 3, 80, 50, device="meta")).shape == (
        2,
        dim,
        -(-80 // patch),
        -(-50 // patch),
    )


@pytest.mark.parametrize("nonscalar", [False, True])
def test_logit_scale_is_a_number_with_a_gradient(build_tower, nonscalar):
    tower = build_tower(nonscalar_logit_scale=nonscalar)
    nn.init.constant_(tower.model.logit_scale, 2.0)
    assert tower.logit_scale.shape == ()
    assert tower.logit_scale.item() == pytest.approx(7.389056)
    tower.logit_scale.backward()
    assert tower.model.logit_scale.grad.item() == pytest.approx(7.389056)


def test_state_dict_is_open_clips_under_one_prefix(build_tower, vision_kind):
    tower = build_tower(vision=vision_kind)
    expected = {f"model.{key}" for key in tower.model.state_dict()}
    assert set(tower.state_dict()) == expected


def test_the_model_is_not_patched(build_model, tokenizer):
    model, untouched = build_model(), build_model()
    CLIPTower(model, tokenizer, (0.5,) * 3, (0.5,) * 3)
    untouched.load_state_dict(model.state_dict())
    assert vars(model).keys() == vars(untouched).keys()
    images = torch.randn(1, 3, 32, 32)
    assert torch.equal(model.encode_image(images), untouched.encode_image(images))


def test_copies_are_independent(build_tower, vision_kind):
    tower = build_tower(vision=vision_kind)
    images = torch.randn(1, 3, 64, 64)
    before = tower.encode_image(images)
    for teacher in (copy.deepcopy(tower), pickle.loads(pickle.dumps(tower))):
        assert torch.equal(teacher.encode_image(images), before)
    teacher = copy.deepcopy(tower)
    for parameter in tower.model.visual.parameters():
        nn.init.zeros_(parameter)
    assert torch.equal(teacher.encode_image(images), before)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_gpu_equals_cpu(build_tower, vision_kind):
    tower = build_tower(vision=vision_kind)
    is_vit = not vision_kind
    last_block = LastBlock(attention="neighbourhood_kk") if is_vit else LastBlock()
    images = 255 * torch.rand(2, 3, 72, 40)
    token_ids = tower.tokenize(["a cat", "a photo of a dog"])

    def encode(device):
        tower.to(device)
        pixels = tower.normalize(images.to(device))
        return (
            tower.encode_image(pixels).cpu(),
            tower.dense_feats(pixels, last_block).cpu(),
            tower.encode_text(token_ids.to(device)).cpu(),
        )

    for gpu, cpu in zip(encode("cuda"), encode("cpu"), strict=True):
        torch.testing.assert_close(gpu, cpu, rtol=1e-2, atol=1e-2)


class TestNormalize:
    def test_hand_worked_values(self, build_model, tokenizer):
        tower = CLIPTower(build_model(), tokenizer, (0.5, 0.4, 0.2), (0.5, 0.2, 0.25))
        image = torch.tensor([255.0, 51.0, 0.0]).view(1, 3, 1, 1).expand(1, 3, 2, 2)
        expected = torch.tensor([1.0, -1.0, -0.8]).view(1, 3, 1, 1).expand(1, 3, 2, 2)
        torch.testing.assert_close(tower.normalize(image), expected)
        torch.testing.assert_close(tower.normalize(image[0]), expected[0])
        torch.testing.assert_close(tower.normalize(image.to(torch.uint8)), expected)

    @pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
    def test_dtype_follows_floats_and_else_the_tower(self, tower, dtype):
        assert tower.normalize(torch.zeros(1, 3, 2, 2, dtype=dtype)).dtype == dtype
        tower.to(dtype)
        assert tower.normalize(torch.zeros(1, 3, 2, 2, dtype=torch.uint8)).dtype == dtype

    def test_statistics_survive_half_precision(self, tower):
        tower.to(torch.bfloat16)
        assert tower.mean == open_clip.OPENAI_DATASET_MEAN
        exact = (100.0 - 255 * tower.mean[0]) / (255 * tower.std[0])
        assert tower.normalize(torch.full((3, 1, 1), 100.0))[0].item() == pytest.approx(exact)


class TestImages:
    def test_global_embeddings_equal_open_clips(self, tower):
        images = torch.randn(3, 3, 32, 32)
        expected = tower.model.encode_image(images, normalize=True)
        torch.testing.assert_close(tower.encode_image(images), expected, rtol=1e-5, atol=1e-5)
        raw = tower.model.encode_image(images)
        torch.testing.assert_close(
            tower.encode_image(images, unit_norm=False), raw, rtol=1e-5, atol=1e-5
        )

    def test_dense_features_default_to_the_value_path(self, tower):
        images = torch.randn(2, 3, 32, 44)
        feats = tower.dense_feats(images)
        assert feats.shape == (2, 32, 4, 6)
        assert torch.equal(feats, tower.dense_feats(images, LastBlock()))
        other = tower.dense_feats(images, LastBlock(residual="none"))
        assert not torch.allclose(feats, other, atol=1e-3)


class TestKinds:
    """Facts of every kind of image tower; a location is 8 pixels of the tiny ViT, else 32."""

    @pytest.mark.parametrize(
        ("kind", "size"),
        # Other sizes than its own open_clip knows for a ConvNeXt alone, which has no positions.
        [("vit", (64, 64)), ("resnet", (64, 64)), ("convnext", (64, 64))]
        + [("convnext", (96, 64)), ("convnext", (75, 100))],
    )
    def test_global_embeddings_equal_open_clips(self, build_tower, vision_kinds, kind, size):
        tower = build_tower(vision={**vision_kinds[kind], "image_size": 64})
        images = torch.randn(2, 3, *size)
        expected = tower.model.encode_image(images, normalize=True)
        torch.testing.assert_close(tower.encode_image(images), expected, rtol=1e-4, atol=1e-5)

    @pytest.mark.parametrize("size", [(64, 64), (70, 33), (5, 129)])
    def test_dense_features_cover_every_pixel(self, build_tower, vision_kind, size):
        tower = build_tower(vision=vision_kind)
        patch_h, patch_w = tower.patch_size
        h, w = -(-size[0] // patch_h), -(-size[1] // patch_w)
        images = torch.randn(2, 3, *size)
        padded = torch.zeros(2, 3, h * patch_h, w * patch_w)
        padded[..., : size[0], : size[1]] = images
        feats = tower.dense_feats(images)
        assert feats.shape == (2, tower.embed_dim, h, w)
        assert torch.equal(feats, tower.dense_feats(padded))
        assert tower.encode_image(padded).shape == (2, tower.embed_dim)

    def test_official_does_not_pad_for_convolutions(self, build_tower, vision_kind):
        tower = build_tower(vision=vision_kind)
        images = torch.randn(1, 3, 70, 100)
        feats = tower.dense_feats(images, official=True)
        if tower.patch_size == (8, 8):
            assert torch.equal(feats, tower.dense_feats(images))
            return
        assert feats.shape == (1, 32, 2, 3)
        ours = tower.dense_feats(images)
        assert ours.shape == (1, 32, 3, 4)
        assert not torch.allclose(feats, ours[..., :2, :3], atol=1e-3)

    def test_convolutions_refuse_small_images(self, build_tower, vision_kind):
        tower = build_tower(vision=vision_kind)
        images = torch.randn(1, 3, 64, 20)
        assert tower.dense_feats(images).shape[-1] == (3 if tower.patch_size == (8, 8) else 1)
        if tower.patch_size == (8, 8):
            assert tower.encode_image(images).shape == (1, 32)
            return
        for encode in (tower.encode_image, lambda x: tower.dense_feats(x, official=True)):
            with pytest.raises(ValueError, match="images of 64x20 pixels are smaller than .*32x32"):
                encode(images)

    @pytest.mark.parametrize("official", [False, True])
    def test_keys_and_features_are_of_the_same_grid(self, build_tower, vision_kind, official):
        tower = build_tower(vision=vision_kind)
        images = torch.randn(2, 3, 70, 100)
        if not tower.has_keys:
            assert "timm_model_name" in vision_kind
            with pytest.raises(ValueError, match="no attention and so no keys"):
                tower.dense_feats_and_keys(images, official=official)
            return
        feats, keys = tower.dense_feats_and_keys(images, official=official)
        assert torch.equal(feats, tower.dense_feats(images, official=official))
        assert keys.shape == (2, tower.width, *feats.shape[2:])

    def test_official_keys_of_a_vit_have_passed_the_output_projection(self, tower):
        images = torch.randn(2, 3, 32, 40)
        feats, keys = tower.dense_feats_and_keys(images)
        official_feats, official_keys = tower.dense_feats_and_keys(images, official=True)
        assert torch.equal(feats, official_feats)
        project = tower.model.visual.transformer.resblocks[-1].attn.out_proj
        expected = project(keys.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        torch.testing.assert_close(official_keys, expected)

    def test_last_block_reaches_the_tower(self, build_tower, vision_kinds):
        images = torch.randn(1, 3, 64, 64)
        tower = build_tower(vision=vision_kinds["resnet"])
        full = LastBlock(attention="full")
        assert not torch.equal(tower.dense_feats(images), tower.dense_feats(images, full))
        assert torch.equal(
            tower.dense_feats_and_keys(images, full)[0], tower.dense_feats(images, full)
        )
        with pytest.raises(ValueError, match="a ConvNeXt has no attention"):
            build_tower(vision=vision_kinds["convnext"]).dense_feats(images, full)

    def test_type_and_device_are_those_of_the_weights(self, build_tower, vision_kind):
        tower = build_tower(vision=vision_kind)
        assert tower.dtype == torch.float32
        tower = tower.double().to("meta")
        assert tower.dtype == torch.float64
        assert tower.device.type == "meta"


class TestTokenize:
    def test_ids_equal_open_clips(self, tower):
        texts = ["a photo of a cat", "don't BLINK", "", "naïve café & 2 crêpes"]
        token_ids = tower.tokenize(texts)
        assert token_ids.dtype == torch.long
        assert torch.equal(token_ids, open_clip.tokenize(texts))

    def test_longest_text_is_not_truncated(self, tower):
        token_ids = tower.tokenize(["dog " * 75])
        assert (token_ids != 0).all()
        assert token_ids[0, -1] == END

    def test_longer_text_is_refused(self, tower):
        texts = ["a cat", "dog " * 76]
        with pytest.raises(ValueError, match=r"'dog dog .* has 78 tokens.*reads 77; shorten"):
            tower.tokenize(texts)

    def test_the_limit_is_the_models(self, build_tower):
        tower = build_tower(text={"context_length": 5})
        assert tower.tokenize(["three words fit"]).shape == (1, 5)
        with pytest.raises(ValueError, match="has 6 tokens"):
            tower.tokenize(["four words do not"])

    def test_hf_tokenizers_count_tokens(self, build_model):
        tower = CLIPTower(build_model(), WordTokenizer(), (0.5,) * 3, (0.5,) * 3)
        assert tower.tokenize(["a b", "word " * 76]).shape == (2, 77)
        with pytest.raises(ValueError, match="has 78 tokens"):
            tower.tokenize(["word " * 77])

    def test_a_single_string_is_refused(self, tower):
        with pytest.raises(TypeError, match="'cat' is one string"):
            tower.tokenize("cat")

    def test_no_texts(self, tower):
        token_ids = tower.tokenize([])
        assert token_ids.shape == (0, 77)
        assert tower.encode_text(token_ids).shape == (0, 32)


class WordTokenizer:
    """The interface of open_clip's HFTokenizer, one token per word and one for the end."""

    class _Transformers:
        def __call__(self, text):
            ids = [5 + len(word) for word in text.split()] + [1]
            return type("Encoding", (), {"input_ids": ids})()

    tokenizer = _Transformers()
    clean_fn = staticmethod(str.strip)

    def __call__(self, texts, context_length):
        rows = [self.tokenizer(self.clean_fn(t)).input_ids[:context_length] for t in texts]
        return torch.tensor([row + [0] * (context_length - len(row)) for row in rows])


class TestText:
    def test_embeddings_equal_open_clips(self, tower):
        token_ids = tower.tokenize(["a cat", "a photo of a red star"])
        expected = tower.model.encode_text(token_ids, normalize=True)
        torch.testing.assert_close(tower.encode_text(token_ids), expected, rtol=1e-5, atol=1e-5)
        raw = tower.model.encode_text(token_ids)
        torch.testing.assert_close(
            tower.encode_text(token_ids, unit_norm=False), raw, rtol=1e-5, atol=1e-5
        )

    def test_token_embeddings_are_the_models_rows(self, tower):
        token_ids = tower.tokenize(["a cat"])
        embeds = tower.embed_tokens(token_ids)
        assert embeds.shape == (1, 77, 32)
        assert torch.equal(embeds[0, 1], tower.model.token_embedding.weight[token_ids[0, 1]])

    def test_replaced_tokens_change_the_text_and_receive_gradient(self, tower):
        """Learnable prompts: replacing "x" by the embedding of "cat" gives the text of "cat"."""
        placeholder, cat = tower.tokenize(["a photo of x", "a photo of cat"])[:, None]
        place = int((placeholder != cat).nonzero()[0, 1])
        learnt = tower.embed_tokens(cat)[:, place].detach().requires_grad_()
        embeds = tower.embed_tokens(placeholder).clone()
        embeds[:, place] = learnt
        out = tower.encode_token_embeds(embeds, placeholder)
        torch.testing.assert_close(out, tower.encode_text(cat))
        assert not torch.allclose(out, tower.encode_text(placeholder), atol=1e-3)
        out[:, 0].sum().backward()
        assert learnt.grad.abs().sum() > 0

    def test_embeddings_and_ids_must_agree(self, tower):
        token_ids = tower.tokenize(["a cat"])
        with pytest.raises(ValueError, match=r"\(1, 77, 32\) and token_ids \(1, 20\)"):
            tower.encode_token_embeds(tower.embed_tokens(token_ids), token_ids[:, :20])


class TestRefusals:
    def test_other_image_towers(self, build_model, tokenizer):
        model = build_model()
        model.visual = nn.Conv2d(3, 4, 1)
        with pytest.raises(ValueError, match="image tower is a Conv2d.*choose a ViT"):
            CLIPTower(model, tokenizer, (0.5,) * 3, (0.5,) * 3)

    def test_other_trunks_of_timm(self, build_model, tokenizer):
        model = build_model()
        model.visual = TimmModel("test_vit_relpos", 32, 160, pool="avg", proj="linear")
        with pytest.raises(ValueError, match="tower is timm's VisionTransformerRelPos, and its"):
            CLIPTower(model, tokenizer, (0.5,) * 3, (0.5,) * 3)

    def test_other_text_towers(self, build_model, tokenizer):
        model = build_model(custom_text=True)
        model.text = nn.Linear(3, 4)
        with pytest.raises(ValueError, match="text tower is a Linear"):
            CLIPTower(model, tokenizer, (0.5,) * 3, (0.5,) * 3)

    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            ({"text": {"pool_type": "none"}}, "text tower has pool_type='none'"),
            ({"vision": {"pool_type": "none"}}, "image tower has pool_type='none'"),
        ],
    )
    def test_poolings_without_a_vector_are_refused(self, build_tower, changes, message):
        with pytest.raises(ValueError, match=message):
            build_tower(**changes)

    def test_statistics_of_another_length(self, build_model, tokenizer):
        with pytest.raises(ValueError, match=r"mean=\(0.5,\)"):
            CLIPTower(build_model(), tokenizer, (0.5,), (0.5,))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_pixels_follow_the_dtype_of_the_weights(build_tower, vision_kind, dtype):
    """For every kind of tower and every method."""
    tower = build_tower(vision=vision_kind).eval()
    images = tower.normalize(torch.randint(0, 256, (1, 3, 64, 96)).float())
    with torch.no_grad():
        expected = tower.dense_feats(images), tower.encode_image(images)
        tower.to(dtype)
        found = tower.dense_feats(images), tower.encode_image(images)
        maps, dense = encode_stages(tower, images)
    for ours, theirs in zip(found, expected, strict=True):
        assert ours.dtype == dtype
        cosines = nn.functional.cosine_similarity(ours.float(), theirs, dim=1)
        assert cosines.mean() > 0.99
    assert {feats.dtype for feats in (*maps, dense)} == {dtype}
