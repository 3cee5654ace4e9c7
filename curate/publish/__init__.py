"""Datasets on the Hugging Face Hub: their files, their card, and the way there."""

from curate.publish.dataset import Pushed, push, write_dataset

__all__ = ["Pushed", "push", "write_dataset"]
