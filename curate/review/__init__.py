"""People label rows on a local page: what they are asked, what they say, and the server."""

from curate.review.label_events import Labels
from curate.review.review_queue import Queue, queue_of
from curate.review.server import serve

__all__ = ["Labels", "Queue", "queue_of", "serve"]
