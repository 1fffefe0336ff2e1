"""A pool of generated images: the discriminator is shown older ones too, and so forgets less.

Sources: Shrivastava et al. 2017, section 2.3; Zhu et al. 2017, section 4 (a pool of 50).
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from jaxtyping import Float
from torch import Tensor


class ImagePool:
    """Up to `size` generated images. Half of the images shown come from it, once it is full.

    Its random numbers are its own: the same seed and the same images give the same answers, and a run that goes on from
    `state()` gives those of a run that never stopped. `size` 0 is no pool: images come back as they are.

    Raises:
        ValueError: `size` is below 0.
    """

    def __init__(self, size: int = 50, *, seed: int = 0) -> None:
        if size < 0:
            raise ValueError(f"size must be at least 0, got {size}")
        self.size = size
        self._images: list[Tensor] = []
        self._generator = torch.Generator(device="cpu").manual_seed(seed)

    def __len__(self) -> int:
        return len(self._images)

    def exchange(
        self, images: Float[Tensor, "batch channels rows columns"]
    ) -> Float[Tensor, "batch channels rows columns"]:
        """Images to show the discriminator, as many as came, without a gradient.

        While the pool fills, each image is kept and shown. Then every second one, by chance, takes the place of a kept
        one, which is shown instead.

        Raises:
            ValueError: the images are not of the size of those in the pool.
        """
        images = images.detach()
        if self._images and images.shape[1:] != self._images[0].shape:
            raise ValueError(
                f"images must have shape {('batch', *self._images[0].shape)}, as those in the pool, "
                f"got {tuple(images.shape)}"
            )
        return torch.stack([self._exchange(image) for image in images]) if self.size and len(images) else images

    def _exchange(self, image: Tensor) -> Tensor:
        if len(self._images) < self.size:
            self._images.append(image.clone())
            return image
        if self._draw(2):
            return image
        place = self._draw(self.size)
        kept, self._images[place] = self._images[place], image.clone()
        return kept

    def _draw(self, below: int) -> int:
        return int(torch.randint(below, (), generator=self._generator, device="cpu"))

    def state(self) -> dict[str, Tensor]:
        """Everything, as tensors that a checkpoint can hold: `images` (kept, channels, rows, columns), `random`."""
        images = torch.stack(self._images) if self._images else torch.empty(0)
        return {"images": images, "random": self._generator.get_state()}

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        """Go on from what `state` gave.

        Raises:
            ValueError: something is missing, or there are more images than the pool holds.
        """
        missing = {"images", "random"} - set(state)
        if missing:
            raise ValueError(f"state must have {', '.join(sorted(missing))}, got {sorted(state)}")
        if len(state["images"]) > self.size:
            raise ValueError(f"state must have at most {self.size} images, got {len(state['images'])}")
        self._images = [image.clone() for image in state["images"]]
        self._generator.set_state(state["random"].cpu())
