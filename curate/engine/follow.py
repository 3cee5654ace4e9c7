"""Follow what one row's work would ask, from wave to wave, by stored replies and stand-ins.

Nothing is sent. What a step asks about a reply that is still to come is counted by it, so a
stand-in is as readable as it can be without knowing the step.
"""

from __future__ import annotations

import inspect
import math
import random
from typing import Any, NamedTuple

from curate.ask import Ask, Choose, Likelihood, Reply, Request, Reward, TurnLikelihood
from curate.errors import RecipeError
from curate.requests.rate_limit import BYTES_PER_TOKEN
from curate.requests.resolve import Resolver
from curate.requests.session import Outcome, RowTask
from curate.row import seed_of
from curate.store.budget import output_bound, prompt_bytes
from curate.store.replies import find
from curate.store.store import Store

# A job that has asked so often for nothing the store has is not followed any further.
MOST_WAVES = 16
# What a reply without max_tokens is taken for.
USUAL_TOKENS = 256
# Of a stand-in's text.
_WORDS = (
    "about after again air all along also always and animal another answer any are around as ask "
    "at away back because been before began below between big book both boy but by call came can "
    "change city close come could country cut day did different do does earth eat end enough even "
    "every eye face family far father few find first follow food for form found four from get girl "
    "give go good great group grow hand hard has head help here high home house how idea if import"
)


class Noted(NamedTuple):
    """A request that a job made: its model, key and sizes, its reply if stored, and itself."""

    model: str
    key: str
    prompt: int
    longest: int
    reply: Reply | None
    request: Request | None = None


class Followed(NamedTuple):
    """What a job asked, wave by wave, and what came of it.

    The first `certain` waves are those that it makes whatever the missing replies are; `answered`:
    no reply was missing, to its end.
    """

    outcome: Outcome
    waves: list[list[Noted]]
    certain: int
    answered: bool


def follow(job: RowTask, resolver: Resolver, store: Store | None) -> Followed:
    """Take one job from wave to wave, as far as replies or stand-ins for them are known.

    A step that judges by a stand-in has judged nothing: its outcome is not known.
    """
    waves: list[list[Noted]] = []
    certain = 0
    outcome, ended = Outcome(), False
    try:
        value = job.start()
        if not inspect.isgenerator(value):
            return Followed(Outcome(value), waves, 0, answered=False)
        payload: Any = None
        yielded: Any
        while len(waves) < MOST_WAVES:
            yielded = value.send(payload)
            wave = [yielded] if isinstance(yielded, Request) else list(yielded)
            found = [_reply(request, job, resolver, store) for request in wave]
            if certain == len(waves) and all(n.reply for way in waves for n in way):
                certain += 1
            waves.append([noted for noted, _ in found])
            replies = [reply for _, reply in found]
            if None in replies:
                break
            payload = replies[0] if isinstance(yielded, Request) else replies
        value.close()
    except StopIteration as stop:
        outcome, ended = Outcome(stop.value), True
    except RecipeError:
        raise
    except Exception as error:
        outcome, ended = Outcome(error=error), True
    answered = ended and bool(waves) and all(n.reply for way in waves for n in way)
    if waves and not answered and (job.shares or outcome.error is not None):
        # What stands for a reply need not be something that the step can read.
        outcome = Outcome()
    return Followed(outcome, waves, certain, answered)


def _reply(
    request: Request, job: RowTask, resolver: Resolver, store: Store | None
) -> tuple[Noted, Reply | None]:
    """Return what is known of a request, and its stored reply or a stand-in for it."""
    asked = resolver.resolve(request, job)
    key, sent = asked.key, asked.request
    stored = {} if store is None else find(store, {key: asked.wanted()})
    longest = output_bound(sent)
    longest = USUAL_TOKENS if longest is None else longest
    reply = stored[key].reply if key in stored else None
    noted = Noted(asked.model, key, prompt_bytes(sent), longest, reply, sent)
    return noted, reply or stand_in(sent, key, longest, job)


def stand_in(sent: Request, key: str, longest: int, job: RowTask) -> Reply | None:
    """Return what a reply could be, drawn by the request's key; `None` where nothing is readable.

    Two requests have two texts, as replies would be: what is asked about each later is two
    requests. A choice falls either way. Texts of judges have no stand-in, for each step reads its
    own; where it gives an example of them, that is it.
    """
    dice = random.Random(seed_of(key))
    if isinstance(sent, Choose):
        # The other half of the chances is evenly spread.
        chances = [0.5 / len(sent.options)] * len(sent.options)
        chances[dice.randrange(len(chances))] += 0.5
        return Reply(values=tuple(map(math.log, chances)), mass=1.0)
    if isinstance(sent, Likelihood):
        return Reply(values=(-1.0,) * (1 + len(sent.answer) // BYTES_PER_TOKEN))
    if isinstance(sent, TurnLikelihood):
        said = (m.content for m in sent.messages[sent.first :] if m.role == "assistant")
        return Reply(values=(-1.0,) * sum(1 + len(text) // BYTES_PER_TOKEN for text in said))
    if isinstance(sent, Reward):
        return Reply(values=(dice.gauss(0.0, 1.0),))
    if isinstance(sent, Ask) and sent.example is not None:
        return Reply(text=sent.example)
    shares = job.shares if sent.share is None else sent.share
    if shares or not isinstance(sent, Ask) or sent.schema is not None:
        return None
    # Words, of which the first is the request's own; steps refuse texts that repeat themselves.
    size = max(8, longest * BYTES_PER_TOKEN)
    words = dice.choices(_WORDS.split(), k=size // 4)
    return Reply(text=" ".join([key[:8], *words])[:size].strip())
