"""Data sets."""

from __future__ import annotations

from typing import Annotated, ClassVar

from annotated_types import Le

from perigee.blocks.base import Block, NotNegative, Seed


class Dataset(Block, kind="dataset"):
    """A data set of images with labels.

    Attributes:
        train_images: how many training images it has, for estimates.
        label_noise: share of the training labels that are replaced by labels drawn uniformly from
            all classes (Kodryan et al. 2022, Appendix G).
        noise_seed: seed of that draw.
    """

    train_images: ClassVar[int]

    label_noise: Annotated[NotNegative, Le(1)] = 0.0
    noise_seed: Seed = 0


class Digits(Dataset, name="digits", code="perigee.data.digits:build"):
    """The 8x8 digits that scikit-learn carries."""

    train_images: ClassVar[int] = 1437


class DigitPairs(Dataset, name="digit_pairs", code="perigee.data.digit_pairs:build"):
    """Two digits side by side in 100 classes."""

    train_images: ClassVar[int] = 2000


class Cifar10(Dataset, name="cifar10", code="perigee.data.cifar:build_cifar10"):
    """CIFAR-10."""

    train_images: ClassVar[int] = 50000


class Cifar100(Dataset, name="cifar100", code="perigee.data.cifar:build_cifar100"):
    """CIFAR-100."""

    train_images: ClassVar[int] = 50000
