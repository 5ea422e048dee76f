"""Keys that all systems share: the CLIP and the text bank."""

from .keys import Key, below
from .values import either, empty, flag, list_of, name, number, one_of, text, whole

__all__ = ["CLIP_KEYS"]

_BLOCK = whole(0, 1000)
_COLOUR = "of RGB in [0, 1]; [] takes those that the weights were trained with"

# Read by plugin.clip_parts.build_tower and build_last_block.
_CLIP = below(
    "MODEL.CLIP",
    {
        "NAME": Key(
            "ShapesCLIP",
            name(),
            "a model name of open_clip, a config file of its format, or ShapesCLIP",
        ),
        "PRETRAINED": Key(
            "",
            text(),
            "a tag of open_clip, a weight file or a folder with one, 'random', or '' for what the "
            "name implies: the weights of ShapesCLIP; not looked for if MODEL.WEIGHTS holds a CLIP",
        ),
        "IMAGE_WEIGHTS": Key(
            "",
            text(),
            "a weight file whose image half replaces that of PRETRAINED, such as an image half "
            "alone; '' keeps it, and a CLIP in MODEL.WEIGHTS replaces both",
        ),
        "QUICK_GELU": Key(
            "auto",
            one_of("auto", "on", "off", "text"),
            "'auto' takes the activation that the weights were trained with; 'on', 'off' and "
            "'text' (in the text tower alone) overrule it",
        ),
        "PIXEL_MEAN": Key(
            [],
            either(list_of(number(0, 1), 3), empty()),
            f"the mean {_COLOUR}",
        ),
        "PIXEL_STD": Key(
            [],
            either(list_of(number(above=0, most=1), 3), empty()),
            f"the standard deviation {_COLOUR}",
        ),
        "LAYER_NORM_EPS": Key(
            0.0, number(0, 1), "epsilon of a ViT's norms; 0 takes the model's own"
        ),
        "PATCH_DROPOUT": Key(
            0.0, number(0, below=1), "share of an image's patches that training leaves out"
        ),
        # See ovseg_d2.clip.LastBlock.
        "LAST_BLOCK.RESIDUAL": Key(
            "own",
            one_of("own", "class_token", "none"),
            "what the last block's residual connection carries in dense features",
        ),
        "LAST_BLOCK.MLP": Key(True, flag(), "whether dense features pass the last block's MLP"),
        "LAST_BLOCK.ATTENTION": Key(
            "value",
            one_of(
                "value",
                "full",
                "qq",
                "kk",
                "qq+kk",
                "neighbourhood_kk",
                "affinity",
                "self_calibrated",
            ),
            "how the last block attends in dense features",
        ),
        "LAST_BLOCK.NEIGHBOURHOOD_STD": Key(
            5.0,
            number(above=0, most=1_000_000),
            "standard deviation of the neighbourhood in neighbourhood_kk, in patches",
        ),
        "LAST_BLOCK.AFFINITY.MEAN_WEIGHT": Key(
            1.2, number(0, 1000), "factor of the mean cosine that affinity subtracts"
        ),
        "LAST_BLOCK.AFFINITY.SCALE": Key(
            3.0,
            number(above=0, most=1_000_000),
            "factor of the cosines before affinity's softmax",
        ),
        "LAST_BLOCK.AFFINITY.BLOCK": Key(
            0,
            _BLOCK,
            "the tower's block whose output affinity compares, 1 for the first; 0 compares the "
            "features of MODEL.MASKCLIP.GUIDE",
        ),
        # See ovseg_d2.clip.Calibration.
        "LAST_BLOCK.CALIBRATION.OUTLIER_SHARE": Key(
            0.05,
            number(0, below=1),
            "share of the patches that self_calibrated replaces by their neighbours' mean",
        ),
        "LAST_BLOCK.CALIBRATION.OUTLIER_NEIGHBOURS": Key(
            30, whole(1, 1_000_000), "patches that an outlier is compared with"
        ),
        "LAST_BLOCK.CALIBRATION.AFFINITY_BLOCK": Key(
            9,
            whole(1, 1000),
            "the block whose output weighs self_calibrated's attention, and mixes patches before",
        ),
        "LAST_BLOCK.CALIBRATION.MIXING_BLOCK": Key(
            4, _BLOCK, "the block whose output mixes patches afterwards; 0 leaves them"
        ),
        "LAST_BLOCK.CALIBRATION.THRESHOLD": Key(
            0.4,
            number(above=0, most=1),
            "smallest cosine that counts where self_calibrated mixes patches",
        ),
        "LAST_BLOCK.CALIBRATION.FIRST_LEVEL": Key(
            4,
            _BLOCK,
            "first of the blocks whose summed outputs go through a second pass; 0 leaves it out",
        ),
        "LAST_BLOCK.CALIBRATION.LAST_LEVEL": Key(10, whole(1, 1000), "last of these blocks"),
        "LAST_BLOCK.CALIBRATION.CLASS_SHARE": Key(
            0.3, number(0, 1000), "factor of the class token that is added to every patch"
        ),
    },
)

# Read by plugin.clip_parts.build_text_bank and plugin.inputs.
_TEXT = below(
    "MODEL.TEXT",
    {
        "TEMPLATES": Key(
            ["single"],
            list_of(name(), least=1),
            "one name of a template set, or templates that hold one {} each",
        ),
        "WORD_TEMPLATES": Key(
            "",
            text(),
            "a file of tools/choose_templates.py with templates of single words in place of "
            "TEMPLATES; '' has none",
        ),
        "SYNONYMS": Key(
            "mean", one_of("mean", "joined", "max"), "how the synonyms of a class become one"
        ),
        "WORD_LIST": Key(
            "",
            text(),
            "a word list of ovseg_d2.vocab ('voc21_sclip') or a text file, in place of the words "
            "that test datasets have for their classes, in the same order; '' keeps theirs",
        ),
        "CLASSES": Key(
            [],
            list_of(name()),
            "the vocabulary where neither the input, set_vocabulary nor the dataset gives one",
        ),
        "NEGATIVE_WORDS": Key(
            "",
            text(),
            "a word list of ovseg_d2.vocab ('negative_words') or a text file, whose words count as "
            "the vocabulary's background class; '' adds none",
        ),
        "UNDERSCORES_ARE_SPACES": Key(
            False,
            flag(),
            "whether prompts hold 'traffic light' for the word 'traffic_light'; names of classes "
            "stay",
        ),
        "CACHE_DIR": Key("", text(), "folder that keeps embeddings; '' keeps them in memory only"),
        "BATCH_SIZE": Key(256, whole(1, 2**20), "prompts encoded at once"),
    },
)

CLIP_KEYS = _CLIP | _TEXT
