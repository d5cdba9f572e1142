"""Data sets."""

from __future__ import annotations

from typing import Annotated, ClassVar

from annotated_types import Le

from perigee.blocks.base import Block, NotNegative, Seed


class Dataset(Block):
    """A data set of images with labels.

    Attributes:
        train_images: how many training images it has, for estimates.
        label_noise: share of the training labels that are replaced by labels drawn uniformly from
            all classes (Kodryan et al. 2022, Appendix G).
        noise_seed: seed of that draw.
    """

    kind: ClassVar[str] = "dataset"
    train_images: ClassVar[int]

    label_noise: Annotated[NotNegative, Le(1)] = 0.0
    noise_seed: Seed = 0


class Digits(Dataset):
    """The 8x8 digits that scikit-learn carries."""

    name: ClassVar[str] = "digits"
    code: ClassVar[str] = "perigee.data.digits:build"
    train_images: ClassVar[int] = 1437


class DigitPairs(Dataset):
    """Two digits side by side in 100 classes."""

    name: ClassVar[str] = "digit_pairs"
    code: ClassVar[str] = "perigee.data.digit_pairs:build"
    train_images: ClassVar[int] = 2000


class Cifar10(Dataset):
    """CIFAR-10."""

    name: ClassVar[str] = "cifar10"
    code: ClassVar[str] = "perigee.data.cifar:build_cifar10"
    train_images: ClassVar[int] = 50000


class Cifar100(Dataset):
    """CIFAR-100."""

    name: ClassVar[str] = "cifar100"
    code: ClassVar[str] = "perigee.data.cifar:build_cifar100"
    train_images: ClassVar[int] = 50000
