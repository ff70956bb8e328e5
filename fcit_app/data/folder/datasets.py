"""The twelve FCIT data sets as data: their files, pictures, prompts, answers, scores, sources.

Sources: README, evaluation scripts and data paths of the official code (Ghy0501/FCIT); image
prefixes and prompt suffixes from what third parties quote of the published files. None means "not
known to us": nothing here is a guess.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from fcit_app.data import catalogue
from fcit_app.data.folder.boxes import has_box

Format = Literal["letter", "number", "box", "caption"]
FolderMetric = Literal["exact", "box", "captions"]

INSTRUCTIONS = "instructions"
PICTURES = "datasets"
PARTITIONS = "partitioned_data"

FETCH_INSTRUCTIONS = "https://huggingface.co/datasets/MLLM-CL/FCIT (Apache-2.0)"
"""Where `instructions` and `partitioned_data` are published."""

GENERATION_LENGTH = 128
"""Most new tokens of an answer, for every data set (official evaluation scripts)."""

_WORD = "\nAnswer the question using a single word or phrase."
_LETTER = "\nAnswer with the option's letter from the given choices directly."
_CAPTION = "\nGenerate a brief caption for the image."
_COCO = (
    "http://images.cocodataset.org/zips/train2014.zip, val2014.zip and test2014.zip beside it, "
    "into datasets/COCO2014"
)
_FCIT_PICTURES = "https://huggingface.co/datasets/MLLM-CL/FCIT/tree/main/dataset"


@dataclass(frozen=True)
class Dataset:
    """What is known of one data set.

    Parameters
    ----------
    name : str
        FCIT task name in lower case, as in ``fcit_app.data.catalogue``.
    folder : str
        Folder below ``instructions``.
    train_file, test_file : str
        File names in that folder.
    picture_folders : tuple[str, ...]
        Folders below ``datasets`` that have to be there; their first part is the prefix of all
        image paths.
    pictures_from : str
        Where the pictures are fetched.
    licence : str or None
        Licence that the data set's publisher states; None: not known to us.
    suffixes : tuple[str, ...] or None
        Ends of the instructions; None: not known to us.
    answer_format : {"letter", "number", "box", "caption"} or None
        What every answer looks like; None: nothing is promised of it.
    metric : {"exact", "box", "captions"}
        How FCIT scores answers. ``captions`` is the mean of BLEU-1 to 4, METEOR, ROUGE-L and CIDEr
        over all references of a picture, see ``fcit_app.evaluate.captions``.
    captions_file : str or None
        COCO-style file with the references of the test pictures.
    train_records, test_records : int or None
        Numbers that the file names tell; None: not known to us.
    """

    name: str
    folder: str
    train_file: str
    test_file: str
    picture_folders: tuple[str, ...]
    pictures_from: str
    licence: str | None = None
    suffixes: tuple[str, ...] | None = None
    answer_format: Format | None = None
    metric: FolderMetric = "exact"
    captions_file: str | None = None
    train_records: int | None = None
    test_records: int | None = None

    @property
    def capability(self) -> str:
        """Capability stage to which the data set belongs."""
        return catalogue.task(self.name).capability

    @property
    def task_number(self) -> int | None:
        """Number from 1 among the published task stages; None for the four that are in none."""
        stages = catalogue.TASK_STAGES
        return stages.index(self.name) + 1 if self.name in stages else None

    @property
    def prefix(self) -> str:
        """First part of every image path."""
        return self.picture_folders[0].split("/")[0]

    @property
    def train_path(self) -> str:
        """Training file below the root."""
        return f"{INSTRUCTIONS}/{self.folder}/{self.train_file}"

    @property
    def test_path(self) -> str:
        """Test file below the root."""
        return f"{INSTRUCTIONS}/{self.folder}/{self.test_file}"

    @property
    def captions_path(self) -> str | None:
        """File of reference captions below the root, if there is one."""
        return f"{INSTRUCTIONS}/{self.folder}/{self.captions_file}" if self.captions_file else None


DATASETS: tuple[Dataset, ...] = (
    Dataset(
        name="imagenet-r",
        folder="ImageNet-R",
        train_file="train.json",
        test_file="test.json",
        picture_folders=("ImageNet-R/train", "ImageNet-R/test"),
        pictures_from="https://huggingface.co/datasets/HaiyangGuo/UCIT/tree/main/UCIT/ImageNet-R",
        suffixes=(_WORD,),
    ),
    Dataset(
        name="arxivqa",
        folder="ArxivQA",
        train_file="train_4w.json",
        test_file="test_1w.json",
        picture_folders=("ArxivQA/images",),
        pictures_from="https://huggingface.co/datasets/MMInstruction/ArxivQA",
        licence="CC BY-SA 4.0",
        suffixes=(_LETTER,),
        answer_format="letter",
        train_records=40_000,
        test_records=10_000,
    ),
    Dataset(
        name="iconqa",
        folder="IconQA",
        train_file="train.json",
        test_file="val.json",
        picture_folders=("IconQA/iconqa_data/iconqa",),
        pictures_from="https://iconqa.github.io",
        licence="CC BY-NC-SA 4.0",
        suffixes=(_WORD, _LETTER),
    ),
    Dataset(
        name="clevr-math",
        folder="CLEVR-Math",
        train_file="train_4w.json",
        test_file="test_1w.json",
        picture_folders=("CLEVR/images",),
        pictures_from="https://huggingface.co/datasets/dali-does/clevr-math",
        licence="CC BY 4.0",
        suffixes=(_WORD,),
        answer_format="number",
        train_records=40_000,
        test_records=10_000,
    ),
    Dataset(
        name="ocr-vqa",
        folder="OCRVQA",
        train_file="train_10w.json",
        test_file="test_1w.json",
        picture_folders=("OCR-VQA/images",),
        pictures_from="https://drive.google.com/drive/folders/1_GYPY5UkUy7HIcR0zq3ZCFgeZN7BAfm_",
        train_records=100_000,
        test_records=10_000,
    ),
    Dataset(
        name="flickr30k",
        folder="Flickr30k-cap",
        train_file="train_brief_4w.json",
        test_file="val_brief.json",
        picture_folders=("Flickr30k/train", "Flickr30k/val"),
        pictures_from="https://huggingface.co/datasets/HaiyangGuo/UCIT/tree/main/UCIT/Flickr30k",
        suffixes=(_CAPTION,),
        answer_format="caption",
        metric="captions",
        captions_file="val_coco_type.json",
        train_records=40_000,
    ),
    Dataset(
        name="figureqa",
        folder="FigureQA",
        train_file="train.json",
        test_file="test.json",
        picture_folders=("FigureQA/images",),
        pictures_from=_FCIT_PICTURES,
    ),
    Dataset(
        name="super-clevr",
        folder="super-CLEVR",
        train_file="train.json",
        test_file="test.json",
        picture_folders=("super-CLEVR/images",),
        pictures_from="https://github.com/Lizw14/Super-CLEVR",
    ),
    Dataset(
        name="aokvqa",
        folder="AOKVQA",
        train_file="train.json",
        test_file="val.json",
        picture_folders=("COCO2014/train2014", "COCO2014/val2014"),
        pictures_from=_COCO,
    ),
    Dataset(
        name="grounding",
        folder="Grounding",
        train_file="train_11w.json",
        test_file="test_6000.json",
        picture_folders=("COCO2014/train2014",),
        pictures_from=_COCO,
        answer_format="box",
        metric="box",
        train_records=110_000,
        test_records=6_000,
    ),
    Dataset(
        name="dvqa",
        folder="DVQA",
        train_file="train.json",
        test_file="test.json",
        picture_folders=("DVQA/images",),
        pictures_from=_FCIT_PICTURES,
    ),
    Dataset(
        name="tabmwp",
        folder="TabMWP",
        train_file="train.json",
        test_file="test.json",
        picture_folders=("TabMWP/tables",),
        pictures_from="https://github.com/lupantech/PromptPG",
    ),
)

_BY_NAME = {entry.name: entry for entry in DATASETS}


def dataset(name: str) -> Dataset:
    """Look a data set up by its task name.

    Raises
    ------
    DataError
        If there is no such task; names the nearest one.
    """
    return _BY_NAME[catalogue.task(name).name]


def task_of(image: str | None, texts: Sequence[str]) -> str | None:
    """Tell a record's task from its image path and, where that is not enough, from its texts.

    AOKVQA and Grounding share the pictures of COCO; what speaks of a box is Grounding's.

    Parameters
    ----------
    image : str or None
        Path below ``datasets``; without one there is no FCIT data set.
    texts : Sequence[str]
        Questions and answers.

    Returns
    -------
    str or None
        None if no FCIT data set has such pictures.
    """
    prefix = (image or "").removeprefix("./").split("/")[0]
    found = [entry.name for entry in DATASETS if entry.prefix == prefix]
    if len(found) == 2:
        return "grounding" if any(map(has_box, texts)) else "aokvqa"
    return found[0] if found else None
