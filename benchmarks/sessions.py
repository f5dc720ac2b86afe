"""What sessions are worth to agents: twenty transcripts in three APIs, decided by the embedded router.

```text
python -m benchmarks.sessions [--json FILE]
```

Each transcript is replayed call by call: with every call decided for itself, which is what a router without sessions
does, and by each choice of `routing.decide_on`. Providers that fail do so at the same places. Tokens are estimated, at
four characters each; those kept are what the same model had read in the call before, and could find in its cache.
"""

import argparse
import json
from dataclasses import asdict
from pathlib import Path
from typing import Final

import anyio

from benchmarks.agent_sessions.replaying import Replay, Tally
from benchmarks.agent_sessions.transcripts import transcripts
from plano_asgi.assembly import build_router
from plano_asgi.conversation import ApiFormat
from plano_asgi.router import Router
from plano_asgi.sessions import DecideOn
from plano_asgi.settings import load_settings
from plano_asgi.stores import MemoryStore

SETTINGS: Final = {
    "model_providers": [
        {"model": "openai/gpt-4o-mini", "default": True},
        {"model": "openai/gpt-5"},
        {"model": "anthropic/claude-sonnet-4-20250514"},
    ],
    "routing_preferences": [
        {
            "name": "code",
            "description": "writing, changing and debugging code",
            "models": ["anthropic/claude-sonnet-4-20250514", "openai/gpt-5"],
        },
        {
            "name": "reasoning",
            "description": "complex reasoning tasks, proofs, multi-step analysis",
            "models": ["openai/gpt-5", "anthropic/claude-sonnet-4-20250514"],
        },
    ],
}
EACH_FOR_ITSELF: Final = "every call for itself"
WAYS: Final = (EACH_FOR_ITSELF, *DecideOn)


def router_of(way: str) -> Router:
    """Return a started router that decides in a way."""
    decide_on = DecideOn.EVERY_CALL if way == EACH_FOR_ITSELF else way
    changes = {"routing": {"decide_on": str(decide_on)}, "classifier": {"deadline_ms": 9_000.0}}
    settings = load_settings(environ={}, overrides={**SETTINGS, **changes})
    router = build_router(settings)
    if way == EACH_FOR_ITSELF:
        router = Router(
            classifier=router.classifier,
            policy=settings.policy,
            catalog=settings.catalog,
            rules=router.rules,
            cache=MemoryStore(size=10_000),
            deadline_ms=9_000,
        )
    router.start()
    return router


async def replayed(router: Router) -> Tally:
    """Return what all transcripts come to, in all APIs."""
    tally = Tally()
    for api_format in ApiFormat:
        for transcript in transcripts():
            tally.add(await Replay(router, transcript, api_format).run())
    return tally


def main() -> None:
    """Replay, print, and write where asked."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=Path, help="where to write the result")
    arguments = parser.parse_args()
    tallies = {}
    print("| decided on | calls | classified | switches | within a turn | prompt tokens kept |")
    print("|---|---|---|---|---|---|")
    for way in WAYS:
        router = router_of(way)
        tally = tallies[way] = anyio.run(replayed, router)
        router.close()
        share = f"{tally.kept:,} of {tally.tokens:,} ({tally.kept / tally.tokens:.0%})"
        print(f"| {way} | {tally.calls} | {tally.asked} | {tally.switches} | {tally.in_turn} | {share} |")
    if arguments.json:
        told = {way: asdict(tally) for way, tally in tallies.items()}
        arguments.json.write_text(json.dumps(told, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
