"""Which key of a provider a call is sent with, where it has several."""

from collections.abc import Callable
from dataclasses import dataclass, field
from time import monotonic

from plano_asgi.providers import ModelProvider, WeightedKey
from plano_asgi.secret import Secret

KeyRing = tuple[WeightedKey, ...]


@dataclass(slots=True)
class Keys:
    """The keys of every provider, each in its turn by weight; one that was rejected rests for a while.

    A key is known by itself: models that share a list share its turns and rests. Bounded by the keys there are.

    Attributes:
        rest_s: Seconds of rest after a rejection that names none.
        clock: Seconds of any monotonic clock.
    """

    rest_s: float = 60.0
    clock: Callable[[], float] = monotonic
    _rests_until: dict[Secret, float] = field(default_factory=dict, repr=False)
    _credits: dict[KeyRing, list[int]] = field(default_factory=dict, repr=False)

    def next(self, provider: ModelProvider) -> Secret | None:
        """Return the key whose turn it is, None where there is none; where all rest, the one that rests shortest."""
        ring = provider.keys
        if len(ring) < 2:  # noqa: PLR2004 - nothing to choose from
            return ring[0].key if ring else None
        awake = [index for index, weighted in enumerate(ring) if self._is_awake(weighted.key)]
        if not awake:
            return min(ring, key=lambda weighted: self._rests_until[weighted.key]).key
        return ring[self._turn(ring, awake)].key

    def rejected(self, provider: ModelProvider, key: Secret | None, retry_after_s: float | None) -> bool:
        """Let a key rest, and return whether the provider has another that does not."""
        ring = provider.keys
        if len(ring) < 2 or key is None or provider.is_auth_passed_through:  # noqa: PLR2004 - same
            return False
        rest_s = self.rest_s if retry_after_s is None else retry_after_s
        self._rests_until[key] = self.clock() + rest_s
        return any(self._is_awake(weighted.key) for weighted in ring)

    def _is_awake(self, key: Secret) -> bool:
        return self._rests_until.get(key, 0.0) <= self.clock()

    def _turn(self, ring: KeyRing, awake: list[int]) -> int:
        """Return whose turn it is: each gains its weight, who has most is taken and pays what all of them gained."""
        gained = self._credits.setdefault(ring, [0] * len(ring))
        for index in awake:
            gained[index] += ring[index].weight
        taken = max(awake, key=gained.__getitem__)
        gained[taken] -= sum(ring[index].weight for index in awake)
        return taken
