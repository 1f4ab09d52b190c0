"""Random changes to a training clip before the model sees it: one draw for all of its frames."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from einops import rearrange
from timm.data import Mixup
from torch import Tensor
from torchvision.transforms import v2

from timesformer_cli.config import Preprocessing
from timesformer_cli.training.recipe import Recipe

Transform = Callable[[Tensor], Tensor]


def augmentation(recipe: Recipe, preprocessing: Preprocessing) -> Transform:
    """A random map from a whole clip, uint8 `(t c h w)`, to input, float `(t c height width)`."""
    crop = preprocessing.crop
    steps: list[Transform] = []
    if recipe.crop_area is None:
        # The published jitter: the short side is 8/7 of the crop's or more (256 px for 224).
        sizes = list(range(round(min(crop) * 8 / 7), round(min(crop) * recipe.enlarged) + 1))
        steps += [v2.RandomShortestSize(sizes), v2.RandomCrop(crop, pad_if_needed=True)]
    else:
        steps.append(v2.RandomResizedCrop(crop, scale=recipe.crop_area))
    if recipe.flip:
        steps.append(v2.RandomHorizontalFlip(recipe.flip))
    if recipe.colour:
        steps.append(v2.ColorJitter(recipe.colour, recipe.colour, recipe.colour))
    if recipe.operations:
        steps.append(v2.RandAugment(recipe.operations, recipe.magnitude))
    steps.append(normalisation(preprocessing))
    if recipe.erasing:
        steps.append(v2.RandomErasing(recipe.erasing))
    composed: Transform = v2.Compose(steps)
    return composed


def normalisation(preprocessing: Preprocessing) -> Transform:
    """The map from uint8 `(t c h w)` to model input, without anything random."""
    scale = v2.ToDtype(torch.float32, scale=True)
    composed: Transform = v2.Compose([scale, v2.Normalize(preprocessing.mean, preprocessing.std)])
    return composed


class Targets:
    """Makes targets `(b classes)` of what is known of clips, and mixes some of the batches."""

    def __init__(self, recipe: Recipe, classes: int) -> None:
        self.classes, self.smoothing = classes, recipe.label_smoothing
        self.mix: Mixup | None = None
        if recipe.mixed:
            self.mix = Mixup(  # type: ignore[no-untyped-call]
                recipe.mixup, recipe.cutmix, prob=recipe.mixed, label_smoothing=0.0
            )

    def __call__(self, clips: Tensor, known: Tensor) -> tuple[Tensor, Tensor]:
        """From inputs, with class numbers `(b)` or 1 and 0 `(b classes)`, to inputs and targets.

        Inputs are clips `(b t c h w)`, perhaps mixed, or features `(b d)`, which never are. The
        targets are distributions for class numbers; else each class has a probability of its own.
        """
        even = len(clips) // 2 * 2  # timm mixes pairs, so a clip without a partner stays as it is
        alone = known.ndim == 2  # each class by itself: smoothing leads to a half
        soft = known if alone else F.one_hot(known, self.classes).float()
        soft = soft * (1 - self.smoothing) + self.smoothing / (2 if alone else self.classes)
        if self.mix is None or not even or clips.ndim != 5:
            return clips, soft
        # To timm a clip is a picture of many channels: its frames share the box and the weight.
        flat = rearrange(clips[:even], "b t c h w -> b (t c) h w")
        # To timm each clip is a class, so that it tells how much of each clip is in each other.
        self.mix.num_classes = even
        mixed, shares = self.mix(flat, torch.arange(even, device=flat.device))
        mixed = rearrange(mixed, "b (t c) h w -> b t c h w", t=clips.shape[1])
        return torch.cat([mixed, clips[even:]]), torch.cat([shares @ soft[:even], soft[even:]])
