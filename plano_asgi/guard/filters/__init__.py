"""The filters that come with this package: pure judgement of texts."""

from plano_asgi.guard.filters.injection import InjectionFilter
from plano_asgi.guard.filters.languages import LanguageFilter
from plano_asgi.guard.filters.pattern_lists import PatternFilter
from plano_asgi.guard.filters.personal import FormDetector, PersonalDataFilter
from plano_asgi.guard.filters.size import SizeFilter

__all__ = ["FormDetector", "InjectionFilter", "LanguageFilter", "PatternFilter", "PersonalDataFilter", "SizeFilter"]
