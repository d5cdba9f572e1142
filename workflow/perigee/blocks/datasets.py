"""Data sets."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import Annotated, ClassVar, Literal

from annotated_types import Ge, Le
from pydantic import AfterValidator, BeforeValidator, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError

from perigee.blocks.base import (
    Block,
    Count,
    NotNegative,
    Number,
    Positive,
    Seed,
    as_integer,
    as_tuple,
)

Storage = Literal["arrays", "files", "annotated_files"]
"""The ways to store a data set: as arrays that fit on a device, as image files with a label each,
or as image files with annotated objects."""


class Dataset(Block, kind="dataset"):
    """A data set of images with labels.

    Attributes:
        stored_as: how it is stored.
        train_images: how many training images it has, for estimates.
        label_noise: share of the training labels that are replaced by labels drawn uniformly from
            all classes (Kodryan et al. 2022, Appendix G).
        noise_seed: seed of that draw.
    """

    stored_as: ClassVar[Storage] = "arrays"
    train_images: ClassVar[int]

    label_noise: Annotated[NotNegative, Le(1)] = 0.0
    noise_seed: Seed = 0


class Digits(Dataset, name="digits", code="perigee.data.digits:build"):
    """The 8x8 digits that come with scikit-learn.

    Attributes:
        train_images: how many of the 1,797 images are for training; all others are test images.
    """

    train_images: Annotated[Literal[300, 400, 1437], BeforeValidator(as_integer)] = 1437  # type: ignore[misc] # a constant of other data sets


class DigitPairs(Dataset, name="digit_pairs", code="perigee.data.digit_pairs:build"):
    """Two digits side by side in 100 classes.

    Attributes:
        test_pairs_per_class: how many test images each class has.
    """

    train_images: ClassVar[int] = 2000

    test_pairs_per_class: Annotated[Literal[5, 25], BeforeValidator(as_integer)] = 5


class Cifar10(Dataset, name="cifar10", code="perigee.data.cifar:build_cifar10"):
    """CIFAR-10."""

    train_images: ClassVar[int] = 50000


class Cifar100(Dataset, name="cifar100", code="perigee.data.cifar:build_cifar100"):
    """CIFAR-100."""

    train_images: ClassVar[int] = 50000


class FashionMnist(Dataset, name="fashion_mnist", code="perigee.data.fashion_mnist:build"):
    """Fashion-MNIST, with a black border of two pixels."""

    train_images: ClassVar[int] = 60000


def _as_subfolder(value: str) -> str:
    path = PurePosixPath(value)
    if not path.parts or path.is_absolute() or ".." in path.parts:
        raise PydanticCustomError(
            "subfolder_type", "must be the name of a folder or a path below one, such as 'imagenet'"
        )
    return str(path)


Subfolder = Annotated[str, AfterValidator(_as_subfolder)]
Means = Annotated[tuple[Number, Number, Number], BeforeValidator(as_tuple)]
Stds = Annotated[tuple[Positive, Positive, Positive], BeforeValidator(as_tuple)]


class ImageFolder(Dataset, name="image_folder", code="perigee.data.file_datasets:build"):
    """Images of any size that stay files, with a folder per split and a sub-folder per class.

    The defaults are ImageNet's usual ones (pytorch/examples, imagenet/main.py).

    Attributes:
        folder: its folder, below the folder that key 'data' of the configuration names.
        train_images: how many training images it has, which planning must know before the folder
            is listed; building the data set checks it.
        resolution: height and width of the images that the network sees, in pixels.
        resize: length of the shorter side, in pixels, to which images that are not augmented are
            resized before their centre is cropped. None is 8/7 of the resolution,
            rounded to whole pixels: 256 for 224.
        train_split, test_split: names of the two splits' folders, below ``folder``.
        channel_means, channel_stds: means and standard deviations of red, green and blue in
            [0, 1]; images are normalised by them.
    """

    stored_as: ClassVar[Storage] = "files"

    folder: Subfolder
    train_images: Count  # type: ignore[misc] # a constant of the other data sets
    resolution: Count
    resize: Count | None = None
    train_split: Subfolder = "train"
    test_split: Subfolder = "val"
    channel_means: Means = (0.485, 0.456, 0.406)
    channel_stds: Stds = (0.229, 0.224, 0.225)

    @field_validator("resize")
    @classmethod
    def _crop_lies_within(cls, resize: int | None, others: ValidationInfo) -> int | None:
        resolution = others.data.get("resolution", 0)
        if resize is not None and resize < resolution:
            raise PydanticCustomError(
                "crop_size",
                "must be at least 'resolution', {resolution}",
                {"resolution": resolution},
            )
        return resize


class AnnotatedImages(Dataset):
    """Images of any size that stay files, with the box, the mask and the category of every object.

    Attributes:
        train_images, test_images: how many images the two splits have; building checks them.
        resize: length of the shorter side, in pixels, to which images are resized.
        longest_side: the limit of the longer side, in pixels; an image that would exceed it is
            resized to this length instead.
        channel_means, channel_stds: means and standard deviations of red, green and blue in
            [0, 1]; images are normalised by them.
        label_noise: 0, since noise is drawn for images of one label only.
    """

    stored_as: ClassVar[Storage] = "annotated_files"

    label_noise: Annotated[NotNegative, Le(0)] = 0.0
    train_images: Count  # type: ignore[misc] # a constant of the other data sets
    test_images: Count
    resize: Count = 800
    longest_side: Count = 1333
    channel_means: Means = (0.485, 0.456, 0.406)
    channel_stds: Stds = (0.229, 0.224, 0.225)

    @field_validator("longest_side")
    @classmethod
    def _is_the_longer_one(cls, longest_side: int, others: ValidationInfo) -> int:
        resize = others.data.get("resize", 0)
        if longest_side < resize:
            raise PydanticCustomError(
                "longest_side", "must be at least 'resize', {resize}", {"resize": resize}
            )
        return longest_side


class Coco(AnnotatedImages, name="coco", code="perigee.data.coco:build"):
    """COCO (Lin et al. 2014) in a folder of the user's, with its usual tree.

    The defaults are those of COCO 2017 and of the usual recipe (He et al. 2019, Section 3).
    Training images without any object are left out.

    Attributes:
        folder: its folder, below the folder that key 'data' of the configuration names. In it are
            a folder of images per split and annotations/instances_<split>.json.
        train_split, test_split: names of the two splits.
        categories: how many categories there are.
    """

    folder: Subfolder = "coco"
    train_images: Count = 117266  # type: ignore[misc] # as above
    test_images: Count = 5000
    train_split: Subfolder = "train2017"
    test_split: Subfolder = "val2017"
    categories: Count = 80


class ColouredShapes(
    AnnotatedImages, name="coloured_shapes", code="perigee.data.coloured_shapes:build"
):
    """Generated images of coloured shapes, annotated in COCO's format.

    Attributes:
        side: height and width of the images, in pixels.
        drawing_seed: seed of the images.
    """

    side: Annotated[Count, Ge(32)] = 64
    drawing_seed: Seed = 0
