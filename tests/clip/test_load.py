import json

import open_clip
import pytest
import torch
from open_clip.transformer import QuickGELU
from safetensors.torch import save_file
from torch import nn

import ovseg_d2.clip.load as load_module
from ovseg_d2.clip import CLIPTower, load_clip

IMAGENET = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}
GREY = {"mean": (0.5, 0.5, 0.5), "std": (0.25, 0.25, 0.25)}


def activation(tower):
    return type(tower.model.visual.transformer.resblocks[0].mlp.gelu)


@pytest.fixture
def config_path(tmp_path, tiny_clip_config):
    path = tmp_path / "tiny.json"
    path.write_text(json.dumps(tiny_clip_config), encoding="utf-8")
    return path


@pytest.fixture
def weight_path(tmp_path, build_model):
    path = tmp_path / "tiny.safetensors"
    save_file({k: v.half() for k, v in build_model().state_dict().items()}, path)
    return path


@pytest.fixture
def openai_path(tmp_path, build_model):
    path = tmp_path / "openai.pt"
    entries = ("input_resolution", "context_length", "vocab_size")
    torch.save(build_model().state_dict() | dict.fromkeys(entries, torch.tensor(32)), path)
    return path


@pytest.fixture
def named(monkeypatch, tiny_clip_config, weight_path):
    """Make "tiny" a model name of open_clip, with two tags whose weights are a local file."""
    monkeypatch.setitem(open_clip.factory._MODEL_CONFIGS, "tiny", tiny_clip_config)
    tags = {
        "openai": {"file": str(weight_path), "quick_gelu": True, **GREY},
        "laion": {"file": str(weight_path), **GREY},
    }
    monkeypatch.setitem(open_clip.pretrained._PRETRAINED, "tiny", tags)
    return "tiny"


class TestConfigs:
    def test_plain_config_has_random_weights_and_openai_statistics(self, config_path):
        torch.manual_seed(0)
        tower = load_clip(str(config_path), "random")
        again = load_clip(str(config_path), "random")
        assert not tower.training
        assert tower.grid == (4, 4)
        assert tower.mean == open_clip.OPENAI_DATASET_MEAN
        assert tower.std == open_clip.OPENAI_DATASET_STD
        assert not torch.equal(tower.model.visual.proj, again.model.visual.proj)

    def test_wrapped_config_brings_statistics(self, tmp_path, tiny_clip_config):
        path = tmp_path / "wrapped.json"
        path.write_text(json.dumps({"model_cfg": tiny_clip_config, "preprocess_cfg": IMAGENET}))
        tower = load_clip(str(path), "random")
        assert tower.mean == IMAGENET["mean"]
        assert tower.std == IMAGENET["std"]

    def test_custom_text_and_context_length_are_followed(self, tmp_path, tiny_clip_config):
        tiny_clip_config["custom_text"] = True
        tiny_clip_config["text_cfg"]["context_length"] = 9
        path = tmp_path / "custom.json"
        path.write_text(json.dumps(tiny_clip_config))
        tower = load_clip(str(path), "random")
        assert isinstance(tower.model, open_clip.CustomTextCLIP)
        assert tower.tokenize(["a cat"]).shape == (1, 9)

    def test_missing_config(self, tmp_path):
        with pytest.raises(FileNotFoundError, match="absent.json'.*config file does not exist"):
            load_clip(str(tmp_path / "absent.json"))

    def test_incomplete_config(self, tmp_path):
        path = tmp_path / "half.json"
        path.write_text(json.dumps({"embed_dim": 8, "vision_cfg": {}}))
        with pytest.raises(ValueError, match=r"half.json'.*lacks \['text_cfg'\]"):
            load_clip(str(path), "random")

    def test_unknown_name_suggests_near_ones(self):
        with pytest.raises(ValueError, match="'VitB16' is not a model name.*mean ViT-B-16 or"):
            load_clip("VitB16")

    def test_names_may_have_openais_slash(self, monkeypatch, tiny_clip_config):
        monkeypatch.setitem(open_clip.factory._MODEL_CONFIGS, "ViT-T-8", tiny_clip_config)
        monkeypatch.setitem(open_clip.pretrained._PRETRAINED, "ViT-T-8", {"openai": GREY})
        assert load_clip("ViT-T/8", "random").mean == GREY["mean"]

    def test_unsupported_networks_of_timm_are_refused_before_building(self):
        name = "swin_base_patch4_window7_224"
        with pytest.raises(ValueError, match=f"is timm's '{name}', which is not supported"):
            load_clip(name, "random")

    def test_absent_transformers_are_named_before_anything_is_built(self, monkeypatch):
        monkeypatch.setattr("ovseg_d2.clip.published.find_spec", lambda name: None)
        with pytest.raises(ValueError, match=r"'bert-base-uncased' needs.*ovseg_d2\[hf\]"):
            load_clip("ViT-bigG-14-CLIPA", "absent.pt")

    def test_folder_without_a_tokenizer(self, tmp_path, tiny_clip_config):
        pytest.importorskip("transformers", reason="the extra hf is not installed")
        tiny_clip_config["text_cfg"]["hf_tokenizer_name"] = str(tmp_path)
        path = tmp_path / "model.json"
        path.write_text(json.dumps(tiny_clip_config))
        with pytest.raises(ValueError, match="reads no tokenizer from.*hf_tokenizer_name"):
            load_clip(str(path), "random")

    def test_tokenizer_of_transformers(self, tmp_path, tiny_clip_config, words_folder):
        text = {"hf_tokenizer_name": words_folder, "vocab_size": 8, "pool_type": "eos", "eos_id": 2}
        tiny_clip_config["text_cfg"].update(text)
        path = tmp_path / "model.json"
        path.write_text(json.dumps(tiny_clip_config))
        tower = load_clip(str(path), "random")
        ids = tower.tokenize(["a cat", "cat"])
        assert ids[:, :5].tolist() == [[1, 4, 5, 2, 0], [1, 5, 2, 0, 0]]
        ours = tower.encode_text(ids)
        torch.testing.assert_close(ours, tower.model.encode_text(ids, normalize=True))
        with pytest.raises(ValueError, match="has 79 tokens"):
            tower.tokenize(["cat " * 77])

    def test_every_kind_of_image_tower(self, tmp_path, tiny_clip_config, vision_kind):
        tiny_clip_config["vision_cfg"].update(vision_kind)
        path = tmp_path / "kind.json"
        path.write_text(json.dumps(tiny_clip_config))
        tower = load_clip(str(path), "random")
        assert tower.encode_image(torch.randn(1, 3, *tower.image_size)).shape == (1, 32)

    def test_timm_vit_with_patch_dropout_and_its_own_weights(self, tmp_path, tiny_clip_config):
        vision = {"timm_model_name": "test_vit", "timm_pool": "map", "timm_proj": "none"}
        tiny_clip_config.update(embed_dim=64, custom_text=True)
        tiny_clip_config["vision_cfg"] = {**vision, "image_size": 160}
        path = tmp_path / "timm.json"
        path.write_text(json.dumps(tiny_clip_config))
        tower = load_clip(str(path), "random", patch_dropout=0.5)
        assert tower.model.visual.trunk.patch_drop.prob == 0.5
        save_file(tower.model.state_dict(), tmp_path / "timm.safetensors")
        again = load_clip(str(path), tmp_path / "timm.safetensors")
        half = {k: v for k, v in tower.model.state_dict().items() if k.startswith("visual.")}
        torch.save(
            {"state_dict": {f"module.{k}": v for k, v in half.items()}}, tmp_path / "half.pt"
        )
        other = load_clip(str(path), "random").model
        save_file(other.state_dict(), tmp_path / "other.safetensors")
        third = load_clip(
            str(path), tmp_path / "other.safetensors", image_weights=tmp_path / "half.pt"
        )
        images = torch.randn(1, 3, 99, 64)
        for copy in (again, third):
            assert torch.equal(copy.dense_feats(images), tower.dense_feats(images))
        with pytest.raises(ValueError, match="layer_norm_eps=1e-05 cannot be set for networks"):
            load_clip(str(path), "random", layer_norm_eps=1e-5)

    def test_timm_does_not_fetch_weights_of_its_own(
        self, monkeypatch, tmp_path, tiny_clip_config, vision_kinds
    ):
        def fetch(*_, **__):
            raise AssertionError("timm was asked for its weights")

        monkeypatch.setattr("timm.models._builder.load_pretrained", fetch)
        vision = {**vision_kinds["convnext"], "timm_model_pretrained": True}
        tiny_clip_config["vision_cfg"].update(vision)
        path = tmp_path / "pretrained.json"
        path.write_text(json.dumps(tiny_clip_config))
        assert load_clip(str(path), "random").embed_dim == 32


class TestWeights:
    def test_float16_file_becomes_float32(self, config_path, weight_path, build_model):
        tower = load_clip(str(config_path), weight_path)
        stored = load_module.read_clip(weight_path).weights
        for key, value in tower.model.state_dict().items():
            assert value.dtype == torch.float32
            assert torch.equal(value, stored[key].float())

    def test_our_own_checkpoint_round_trip(self, config_path, tmp_path):
        trained = load_clip(str(config_path), "random")
        system = nn.ModuleDict({"tower": trained, "decoder": nn.Linear(2, 2)})
        path = tmp_path / "model_final.pth"
        torch.save({"model": system.state_dict(), "iteration": 10}, path)
        tower = load_clip(str(config_path), str(path))
        images = torch.randn(1, 3, 32, 32)
        assert torch.equal(tower.encode_image(images), trained.encode_image(images))

    def test_file_without_known_suffix(self, config_path, weight_path, tmp_path, build_model):
        path = tmp_path / "epoch_3"
        torch.save(build_model().state_dict(), path)
        load_clip(str(config_path), str(path))

    def test_missing_file(self, config_path, tmp_path):
        with pytest.raises(FileNotFoundError, match=r"absent\.pt"):
            load_clip(str(config_path), str(tmp_path / "absent.pt"))

    def test_another_architecture(self, tmp_path, tiny_clip_config, weight_path):
        tiny_clip_config["vision_cfg"]["image_size"] = 64
        path = tmp_path / "larger.json"
        path.write_text(json.dumps(tiny_clip_config))
        message = r"visual.positional_embedding \(17, 32\) instead of \(65, 32\)"
        with pytest.raises(ValueError, match=message):
            load_clip(str(path), weight_path)

    def test_unknown_tag(self, named):
        with pytest.raises(ValueError, match=r"'openia' is neither.*\['openai', 'laion'\]"):
            load_clip(named, "openia")


class TestTrainingOptions:
    """Activation and statistics are those of the weights' training."""

    def test_tag_says_quick_gelu(self, named):
        tower = load_clip(named, "openai")
        assert activation(tower) is QuickGELU
        assert tower.mean == GREY["mean"]

    def test_tag_says_nothing_of_quick_gelu(self, named):
        assert activation(load_clip(named, "laion")) is nn.GELU

    def test_openai_format_means_quick_gelu(self, named, config_path, openai_path):
        assert activation(load_clip(str(config_path), openai_path)) is QuickGELU
        assert activation(load_clip(named, openai_path)) is QuickGELU

    def test_config_says_quick_gelu(self, tmp_path, tiny_clip_config, weight_path):
        path = tmp_path / "quick.json"
        path.write_text(json.dumps({**tiny_clip_config, "quick_gelu": True}))
        assert activation(load_clip(str(path), weight_path)) is QuickGELU

    @pytest.mark.parametrize("quick_gelu", [True, False])
    def test_argument_decides(self, named, config_path, openai_path, quick_gelu):
        expected = QuickGELU if quick_gelu else nn.GELU
        for model, pretrained in ((named, "openai"), (str(config_path), openai_path)):
            tower = load_clip(model, pretrained, quick_gelu=quick_gelu)
            assert activation(tower) is expected

    def test_file_of_a_name_shares_the_statistics_of_its_tags(self, named, weight_path):
        assert load_clip(named, weight_path).std == GREY["std"]

    def test_tags_that_disagree_leave_openais_statistics(self, named, weight_path):
        open_clip.pretrained._PRETRAINED["tiny"]["laion"].update(IMAGENET)
        assert load_clip(named, weight_path).std == open_clip.OPENAI_DATASET_STD
        tower = load_clip(named, "laion")
        assert tower.mean == IMAGENET["mean"]
        assert tower.std == IMAGENET["std"]


@pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated:FutureWarning")
class TestFormats:
    """The same weights in any format give the same tower."""

    @pytest.fixture
    def write(self, script_archive):
        """Give a function that writes a model's weights as a file of a format."""

        def write(model, form, folder):
            state = model.state_dict()
            if form == "safetensors":
                path = folder / "weights.safetensors"
                save_file(state, path)
            elif form == "open_clip checkpoint":
                path = folder / "epoch_32.pt"
                state = {f"module.{key}": value for key, value in state.items()}
                torch.save({"epoch": 32, "name": "run", "state_dict": state}, path)
            else:
                path = folder / "RN-tiny.pt"
                entries = ("input_resolution", "context_length", "vocab_size")
                script_archive(state | dict.fromkeys(entries, torch.tensor(64)), path)
            return path

        return write

    @pytest.mark.parametrize("form", ["safetensors", "open_clip checkpoint", "OpenAI archive"])
    def test_same_features(self, tmp_path, tiny_clip_config, build_model, vision_kind, write, form):
        model = build_model(vision=vision_kind)
        path = write(model, form, tmp_path)
        tiny_clip_config["vision_cfg"].update(vision_kind)
        config = tmp_path / "config.json"
        config.write_text(json.dumps(tiny_clip_config))
        tower = load_clip(str(config), path, quick_gelu=False)
        mean, std = open_clip.OPENAI_DATASET_MEAN, open_clip.OPENAI_DATASET_STD
        expected = CLIPTower(model, tower.tokenizer, mean, std)
        images = torch.randn(2, 3, 64, 96)
        assert torch.equal(tower.encode_image(images), expected.encode_image(images))
        assert torch.equal(tower.dense_feats(images), expected.dense_feats(images))
        token_ids = tower.tokenize(["a cat"])
        assert torch.equal(tower.encode_text(token_ids), expected.encode_text(token_ids))


class TestPatchDropout:
    def test_argument_overrides_the_config(self, tmp_path, tiny_clip_config):
        tiny_clip_config["vision_cfg"]["patch_dropout"] = 0.25
        path = tmp_path / "dropout.json"
        path.write_text(json.dumps(tiny_clip_config))
        assert load_clip(str(path), "random").model.visual.patch_dropout.prob == 0.25
        tower = load_clip(str(path), "random", patch_dropout=0.5)
        assert tower.model.visual.patch_dropout.prob == 0.5
        none = load_clip(str(path), "random", patch_dropout=0.0)
        assert isinstance(none.model.visual.patch_dropout, nn.Identity)

    @pytest.mark.parametrize("patch_dropout", [-0.1, 1.0])
    def test_bad_shares_are_refused(self, config_path, patch_dropout):
        with pytest.raises(ValueError, match=f"patch_dropout={patch_dropout}; give a share"):
            load_clip(str(config_path), "random", patch_dropout=patch_dropout)

    @pytest.mark.parametrize("kind", ["resnet", "convnext"])
    def test_convolutional_towers_refuse_it(self, tmp_path, tiny_clip_config, vision_kinds, kind):
        tiny_clip_config["vision_cfg"].update(vision_kinds[kind])
        path = tmp_path / "convolutions.json"
        path.write_text(json.dumps(tiny_clip_config))
        assert load_clip(str(path), "random", patch_dropout=0.0).grid == (2, 2)
        with pytest.raises(ValueError, match=r"patch_dropout=0\.5, which convolutional .*default"):
            load_clip(str(path), "random", patch_dropout=0.5)


class TestPackaged:
    @pytest.fixture(autouse=True)
    def _assets(self, monkeypatch, tmp_path, tiny_clip_config):
        config = {"model_cfg": tiny_clip_config, "preprocess_cfg": GREY}
        (tmp_path / "shapes_clip.json").write_text(json.dumps(config))
        monkeypatch.setattr(load_module, "_assets", lambda: tmp_path)

    def test_weights_that_are_not_there(self):
        with pytest.raises(FileNotFoundError, match="ShapesCLIP.*pretrained='random'"):
            load_clip("ShapesCLIP")

    def test_random_weights_on_request(self):
        tower = load_clip("ShapesCLIP", "random")
        assert tower.mean == GREY["mean"]

    def test_packaged_weights_are_the_default(self, tmp_path, build_model):
        state = build_model().state_dict()
        save_file(state, tmp_path / "shapes_clip.safetensors")
        tower = load_clip("ShapesCLIP")
        assert torch.equal(tower.model.visual.proj, state["visual.proj"])

    def test_given_weights_override_them(self, tmp_path, build_model, weight_path):
        save_file(build_model().state_dict(), tmp_path / "shapes_clip.safetensors")
        tower = load_clip("ShapesCLIP", weight_path)
        stored = load_module.read_clip(weight_path).weights
        assert torch.equal(tower.model.visual.proj, stored["visual.proj"].float())


def test_the_real_packaged_config_builds():
    tower = load_clip("ShapesCLIP", "random")
    h, w = tower.grid
    assert tower.dense_feats(torch.zeros(1, 3, *tower.image_size)).shape == (
        1,
        tower.embed_dim,
        h,
        w,
    )
