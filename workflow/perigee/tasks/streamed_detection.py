"""Detection of objects and their masks in images that are read from files as they are needed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from perigee import registry
from perigee.blocks.augmentations import NoAugmentation
from perigee.blocks.losses import CrossEntropy
from perigee.data import order
from perigee.data.annotated_files import AnnotatedDataset, AnnotatedSplit
from perigee.data.annotated_transforms import AnnotatedTransform, Example, Resized, resized_size
from perigee.data.coco import read_sized_image
from perigee.errors import PerigeeError
from perigee.kernel.execution import Execution
from perigee.kernel.ranks import Ranks
from perigee.kernel.task import Batch
from perigee.models.detection_inputs import DetectionInputs
from perigee.spec import RunSpec
from perigee.tasks.loading import Loading
from perigee.tasks.single_label import Normalisation

if TYPE_CHECKING:
    from perigee.data.saving import AnyDataset

STRIDE = 32
"""The sides of mini-batches are multiples of it, as the strides of the body need."""

PROOF_SIDE = 64
"""The largest side of images on which a declaration is proven; larger ones take minutes."""

STREAM = 4
"""The key that separates the seeds of images from other random numbers."""

Canvas = tuple[int, int]


class StreamedDetection:
    """Detection on annotated images in files, decoded again for every use.

    The network is given images with their objects and returns each image's loss and the share of
    its objects that it misses, in both modes. That share, averaged over images, stands for the
    error. It is our choice: the paper shows none, and COCO's average precision is not such a mean.

    Images of a mini-batch are put into the upper left corner of one canvas, the smallest that holds
    all of them; so the numbers do not depend on the processes that share it. The random choice
    of anchors and proposals is a function of the run's seed, the epoch and the image.

    Args:
        spec: the run.
        dataset: the data set that the spec names.
        execution: where and how to compute, and how many workers decode.
        ranks: the processes that share the run; each of them decodes only its own images.
        epoch_order: the order of the training images in an epoch; None draws it from the run's
            seed (`perigee.data.order.epoch_order`).

    Raises:
        PerigeeError: the data set has no annotated objects, or the loss has parameters.
    """

    def __init__(
        self,
        spec: RunSpec,
        dataset: AnyDataset,
        execution: Execution,
        ranks: Ranks,
        epoch_order: Callable[[int], np.ndarray] | None = None,
    ) -> None:
        if not isinstance(dataset, AnnotatedDataset):
            raise PerigeeError(
                "Key 'task.name' is 'streamed_detection', which needs annotated objects, but the "
                "data set given has none; choose another task or data set."
            )
        if spec.loss != CrossEntropy():
            raise PerigeeError(
                "Key 'loss' is not the default, but task 'streamed_detection' has the losses of "
                "its network; leave it out."
            )
        self._dataset, self._spec, self._ranks = dataset, spec, ranks
        self._loading = Loading(execution.workers, execution.prefetch, execution.pin_memory)
        self._device, self._dtype = execution.device, execution.dtype
        self.sizes = {name: len(split) for name, split in dataset.splits.items()}
        self.classes = dataset.classes
        side = min(PROOF_SIDE, _whole(dataset.resize))
        self.image_shape = (3, side, side)
        images = self.sizes["train"]
        self.steps_per_epoch = order.steps_per_epoch(images, spec.batch_size, spec.gradient)
        self._order = epoch_order or partial(order.epoch_order, images, spec.seed)
        self._resized = Resized(dataset.resize, dataset.longest_side)
        self._normalised = Normalisation(dataset.channel_means, dataset.channel_stds, execution)

    def training_steps(self, epoch: int, taken: int) -> Iterator[Iterable[Batch]]:
        """See `perigee.kernel.task.Task.training_steps`."""
        transform = self._augmentation(epoch)
        if self._spec.gradient == "full_batch":
            if not taken:
                in_order = self._stored_order("train")
                yield self._streamed("train", in_order, transform, epoch, whole=True)
            return
        left = order.mini_batches(self._order(epoch), self._spec.batch_size)[taken:]
        for batch in self._streamed("train", left, transform, epoch):
            yield [batch]

    def batches(self, split: str) -> Iterator[Batch]:
        """See `perigee.kernel.task.Task.batches`; random choices are those of epoch 0."""
        return self._streamed(split, self._stored_order(split), self._resized, epoch=0)

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """The losses that the network returns, summed over images.

        Args:
            outputs: (images, 2), see `perigee.models.mask_rcnn.MaskRCNN`.
            targets: not used; the network has seen them.
        """
        return outputs[:, 0].sum()

    def errors(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """The shares of missed objects, summed over images; arguments as for `loss`."""
        return outputs.detach()[:, 1].sum()

    def test_loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """The same losses (our choice)."""
        return self.loss(outputs, targets)

    def _augmentation(self, epoch: int) -> AnnotatedTransform:
        block = self._spec.augmentation
        if isinstance(block, NoAugmentation):
            return self._resized
        transform: AnnotatedTransform = registry.load(block)(
            self._dataset.resize,
            self._dataset.longest_side,
            self._spec.seed,
            epoch,
            **block.parameters,
        )
        return transform

    def _stored_order(self, split: str) -> list[np.ndarray]:
        return order.mini_batches(np.arange(self.sizes[split]), self._spec.batch_size)

    def _streamed(
        self,
        name: str,
        mini_batches: Sequence[np.ndarray],
        transform: AnnotatedTransform,
        epoch: int,
        whole: bool = False,
    ) -> Iterator[Batch]:
        """Yield this process's part of each mini-batch, on the device.

        Args:
            name: of the split.
            mini_batches: the image numbers of each mini-batch.
            transform: the transform of the images.
            epoch: of the random choices.
            whole: whether the mini-batches together make one step.
        """
        split = self._dataset.splits[name]
        keys = [(self._ranks.share(images), self._canvas(split, images)) for images in mini_batches]
        source = _Decoder(split, self._dataset.folders[name], transform)
        loaded = self._loading.values(source, keys)
        for images, (own, _), packed in zip(mini_batches, keys, loaded, strict=True):
            share = len(images) / self.sizes[name] if whole else 1.0
            seeds = [image_seed(self._spec.seed, epoch, number) for number in own.tolist()]
            inputs: Any = self._inputs(Packed(*packed), seeds)
            yield Batch(inputs, packed[2].to(self._device), len(images), share)

    def _canvas(self, split: AnnotatedSplit, images: np.ndarray) -> Canvas:
        """The height and width that hold all images of a mini-batch."""
        resize, longest = self._dataset.resize, self._dataset.longest_side
        sizes = [
            resized_size(height, width, resize, longest)
            for height, width in split.image_sizes[images].tolist()
        ]
        height, width = (_whole(max(sides)) for sides in zip(*sizes, strict=True))
        return height, width

    def _inputs(self, packed: Packed, seeds: Sequence[int]) -> DetectionInputs:
        """The network's input, on the device."""
        sizes = [(height, width) for height, width in packed.sizes.tolist()]
        images = self._normalised(packed.images)
        for image, (height, width) in zip(images, sizes, strict=True):
            image[:, height:] = 0
            image[:, :, width:] = 0
        counts = packed.counts.tolist()
        boxes = packed.boxes.to(self._device, self._dtype).split(counts)
        categories = (packed.categories.to(self._device) + 1).split(counts)
        masks = unpacked(packed.masks.to(self._device)).split(counts)
        return DetectionInputs(images, sizes, boxes, categories, masks, seeds)


def _whole(side: int) -> int:
    """The least multiple of `STRIDE` that is not less than a side in pixels."""
    return -(-side // STRIDE) * STRIDE


def image_seed(seed: int, epoch: int, image_number: int) -> int:
    """The seed of the random choices that a network makes for an image in an epoch."""
    source = np.random.SeedSequence((seed, epoch, image_number), spawn_key=(STREAM,))
    return int(source.generate_state(1)[0])


@dataclass(frozen=True)
class Packed:
    """A mini-batch on the way from a worker: few tensors, since each takes an open file.

    Attributes:
        images: uint8, (images, 3, height, width), each in the upper left corner.
        sizes: height and width of each image, (images, 2).
        counts: the number of objects of each, (images,).
        boxes, categories: of all objects, see `perigee.data.annotated_transforms.Example`.
        masks: of all objects, uint8, (objects, height, width / 8): a bit for each pixel.
    """

    images: Tensor
    sizes: Tensor
    counts: Tensor
    boxes: Tensor
    categories: Tensor
    masks: Tensor


def unpacked(masks: Tensor) -> Tensor:
    """Masks of a byte for each pixel, of masks of a bit: uint8, (objects, height, width)."""
    places = torch.arange(7, -1, -1, device=masks.device)
    bits = (masks[..., None] >> places) & 1
    return bits.to(torch.uint8).flatten(start_dim=2)


@dataclass(frozen=True)
class _Decoder(Dataset[Any]):
    """A map from the image numbers of a mini-batch and its canvas to the fields of `Packed`.

    An error is returned, not raised: the loader would wrap a traceback into its message.
    """

    split: AnnotatedSplit
    root: Path
    transform: AnnotatedTransform

    def __getitem__(self, key: tuple[np.ndarray, Canvas]) -> tuple[Tensor, ...] | PerigeeError:
        numbers, (height, width) = key
        try:
            examples = [self._example(number) for number in numbers.tolist()]
        except PerigeeError as error:
            return error
        images = torch.zeros((len(examples), 3, height, width), dtype=torch.uint8)
        masks = [np.zeros((0, height, width // 8), dtype=np.uint8)]
        for image, example in zip(images, examples, strict=True):
            _, own_height, own_width = example.image.shape
            image[:, :own_height, :own_width] = example.image
            whole = np.zeros((len(example.masks), height, width), dtype=bool)
            whole[:, :own_height, :own_width] = example.masks
            masks.append(np.packbits(whole, axis=2))
        return (
            images,
            torch.tensor([tuple(one.image.shape[1:]) for one in examples]).reshape(-1, 2),
            torch.tensor([len(one.boxes) for one in examples], dtype=torch.int64),
            torch.cat([torch.zeros((0, 4)), *(one.boxes for one in examples)]),
            torch.cat([torch.zeros(0, dtype=torch.int64), *(one.categories for one in examples)]),
            torch.from_numpy(np.concatenate(masks)),
        )

    def _example(self, number: int) -> Example:
        files, sizes = self.split.files, self.split.image_sizes
        path = self.root / files.path(number)
        image = read_sized_image(path, int(files.sizes[number]), sizes[number])
        return self.transform(image, self.split.objects(number), number)
