"""What models cost: written down, published, or nobody knows; and what providers count."""

from collections.abc import Callable

import pytest

from plano_asgi.assembly import build_service
from plano_asgi.catalogues.published_prices import PublishedPrices
from plano_asgi.prices import Price
from plano_asgi.settings import Settings
from plano_asgi.wire.usage import Usage

CONFIG = """
model_providers: [{model: openai/gpt-4o-mini, default: true}]
prices:
  openai/gpt-4o-mini: {input: 1, output: 2.5}
"""


def test_written_prices_come_before_published_ones(settings_of: Callable[[str], Settings]) -> None:
    """A price in the configuration holds; a model that is not there costs what its provider publishes."""
    prices = build_service(settings_of(CONFIG)).prices

    assert prices.price_of("openai/gpt-4o-mini") == Price(input=1, output=2.5)
    assert prices.price_of("anthropic/claude-sonnet-4-20250514") == PublishedPrices().price_of(
        "anthropic/claude-sonnet-4-20250514"
    )


@pytest.mark.parametrize(
    "model",
    ["openai/gpt-4o", "anthropic/claude-sonnet-4-5", "gemini/gemini-2.5-pro", "xai/grok-4", "azure_openai/gpt-4o"],
)
def test_well_known_models_have_a_price(model: str) -> None:
    """Providers that this package calls by another name than the price list are found all the same."""
    price = PublishedPrices().price_of(model)

    assert price is not None
    assert 0 < price.input < price.output


@pytest.mark.parametrize("model", ["openai/no-such-model", "nowhere/gpt-4o", "unqualified"])
def test_nobody_knows_what_an_unknown_model_costs(model: str) -> None:
    """A model or provider that is not on the list has no price, not one of 0."""
    assert PublishedPrices().price_of(model) is None


def test_cached_tokens_cost_their_own_price() -> None:
    """Of 1,000 tokens read, 600 cached and 300 kept, each part costs what it costs."""
    price = Price(input=10, output=20, cache_read=1, cache_write=12.5)

    cost = price.cost(input_tokens=1_000, output_tokens=50, cached_tokens=600, cache_write_tokens=300)

    assert cost == pytest.approx((100 * 10 + 600 * 1 + 300 * 12.5 + 50 * 20) / 1e6)


def test_cached_tokens_cost_as_much_as_any_where_nobody_says_otherwise() -> None:
    """Without prices of its own the cache makes no difference."""
    assert Price(input=10, output=20).cost(input_tokens=100, cached_tokens=90) == pytest.approx(0.001)


def test_a_negative_price_is_a_fault(settings_of: Callable[[str], Settings]) -> None:
    """A price below 0 is refused at its place."""
    with pytest.raises(ValueError, match=r"prices\.openai/gpt-4o-mini\.input"):
        settings_of(CONFIG.replace("input: 1", "input: -1"))


OPENAI_CHAT = {
    "prompt_tokens": 100,
    "completion_tokens": 20,
    "prompt_tokens_details": {"cached_tokens": 64},
    "completion_tokens_details": {"reasoning_tokens": 8},
}
OPENAI_RESPONSES = {
    "input_tokens": 100,
    "output_tokens": 20,
    "input_tokens_details": {"cached_tokens": 64},
    "output_tokens_details": {"reasoning_tokens": 8},
}
ANTHROPIC = {
    "input_tokens": 36,
    "output_tokens": 20,
    "cache_read_input_tokens": 64,
    "cache_creation_input_tokens": 0,
    "output_tokens_details": {"thinking_tokens": 8},
}


@pytest.mark.parametrize("told", [OPENAI_CHAT, OPENAI_RESPONSES, ANTHROPIC], ids=["chat", "responses", "messages"])
def test_all_apis_count_alike_in_the_end(told: dict[str, object]) -> None:
    """Input counts cached tokens among those read, whichever API has told of them."""
    usage = Usage().with_news(told)

    assert (usage.input_tokens, usage.output_tokens, usage.cached_tokens, usage.reasoning_tokens) == (100, 20, 64, 8)


def test_a_stream_of_messages_adds_up() -> None:
    """What the start of a stream tells of the cache counts on when its end tells of the rest."""
    begun = Usage().with_news({"input_tokens": 10, "cache_read_input_tokens": 90, "output_tokens": 1})

    assert begun.with_news({"output_tokens": 42}) == Usage(input_tokens=100, output_tokens=42, cached_tokens=90)
    assert begun.with_news({"input_tokens": 10, "output_tokens": 42}).input_tokens == 100


@pytest.mark.parametrize("told", [None, [], "many", {"input_tokens": "7"}, {"prompt_tokens_details": 3}])
def test_what_is_no_count_adds_nothing(told: object) -> None:
    """A provider's nonsense leaves the usage as it was."""
    assert Usage().with_news(told) == Usage()
