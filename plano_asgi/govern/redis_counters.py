"""Counters in Redis, shared by all processes: each question is one script, by the server's own clock.

A counter is a hash, from slot to what was taken in it, and beside it a sorted set of what is only held, by the moment
at which it is given back. Both leave with the window. The answer is a line of numbers, since a client reads a line in
one step, and a string of another kind in two.
"""

import os
import secrets
from collections.abc import Sequence
from itertools import count
from typing import Final

import anyio

from plano_asgi.govern.counting import Charge, Hold, Ruling, Settlement, Standing
from plano_asgi.govern.memory_counters import now_ms
from plano_asgi.stores.redis_server import RedisScript, RedisServer

_SCRIPT: Final = RedisScript(
    """
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local words, at = {}, 0
for word in string.gmatch(ARGV[1], '%S+') do words[#words + 1] = word end
local function number()
  at = at + 1
  return tonumber(words[at])
end
local settled, charged, lease, ident = number(), number(), number(), words[4]
at = 4
for index = 1, settled do
  local slots, held = KEYS[2 * index - 1], KEYS[2 * index]
  local member, slot, amount, leaves, used = words[at + 1], words[at + 2], words[at + 3], words[at + 4], words[at + 5]
  at = at + 5
  if redis.call('ZREM', held, member) == 1 then used = used - amount end
  leaves, used = tonumber(leaves), tonumber(used)
  if now < leaves and used ~= 0 then
    redis.call('HINCRBY', slots, slot, used)
    if redis.call('PTTL', slots) < leaves - now then redis.call('PEXPIREAT', slots, leaves) end
  end
end
local base, answers, charges, fits = 2 * settled, {}, {}, true
for index = 1, charged do
  local slots, held = KEYS[base + 2 * index - 1], KEYS[base + 2 * index]
  for _, member in ipairs(redis.call('ZRANGEBYSCORE', held, '-inf', now, 'LIMIT', 0, 1000)) do
    redis.call('ZREM', held, member)
    local slot, amount = string.match(member, ':(%d+):(%d+)$')
    if redis.call('HEXISTS', slots, slot) == 1 then redis.call('HINCRBY', slots, slot, '-' .. amount) end
  end
  local limit, amount, edges = number(), number(), {}
  for edge = 1, number() do edges[edge] = number() end
  local slot, oldest, lives
  if #edges == 2 then
    slot = now - now % edges[1]
    oldest, lives = slot - edges[1] * edges[2], edges[1] * (edges[2] + 1)
  else
    local current = 1
    while current < #edges - 1 and edges[current + 1] <= now do current = current + 1 end
    slot = edges[current]
    oldest, lives = slot, edges[current + 1] - slot
  end
  local flat, kept, taken, used = redis.call('HGETALL', slots), {}, {}, 0
  for place = 1, #flat, 2 do
    local from = tonumber(flat[place])
    if from < oldest then
      redis.call('HDEL', slots, flat[place])
    else
      kept[#kept + 1] = from
      taken[from] = tonumber(flat[place + 1])
      used = used + taken[from]
    end
  end
  if #kept > 1 then table.sort(kept) end
  local excess, wait, reset = used + amount - limit, 0, 0
  if amount > limit then wait = -1 end
  for _, from in ipairs(kept) do
    reset = from + lives - now
    if excess > 0 and wait >= 0 then
      excess = excess - taken[from]
      wait = reset
    end
  end
  if wait ~= 0 then fits = false end
  charges[index] = {slots, held, slot, amount, slot + lives, taken[slot] == nil}
  answers[index] = string.format('%.0f %.0f %.0f %.0f', used, wait, reset, slot)
end
if fits then
  for _, charge in ipairs(charges) do
    local slots, held, slot, amount, leaves, is_new = unpack(charge)
    redis.call('HINCRBY', slots, slot, amount)
    if is_new then redis.call('PEXPIREAT', slots, leaves) end
    if lease > 0 and amount > 0 then
      redis.call('ZADD', held, now + lease, string.format('%s:%.0f:%.0f', ident, slot, amount))
      if redis.call('PTTL', held) < leaves - now + lease then redis.call('PEXPIREAT', held, leaves + 2 * lease) end
    end
  end
end
return redis.status_reply((fits and '1 ' or '0 ') .. table.concat(answers, ' '))
"""
)


class RedisCounters:
    """Counts exactly over all processes that share a Redis server.

    Bounded there by the time that counters live: as long as their window, and a hold's lease.
    """

    def __init__(self, server: RedisServer, *, prefix: str) -> None:
        """Keep to keys that begin with a prefix; nothing is asked yet."""
        self._server = server
        self.prefix: Final = prefix
        self._mark = secrets.token_hex(6)
        self._numbers = count()

    async def reserve(self, charges: Sequence[Charge], *, lease_ms: int, settling: Sequence[Settlement] = ()) -> Ruling:
        """Hold all of the charges or none, as `Counters` says, in one round trip."""
        ident = f"{os.getpid()}-{self._mark}-{next(self._numbers)}"  # a forked process has the mark of its parent
        fits, *told = await self._ask(charges, settling, ident=ident, lease_ms=lease_ms)
        answers = [told[start : start + 4] for start in range(0, len(told), 4)]
        standings = tuple(
            Standing(used=used, wait_ms=None if wait < 0 else wait, reset_ms=reset) for used, wait, reset, _ in answers
        )
        if not fits:
            return Ruling(standings=standings, holds=None)
        holds = tuple(
            Hold(
                key=charge.key, window=charge.window, ident=ident, slot=answer[3], amount=charge.amount, is_shared=True
            )
            for charge, answer in zip(charges, answers, strict=True)
        )
        return Ruling(standings=standings, holds=holds)

    async def settle(self, settlements: Sequence[Settlement]) -> None:
        """Count what was really used, as `Counters` says, in one round trip."""
        if settlements:
            await self._ask((), settlements, ident="-", lease_ms=0)

    async def _ask(
        self, charges: Sequence[Charge], settling: Sequence[Settlement], *, ident: str, lease_ms: int
    ) -> list[int]:
        now = now_ms()
        names = [*(settled.hold.key for settled in settling), *(charge.key for charge in charges)]
        keys = [key for name in names for key in (f"{self.prefix}{name}", f"{self.prefix}{name}:held")]
        words: list[object] = [len(settling), len(charges), lease_ms, ident]
        for settled in settling:
            hold = settled.hold
            member = f"{hold.ident}:{hold.slot}:{hold.amount}"
            words += member, hold.slot, hold.amount, hold.window.leaves(hold.slot), settled.used
        for charge in charges:
            edges = charge.window.told(now)
            words += charge.limit, charge.amount, len(edges), *edges
        with anyio.CancelScope(shield=True):  # what was held or used is known, also of a caller who has gone away
            answer: bytes = await self._server.arun(_SCRIPT, keys, " ".join(map(str, words)))
        return [int(number) for number in answer.split()]
