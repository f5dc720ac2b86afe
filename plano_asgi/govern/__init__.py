"""What callers may use, and how much of it: allow-lists, limits and budgets."""

from plano_asgi.govern.allow_lists import ALL, AllowList, allowed_of, check_named, fit_allow_list
from plano_asgi.govern.callers import Caller, Pseudonyms, Selector
from plano_asgi.govern.counting import Charge, Counters, Hold, Ruling, Settlement, Standing
from plano_asgi.govern.estimates import output_estimate
from plano_asgi.govern.governor import Admission, Governor
from plano_asgi.govern.memory_counters import MemoryCounters
from plano_asgi.govern.quotas import NANODOLLARS, Measure, Part, Quota, Reach, WhenSoft, model_matches
from plano_asgi.govern.stances import SharedCounters
from plano_asgi.govern.told import quota_headers
from plano_asgi.govern.windows import CalendarWindow, Period, SlidingWindow

__all__ = [
    "ALL",
    "NANODOLLARS",
    "Admission",
    "AllowList",
    "CalendarWindow",
    "Caller",
    "Charge",
    "Counters",
    "Governor",
    "Hold",
    "Measure",
    "MemoryCounters",
    "Part",
    "Period",
    "Pseudonyms",
    "Quota",
    "Reach",
    "Ruling",
    "Selector",
    "Settlement",
    "SharedCounters",
    "SlidingWindow",
    "Standing",
    "WhenSoft",
    "allowed_of",
    "check_named",
    "fit_allow_list",
    "model_matches",
    "output_estimate",
    "quota_headers",
]
