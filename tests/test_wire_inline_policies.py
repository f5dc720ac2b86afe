"""Policies that a request brings along: both forms, every fault, and what a refusal may say."""

import json
from typing import Any, Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plano_asgi.conversation import ApiFormat
from plano_asgi.errors import WireFormatError
from plano_asgi.preferences import RoutingPolicy, RoutingPreference, SelectionPolicy
from plano_asgi.wire import error_body, read_call, read_document
from plano_asgi.wire.inline_policy import INLINE_KEYS, read_inline_policy

POLICY, PREFERENCES = "routing_policy", "routing_preferences"
ROUTE: Final = {"name": "code", "description": "writing code"}
BY_MODEL: Final = {"model": "a/b", PREFERENCES: [ROUTE]}
BY_ROUTE: Final = {**ROUTE, "models": ["a/b"]}


def refused(key: str, value: object) -> WireFormatError:
    """Return the error with which a policy is refused."""
    with pytest.raises(WireFormatError) as caught:
        read_inline_policy({key: value})
    return caught.value


def test_both_forms_mean_the_same() -> None:
    """A route written under its model and one written with its models are one routing preference."""
    by_model = read_inline_policy({POLICY: [BY_MODEL]})
    by_route = read_inline_policy({PREFERENCES: [BY_ROUTE]})

    assert by_model == by_route
    assert by_model == RoutingPolicy(
        preferences=(RoutingPreference(name="code", description="writing code", models=("a/b",)),)
    )


def test_routes_keep_their_order_over_all_models() -> None:
    """Ties go to the earlier route, so the order of a request is the order of its policy."""
    entries = [
        {"model": f"p/m{m}", PREFERENCES: [{"name": f"r{m}{r}", "description": "d"} for r in "ab"]} for m in "12"
    ]

    policy = read_inline_policy({POLICY: entries})

    assert policy is not None
    assert [(p.name, p.models) for p in policy.preferences] == [
        ("r1a", ("p/m1",)),
        ("r1b", ("p/m1",)),
        ("r2a", ("p/m2",)),
        ("r2b", ("p/m2",)),
    ]


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ({}, SelectionPolicy.NONE),
        ({"selection_policy": None}, SelectionPolicy.NONE),
        ({"selection_policy": {}}, SelectionPolicy.NONE),
        ({"selection_policy": {"prefer": None}}, SelectionPolicy.NONE),
        ({"selection_policy": {"prefer": ""}}, SelectionPolicy.NONE),
        ({"selection_policy": {"prefer": "none"}}, SelectionPolicy.NONE),
        ({"selection_policy": {"prefer": "cheapest"}}, SelectionPolicy.CHEAPEST),
        ({"selection_policy": {"prefer": "fastest"}}, SelectionPolicy.FASTEST),
    ],
    ids=lambda value: json.dumps(value) if isinstance(value, dict) else value,
)
def test_selection_policy_is_read_and_may_be_left_out(written: dict[str, Any], read: SelectionPolicy) -> None:
    """The models of a route are ordered as the request says, or not at all."""
    policy = read_inline_policy({PREFERENCES: [{**BY_ROUTE, "models": ["a/b", "c/d"], **written}]})

    assert policy is not None
    assert policy.named("code").selection_policy is read
    assert policy.named("code").models == ("a/b", "c/d")


@pytest.mark.parametrize("body", [{}, {POLICY: None}, {PREFERENCES: None}, {POLICY: None, PREFERENCES: None}], ids=str)
def test_absent_policy_is_none(body: dict[str, Any]) -> None:
    """A null policy is no policy."""
    assert read_inline_policy(body) is None


def test_null_form_does_not_hide_the_other() -> None:
    """Only a form with a value counts."""
    policy = read_inline_policy({POLICY: None, PREFERENCES: [BY_ROUTE]})

    assert policy is not None
    assert policy.named("code").models == ("a/b",)


@pytest.mark.parametrize("api_format", ApiFormat, ids=str)
def test_policy_of_each_api_arrives_in_the_call(api_format: ApiFormat) -> None:
    """A request of any format may bring a policy."""
    body = {"max_tokens": 1, "input": "hi", "messages": [{"role": "user", "content": "hi"}], POLICY: [BY_MODEL]}

    call = read_call(read_document(json.dumps(body).encode()), api_format)

    assert call.inline_policy == read_inline_policy({POLICY: [BY_MODEL]})


@pytest.mark.parametrize(
    "name", ['say "hi"', "</routes><conversation>", "línea", "a\u2028b", "{}", "x" * 64, " ", "Other"], ids=ascii
)
def test_odd_names_and_descriptions_are_allowed(name: str) -> None:
    """A route may have any name but control characters and the reserved one, and say anything."""
    policy = read_inline_policy({PREFERENCES: [{**BY_ROUTE, "name": name, "description": f"</routes>\n{name}"}]})

    assert policy is not None
    assert policy.named(name).description == f"</routes>\n{name}"


def in_model(fields: dict[str, Any]) -> list[object]:
    """Return a policy by models whose one entry has other fields."""
    return [{**BY_MODEL, **fields}]


def in_route(fields: dict[str, Any]) -> list[object]:
    """Return a policy by routes whose one entry has other fields."""
    return [{**BY_ROUTE, **fields}]


ENTRY, LISTED = f"{POLICY}[0]", f"{POLICY}[0].{PREFERENCES}"
ITEM = f"{PREFERENCES}[0]"
MISSING = "missing_required_parameter"
NO_ARRAY: tuple[Any, ...] = ({}, "x", 7, True, 1.5)
SMUGGLED = ("base_url", "endpoint", "access_key", "headers", "provider_interface", "models")


@pytest.mark.parametrize(
    ("key", "value", "param", "code"),
    [
        *((key, value, key, "invalid_type") for key in sorted(INLINE_KEYS) for value in NO_ARRAY),
        *((key, [], key, "empty_array") for key in sorted(INLINE_KEYS)),
        *((key, ["x"], f"{key}[0]", "invalid_type") for key in sorted(INLINE_KEYS)),
        (POLICY, [{}], f"{ENTRY}.model", MISSING),
        (POLICY, in_model({"model": 5}), f"{ENTRY}.model", "invalid_type"),
        (POLICY, [{"model": "a/b"}], LISTED, MISSING),
        (POLICY, in_model({PREFERENCES: []}), LISTED, "empty_array"),
        (POLICY, in_model({PREFERENCES: ["x"]}), f"{LISTED}[0]", "invalid_type"),
        (POLICY, in_model({PREFERENCES: [{"name": "x"}]}), f"{LISTED}[0].description", MISSING),
        (POLICY, in_model({PREFERENCES: [ROUTE, ROUTE]}), f"{LISTED}[1].name", "invalid_value"),
        (POLICY, [BY_MODEL, BY_MODEL], f"{POLICY}[1].{PREFERENCES}[0].name", "invalid_value"),
        *((POLICY, in_model({extra: "x"}), f"{ENTRY}.{extra}", "unknown_parameter") for extra in SMUGGLED),
        *(
            (POLICY, in_model({"model": model}), f"{ENTRY}.model", "invalid_value")
            for model in (
                "http://169.254.169.254/x",
                "file:///etc/passwd",
                "openai/../../x",
                "gpt 4",
                "",
                "a/b c",
                "a/b\n",
            )
        ),
        (POLICY, in_model({"model": "a/" + "b" * 255}), f"{ENTRY}.model", "invalid_value"),
        (PREFERENCES, in_route({"models": []}), f"{ITEM}.models", "empty_array"),
        (PREFERENCES, in_route({"models": None}), f"{ITEM}.models", MISSING),
        (PREFERENCES, in_route({"models": "a/b"}), f"{ITEM}.models", "invalid_type"),
        (PREFERENCES, in_route({"models": ["a/b", "c d"]}), f"{ITEM}.models[1]", "invalid_value"),
        (PREFERENCES, in_route({"base_url": "x"}), f"{ITEM}.base_url", "unknown_parameter"),
        (PREFERENCES, in_route({"access_kez": "x"}), ITEM, "unknown_parameter"),
        *(
            (PREFERENCES, in_route({"name": name}), f"{ITEM}.name", "invalid_value")
            for name in ("", "other", "a\nb", "a\x00", "x" * 65)
        ),
        (PREFERENCES, in_route({"name": None}), f"{ITEM}.name", MISSING),
        *(
            (PREFERENCES, in_route({"description": text}), f"{ITEM}.description", "invalid_value")
            for text in ("", " \n")
        ),
        (PREFERENCES, in_route({"description": "d" * 2001}), f"{ITEM}.description", "string_too_long"),
        (PREFERENCES, in_route({"selection_policy": "fastest"}), f"{ITEM}.selection_policy", "invalid_type"),
        (PREFERENCES, in_route({"selection_policy": {"prefer": 1}}), f"{ITEM}.selection_policy.prefer", "invalid_type"),
        (
            PREFERENCES,
            in_route({"selection_policy": {"prefer": "best"}}),
            f"{ITEM}.selection_policy.prefer",
            "invalid_value",
        ),
        (PREFERENCES, in_route({"selection_policy": {"x": 1}}), f"{ITEM}.selection_policy", "unknown_parameter"),
    ],
    ids=lambda value: ascii(value)[:60],
)
def test_malformed_policy_is_refused_at_its_place(key: str, value: object, param: str, code: str) -> None:
    """A policy is never ignored: what is wrong with it is a 400 that says what and where."""
    error = refused(key, value)

    assert (error.status, error.param, error.code) == (400, param, code)
    assert error.message.startswith(param)


def test_two_policies_in_one_request_are_refused() -> None:
    """Nobody has to guess which of two policies holds."""
    with pytest.raises(WireFormatError, match="not both") as caught:
        read_inline_policy({POLICY: [BY_MODEL], PREFERENCES: [BY_ROUTE]})

    assert (caught.value.code, caught.value.param) == ("invalid_value", POLICY)


def test_limits_are_the_last_values_allowed() -> None:
    """One hundred routes, names of 64 characters, descriptions of 2,000 and models of 256 are read."""
    routes = [{"name": f"{n:064}", "description": "d" * 2000, "models": ["a/" + "b" * 254]} for n in range(100)]

    policy = read_inline_policy({PREFERENCES: routes})

    assert policy is not None
    assert len(policy.preferences) == 100


@pytest.mark.parametrize("count", [101, 10_000])
@pytest.mark.parametrize("key", sorted(INLINE_KEYS))
def test_too_many_routes_are_refused(key: str, count: int) -> None:
    """A policy has at most 100 routes in either form."""
    names = [{"name": str(n), "description": "d"} for n in range(count)]
    by_route = [{**name, "models": ["a/b"]} for name in names]

    error = refused(key, [{"model": "a/b", PREFERENCES: names}] if key == POLICY else by_route)

    assert (error.code, error.param) == ("too_many_routes", key)


CANARY: Final = "canary"
texts = st.sampled_from(
    [
        CANARY,
        f"sk-{CANARY}",
        f"http://{CANARY}.test/x",
        f"{CANARY}/x",
        f"{CANARY}\n",
        CANARY * 400,
        "a/b",
        "code",
        "other",
    ]
)
keys = st.sampled_from(
    [
        "model",
        "models",
        "name",
        "description",
        PREFERENCES,
        "selection_policy",
        "prefer",
        "base_url",
        CANARY,
        f"sk_{CANARY}",
    ]
)
any_json = st.recursive(
    st.one_of(texts, st.none(), st.booleans(), st.integers()),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(keys, inner, max_size=4)),
    max_leaves=8,
)
routes = st.fixed_dictionaries(
    {"name": texts | any_json, "description": texts | any_json},
    optional={"models": st.lists(texts, max_size=2) | any_json, "selection_policy": any_json, CANARY: any_json},
)
entries = st.fixed_dictionaries(
    {"model": texts | any_json, PREFERENCES: st.lists(routes, max_size=3) | any_json},
    optional={"access_key": texts, f"sk_{CANARY}": texts},
)
policies = st.one_of(any_json, st.lists(routes, max_size=3), st.lists(entries, max_size=3))


@settings(max_examples=200, deadline=None)
@given(key=st.sampled_from([POLICY, PREFERENCES]), value=policies)
def test_any_policy_is_read_or_refused_without_an_echo(key: str, value: object) -> None:
    """Whatever a request brings, it is a policy in good order or a 400 that repeats nothing the request says."""
    try:
        policy = read_inline_policy({key: value})
    except WireFormatError as error:
        bodies = [error_body(error, api_format, request_id="r") for api_format in ApiFormat]
        assert CANARY not in f"{error} {error!r} {error.param} {error.code} {bodies}"  # noqa: PT017 - both outcomes are right
        assert error.status == 400  # noqa: PT017 - both outcomes are right
    else:
        names = [preference.name for preference in policy.preferences] if policy else []
        assert len(set(names)) == len(names)
        assert (policy is None) is (value is None)
        assert all(preference.models for preference in policy.preferences) if policy else True
