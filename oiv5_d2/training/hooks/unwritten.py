"""What the event storage collects where nothing is written."""

from detectron2.engine import HookBase


class DropUnwritten(HookBase):  # type: ignore[misc]
    """Forget a step's images and histograms: only the main process has writers, which clear them.

    Detectron2 puts them into the storage of every process, where they would fill its memory.
    """

    def after_step(self) -> None:
        """Forget them."""
        self.trainer.storage.clear_images()
        self.trainer.storage.clear_histograms()
