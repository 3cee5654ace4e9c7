"""Datasets on the Hugging Face Hub: their files, their card, and the way there."""

from curate.publish.push import Pushed, push

__all__ = ["Pushed", "push"]
