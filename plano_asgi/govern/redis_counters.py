"""Counters in Redis, shared by all processes: each question is one script, by the server's own clock.

A counter is a hash, from slot to what was taken in it, and beside it a sorted set of what is only held, by the moment
at which it is given back. Both leave with the window.
"""

import os
import secrets
from collections.abc import Sequence
from itertools import count
from typing import Any, Final

import orjson

from plano_asgi.govern.counting import Charge, Hold, Ruling, Settlement, Standing
from plano_asgi.govern.memory_counters import now_ms
from plano_asgi.stores.redis_server import RedisScript, RedisServer

MOST_GIVEN_BACK: Final = 1000  # abandoned holds of a counter, in one step

_SCRIPT: Final = RedisScript(
    """
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local asked = cjson.decode(ARGV[1])
local function add(slots, slot, amount, leaves)
  redis.call('HINCRBY', slots, string.format('%.0f', slot), string.format('%.0f', amount))
  if redis.call('PTTL', slots) < leaves - now then
    redis.call('PEXPIREAT', slots, string.format('%.0f', leaves))
  end
end
for number, settled in ipairs(asked.settling) do
  local slots, held = KEYS[2 * number - 1], KEYS[2 * number]
  local change = settled.used
  if redis.call('ZREM', held, settled.member) == 1 then change = change - settled.amount end
  if now < settled.leaves and change ~= 0 then add(slots, settled.slot, change, settled.leaves) end
end
local function place_of(window)
  if #window == 2 then
    local slot = now - now % window[1]
    return slot, slot - window[1] * window[2], function(of) return of + window[1] * (window[2] + 1) end
  end
  local index = 1
  while index < #window - 1 and window[index + 1] <= now do index = index + 1 end
  return window[index], window[index], function() return window[index + 1] end
end
local function give_back(slots, held)
  local late = redis.call('ZRANGEBYSCORE', held, '-inf', now, 'LIMIT', 0, asked.most_given_back)
  for _, member in ipairs(late) do
    redis.call('ZREM', held, member)
    local slot, amount = string.match(member, ':(%d+):(%d+)$')
    if redis.call('HEXISTS', slots, slot) == 1 then redis.call('HINCRBY', slots, slot, '-' .. amount) end
  end
end
local function standing(charge, slots, oldest, leaves)
  local kept, taken, used = {}, {}, 0
  local flat = redis.call('HGETALL', slots)
  for index = 1, #flat, 2 do
    local slot = tonumber(flat[index])
    if slot < oldest then
      redis.call('HDEL', slots, flat[index])
    else
      table.insert(kept, slot)
      taken[slot] = tonumber(flat[index + 1])
      used = used + taken[slot]
    end
  end
  table.sort(kept)
  local excess, wait, reset = used + charge.amount - charge.limit, 0, 0
  if charge.amount > charge.limit then wait = -1 end
  for _, slot in ipairs(kept) do
    reset = leaves(slot) - now
    if excess > 0 and wait >= 0 then
      excess = excess - taken[slot]
      wait = reset
    end
  end
  return used, wait, reset
end
local base, answer, fits = 2 * #asked.settling, {}, 1
for number, charge in ipairs(asked.charges) do
  local slots, held = KEYS[base + 2 * number - 1], KEYS[base + 2 * number]
  give_back(slots, held)
  local slot, oldest, leaves = place_of(charge.window)
  local used, wait, reset = standing(charge, slots, oldest, leaves)
  if wait ~= 0 then fits = 0 end
  answer[number] = {used, wait, reset, slot, leaves(slot)}
end
if fits == 1 then
  for number, charge in ipairs(asked.charges) do
    local slots, held, slot, leaves = KEYS[base + 2 * number - 1], KEYS[base + 2 * number], answer[number][4],
      answer[number][5]
    add(slots, slot, charge.amount, leaves)
    if asked.lease > 0 and charge.amount > 0 then
      local member = string.format('%s:%.0f:%.0f', asked.ident, slot, charge.amount)
      redis.call('ZADD', held, now + asked.lease, member)
      redis.call('PEXPIREAT', held, string.format('%.0f', math.max(leaves, now + asked.lease)))
    end
  end
end
return {fits, answer}
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
        fits, answers = await self._ask(charges, settling, ident=ident, lease_ms=lease_ms)
        standings = tuple(
            Standing(used=used, wait_ms=None if wait < 0 else wait, reset_ms=reset) for used, wait, reset, *_ in answers
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
            await self._ask((), settlements, ident="", lease_ms=0)

    async def _ask(
        self, charges: Sequence[Charge], settling: Sequence[Settlement], *, ident: str, lease_ms: int
    ) -> Any:  # noqa: ANN401 - what the script answers
        now = now_ms()
        names = [*(settled.hold.key for settled in settling), *(charge.key for charge in charges)]
        keys = [key for name in names for key in (f"{self.prefix}{name}", f"{self.prefix}{name}:held")]
        asked = {
            "settling": [_told(settled) for settled in settling],
            "charges": [
                {"window": charge.window.told(now), "limit": charge.limit, "amount": charge.amount}
                for charge in charges
            ],
            "ident": ident,
            "lease": lease_ms,
            "most_given_back": MOST_GIVEN_BACK,
        }
        return await self._server.arun(_SCRIPT, keys, orjson.dumps(asked))


def _told(settled: Settlement) -> dict[str, object]:
    hold = settled.hold
    return {
        "member": f"{hold.ident}:{hold.slot}:{hold.amount}",
        "slot": hold.slot,
        "amount": hold.amount,
        "leaves": hold.window.leaves(hold.slot),
        "used": settled.used,
    }
